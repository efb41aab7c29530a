"""The README is short, its commands are planned or run, and the commands of every document can be parsed."""

import re
import shlex
from pathlib import Path

import project
import pytest
from snakemake.cli import get_argument_parser

from memvae import __main__ as command_line
from memvae.settings import targets

README = project.ROOT / "README.md"
DOCS = sorted((project.ROOT / "docs").glob("*.md"))
OURS = re.compile(r"(?:[A-Z_]+=\S+ )*(?:python -m )?(snakemake|memvae) (.+)")
AT_DEMO = [  # what a reader of the README does at scale=demo
    "snakemake --cores all --config scale=demo",
    "snakemake --report report.html --config scale=demo",
    "memvae page --scale demo --output docs/results-demo.md",
    "snakemake --cores all results/demo/archive.zip --config scale=demo",
    "python -m memvae redraw results/demo/archive.zip",
]


def commands(text: str) -> list[tuple[str, str]]:
    """(program, its arguments) of every line of the blocks in shell, and of every command within a line of text."""
    block = re.compile(r"^```(\w*)\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
    lines = [line for language, body in block.findall(text) if language in ("", "bash") for line in body.splitlines()]
    found = [re.sub(r"(^|\s+)# .*", "", line).strip() for line in lines]
    found += re.findall(r"`([^`\n]+)`", block.sub("", text))
    parts = [part.strip() for command in found for part in command.split(" && ")]
    matches = [match for part in dict.fromkeys(parts) if (match := OURS.fullmatch(part)) and "..." not in part]
    return [(match[1], match[2]) for match in matches if not re.search(r"\b[A-Z]{4,}\b|sha256", match[2])]


def test_it_can_be_read_in_two_minutes() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 100 and len(text.split()) <= 700


def test_its_two_commands_are_those_of_ci() -> None:
    text = README.read_text()
    assert "pip install -c requirements.lock -e . && snakemake --cores all --config scale=demo" in text
    assert "pip install -c requirements.lock -e '.[test]' && pytest" in text
    assert "install_project '.[test]'\n" in (project.ROOT / ".ci/run").read_text()


IN_DOCUMENTS = [
    pytest.param(*command, id=f"{path.stem}-{place}")
    for path in (README, *DOCS)
    for place, command in enumerate(commands(path.read_text()))
]


@pytest.mark.parametrize(("program", "arguments"), IN_DOCUMENTS)
def test_options_of_the_documents_exist(program: str, arguments: str) -> None:
    """argparse exits on a word or an option that it does not know. A subcommand alone is a name."""
    words = shlex.split(arguments)
    if program == "memvae":
        words = command_line._with_analyse(words + (["--help"] if len(words) == 1 else []))
    parser = get_argument_parser() if program == "snakemake" else command_line._parser()
    try:
        parser.parse_args(words)
    except SystemExit as ended:
        if ended.code:  # 0 after --help
            pytest.fail(f"{program} {arguments}: refused")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.make(tmp_path_factory.mktemp("readme"))


@pytest.mark.xdist_group("readme")
@pytest.mark.parametrize("scale", ["demo", "quick", "long"])
def test_its_scales_can_be_planned(folder: Path, scale: str) -> None:
    result = project.snakemake(folder, "-n", "--quiet", "rules", "--config", f"scale={scale}")
    assert result.returncode == 0 and re.search(r"^total +\d+", result.stdout + result.stderr, re.MULTILINE)


@pytest.mark.xdist_group("readme")
def test_table3_is_made_in_seconds_without_data(folder: Path) -> None:
    assert project.snakemake(folder, "results/tables/table3.csv").returncode == 0
    assert "1,440,984" in (folder / "results/tables/table3.md").read_text()


def test_the_targets_of_the_document_are_those_of_the_workflow() -> None:
    text = (project.ROOT / "docs/running.md").read_text()
    for name in (*targets.tables(project.TINY), *targets.figures(project.TINY), *targets.CHECKS, "extended"):
        assert re.search(rf"`(results/tables/|figures/)?{name}`", text), name


@pytest.mark.slow
def test_the_commands_of_the_demo_run(tmp_path: Path) -> None:
    folder = project.make(tmp_path / "project")
    for command in AT_DEMO:
        result = project.run(folder, "bash", "-c", command)
        assert result.returncode == 0, f"{command}: {result.stdout[-1000:]}{result.stderr[-3000:]}"
    for path in ("figures/demo/fig7.png", "docs/results-demo.md", "report.html", "redrawn/figures/fig7.pdf"):
        assert (folder / path).exists(), path
    assert list(folder.glob("logs/demo/train/*.log"))
    python = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert python and project.run(folder, "python", "-c", python[1]).returncode == 0
