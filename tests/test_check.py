"""`memvae check`: a number at the paper's scale outside its tolerance fails, every other passes with its reason."""

import csv
from pathlib import Path

import project
import pytest

from memvae import targets
from memvae.errors import InputError
from memvae.report.check import NO_RUN_HERE, check

FACTS = {"table": "likelihood", "column": "log_likelihood", "paper": "-85.0", "tolerance": "0.15", "scale": "paper"}
MATCH = FACTS | {"row": "mnist-vae-k1", "ours": "-85.1", "verdict": "match"}
NOT_RUN = FACTS | {"row": "mnist-mem_vae-k5", "ours": "not run", "verdict": "not run"}


def scorecard(folder: Path, *rows: dict[str, str]) -> Path:
    path = folder / "scorecard.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, [*FACTS, "row", "ours", "difference", "verdict", "note"], restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_scorecard_that_agrees_passes(tmp_path: Path) -> None:
    above = MATCH | {"ours": "-84.0", "note": "above the paper's by 1.00"}
    shown = MATCH | {"tolerance": "", "verdict": "not judged"}
    found = check(scorecard(tmp_path, MATCH, above, shown), {})
    assert not found.failures and len(found.lines) == 5
    assert "ours -85.1, paper -85.0, tolerance 0.15" in found.lines[1]
    assert "above the paper's by 1.00" in found.lines[2]
    assert "has no tolerance" in found.lines[3]
    assert found.lines[-1] == "3 numbers: 2 match, 1 not judged; outside their tolerance: 0"


@pytest.mark.parametrize("verdict", ["near", "off"])
def test_a_number_outside_its_tolerance_fails_by_name(tmp_path: Path, verdict: str) -> None:
    wrong = MATCH | {"row": "mnist-mem_vae-k1", "ours": "-85.2", "verdict": verdict}
    path = scorecard(tmp_path, MATCH, wrong)
    (line,) = check(path, {}).failures
    assert line.startswith(
        f"{path}: likelihood mnist-mem_vae-k1 log_likelihood: found -85.2, expected -85.0 within 0.15"
    )


def test_a_row_that_was_not_run_passes_with_the_reason(tmp_path: Path) -> None:
    probing = NOT_RUN | {"table": "probing", "row": "mnist-vae", "column": "accuracy"}
    other = NOT_RUN | {"table": "table4", "row": "1st", "column": "0"}
    reasons = {"mnist-mem_vae-k5": "not asked for", "mnist-vae-k1": "no data"}
    found = check(scorecard(tmp_path, MATCH, NOT_RUN, probing, other), reasons)
    assert not found.failures
    assert [line.split("  ")[-1] for line in found.lines[2:5]] == ["not asked for", "no data", NO_RUN_HERE]


def test_the_configuration_gives_the_reason_for_every_model_that_is_left_out() -> None:
    reasons = targets.told(project.TINY, targets.CHECK)["not_run"]
    assert "no data at scale tiny" in reasons["ocr_letters-vae-k1"]
    assert "extended" in reasons["mnist-mem_vae-k5"]
    assert "mnist-vae-k1" not in reasons


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"verdict": "fine"}, "found the verdict 'fine'"),
        ({"verdict": "no verdict (scale=demo)"}, "found the verdict 'no verdict (scale=demo)'"),
    ],
)
def test_an_unknown_verdict_is_refused(tmp_path: Path, change: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=r"scorecard.csv: likelihood mnist-vae-k1 .*delete it") as error:
        check(scorecard(tmp_path, MATCH | change), {})
    assert words in str(error.value)


def test_what_is_no_scorecard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv: not found; expected a scorecard"):
        check(tmp_path / "none.csv", {})
    with pytest.raises(InputError, match="has no numbers"):
        check(scorecard(tmp_path), {})
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column 'table'"):
        check(tmp_path / "other.csv", {})
    (tmp_path / "other.csv").write_bytes(b"\xff\x00")
    with pytest.raises(InputError, match="cannot be read"):
        check(tmp_path / "other.csv", {})


def test_the_command_prints_the_table_and_exits_with_2_for_each_failing_number(tmp_path: Path) -> None:
    folder = project.make(tmp_path / "project")
    off = MATCH | {"ours": "-99", "verdict": "off"}
    path = scorecard(folder, MATCH, off, off | {"row": "mnist-mem_vae-k1"}, NOT_RUN)
    result = project.memvae(folder, "check", "--scorecard", path.name)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 2
    assert all(line.startswith("memvae check: scorecard.csv: likelihood mnist-") for line in result.stderr.splitlines())
    assert len(result.stdout.splitlines()) == 6 and "not asked for: the main text's models" in result.stdout


def test_the_workflow_fails_where_the_command_does(tmp_path: Path) -> None:
    """With a made-up scorecard in its place, newer than what it would be made from."""
    folder = project.make(tmp_path / "project")
    (folder / "results").mkdir()
    options = ("check", "--allowed-rules", "check")
    scorecard(folder / "results", MATCH, NOT_RUN)
    result = project.snakemake(folder, *options)
    assert result.returncode == 0, result.stderr
    assert "2 numbers: 1 match, 1 not run; outside their tolerance: 0" in result.stdout
    scorecard(folder / "results", MATCH, MATCH | {"ours": "-99", "verdict": "off"})
    result = project.snakemake(folder, *options)
    assert result.returncode != 0
    assert "memvae check: results/scorecard.csv: likelihood mnist-vae-k1 log_likelihood: found -99" in result.stderr
