"""The README is short, its commands can be planned, its examples are valid; commands of all documents can be parsed."""

import re
import shlex
from pathlib import Path

import project
import pytest
import yaml
from snakemake.cli import get_argument_parser

from memvae import __main__ as command_line
from memvae.settings import config, targets

README = (project.ROOT / "README.md").read_text()
RUNNING = (project.ROOT / "docs/running.md").read_text()
DOCS = [project.ROOT / "README.md", project.ROOT / "CONTRIBUTING.md", *sorted((project.ROOT / "docs").glob("*.md"))]
OURS = re.compile(r"(?:[A-Z_]+=\S+ )*(?:python -m )?(snakemake|memvae) (.+)")


def commands(text: str) -> list[tuple[str, str]]:
    """(program, arguments) of every command of ours: the lines of blocks, then what stands within a line of text.

    A command with a name in capitals, such as `memvae trace FILE`, is a pattern and no command.
    """
    block = re.compile(r"^ *```(\w*)\n(.*?)^ *```\n?", re.MULTILINE | re.DOTALL)
    lines = [line for language, body in block.findall(text) if language in ("", "bash") for line in body.splitlines()]
    found = [re.sub(r"(^|\s+)# .*", "", line).strip() for line in lines]
    found += re.findall(r"`([^`\n]+)`", block.sub("", text))
    parts = [part.strip() for command in found for part in command.split(" && ")]
    matches = [match for part in dict.fromkeys(parts) if (match := OURS.fullmatch(part)) and "..." not in part]
    return [(match[1], match[2]) for match in matches if not re.search(r"\b[A-Z]{4,}\b|sha256", match[2])]


IN_DOCUMENTS = [
    pytest.param(*command, id=f"{path.stem}-{place}")
    for path in DOCS
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


def test_its_configuration_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(project.ROOT / "docs/example")
    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    shipped = yaml.safe_load((project.ROOT / "config/config.yaml").read_text())
    loaded = config.Config(config.merge(shipped, yaml.safe_load(example) | {"scale": "demo"}))
    assert loaded.spec(*loaded.runs("own")).dataset == "digits" and "distances" in loaded.registered


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.make(tmp_path_factory.mktemp("readme"))


@pytest.mark.xdist_group("readme")
@pytest.mark.parametrize("options", [words for program, words in commands(README) if program == "snakemake"])
def test_its_commands_can_be_planned(folder: Path, options: str) -> None:
    result = project.run(folder, "snakemake", *shlex.split(options), "-n", "--quiet", "rules")
    assert result.returncode == 0 and re.search(r"^total +\d+", result.stdout + result.stderr, re.MULTILINE)


def test_the_list_of_targets_has_all_of_the_workflow() -> None:
    for name in (*targets.tables(project.TINY), *targets.figures(project.TINY), *targets.CHECKS):
        assert re.search(rf"`(results/tables/|figures/)?{name}`", RUNNING), name


@pytest.mark.slow
def test_the_commands_at_demo_run(tmp_path: Path) -> None:
    """Those of the README, and of the first section of docs/running.md: they make every table and figure; then the
    example in Python."""
    folder = project.make(tmp_path / "project")
    first = RUNNING.split("\n## ")[1]
    for program, words in [*commands(README), *commands(first)]:
        if "demo" in words:
            result = project.run(folder, "python", "-m", program, *shlex.split(words))
            assert result.returncode == 0, f"{words}: {result.stdout[-1000:]}{result.stderr[-3000:]}"
    for path in ("figures/demo/fig7.png", "docs/results-demo.md", "report.html", "redrawn/figures/fig7.pdf"):
        assert (folder / path).exists(), path
    demo = config.load(project.ROOT / "config/config.yaml", {"scale": "demo"})
    for path in targets.all_files(demo):
        assert (folder / path).stat().st_size > 100, path
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert project.run(folder, "python", "-c", example).returncode == 0
