"""The check of the scorecard: which numbers are outside their tolerance, and why the others pass. Needs no pandas."""

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from memvae.errors import InputError
from memvae.files.store import read_bytes
from memvae.report.paper import NOT_RUN, Entry, Paper, verdict

OUTSIDE = ("near", "off")  # within twice the tolerance, and beyond: both are outside it
NO_RUN_HERE = "no run of this scale gives this number"


@dataclass(frozen=True)
class Checked:
    """lines: a table of verdict, number and reason, with head and totals; failures: a line for each failing number."""

    lines: list[str]
    failures: list[str]


def check(scorecard: Path, printed: Paper, scale: str, not_run: Mapping[str, str]) -> Checked:
    """Every number of a scorecard with its verdict, judged anew, and the reason for it.

    A number fails when its verdict is `near` or `off`: outside its tolerance. printed: the authors' numbers, all of
    which the scorecard must hold; scale: that it must be of; not_run: rows of models that were left out
    (`<dataset>-<model>-k<K>`), each with the reason. Raises InputError when the file is missing, or is no such
    scorecard.
    """
    found, failures = [], []
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(scorecard, "a scorecard").decode())))
        cells = {(row["table"], row["row"], row["column"]): row for row in rows if row["scale"] == scale}
        for entry in printed.entries:
            row = cells[entry.table, entry.row, entry.column]
            name = f"{entry.table} {entry.row} {entry.column}"
            # an empty cell is what a number that is none leaves (the correlation of a class without preferences)
            ours = None if row["ours"] == NOT_RUN else float(row["ours"] or "nan")
            word, note = verdict(entry, ours, row["departs"])
            found.append((word, name, "; ".join(filter(None, (_reason(word, entry, ours, not_run), note)))))
            if word in OUTSIDE:
                failures.append(
                    f"{scorecard}: {name}: found {row['ours'] or 'no number'}, expected {entry.value} within "
                    f"{entry.tolerance} ({word}); `memvae trace {scorecard} --verify` says what ours comes from"
                )
    except (KeyError, ValueError, csv.Error) as error:
        raise InputError(
            f"{scorecard}: found no scorecard of scale={scale} with every number of the paper ({error}); name another "
            "file, or delete it and make it again"
        ) from None
    widths = [max(len("verdict"), *(len(word) for word, _, _ in found)), max(len(name) for _, name, _ in found)]
    head = ("verdict", "number", "reason")
    lines = [f"{word:{widths[0]}}  {name:{widths[1]}}  {reason}" for word, name, reason in (head, *found)]
    total = ", ".join(f"{count} {word}" for word, count in Counter(word for word, _, _ in found).items())
    return Checked([*lines, f"{len(found)} numbers: {total}; outside their tolerance: {len(failures)}"], failures)


def _reason(word: str, entry: Entry, ours: float | None, not_run: Mapping[str, str]) -> str:
    if word == NOT_RUN:
        return not_run.get(entry.row, not_run.get(f"{entry.row}-k1", NO_RUN_HERE))
    if word == "not judged":
        return "shown, has no tolerance"
    if word.startswith("no verdict"):
        return "not made as the authors made theirs"
    return f"ours {ours:.7g}, paper {entry.value}, tolerance {entry.tolerance}"
