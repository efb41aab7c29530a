"""Which slots each class prefers: Table 4, the table of all slots, and the slots as images (Figure 7)."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from memvae.analyses.slots.claims import meaningless_slots, similar_classes
from memvae.analyses.slots.numbers import (
    PAPER_MODEL,
    USED_ABOVE,
    authors_row,
    layer_title,
    layers,
    ordinal,
    used,
)
from memvae.errors import InputError
from memvae.report import statistics, style
from memvae.report.canvas import GAP, Canvas, draw_images
from memvae.report.claims import Part
from memvae.report.layout import RunFile
from memvae.report.statistics import Measured
from memvae.report.table import NOT_RUN, Column, Section, Table, number
from memvae.report.view import View
from memvae.settings.config import Row

ACROSS = 10  # classes beside each other, in Figure 7 and in Table 4; of more, the figure has blocks and the table turns
MOST = 40  # classes that Figure 7 shows; of more, the most frequent among the test images
BESIDE: Any = {"ha": "right", "va": "center"}

PAGE = Part(
    "What the slots stand for (Table 4, Figure 7)",
    "Average preference values of VIS-MEM-VAE by class, and the preferred slots as images. The appendix: most of the "
    "selected slots respond to one class or similar classes, such as 4, 7 and 9, their images are blurry sketches, and "
    "a few less meaningful images have small values. Slots are shown as they are, never chosen or scaled to look "
    "better.",
)


def measure(view: View) -> Iterator[Measured]:
    """Preference values by class and rank, their mean over classes, perplexities, correlations, slots in use."""
    for row, found in view.made:
        theirs = authors_row(row)
        classes = [str(label) for label in found[0].array("classes")]
        for layer in layers(found[0]):
            first = theirs and layer == "layer0"
            for rank in range(found[0].array(f"{layer}/top").shape[1]):
                name, top = ordinal(rank), _cells(f"{layer}/top_values", rank)
                entry = ("table4", name) if first else ("slots", f"{layer} {name}") if theirs else None
                yield from _by_class(row, found, "preference value", "share", top, f"{layer} {name}", classes, entry)
                paper = (*entry, "mean") if entry else None
                mean = f"{layer} {name}"
                n = found[0].images
                yield statistics.plain(row, found, "mean preference value", "share", _mean(top), mean, n, paper)
            entry = ("table4", "perplexity") if first else None
            values = _cells(f"{layer}/perplexity")
            yield from _by_class(row, found, "perplexity", "slots", values, layer, classes, entry, n=found[0].images)
            paper = ("slots", layer, "used") if theirs else None
            count = _in_use(layer)
            yield statistics.plain(row, found, "slots in use", "slots", count, layer, found[0].images, paper)
            yield from _correlations(view, row, found, layer, classes, first)


def _by_class(
    row: Row,
    found: list[RunFile],
    quantity: str,
    unit: str,
    values: statistics.Values,
    condition: str,
    classes: Sequence[str],
    entry: tuple[str, str] | None,
    n: int | None = None,
) -> Iterator[Measured]:
    """A number of each class; entry: table and row of the authors'."""
    for place, label in enumerate(classes):
        paper = (*entry, label) if entry else None
        one = _at(values, place)
        yield statistics.plain(
            row, found, quantity, unit, one, f"{condition} class {label}", n or found[0].images, paper
        )


def _correlations(
    view: View, row: Row, found: list[RunFile], layer: str, classes: Sequence[str], first: bool
) -> Iterator[Measured]:
    """Between the preferences of two classes: of each pair that the authors' file names, and the largest other one."""
    listed = {entry.column for entry in view.printed.of("table4") if entry.row == "correlation"}
    pairs = {f"{classes[a]}-{classes[b]}": (a, b) for a, b in combinations(range(len(classes)), 2)}
    matrices = [file.array(f"{layer}/correlation") for file in found]

    def number_of(places: tuple[int, int]) -> list[float]:
        return [float(matrix[places]) for matrix in matrices]

    for pair, places in pairs.items():
        values = number_of(places)
        if np.isfinite(values).all():
            paper = ("table4", "correlation", pair) if first and pair in listed else None
            yield statistics.of_values(row, found, "correlation", "", values, f"{layer} {pair}", found[0].images, paper)
    others = np.array([number_of(places) for pair, places in pairs.items() if pair not in listed])  # [pairs, seeds]
    if first and others.size and np.isfinite(others).any(axis=0).all():
        name = "largest other pair"
        paper = ("table4", "correlation", name)
        largest = np.nanmax(others, axis=0).tolist()
        yield statistics.of_values(row, found, "correlation", "", largest, f"{layer} {name}", found[0].images, paper)


# ---- Table 4 ---------------------------------------------------------------------------------------------------------
def table4(view: View) -> Table:
    """The largest average preference values of each class, seed by seed: slot numbers are arbitrary."""
    records: list[dict[str, Any]] = []
    sections: list[Section] = []
    for row, found in view.rows:
        if not found:
            records.append({"row": row.model, "model": row.title, "layer": "layer0", "value_1": NOT_RUN})
            records[-1] |= view.facts(row, found)
            sections.append(Section(row.title, [Column("value", "1st")], [{"value": NOT_RUN}]))
        for file in found:
            for layer in layers(file):
                records += _table4_records(view, row, file, layer)
        for layer in layers(found[0]) if found else []:
            title = f"{row.title}, {layer_title(layer)}"
            seed = f", seed {found[0].seed}" if len(found) > 1 else ""
            sections.append(_section(title + seed, _lines(view, row, found[0], layer)))
            if len(found) > 1:
                means = f"{title}: mean (standard deviation) over {len(found)} seeds"
                sections.append(_section(means, _over_seeds(view, row, found, layer)))
    notes = view.notes(
        "Preference values of the slots that each class prefers most (in brackets the slot's number, arbitrary, from 0 "
        "on), averaged over the real-valued test images, one z per image. They sum to 1 over slots.",
        "Perplexity: exp of the entropy of the class's preferences, the effective number of slots.",
        f"Data: {view.data()}." if view.done else "",
    )
    return Table("table4", "Table 4. Average preference values", records, sections, notes)


def _table4_records(view: View, row: Row, file: RunFile, layer: str) -> list[dict[str, Any]]:
    top, values = file.array(f"{layer}/top"), file.array(f"{layer}/top_values")  # [classes, top]
    theirs = authors_row(row) and layer == "layer0"
    records = []
    for place, label in enumerate(file.array("classes")):
        record: dict[str, Any] = {"row": row.model, "model": row.title, "run": file.run, "seed": file.seed}
        record |= {"layer": layer, "class": int(label)}
        for rank in range(top.shape[1]):
            record[f"value_{rank + 1}"] = float(values[place, rank])
            record[f"slot_{rank + 1}"] = int(top[place, rank])
            record[f"paper_{rank + 1}"] = view.printed.value("table4", ordinal(rank), str(label)) if theirs else None
        record["perplexity"] = float(file.array(f"{layer}/perplexity")[place])
        record["paper_perplexity"] = view.printed.value("table4", "perplexity", str(label)) if theirs else None
        records.append({**record, "images": file.images, **view.facts(row, [file], samples=1)})
    return records


Lines = dict[str, dict[str, str]]  # name of a line -> class -> text


def _lines(view: View, row: Row, file: RunFile, layer: str) -> Lines:
    """Of one seed, as the paper prints them; below them the paper's, where the data are its own."""
    classes = [str(label) for label in file.array("classes")]
    top, values = file.array(f"{layer}/top"), file.array(f"{layer}/top_values")  # [classes, top]
    perplexity = file.array(f"{layer}/perplexity")

    def line(texts: Sequence[str]) -> dict[str, str]:
        return dict(zip(classes, texts, strict=True))

    ranks = [ordinal(rank) for rank in range(top.shape[1])]
    lines = {
        name: line([f"{number(value)} ({slot})" for value, slot in zip(values[:, rank], top[:, rank], strict=True)])
        for rank, name in enumerate(ranks)
    }
    lines["perplexity"] = line([number(value, 1) for value in perplexity])
    if authors_row(row) and layer == "layer0" and not view.replaced(row):
        for name, decimals in {**dict.fromkeys(ranks, 2), "perplexity": 1}.items():
            theirs = [view.printed.value("table4", name, label) for label in classes]
            lines[f"paper: {name}"] = line([number(value, decimals) for value in theirs])
    return lines


def _over_seeds(view: View, row: Row, found: list[RunFile], layer: str) -> Lines:
    """Mean and standard deviation of the largest, second largest, ... value of each class; slots are never averaged."""
    lines: Lines = {}
    for rank in range(found[0].array(f"{layer}/top").shape[1]):
        cells = {}
        for label in found[0].array("classes"):
            one = view.number(row, "preference value", f"{layer} {ordinal(rank)} class {label}")
            cells[str(label)] = f"{number(one.mean)} ({number(one.sd)})" if one else ""
        lines[ordinal(rank)] = cells
    return lines


def _section(title: str, lines: Lines) -> Section:
    """Classes are columns, as the paper prints them; where there are many, lines."""
    classes = list(next(iter(lines.values())))
    if len(classes) <= ACROSS:
        records = [{"line": name, **texts} for name, texts in lines.items()]
        return Section(title, [Column("line", ""), *(Column(label, label) for label in classes)], records)
    turned = [{"class": label, **{name: texts[label] for name, texts in lines.items()}} for label in classes]
    return Section(title, [Column("class", "class"), *(Column(name, name) for name in lines)], turned, long=True)


# ---- all slots -------------------------------------------------------------------------------------------------------
SUMMARY = (
    *(Column(name, name) for name in ("model", "layer", "seed", "slots", "used")),
    Column("paper", "used in the paper", 0),
)
SLOTS = (
    Column("slot", "slot"),
    Column("norm", "norm"),
    Column("mean_preference", "mean preference", 4),
    Column("top_class", "top class"),
    Column("top_preference", "its preference", 4),
    Column("classes_above_0.01", "classes above 0.01"),
    Column("used", "used"),
    Column("table4_cells", "cells"),
)


def slots(view: View) -> Table:
    """Every slot's norm and use."""
    records: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    long: list[Section] = []
    for row, found in view.rows:
        if not found:
            records.append({"row": row.model, "model": row.title, "norm": NOT_RUN, **view.facts(row, found)})
            summary.append({"model": row.title, "slots": NOT_RUN})
        for place, file in enumerate(found):
            for layer in layers(file):
                head = {"row": row.model, "model": row.title, "run": file.run, "seed": file.seed, "layer": layer}
                found_slots = slot_records(file, layer)
                origin = {"images": file.images, **view.facts(row, [file], samples=1)}
                records += [{**head, **one, **origin} for one in found_slots]
                theirs = view.printed.value("slots", layer, "used") if authors_row(row) else None
                counts = {"slots": len(found_slots), "used": sum(one["used"] for one in found_slots), "paper": theirs}
                summary.append({**head, **counts, "layer": layer_title(layer), "seed": str(file.seed)})
                if place == 0:
                    title = f"{row.title}, {layer_title(layer)}" + (f", seed {file.seed}" if len(found) > 1 else "")
                    long.append(Section(title, SLOTS, found_slots, long=True))
    notes = view.notes(
        f"A slot is in use when its average preference value is above {USED_ABOVE} for some class.",
        "Cells: where the slot stands in Table 4, as class: place.",
        f"Data: {view.data()}." if view.done else "",
    )
    return Table("slots", "The memory's slots", records, [Section("slots in use", SUMMARY, summary), *long], notes)


def slot_records(file: RunFile, layer: str) -> list[dict[str, Any]]:
    """One record per slot of a layer, in the slots' order."""
    preferences = file.array(f"{layer}/preferences")  # [classes, S]
    classes, top = file.array("classes"), file.array(f"{layer}/top")
    norms, mean, counts = file.array(f"{layer}/norms"), file.array(f"{layer}/mean_preference"), used(file, layer)
    records = []
    for slot in range(preferences.shape[1]):
        best = int(preferences[:, slot].argmax())
        cells = [f"{classes[row]}: {ordinal(place)}" for row, place in zip(*np.nonzero(top == slot), strict=True)]
        records.append(
            {
                "slot": slot,
                "norm": float(norms[slot]),
                "mean_preference": float(mean[slot]),
                "top_class": int(classes[best]),
                "top_preference": float(preferences[best, slot]),
                "classes_above_0.01": int(counts[slot]),
                "used": bool(counts[slot]),
                "table4_cells": ", ".join(cells),
            }
        )
    return records


# ---- Figure 7 --------------------------------------------------------------------------------------------------------
def fig7(view: View) -> Figure:
    """Figure 7 of VIS-MEM-VAE, else of the first model; its first seed."""
    row, found = next((pair for pair in view.made if pair[0].model == PAPER_MODEL), view.made[0])
    file = found[0]
    if not file.has("layer0/images"):
        raise InputError(
            f"fig7: {row.title} has no memory in the layer next to the data, whose slots the figure shows; name "
            "another model in analyses.slots.models"
        )
    classes, top = file.array("classes"), file.array("layer0/top")  # [classes], [classes, top]
    shown = np.arange(len(classes))
    counts = used(file, "layer0")
    words = (
        f"{row.title}, seed {file.seed}, one z per test image; {(counts > 0).sum()} of {counts.size} slots are in use"
    )
    words += f" (above {USED_ABOVE} for some class)"
    if len(classes) > MOST:
        shown = np.sort(np.argsort(-file.array("class_sizes"), kind="stable")[:MOST])
        words += f"; the {MOST} most frequent of {len(classes)} classes"
    images = file.array("layer0/images")[top[shown].T]  # [top, classes, D]
    values = file.array("layer0/top_values")[shown].T
    return slot_images(images, values, classes[shown].tolist(), file.image, view.figure_note([file], words))


def slot_images(
    images: np.ndarray, values: np.ndarray, classes: Sequence[int], shape: tuple[int, int], note: str = ""
) -> Figure:
    """images: [top, classes, D], the slots that each class prefers most; values: [top, classes], how much.

    At most ten classes stand beside each other; further ones follow in blocks below.
    """
    rows, count = values.shape
    blocks = [range(start, min(start + ACROSS, count)) for start in range(0, count, ACROSS)]
    left, right, head, foot, tall = 0.34, 0.02, 0.2, 0.17, shape[0] / shape[1]
    across = min(count, ACROSS)
    unit = (style.PAGE - left - right) / (across * (1 + GAP) - GAP)  # inches: width of one image
    block_height = head + rows * (unit * tall + foot)
    canvas = Canvas(style.PAGE, len(blocks) * block_height, note)
    for place, block in enumerate(blocks):
        below = (len(blocks) - 1 - place) * block_height
        wide = unit * (len(block) * (1 + GAP) - GAP)
        for row in range(rows):
            axes = canvas.axes(left, below + foot + (rows - 1 - row) * (unit * tall + foot), wide, unit * tall)
            draw_images(axes, images[row, block], shape)
            axes.text(-0.1, tall / 2, ordinal(row), **BESIDE)
            for column, at in enumerate(block):
                centre = column * (1 + GAP) + 0.5
                axes.text(centre, -0.03 / unit, f"{values[row, at]:.2f}", ha="center", va="top", fontsize=7)
                if row == 0:
                    name = f"\u201c{classes[at]}\u201d"
                    axes.text(centre, tall + 0.04 / unit, name, ha="center", va="bottom")
    return canvas.figure


# ---- values of a file ------------------------------------------------------------------------------------------------
def _cells(array: str, rank: int | None = None) -> statistics.Values:
    """An array by class, [classes], or one of its columns."""

    def values(file: RunFile) -> np.ndarray:
        found = file.array(array)
        return found if rank is None else found[:, rank]

    return values


def _at(values: statistics.Values, place: int):  # type: ignore[no-untyped-def]
    return lambda file: float(values(file)[place])


def _mean(values: statistics.Values):  # type: ignore[no-untyped-def]
    return lambda file: float(values(file).mean())


def _in_use(layer: str):  # type: ignore[no-untyped-def]
    return lambda file: float((used(file, layer) > 0).sum())


TABLES = {"table4": table4, "slots": slots}
FIGURES = {"fig7": fig7}
CLAIMS = (similar_classes, meaningless_slots)
