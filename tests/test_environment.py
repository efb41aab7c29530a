"""environment.yml, requirements.lock, the Dockerfile and .ci/run install the same versions; CITATION.cff fits them."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import project
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import memvae

ROOT = project.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
PIP = CONDA[-1]["pip"]
PYTHON = dict(entry.split("=") for entry in CONDA[:-1])["python"]


def _pins(lines: Iterable[str]) -> dict[str, str]:
    """The exact version of each package; markers are left out."""
    requirements = map(Requirement, lines)
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in requirements}


LOCK = _pins(line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#"))


def _needed(entries: Iterable[str]) -> set[str]:
    """Every package that the entries bring, as what is installed here says; without those of CUDA."""
    found, waiting = set(), [Requirement(entry) for entry in entries]
    while waiting:
        name = canonicalize_name(waiting.pop().name)
        if name in found or name.startswith(("nvidia-", "cuda-")) or name == "triton":
            continue
        found.add(name)
        asked = map(Requirement, metadata.requires(name) or [])
        waiting += [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def test_the_pip_part_is_what_the_project_needs_in_the_locks_versions() -> None:
    needed = _needed(PROJECT["dependencies"])
    others = [name for name in needed if metadata.version(name).split("+")[0] != LOCK[name]]
    if others:
        pytest.skip(f"not installed with requirements.lock, which has another version of {', '.join(sorted(others))}")
    assert _pins(PIP) == {name: LOCK[name] for name in needed}


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_the_lock_satisfies_every_direct_requirement(extra: str) -> None:
    for requirement in map(Requirement, EXTRAS[extra] if extra else PROJECT["dependencies"]):
        if requirement.name != PROJECT["name"]:  # else an extra that brings other extras
            assert LOCK[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_versions_to_redraw_with_are_the_locks() -> None:
    (command,) = re.findall(r"^pip install (numpy==.+)$", (ROOT / "docs/running.md").read_text(), re.MULTILINE)
    pinned = {name: version for name, version in _pins(command.replace("'", "").split()).items() if "=" not in version}
    assert {"numpy", "h5py", "pandas", "matplotlib"} <= set(pinned)
    assert all(LOCK[name] == version for name, version in pinned.items() if version[0].isdigit())


def test_python_is_the_same_everywhere() -> None:
    assert PROJECT["requires-python"] == f">={PYTHON}"
    assert f"FROM python:{PYTHON}-slim" in (ROOT / "Dockerfile").read_text()
    assert f"--python-version {PYTHON} " in (ROOT / "docs/running.md").read_text()  # the lock's command


def test_ci_and_the_image_install_the_same_extras() -> None:
    *_, last = re.findall(r"^install_project '\.\[(.+)\]'", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert f"-c requirements.lock -e '.[{last}]'" in (ROOT / "Dockerfile").read_text()
    assert set(last.split(",")) <= set(EXTRAS)


def test_the_image_ignores_what_git_ignores() -> None:
    """A pattern of .gitignore with a leading slash is about the root; .dockerignore's always are."""
    patterns = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    rooted = [pattern[1:] if pattern.startswith("/") else f"**/{pattern}" for pattern in patterns]
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert sorted(ignored) == sorted([".git", *rooted])


def test_the_citation_has_the_projects_version_and_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (memvae.__version__, PROJECT["license"])
    assert citation["authors"] == PROJECT["authors"]


@pytest.mark.slow
def test_the_pip_part_alone_installs_and_makes_table3(tmp_path: Path) -> None:
    folder = project.make(tmp_path / "project")
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        (folder / part).symlink_to(ROOT / part)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "fresh"], check=True)
    programs = tmp_path / "fresh/bin"

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        path = f"{programs}:{project.environment()['PATH']}"
        return project.run(folder, str(programs / command[0]), *command[1:], PATH=path, PYTHONPATH="")

    if (index := run("pip", "download", "--no-deps", "--dest", str(tmp_path), "--retries", "0", PIP[-1])).returncode:
        pytest.skip(f"pip reaches no package index: {index.stderr.strip().splitlines()[-1]}")
    for command in (
        ("pip", "install", *PIP),
        ("pip", "check"),
        ("pip", "install", "--no-deps", "."),
        ("snakemake", "--cores", "1", "results/tables/table3.csv"),
    ):
        result = run(*command)
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert "1,440,984" in (folder / "results/tables/table3.md").read_text()
