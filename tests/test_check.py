"""`memvae check`: a number outside its tolerance fails, every other passes with its reason."""

import csv
from pathlib import Path

import project
import pytest

from memvae.errors import InputError
from memvae.report.check import NO_RUN_HERE, Checked, check
from memvae.report.paper import read_paper
from memvae.settings import targets

PRINTED = read_paper(project.ROOT / targets.PAPER_VALUES)
COLUMNS = ("table", "row", "column", "ours", "departs", "scale")
VAE, MEM_VAE_5 = "likelihood mnist-vae-k1 log_likelihood", "likelihood mnist-mem_vae-k5 log_likelihood"
Lines = dict[str, dict[str, str]]


def agreeing(scale: str = "paper") -> Lines:
    """A scorecard whose numbers are all the paper's: name -> cells."""
    return {
        f"{one.table} {one.row} {one.column}": {
            "table": one.table, "row": one.row, "column": one.column, "ours": str(one.value), "scale": scale,
        }
        for one in PRINTED.entries
    }  # fmt: skip


def write(folder: Path, lines: Lines, **changes: str) -> Path:
    """`changes`: cells of the VAE's log-likelihood."""
    path = folder / "scorecard.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(cells | changes if name == VAE else cells for name, cells in lines.items())
    return path


def checked(path: Path, scale: str = "paper", **not_run: str) -> Checked:
    return check(path, PRINTED, scale, not_run)


def test_a_scorecard_that_agrees_passes(tmp_path: Path) -> None:
    found = checked(write(tmp_path, agreeing(), ours="-85.6"))
    assert not found.failures and len(found.lines) == len(PRINTED.entries) + 2
    assert "ours -85.6, paper -85.67, tolerance 0.15; above the paper's by 0.07" in "\n".join(found.lines)
    assert found.lines[-1] == "75 numbers: 32 match, 43 not judged; outside their tolerance: 0"


@pytest.mark.parametrize(
    ("ours", "verdict"), [("-85.9", "near"), ("-85.4", "near"), ("-86.14", "off"), ("-65.67", "off"), ("", "off")]
)
def test_a_number_outside_its_tolerance_fails_by_name_in_either_direction(
    tmp_path: Path, ours: str, verdict: str
) -> None:
    path = write(tmp_path, agreeing(), ours=ours)
    (line,) = checked(path).failures
    assert line.startswith(f"{path}: {VAE}: found {ours or 'no number'}, expected -85.67 within 0.15 ({verdict})")


def test_a_row_that_was_not_run_or_not_made_as_the_authors_made_theirs_passes_with_the_reason(tmp_path: Path) -> None:
    lines, departs = agreeing(), "epochs 3, not 3,000"
    names = (MEM_VAE_5, "probing mnist-vae accuracy", "table4 perplexity 0")
    for name in names:
        lines[name] |= {"ours": "not run"}
    path = write(tmp_path, lines, ours="-120.5", departs=departs)
    found = checked(path, **{"mnist-mem_vae-k5": "main text", "mnist-vae-k1": "no data"})
    assert not found.failures and f"no verdict ({departs})  {VAE} " in "\n".join(found.lines)
    reasons = [line.split("  ")[-1].strip() for name in names for line in found.lines if f" {name} " in line]
    assert reasons == ["main text", "no data", NO_RUN_HERE]


def test_the_configuration_gives_the_reason_for_every_model_that_is_left_out() -> None:
    told = targets.plan(project.TINY, targets.CHECK)
    assert told["scale"] == "tiny"
    assert "no data at scale tiny" in told["not_run"]["ocr_letters-vae-k1"]
    assert "check_extended" in told["not_run"]["mnist-mem_vae-k5"]
    assert "mnist-vae-k1" not in told["not_run"]


def test_what_is_no_whole_scorecard_of_the_scale_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv: not found; expected a scorecard"):
        checked(tmp_path / "none.csv")
    missing = {name: cells for name, cells in agreeing().items() if name != VAE}
    for lines, ours in ((agreeing("long"), "0"), (agreeing(), "many"), (missing, "0")):
        with pytest.raises(InputError, match="found no scorecard of scale=paper"):
            checked(write(tmp_path, lines, ours=ours))


@pytest.mark.parametrize("rule", targets.CHECKS)
def test_the_workflow_fails_where_the_command_does(tmp_path: Path, rule: str) -> None:
    """With a made-up scorecard in its place, newer than what it would be made from."""
    folder = project.make(tmp_path / "project")
    (folder / "results").mkdir()
    place = folder / f"results/{targets.CHECKS[rule]}.csv"
    options = (rule, "--allowed-rules", rule)
    write(folder, agreeing()).rename(place)
    result = project.snakemake(folder, *options)
    assert result.returncode == 0, result.stderr
    assert "75 numbers: 32 match, 43 not judged; outside their tolerance: 0" in result.stdout
    write(folder, agreeing(), ours="-65.67").rename(place)
    result = project.snakemake(folder, *options)
    assert result.returncode != 0
    assert f"memvae check: results/{place.name}: {VAE}: found -65.67" in result.stderr
