# What .ci/run installs, and the project. docs/running.md says how to build and run it, with Apptainer too.
FROM python:3.11-slim-bookworm

COPY .ci/packages.txt /tmp/packages.txt
RUN apt-get update \
    && sed 's/#.*//' /tmp/packages.txt \
        | DEBIAN_FRONTEND=noninteractive xargs apt-get install --yes --no-install-recommends \
    && rm -rf /var/lib/apt/lists/*

# torch as PyPI has it on Linux: with CUDA. For the CPU build: --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's CPU index>
ARG PIP_EXTRA_INDEX_URL
WORKDIR /memvae
# Of the sources only what pip asks for, so that a change of code does not install torch again.
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY memvae/__init__.py memvae/
RUN pip install --no-cache-dir -c requirements.lock -e '.[test,kubernetes]'
COPY . .

# Any user may write here, so `docker run --user` works; USER names torch's cache, for a user id without a name.
RUN useradd --uid 1000 memvae && install --directory --mode 777 /memvae /home/memvae
ENV HOME=/home/memvae USER=memvae
USER memvae
CMD ["memvae", "--help"]
