"""`memvae check`: a number outside its tolerance fails, every other passes with its reason, none on trust."""

import csv
from pathlib import Path

import project
import pytest

from memvae.errors import InputError
from memvae.report.check import NO_RUN_HERE, Checked, check
from memvae.report.paper import read_paper
from memvae.settings import targets

PRINTED = read_paper(project.ROOT / targets.PAPER_VALUES)
COLUMNS = ("table", "row", "column", "ours", "paper", "tolerance", "verdict", "departs", "note", "scale")
VAE, MEM_VAE_5 = "likelihood mnist-vae-k1 log_likelihood", "likelihood mnist-mem_vae-k5 log_likelihood"
NOT_RUN = {"ours": "not run", "verdict": "not run"}
Lines = dict[str, dict[str, str]]


def agreeing(scale: str = "paper") -> Lines:
    """A scorecard whose numbers are all the paper's: name -> cells."""
    return {
        f"{entry.table} {entry.row} {entry.column}": {
            "table": entry.table,
            "row": entry.row,
            "column": entry.column,
            "ours": str(entry.value),
            "paper": str(entry.value),
            "tolerance": "" if entry.tolerance is None else str(entry.tolerance),
            "verdict": "not judged" if entry.tolerance is None else "match",
            "scale": scale,
        }
        for entry in PRINTED.entries
    }


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
    text = "\n".join(found.lines)
    assert "ours -85.6, paper -85.67, tolerance 0.15; above the paper's by 0.07" in text
    assert "shown, has no tolerance; of 70 slots" in text
    assert found.lines[-1] == "75 numbers: 32 match, 43 not judged; outside their tolerance: 0"


@pytest.mark.parametrize(
    ("ours", "verdict"), [("-85.9", "near"), ("-85.4", "near"), ("-86.14", "off"), ("-65.67", "off"), ("", "off")]
)
def test_a_number_outside_its_tolerance_fails_by_name_in_either_direction(
    tmp_path: Path, ours: str, verdict: str
) -> None:
    path = write(tmp_path, agreeing(), ours=ours, verdict=verdict)
    (line,) = checked(path).failures
    assert line.startswith(f"{path}: {VAE}: found {ours or 'no number'}, expected -85.67 within 0.15 ({verdict})")


def test_a_row_that_was_not_run_passes_with_the_reason(tmp_path: Path) -> None:
    lines = agreeing()
    names = (MEM_VAE_5, "probing mnist-vae accuracy", "table4 perplexity 0")
    for name in names:
        lines[name] |= NOT_RUN
    found = checked(write(tmp_path, lines), **{"mnist-mem_vae-k5": "main text", "mnist-vae-k1": "no data"})
    assert not found.failures
    reasons = [line.split("  ")[-1].strip() for name in names for line in found.lines if f" {name} " in line]
    assert reasons == ["main text", "no data", NO_RUN_HERE]


def test_a_row_that_departs_from_the_protocol_passes_with_what_departs(tmp_path: Path) -> None:
    departs = "epochs 3, not 3,000"
    found = checked(write(tmp_path, agreeing(), ours="-120.5", departs=departs, verdict=f"no verdict ({departs})"))
    assert not found.failures and f"no verdict ({departs})  {VAE} " in "\n".join(found.lines)


def test_a_wrong_count_fails_at_every_scale(tmp_path: Path) -> None:
    lines = agreeing("demo")
    lines["table3 mnist-vae parameters"] |= {"ours": "1442001", "verdict": "off"}
    (line,) = checked(write(tmp_path, lines), "demo").failures
    assert "table3 mnist-vae parameters: found 1442001, expected 1441000.0 within 500.0 (off)" in line


def test_the_configuration_gives_the_reason_for_every_model_that_is_left_out() -> None:
    told = targets.plan(project.TINY, targets.CHECK)
    assert told["scale"] == "tiny"
    assert "no data at scale tiny" in told["not_run"]["ocr_letters-vae-k1"]
    assert "check_extended" in told["not_run"]["mnist-mem_vae-k5"]
    assert "mnist-vae-k1" not in told["not_run"]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"ours": "-86.14"}, "found the verdict 'match', expected 'off'"),
        ({"ours": "-65.67"}, "found the verdict 'match', expected 'off'"),
        ({"verdict": "fine"}, "found the verdict 'fine', expected 'match'"),
        ({"verdict": "not run"}, "found the verdict 'not run', expected 'match'"),
        ({"verdict": "no verdict (epochs 3, not 3,000)"}, ".*, expected 'match'"),
        ({"departs": "epochs 3, not 3,000"}, r".* expected 'no verdict \(epochs 3, not 3,000\)'"),
        ({"ours": "many"}, "found ours 'many', expected a number"),
        ({"paper": "-86.14"}, "found paper -86.14, expected -85.67"),
        ({"tolerance": "1.5"}, "found tolerance 1.5, expected 0.15"),
        ({"tolerance": "", "verdict": "not judged"}, "found tolerance none, expected 0.15"),
        ({"scale": "long"}, "found scale=long, expected scale=paper"),
    ],
)
def test_a_line_that_was_altered_is_refused(tmp_path: Path, cells: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=rf"scorecard.csv: {VAE}: {words}"):
        checked(write(tmp_path, agreeing(), **cells))


def test_a_tolerance_where_the_paper_has_none_is_refused(tmp_path: Path) -> None:
    lines = agreeing()
    lines["slots layer0 used"] |= {"tolerance": "10"}
    with pytest.raises(InputError, match="slots layer0 used: found tolerance 10, expected none"):
        checked(write(tmp_path, lines))


def test_missing_foreign_and_doubled_lines_are_refused(tmp_path: Path) -> None:
    lines = agreeing()
    without = {name: cells for name, cells in lines.items() if name != VAE}
    with pytest.raises(InputError, match=f"scorecard.csv: has no {VAE}, expected every number of the paper"):
        checked(write(tmp_path, without))
    foreign = lines[VAE] | {"row": "mnist-mine-k1"}
    with pytest.raises(InputError, match="found likelihood mnist-mine-k1 log_likelihood, expected each number"):
        checked(write(tmp_path, lines | {"mine": foreign}))
    with pytest.raises(InputError, match=f"found {VAE}, expected each number of the paper once"):
        checked(write(tmp_path, lines | {"again": lines[VAE]}))


def test_the_scorecard_of_another_scale_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, agreeing("long"))
    assert not checked(path, "long").failures
    with pytest.raises(InputError, match="found scale=long, expected scale=paper"):
        checked(path)


def test_what_is_no_scorecard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv: not found; expected a scorecard"):
        checked(tmp_path / "none.csv")
    with pytest.raises(InputError, match="has no table3 mnist-vae parameters"):
        checked(write(tmp_path, {}))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column 'table'"):
        checked(tmp_path / "other.csv")
    (tmp_path / "other.csv").write_bytes(b"\xff\x00")
    with pytest.raises(InputError, match="cannot be read"):
        checked(tmp_path / "other.csv")


def test_the_command_prints_the_table_and_exits_with_2_for_each_failing_number(tmp_path: Path) -> None:
    folder, lines = project.make(tmp_path / "project"), agreeing()
    off = {"ours": "-99", "verdict": "off"}
    lines["likelihood mnist-mem_vae-k1 log_likelihood"] |= off
    lines[MEM_VAE_5] |= NOT_RUN
    path = write(folder, lines, **off)
    result = project.memvae(folder, "check", "--scorecard", path.name)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 2
    assert all(line.startswith("memvae check: scorecard.csv: likelihood mnist-") for line in result.stderr.splitlines())
    assert len(result.stdout.splitlines()) == len(lines) + 2 and "judged by check_extended" in result.stdout


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
    write(folder, agreeing(), ours="-65.67", verdict="off").rename(place)
    result = project.snakemake(folder, *options)
    assert result.returncode != 0
    assert f"memvae check: results/{place.name}: {VAE}: found -65.67" in result.stderr
