"""The same command gives the same bytes: every file of the workflow, whatever the order and parallelism of its jobs."""

import hashlib
import os
from pathlib import Path

import project
import pytest

from memvae.settings import targets

ARCHIVE = "results/tiny/archive.zip"
RUN = "digits-mem_vae-k1-s0"
# What may differ between two identical runs: seconds, clock, host, and paths in Snakemake's commands.
DIFFERS = (".run.json", ".tsv", ".log", ".lock")
# They tell how long each training took, and when.
TIMED = {targets.PAGE, targets.report_page(project.TINY), "docs/results/provenance.csv"}


def made(folder: Path) -> dict[str, str]:
    """sha256 of every file that the workflow has made."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for root in ("data", "results", "figures", "docs")
        for path in sorted((folder / root).rglob("*"))
        if path.is_file() and not path.name.endswith(DIFFERS)
    }


def whole(folder: Path, *options: str, **variables: str) -> dict[str, str]:
    """The whole workflow in a fresh project, the archive and the page too; what it has made."""
    project.make(folder)
    result = project.tiny(folder, "all", ARCHIVE, targets.PAGE, *options, **variables)
    assert result.returncode == 0, result.stderr[-3000:]
    return made(folder)


@pytest.mark.slow
def test_two_runs_of_the_whole_workflow_give_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two folders, two cores and one, the jobs in another order, and each job a process of its own."""
    first = whole(tmp_path / "first", "--cores", "2")
    second = whole(tmp_path / "a second folder", "--cores", "1", "--scheduler", "greedy", "--prioritize", targets.PAGE)
    assert len(first) > 70
    differing = [path for path in first if second.get(path) != first[path]]
    kinds: dict[str, list[int]] = {}
    for path in first:
        counts = kinds.setdefault(Path(path).suffix, [0, 0])
        counts[0] += 1
        counts[1] += path not in differing
    with capsys.disabled():
        print("\n| files | compared | equal |\n| --- | ---: | ---: |")
        for kind, (compared, equal) in sorted(kinds.items()):
            print(f"| {kind} | {compared} | {equal} |")
    assert first.keys() == second.keys()
    assert set(differing) <= TIMED


@pytest.mark.release
@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_order_of_pythons_sets_changes_nothing(finished: Path, tmp_path: Path, hash_seed: str) -> None:
    for stage, name, path in (
        ("table", "likelihood", "results/tiny/tables/likelihood.csv"),
        ("figure", "fig7", "figures/tiny/fig7.png"),
        ("likelihood", RUN, f"results/tiny/evaluation/{RUN}/likelihood.h5"),
    ):
        output = tmp_path / Path(path).name
        words = (stage, name, "--configfile", str(project.ROOT / "tests/tiny.yaml"), "--output", str(output))
        result = project.memvae(finished, *words, PYTHONHASHSEED=hash_seed)
        assert result.returncode == 0, result.stderr
        assert output.read_bytes() == (finished / path).read_bytes(), path


@pytest.mark.release
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles"])
def test_time_zone_and_locale_change_nothing(finished: Path, tmp_path: Path, zone: str) -> None:
    for stage, name, path in (
        ("table", "likelihood", "results/tiny/tables/likelihood.csv"),
        ("figure", "fig7", "figures/tiny/fig7.pdf"),
    ):
        output = tmp_path / Path(path).name
        words = (stage, name, "--configfile", str(project.ROOT / "tests/tiny.yaml"), "--output", str(output))
        assert project.memvae(finished, *words, TZ=zone, LC_ALL="C", COLUMNS="20").returncode == 0
        assert output.read_bytes() == (finished / path).read_bytes(), path


@pytest.mark.release
def test_a_user_s_matplotlib_settings_change_nothing(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("savefig.dpi: 30\nfont.size: 30\nsvg.hashsalt: another\n")
    output = tmp_path / "fig7.png"
    words = ("figure", "fig7", "--configfile", str(project.ROOT / "tests/tiny.yaml"), "--output", str(output))
    assert project.memvae(finished, *words, MATPLOTLIBRC=str(tmp_path) + os.sep).returncode == 0
    for name in ("fig7.png", "fig7.pdf"):
        assert (tmp_path / name).read_bytes() == (finished / "figures/tiny" / name).read_bytes()
