"""The scorecard: the authors' numbers, ours beside each, and how well they agree."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from memvae.analyses.slots.tables import ORDINALS, PAPER_MODEL
from memvae.files.store import write_text
from memvae.report import measures, render
from memvae.report.layout import Files, Layout, RunFile
from memvae.report.measures import Spread, spread
from memvae.report.origin import PAPER_DATASETS, comparable, facts_columns, notes
from memvae.report.paper import NOT_RUN, Entry, Paper, departure, model_key, read_paper, run_key, verdict
from memvae.report.render import Section, Table, number
from memvae.report.tables import parameter_counts
from memvae.settings.config import Row

TITLES = {
    "table3": ("Table 3: parameters", 0),
    "likelihood": ("log-likelihood, nats", 2),
    "probing": ("SVM accuracy, %", 2),
    "table4": ("Table 4: preferences", 3),
    "slots": ("slots (layer0: next to the data, layer1: next to z)", 2),
}


@dataclass(frozen=True)
class Ours:
    """Our number for one entry of the paper, and the files it came from."""

    value: Spread
    files: list[RunFile]
    row: Row
    samples: int | None = None
    images: int | None = None


def write(layout: Mapping[str, Any], inputs: Sequence[Path], paper: Path, output: Path) -> None:
    """Writes the scorecard to `output` and its sibling: `.csv` and `.md`.

    `inputs` are the analysis files (parameters, likelihoods, slots, probing) that there are.
    Raises InputError on a wrong layout or a missing, damaged or foreign input.
    """
    table = build(Layout.from_dict(layout), inputs, read_paper(paper))
    output = Path(output)
    write_text(output.with_suffix(".csv"), render.as_csv(table))
    write_text(output.with_suffix(".md"), render.as_markdown(table))


def build(layout: Layout, inputs: Sequence[Path], printed: Paper) -> Table:
    """The scorecard in memory: one line per entry of the paper, in its order."""
    files = Files(inputs, "analysis")
    find: dict[str, Callable[[Layout, Files, Entry, Paper], Ours | None]] = {
        "table3": _parameters,
        "likelihood": _likelihood,
        "probing": _probing,
        "table4": _preferences,
        "slots": _slots,
    }
    lines = [
        (entry, _compared(layout, printed, entry, find[entry.table](layout, files, entry, printed)))
        for entry in printed.entries
    ]
    counts = Counter(line["verdict"] for _, line in lines)
    used = list(dict.fromkeys(f"{line['data']} ({line['epochs']:,} epochs)" for _, line in lines if line["epochs"]))
    estimates = [line for _, line in lines if line["table"] == "likelihood" and line["images"]]
    spans = dict.fromkeys(f"K = {line['samples']:,} on {line['images']:,} test images" for line in estimates)
    said = notes(
        layout,
        "Verdicts: match within the tolerance, near within twice, off beyond it, in either direction; none where a "
        "training or an evaluation departs from the authors', with the first thing that departs. Difference: ours "
        "minus the authors'. They publish no spreads; ours is the standard deviation over seeds.",
        f"Source of their numbers: {', '.join(f'{key} {meaning}' for key, meaning in printed.sources.items())}.",
        f"Data: {', '.join(used)}." if used else "",
        f"Log-likelihoods: {', '.join(spans)}." if spans else "",
        "Numbers: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + ".",
    )
    sections = [
        Section(title, [_text(entry, line, decimals) for entry, line in lines if entry.table == name])
        for name, (title, decimals) in TITLES.items()
        if printed.of(name)
    ]
    return Table("scorecard", "Scorecard", [line for _, line in lines], sections, said)


def _compared(layout: Layout, printed: Paper, entry: Entry, ours: Ours | None) -> dict[str, Any]:
    departs = departure(printed, entry.table, ours.row, ours.files, ours.images) if ours else ""
    word, note = verdict(entry, ours.value.mean if ours else None, departs)
    facts: dict[str, Any] = dict.fromkeys(("scale", "data", "epochs", "samples", "images", "runs"))
    facts["scale"] = layout.scale
    difference = None
    if ours:
        difference = comparable(ours.row, ours.files, entry.value, ours.value.mean)
        facts |= facts_columns(layout, ours.row, ours.files, ours.samples, ours.images)
    return {
        "table": entry.table,
        "row": entry.row,
        "column": entry.column,
        "ours": ours.value.mean if ours else NOT_RUN,
        "paper": entry.value,
        "difference": difference,
        "spread": ours.value.sd if ours else None,
        "seeds": ours.value.seeds if ours and ours.files else None,
        "tolerance": entry.tolerance,
        "verdict": word,
        "departs": departs,
        "note": note,
        "source": entry.source,
        **facts,
    }


def _text(entry: Entry, line: Mapping[str, Any], decimals: int) -> dict[str, str]:
    decimals = 1 if entry.row == "perplexity" else 0 if entry.column == "used" else decimals
    ours = line["ours"]
    return {
        "row": entry.row,
        "column": entry.column,
        "ours": NOT_RUN if ours == NOT_RUN else number(ours, decimals),
        "paper": number(entry.value, decimals),
        "source": entry.source,
        "difference": number(line["difference"], decimals, sign=True),
        "spread": number(line["spread"], decimals),
        "tolerance": "" if entry.tolerance is None else f"{entry.tolerance:g}",
        "verdict": line["verdict"],
        "note": line["note"],
    }


def _parameters(layout: Layout, files: Files, entry: Entry, printed: Paper) -> Ours | None:
    count = parameter_counts(files).get(entry.row) if files.parameters else None
    if count is None:
        return None
    dataset, model = entry.row.rsplit("-", 1)
    data = PAPER_DATASETS.get(dataset, dataset)
    return Ours(Spread(count, None, 1), [], Row(dataset, model, 1, model, data, ()))


def _likelihood(layout: Layout, files: Files, entry: Entry, printed: Paper) -> Ours | None:
    row, found = _row_files(layout, files, "likelihood", entry.row, run_key)
    if not row or not found:
        return None
    result = measures.likelihood(found)
    return Ours(result.log_likelihood, found, row, result.samples, result.images)


def _probing(layout: Layout, files: Files, entry: Entry, printed: Paper) -> Ours | None:
    row, found = _row_files(layout, files, "probing", entry.row, model_key)
    if not row or not found:
        return None
    over_seeds, _, images = measures.accuracy(found, "crammer_singer")
    return Ours(over_seeds, found, row, images=images)


def _preferences(layout: Layout, files: Files, entry: Entry, printed: Paper) -> Ours | None:
    """A number of Table 4: a cell, the mean of a row, a perplexity or a correlation; of VIS-MEM-VAE's layer0."""
    if entry.row in ORDINALS:
        return _top(layout, files, entry, "layer0")
    if entry.column == "largest other pair":
        listed = {other.column for other in printed.of("table4") if other.row == "correlation"}
        return _by_class(layout, files, [], lambda file, _: _largest_other_pair(file, listed))
    array = f"layer0/{entry.row}"

    def value(file: RunFile, places: list[int]) -> float:
        return float(file.array(array)[tuple(places)])

    return _by_class(layout, files, entry.column.split("-"), value)


def _slots(layout: Layout, files: Files, entry: Entry, printed: Paper) -> Ours | None:
    """Slots in use of a layer (column `used`), or a largest preference value (row `<layer> 1st`)."""
    layer, _, rank = entry.row.partition(" ")
    if rank:
        return _top(layout, files, replace(entry, row=rank), layer)
    return _by_class(layout, files, [], lambda file, _: float((measures.used(file, layer) > 0).sum()))


def _top(layout: Layout, files: Files, entry: Entry, layer: str) -> Ours | None:
    rank = ORDINALS.index(entry.row)

    def value(file: RunFile, places: list[int]) -> float:
        values = file.array(f"{layer}/top_values")[:, rank]  # [classes]
        return float(values[places[0]] if places else values.mean())

    return _by_class(layout, files, [] if entry.column == "mean" else [entry.column], value)


def _by_class(
    layout: Layout, files: Files, labels: list[str], value: Callable[[RunFile, list[int]], float]
) -> Ours | None:
    """`value` of each seed, called with the places of the named classes; None when a class is not in these data."""
    row, found = _row_files(layout, files, "slots", f"mnist-{PAPER_MODEL}", model_key)
    if not row or not found:
        return None
    places = {str(label): place for place, label in enumerate(found[0].array("classes"))}
    if any(label not in places for label in labels):
        return None
    values = [value(file, [places[label] for label in labels]) for file in found]
    return Ours(spread(values), found, row, samples=1, images=found[0].images)


def _largest_other_pair(file: RunFile, listed: set[str]) -> float:
    """The largest correlation between two classes that the paper's file does not correlate."""
    classes, correlation = file.array("classes"), file.array("layer0/correlation")  # [classes, classes]
    pairs = combinations(range(len(classes)), 2)
    return float(np.nanmax([correlation[a, b] for a, b in pairs if f"{classes[a]}-{classes[b]}" not in listed]))


def _row_files(
    layout: Layout, files: Files, analysis: str, wanted: str, key: Callable[[Row], str]
) -> tuple[Row | None, list[RunFile]]:
    """The layout's row of that key with its files (K = 1 where the key names no K)."""
    rows = [row for row in layout.rows if key(row) == wanted and (key is run_key or row.k == 1)]
    return (rows[0], files.of(rows[0], f"analysis/{analysis}")) if rows else (None, [])
