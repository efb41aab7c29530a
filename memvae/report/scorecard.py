"""The scorecard: a join of the authors' numbers with ours, and how well they agree."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from memvae.report.paper import Entry, Paper, departure, verdict
from memvae.report.statistics import Measured
from memvae.report.table import NOT_RUN, Column, Section, Table
from memvae.report.view import View

TITLES = {
    "table3": ("Table 3: parameters", 0),
    "likelihood": ("log-likelihood, nats", 2),
    "probing": ("SVM accuracy, %", 2),
    "table4": ("Table 4: preferences", 3),
    "slots": ("slots (layer0: next to the data, layer1: next to z)", 2),
}
DECIMALS = {"perplexity": 1, "used": 0}  # of these rows or columns


def build(views: Sequence[View], printed: Paper) -> Table:
    """One line per entry of the paper, in its order. views: of the analyses that are compared with the paper."""
    ours = {one.paper: (one, view) for view in views for one in view.numbers if one.paper}
    records = [
        _record(printed, entry, *ours.get((entry.table, entry.row, entry.column), (None, views[0])))
        for entry in printed.entries
    ]
    counts = Counter(record["verdict"] for record in records)
    used = dict.fromkeys(f"{one['data']} ({one['epochs']:,} epochs)" for one in records if one["epochs"])
    spans = dict.fromkeys(
        f"K = {one['samples']:,} on {one['images']:,} test images"
        for one in records
        if one["table"] == "likelihood" and one["images"]
    )
    notes = views[0].notes(
        "Verdicts: match within the tolerance, near within twice, off beyond it, in either direction. There is none "
        "where a training or an evaluation departs from the authors'; the first thing that departs is named. "
        "Difference: ours minus the authors'. They publish no spreads; ours is the standard deviation over seeds.",
        f"Source of their numbers: {', '.join(f'{key} {meaning}' for key, meaning in printed.sources.items())}.",
        f"Data: {', '.join(used)}." if used else "",
        f"Log-likelihoods: {', '.join(spans)}." if spans else "",
        "Numbers: " + ", ".join(f"{count} {word}" for word, count in counts.items()) + ".",
    )
    sections = [
        _section(title, decimals, [record for record in records if record["table"] == name])
        for name, (title, decimals) in TITLES.items()
        if printed.of(name)
    ]
    return Table("scorecard", "Scorecard", records, sections, notes)


def _record(printed: Paper, entry: Entry, ours: Measured | None, view: View) -> dict[str, Any]:
    files = list(ours.files) if ours else []
    departs = departure(printed, entry.table, ours.row, files, ours.n) if ours else ""
    word, note = verdict(entry, ours.mean if ours else None, departs)
    settings = files[0].settings if files else {}
    return {
        "table": entry.table,
        "row": entry.row,
        "column": entry.column,
        "ours": _plain(ours.mean) if ours else NOT_RUN,
        "paper": entry.value,
        "difference": ours.mean - entry.value if ours and not view.replaced(ours.row) else None,
        "spread": ours.sd if ours else None,
        "seeds": ours.seeds if ours and files else None,
        "tolerance": entry.tolerance,
        "verdict": word,
        "departs": departs,
        "note": note,
        "source": entry.source,
        "images": ours.n if ours else None,
        **(view.facts(ours.row, files, settings.get("samples")) if ours else {"scale": view.scale}),
        "epochs": files[0].epochs if files else None,
    }


def _section(title: str, decimals: int, records: Sequence[Mapping[str, Any]]) -> Section:
    """As it is read: rows differ in their decimals, so the numbers are text here."""
    lines = []
    for record in records:
        places = DECIMALS.get(record["row"], DECIMALS.get(record["column"], decimals))
        shown = {
            name: Column(name, "", places, sign=name == "difference").text(record)
            for name in ("ours", "paper", "difference", "spread")
        }
        tolerance = "" if record["tolerance"] is None else f"{record['tolerance']:g}"
        lines.append({**record, **shown, "tolerance": tolerance})
    names = ("row", "column", "ours", "paper", "source", "difference", "spread", "tolerance", "verdict", "note")
    return Section(title, [Column(name, name) for name in names], lines)


def _plain(value: float) -> float | int:
    """A count is written as a whole number."""
    return int(value) if value.is_integer() and abs(value) >= 1000 else value
