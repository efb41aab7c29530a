"""The scorecard as a gate: which numbers are outside their tolerance, and why the others pass. No pandas needed."""

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from memvae.errors import InputError
from memvae.report.paper import NOT_RUN, Entry, Paper, verdict
from memvae.settings.config import making

COLUMNS = ("table", "row", "column", "ours", "paper", "tolerance", "verdict", "departs", "scale")
OUTSIDE = ("near", "off")  # within twice the tolerance, and beyond: both are outside it
NO_RUN_HERE = "no run of this scale gives this number"
AGAIN = "delete it and make it again"

Line = Mapping[str, str]


@dataclass(frozen=True)
class Checked:
    """lines: a table of verdict, number and reason, with head and totals; failures: a line for each failing number."""

    lines: list[str]
    failures: list[str]


def check(scorecard: Path, printed: Paper, scale: str, not_run: Mapping[str, str]) -> Checked:
    """Every number of a scorecard with its verdict and the reason for it.

    A number fails when its verdict is `near` or `off`: outside its tolerance. printed: the authors' numbers, which the
    scorecard must hold, all of them and no others; scale: that it must be of; not_run: rows of models that were left
    out (`<dataset>-<model>-k<K>`), each with the reason. Raises InputError when the file is missing, is no scorecard or
    one of another scale, or when one of its numbers is missing or is not what the paper and `ours` say.
    """
    rows = _numbers(scorecard, printed)
    found, failures = [], []
    for entry, row in zip(printed.entries, rows, strict=True):
        word, note = _verdict(scorecard, entry, row, scale)
        found.append((word, _name(row), _reason(word, note, row, not_run)))
        if word in OUTSIDE:
            failures.append(
                f"{scorecard}: {_name(row)}: found {row['ours'] or 'no number'}, expected {row['paper']} within "
                f"{row['tolerance']} ({word}); `memvae trace {scorecard} --verify` says what ours comes from"
            )
    widths = [max(len("verdict"), *(len(word) for word, _, _ in found)), max(len(name) for _, name, _ in found)]
    lines = [f"{word:{widths[0]}}  {name:{widths[1]}}  {reason}" for word, name, reason in found]
    head = f"{'verdict':{widths[0]}}  {'number':{widths[1]}}  reason"
    total = ", ".join(f"{count} {word}" for word, count in Counter(word for word, _, _ in found).items())
    return Checked([head, *lines, f"{len(found)} numbers: {total}; outside their tolerance: {len(failures)}"], failures)


def _numbers(scorecard: Path, printed: Paper) -> list[Line]:
    """The scorecard's line of every entry of the paper, in the paper's order."""
    try:
        with open(scorecard, newline="") as file:
            reader = csv.DictReader(file, restval="")
            rows, columns = list(reader), reader.fieldnames or []
    except FileNotFoundError:
        raise InputError(f"{scorecard}: not found; expected a scorecard; make it with {making(scorecard)}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{scorecard}: cannot be read ({error}); {AGAIN}") from error
    if missing := [column for column in COLUMNS if column not in columns]:
        raise InputError(f"{scorecard}: has no column {missing[0]!r}, expected a scorecard; {AGAIN}")
    names = [_name(row) for row in rows]
    wanted = [f"{entry.table} {entry.row} {entry.column}" for entry in printed.entries]
    if absent := [name for name in wanted if name not in names]:
        raise InputError(f"{scorecard}: has no {absent[0]}, expected every number of the paper; {AGAIN}")
    if foreign := [name for name in names if name not in wanted or names.count(name) > 1]:
        raise InputError(f"{scorecard}: found {foreign[0]}, expected each number of the paper once; {AGAIN}")
    return [rows[names.index(name)] for name in wanted]


def _verdict(scorecard: Path, entry: Entry, row: Line, scale: str) -> tuple[str, str]:
    """Verdict and note, from `ours`; the scorecard must say the same, and the same of the paper's number."""
    where = f"{scorecard}: {_name(row)}"
    if row["scale"] != scale:
        raise InputError(f"{where}: found scale={row['scale']}, expected scale={scale}; give its scale or another file")
    for column, value in {"paper": entry.value, "tolerance": entry.tolerance}.items():
        if (_number(row[column], where, column) if row[column] else None) != value:
            expected = "none" if value is None else f"{value:g}"
            raise InputError(f"{where}: found {column} {row[column] or 'none'}, expected {expected}; {AGAIN}")
    # an empty cell is what a number that is none leaves (the correlation of a class without preferences)
    ours = None if row["ours"] == NOT_RUN else _number(row["ours"] or "nan", where, "ours")
    word, note = verdict(entry, ours, row["departs"])
    if row["verdict"] != word:
        raise InputError(f"{where}: found the verdict {row['verdict']!r}, expected {word!r}; {AGAIN}")
    return word, note


def _number(text: str, where: str, column: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{where}: found {column} {text!r}, expected a number; {AGAIN}") from None


def _name(row: Line) -> str:
    return f"{row['table']} {row['row']} {row['column']}"


def _reason(word: str, note: str, row: Line, not_run: Mapping[str, str]) -> str:
    if word == NOT_RUN:
        reason = not_run.get(row["row"], not_run.get(f"{row['row']}-k1", NO_RUN_HERE))
    elif word == "not judged":
        reason = "shown, has no tolerance"
    elif row["departs"]:
        reason = "not made as the authors made theirs"
    else:
        reason = f"ours {float(row['ours'] or 'nan'):.7g}, paper {row['paper']}, tolerance {row['tolerance']}"
    return f"{reason}; {note}" if note else reason
