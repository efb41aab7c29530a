"""The scorecard as a gate: which numbers are outside their tolerance, and why the others pass. No pandas needed."""

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from memvae.errors import InputError

COLUMNS = ("table", "row", "column", "ours", "paper", "difference", "tolerance", "verdict", "note", "scale")
OUTSIDE = ("near", "off")  # within twice the tolerance, and beyond: both are outside it
NOT_RUN = "not run"
NO_RUN_HERE = "no run of this scale gives this number"


@dataclass(frozen=True)
class Checked:
    """lines: a table of verdict, number and reason, with head and totals; failures: a line for each failing number."""

    lines: list[str]
    failures: list[str]


def check(scorecard: Path, not_run: Mapping[str, str]) -> Checked:
    """Every number of a scorecard with its verdict and the reason for it.

    A number fails when its verdict is `near` or `off`: outside its tolerance. Below the paper's scale nothing has such
    a verdict, so nothing fails. not_run: rows of models that were left out (`<dataset>-<model>-k<K>`), each with the
    reason. Raises InputError when the file is missing or is no scorecard.
    """
    try:
        with open(scorecard, newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except FileNotFoundError:
        raise InputError(
            f"{scorecard}: not found; expected a scorecard; make it with `snakemake {scorecard}`"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{scorecard}: cannot be read ({error}); delete it and make it again") from error
    if missing := [column for column in COLUMNS if column not in columns]:
        raise InputError(
            f"{scorecard}: has no column {missing[0]!r}, expected a scorecard; delete it and make it again"
        )
    if not rows:
        raise InputError(f"{scorecard}: has no numbers, expected a scorecard; delete it and make it again")
    found = [(row["verdict"], _name(row), _reason(row, not_run, scorecard)) for row in rows]
    widths = [max(len("verdict"), *(len(verdict) for verdict, _, _ in found)), max(len(name) for _, name, _ in found)]
    lines = [f"{verdict:{widths[0]}}  {name:{widths[1]}}  {reason}" for verdict, name, reason in found]
    counts = Counter(verdict for verdict, _, _ in found)
    failures = [
        f"{scorecard}: {_name(row)}: found {row['ours']}, expected {row['paper']} within {row['tolerance']} "
        f"({row['verdict']}); `memvae trace {scorecard} --verify` says what ours comes from"
        for row in rows
        if row["verdict"] in OUTSIDE
    ]
    head = f"{'verdict':{widths[0]}}  {'number':{widths[1]}}  reason"
    total = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return Checked([head, *lines, f"{len(found)} numbers: {total}; outside their tolerance: {len(failures)}"], failures)


def _name(row: Mapping[str, str]) -> str:
    return f"{row['table']} {row['row']} {row['column']}"


def _reason(row: Mapping[str, str], not_run: Mapping[str, str], scorecard: Path) -> str:
    verdict, note = row["verdict"], f"; {row['note']}" if row["note"] else ""
    if verdict == NOT_RUN:
        return not_run.get(row["row"], not_run.get(f"{row['row']}-k1", NO_RUN_HERE)) + note
    if verdict == "not judged":
        return "shown, has no tolerance" + note
    if verdict == f"no verdict (scale={row['scale']})":
        return "nothing is judged below the paper's scale"
    if verdict == "match" or verdict in OUTSIDE:
        return f"ours {_rounded(row['ours'])}, paper {row['paper']}, tolerance {row['tolerance']}{note}"
    raise InputError(
        f"{scorecard}: {_name(row)}: found the verdict {verdict!r}, expected match, near, off, not judged, not run or "
        f"no verdict (scale={row['scale']}); delete it and make it again"
    )


def _rounded(value: str) -> str:
    try:
        return f"{float(value):.7g}"
    except ValueError:
        return value
