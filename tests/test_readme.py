"""The README's commands are run, planned, parsed, or left out with a reason; those of docs/ are parsed.

A command that is new, and one that is gone, fail a test until they stand in one of the lists below.
"""

import re
import shlex
import subprocess
from pathlib import Path

import project
import pytest
from snakemake.cli import get_argument_parser

from memvae import __main__ as command_line

README = project.ROOT / "README.md"
PAGES = "cluster environment extending formats kubernetes provenance scaling performance method results index api"
DOCS = [project.ROOT / "docs" / f"{name}.md" for name in PAGES.split()]
PROGRAMS = (
    "snakemake memvae python python3 pip uv conda pytest tail docker apptainer git squeue scancel kubectl sphinx-build"
)
INLINE = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{'|'.join(PROGRAMS.split())}) ")
OURS = re.compile(r"(?:[A-Z_]+=\S+ )*(?:python3? -m )?(snakemake|memvae) (.*)")

# Run as they stand, in a copy of the project, in this order.
RUN = [
    "memvae --help",
    "memvae cost figures/fig7.png",
    "memvae cost figures/demo/fig7.png --scale demo",
    "snakemake --cores 1 results/tables/table3.csv",
    "snakemake --unlock",
]
# The same, in minutes: marked slow.
RUN_AT_DEMO = [
    "snakemake --cores all --config scale=demo",
    "snakemake --cores 8 figures/demo/fig7.png --config scale=demo",
    "snakemake --cores all results/demo/archive.zip --config scale=demo",
    "python -m memvae redraw results/demo/archive.zip",
    "memvae page --scale demo --output docs/results-demo.md",
    "snakemake --report report.html --config scale=demo",
    "memvae trace figures/demo/fig7.png",
    "memvae doctor",
]
# Hours of work: with `-n`.
PLANNED = [
    "snakemake --cores all --config scale=demo",
    "snakemake --cores all --config scale=quick",
    "snakemake --cores all docs/results.md --config scale=long",
    "snakemake --cores 8",
    "snakemake --cores 8 figures/fig7.png",
    "snakemake --cores 8 results/tables/table3.csv results/tables/table4.csv",
    "snakemake --cores 8 --config scale=quick 'seeds=[0,1,2]'",
    "snakemake --workflow-profile profiles/slurm",
    "snakemake --workflow-profile profiles/slurm figures/fig7.png",
]
# Data from the network, or hours: their words and options exist.
PARSED = [
    "memvae check",
    "memvae download mnist",
    "memvae prepare mnist",
    "memvae train mnist-mem_vae-k1-s0 --scale quick",
    "memvae likelihood mnist-mem_vae-k1-s0 --scale quick",
]
NO_COMMAND = "memvae sha256 ..."  # the first line of an HDF5 file (docs/formats.md)
INSTALLS = "installs from a package index; .ci/run and tests/test_environment.py do it"
NOT_RUN = {
    "pip install -c requirements.lock -e . && snakemake --cores all --config scale=demo": f"{INSTALLS}; the rest runs",
    "pip install -c requirements.lock -e '.[test]' && pytest": f"{INSTALLS}; its second part is this",
    "pip install -c requirements.lock -e '.[slurm]'": INSTALLS,
    "pip install -e '.[bench]' && python -m benchmarks": f"{INSTALLS}; tests/test_benchmarks.py runs the parts",
    "pip install --no-deps -e .": INSTALLS,
    "pip install numpy==2.4.6 h5py==3.16.0 pandas==3.1.1 matplotlib==3.11.2 "
    "'jinja2>=3,<4' 'tabulate>=0.9,<1' 'pyyaml>=6,<7'": f"{INSTALLS}; the versions are compared below",
    "python3 -m venv .venv && source .venv/bin/activate": "an environment of its own; .ci/run makes one",
    "conda env create -f environment.yml": "takes conda; tests/test_environment.py reads the file",
    "conda activate memvae": "takes conda",
    "tail -f logs/demo/train/*.log": "does not end; that there are such logs is looked at after the demo",
    "MEMVAE_DATA_FOLDER=/my/files snakemake ...": "the folder is the reader's; tests/test_data_prepare.py has one",
}


def _commands(text: str) -> list[str]:
    """Every line of the blocks in shell, without its comment, and every command within a line."""
    block = re.compile(r"^```(\w*)\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
    lines = [line for language, body in block.findall(text) if language in ("", "bash") for line in body.splitlines()]
    found = [re.sub(r"(^|\s+)# .*", "", line).strip() for line in lines]
    found += [code for code in re.findall(r"`([^`\n]+)`", block.sub("", text)) if INLINE.match(code)]
    return list(dict.fromkeys(filter(None, found)))


FOUND = _commands(README.read_text())
OURS_IN_DOCS = [
    pytest.param(*match.groups(), id=f"{path.stem}: {match[0]}")
    for path in DOCS
    for command in _commands(path.read_text())
    for part in command.split(" && ")
    if part != NO_COMMAND and (match := OURS.match(part))
]


def test_every_command_of_the_readme_is_in_a_list_and_no_list_has_others() -> None:
    listed = {*RUN, *RUN_AT_DEMO, *PLANNED, *PARSED, *NOT_RUN}
    assert {"new": sorted(set(FOUND) - listed), "gone": sorted(listed - set(FOUND))} == {"new": [], "gone": []}


def test_the_targets_of_the_readme_are_those_of_the_workflow() -> None:
    text = README.read_text()
    table = text[text.index("| target | content |") : text.index("`snakemake --report report.html")]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [re.findall(r"`([^`]+)`", cell) for cell in cells]
    result = _run(project.ROOT, "snakemake --list-rules")
    assert result.returncode == 0, result.stderr[-2000:]
    rules = set(result.stdout.split())
    for name in (name for names in named for name in names):
        last = name.rsplit("/", 1)[-1].split(".")[0]
        expected = {last, f"table_{last}", f"figure_{last}"} | ({"page"} if last == "results" else set())
        assert expected & rules, name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.make(tmp_path_factory.mktemp("readme"))


@pytest.mark.xdist_group("readme")
def test_short_commands_run(folder: Path) -> None:
    for command in RUN:
        result = _run(folder, command)
        assert result.returncode == 0, f"{command}: {result.stdout[-1000:]}{result.stderr[-2000:]}"
    assert (folder / "results/tables/table3.csv").exists()


@pytest.mark.xdist_group("readme")
@pytest.mark.parametrize("command", PLANNED)
def test_a_long_command_can_be_planned(folder: Path, command: str) -> None:
    result = _run(folder, f"{command} -n --quiet rules")
    assert result.returncode == 0, result.stderr[-2000:]
    assert re.search(r"^total +\d+", result.stdout + result.stderr, re.MULTILINE)


@pytest.mark.slow
def test_the_commands_of_the_demo_run(tmp_path: Path) -> None:
    folder = project.make(tmp_path / "project")
    for command in RUN_AT_DEMO:
        result = _run(folder, command)
        assert result.returncode == 0, f"{command}: {result.stdout[-1000:]}{result.stderr[-3000:]}"
    for path in ("figures/demo/fig7.png", "docs/results-demo.md", "report.html", "redrawn/figures/fig7.pdf"):
        assert (folder / path).exists(), path
    assert list(folder.glob("logs/demo/train/*.log"))


@pytest.mark.parametrize("command", [*RUN, *RUN_AT_DEMO, *PARSED])
def test_options_of_the_readme_exist(command: str) -> None:
    match = OURS.match(command)
    assert match
    _parse(*match.groups())


@pytest.mark.parametrize(("program", "arguments"), OURS_IN_DOCS)
def test_options_of_the_documents_exist(program: str, arguments: str) -> None:
    _parse(program, arguments)


def test_the_versions_to_redraw_with_are_the_locked_ones() -> None:
    (command,) = [command for command in NOT_RUN if "numpy==" in command]
    locked = (project.ROOT / "requirements.lock").read_text().splitlines()
    for requirement in shlex.split(command)[2:]:
        assert requirement in locked or "==" not in requirement, requirement


def _run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    return project.run(folder, "bash", "-c", command)


def _parse(program: str, arguments: str) -> None:
    """argparse exits on a word or an option that it does not know. A subcommand alone, or before dots, is a name."""
    words = [word for word in shlex.split(arguments) if word != "..."]
    if program == "memvae" and len(words) == 1:
        words.append("--help")
    parser = get_argument_parser() if program == "snakemake" else command_line._parser()
    try:
        parser.parse_args(words)
    except SystemExit as ended:
        if ended.code:  # 0 after --help
            pytest.fail(f"{program} {arguments}: refused")
