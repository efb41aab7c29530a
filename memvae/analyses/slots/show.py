"""Which slots each class prefers: Table 4, the table of all slots, and the slots as images (Figure 7)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from memvae.analyses.slots.claims import meaningless_slots, similar_classes
from memvae.analyses.slots.numbers import (
    PAPER_MODEL,
    USED_ABOVE,
    authors_row,
    labels,
    layer_title,
    layers,
    ordinal,
    pairs,
    used,
)
from memvae.errors import InputError
from memvae.files.store import Stored
from memvae.report import statistics, style
from memvae.report.canvas import GAP, Canvas, draw_images
from memvae.report.claims import Part
from memvae.report.paper import Paper, model_key
from memvae.report.statistics import Measured
from memvae.report.table import NOT_RUN, Column, Section, Table, number
from memvae.report.view import View, record_of
from memvae.settings.config import Row

ACROSS = 10  # classes beside each other, in Figure 7 and in Table 4; of more, the figure has blocks and the table turns
FEW = 4  # classes for which Figure 7 is as wide as one column of the paper, so that images are not huge
MEAN = "mean"  # over classes
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
        statistics.same_setting(found, "top")
        for layer in layers(found[0]):
            for quantity, unit, condition, values, paper in _numbers(view, found, layer):
                n, entry = found[0].images, paper if authors_row(row) else None
                seeds = [float(value) for value in values]
                yield statistics.of_values(row, found, quantity, unit, seeds, f"{layer}{condition}", n, entry)


Number = tuple[str, str, str, Iterable[float], tuple[str, str, str] | None]


def _numbers(view: View, found: list[Stored], layer: str) -> Iterator[Number]:
    """The numbers of a layer: quantity, unit, condition, one value per seed, and the authors' entry."""
    first, classes = layer == "layer0", labels(found[0])
    top = statistics.stack(found, lambda file: file.array(f"{layer}/top_values"))  # [seeds, classes, top]
    for rank in range(top.shape[2]):
        name, values = ordinal(rank), top[:, :, rank]
        entry = ("table4", name) if first else ("slots", f"{layer} {name}")
        for label, of_class in zip(classes, values.T, strict=True):
            yield "preference value", "share", f" {name} class {label}", of_class, (*entry, label)
        yield "mean preference value", "share", f" {name}", values.mean(axis=1), (*entry, "mean")
    perplexity = statistics.stack(found, lambda file: file.array(f"{layer}/perplexity"))  # [seeds, classes]
    for label, of_class in zip(classes, perplexity.T, strict=True):
        paper = ("table4", "perplexity", label) if first else None
        yield "perplexity", "slots", f" class {label}", of_class, paper
    counts = [(used(file, layer) > 0).sum() for file in found]
    yield "slots in use", "slots", "", counts, ("slots", layer, "used")
    yield from _correlations(view, found, layer)


def _correlations(view: View, found: list[Stored], layer: str) -> Iterator[Number]:
    """Between the preferences of two classes: of each pair, and the largest that the authors' file does not name.

    A pair without a correlation, since a class prefers all slots alike, is left out.
    """
    listed = {entry.column for entry in view.printed.of("table4") if entry.row == "correlation"}
    matrices = statistics.stack(found, lambda file: file.array(f"{layer}/correlation"))  # [seeds, classes, classes]
    others = []
    for pair, (a, b) in pairs(labels(found[0])).items():
        values = matrices[:, a, b]
        if not np.isfinite(values).all():
            continue
        paper = ("table4", "correlation", pair) if layer == "layer0" and pair in listed else None
        yield "correlation", "", f" {pair}", values, paper
        if pair not in listed:
            others.append(values)
    if layer == "layer0" and listed and others:
        name = "largest other pair"
        yield "correlation", "", f" {name}", np.max(others, axis=0), ("table4", "correlation", name)


# ---- Table 4 ---------------------------------------------------------------------------------------------------------
def table4(view: View) -> Table:
    """The largest average preference values of each class, seed by seed: slot numbers are arbitrary."""
    records: list[dict[str, Any]] = []
    sections: list[Section] = []
    for row, found in view.rows:
        if not found:
            empty = record_of(row, model_key, layer="layer0", value_1=NOT_RUN)
            records.append({**empty, **view.facts(row, found)})
            sections.append(Section(row.title, [Column("value", "1st")], [{"value": NOT_RUN}]))
        for file in found:
            for layer in layers(file):
                records += _table4_records(view, row, file, layer)
        for layer in layers(found[0]) if found else []:
            title, classes = f"{row.title}, {layer_title(layer)}", labels(found[0])
            seed = f", seed {found[0].seed}" if len(found) > 1 else ""
            sections.append(_section(title + seed, classes, _lines(view, row, found[0], layer)))
            if len(found) > 1:
                means = f"{title}: mean (standard deviation) over {len(found)} seeds"
                sections.append(_section(means, [*classes, MEAN], _over_seeds(view, row, found, layer)))
    notes = view.notes(
        "Preference values of the slots that each class prefers most (in brackets the slot's number, arbitrary, from 0 "
        "on), averaged over the real-valued test images, one z per image. They sum to 1 over slots.",
        "Perplexity: exp of the entropy of the class's preferences, the effective number of slots.",
        f"Data: {view.data()}." if view.done else "",
    )
    return Table("table4", "Table 4. Average preference values", records, sections, notes)


def _table4_records(view: View, row: Row, file: Stored, layer: str) -> list[dict[str, Any]]:
    top, values = file.array(f"{layer}/top"), file.array(f"{layer}/top_values")  # [classes, top]
    theirs = _authors(view, row) if layer == "layer0" else None
    records = []
    for place, label in enumerate(labels(file)):
        record: dict[str, Any] = {**record_of(row, model_key, run=file.run, seed=file.seed, layer=layer)}
        record["class"] = label
        for rank in range(top.shape[1]):
            record[f"value_{rank + 1}"] = float(values[place, rank])
            record[f"slot_{rank + 1}"] = int(top[place, rank])
            record[f"paper_{rank + 1}"] = theirs.value("table4", ordinal(rank), label) if theirs else None
        record["perplexity"] = float(file.array(f"{layer}/perplexity")[place])
        record["paper_perplexity"] = theirs.value("table4", "perplexity", label) if theirs else None
        records.append({**record, "images": file.images, **view.facts(row, [file], samples=1)})
    return records


Lines = dict[str, dict[str, str]]  # name of a line -> class -> text


def _lines(view: View, row: Row, file: Stored, layer: str) -> Lines:
    """Of one seed, as the paper prints them; below them the paper's, where the data are its own."""
    classes, theirs = labels(file), _authors(view, row) if layer == "layer0" else None
    top, values = file.array(f"{layer}/top"), file.array(f"{layer}/top_values")  # [classes, top]
    lines = {}
    for rank in range(top.shape[1]):
        texts = [f"{number(value)} ({slot})" for value, slot in zip(values[:, rank], top[:, rank], strict=True)]
        lines[ordinal(rank)] = dict(zip(classes, texts, strict=True))
    perplexity = zip(classes, file.array(f"{layer}/perplexity"), strict=True)
    lines["perplexity"] = {label: number(value, 1) for label, value in perplexity}
    if theirs:
        for name in list(lines):
            decimals = 1 if name == "perplexity" else 2
            printed = {label: number(theirs.value("table4", name, label), decimals) for label in classes}
            lines[f"paper: {name}"] = printed
    return lines


def _over_seeds(view: View, row: Row, found: list[Stored], layer: str) -> Lines:
    """Mean and standard deviation of the largest, second largest, ... value of each class, and of their mean over
    classes; of the perplexities. Slots are never averaged."""
    lines: Lines = {}
    for rank in range(found[0].array(f"{layer}/top").shape[1]):
        name = f"{layer} {ordinal(rank)}"
        lines[ordinal(rank)] = {
            label: _spread(view.number(row, "preference value", f"{name} class {label}")) for label in labels(found[0])
        }
        lines[ordinal(rank)][MEAN] = _spread(view.number(row, "mean preference value", name))
    lines["perplexity"] = {
        label: _spread(view.number(row, "perplexity", f"{layer} class {label}"), 1) for label in labels(found[0])
    }
    return lines


def _spread(one: Measured | None, decimals: int = 2) -> str:
    return f"{number(one.mean, decimals)} ({number(one.sd, decimals)})" if one else ""


def _section(title: str, columns: Sequence[str], lines: Lines) -> Section:
    """Classes are columns, as the paper prints them; where there are many, lines."""
    if len(columns) <= ACROSS + (MEAN in columns):
        records = [{"line": name, **texts} for name, texts in lines.items()]
        return Section(title, [Column("line", ""), *(Column(name, name) for name in columns)], records)
    turned = [{"class": one, **{name: texts.get(one, "") for name, texts in lines.items()}} for one in columns]
    return Section(title, [Column("class", "class"), *(Column(name, name) for name in lines)], turned, long=True)


def _authors(view: View, row: Row) -> Paper | None:
    """The authors' numbers, where they stand beside a row: of their model on their data."""
    return view.printed if authors_row(row) and not view.replaced(row) else None


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
            records.append({**record_of(row, model_key, norm=NOT_RUN), **view.facts(row, found)})
            summary.append({"model": row.title, "slots": NOT_RUN})
        for place, file in enumerate(found):
            for layer in layers(file):
                head = record_of(row, model_key, run=file.run, seed=file.seed, layer=layer)
                found_slots = slot_records(file, layer)
                origin = {"images": file.images, **view.facts(row, [file], samples=1)}
                records += [{**head, **one, **origin} for one in found_slots]
                theirs = _authors(view, row)
                paper = theirs.value("slots", layer, "used") if theirs else None
                counts = {"slots": len(found_slots), "used": sum(one["used"] for one in found_slots), "paper": paper}
                summary.append({**head, **counts, "layer": layer_title(layer), "seed": str(file.seed)})
                if place == 0:
                    title = f"{row.title}, {layer_title(layer)}" + (f", seed {file.seed}" if len(found) > 1 else "")
                    long.append(Section(title, SLOTS, [_shortened(one) for one in found_slots], long=True))
    notes = view.notes(
        f"A slot is in use when its average preference value is above {USED_ABOVE} for some class.",
        "Cells: where the slot stands in Table 4, as class: place.",
        f"Data: {view.data()}." if view.done else "",
    )
    return Table("slots", "The memory's slots", records, [Section("slots in use", SUMMARY, summary), *long], notes)


def slot_records(file: Stored, layer: str) -> list[dict[str, Any]]:
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


def _shortened(record: dict[str, Any]) -> dict[str, Any]:
    """With the first cells alone, where a slot has many."""
    cells = record["table4_cells"].split(", ")
    more = f" and {len(cells) - ACROSS} more" if len(cells) > ACROSS else ""
    return {**record, "table4_cells": ", ".join(cells[:ACROSS]) + more}


# ---- Figure 7 --------------------------------------------------------------------------------------------------------
def fig7(view: View) -> Figure:
    """Figure 7 of VIS-MEM-VAE, else of the first model that has memory in the layer next to the data; its first seed.

    Raises InputError when no model has.
    """
    made = [pair for pair in view.made if pair[1][0].has("layer0/images")]
    if not made:
        titles = ", ".join(row.title for row, _ in view.made)
        raise InputError(
            f"fig7: {titles}: no memory in the layer next to the data, whose slots the figure shows; name a model "
            "whose first number of slots is not 0 in analyses.slots.models"
        )
    row, (file, *_) = next((pair for pair in made if pair[0].model == PAPER_MODEL), made[0])
    classes, top = file.array("classes"), file.array("layer0/top")  # [classes], [classes, top]
    shown = np.arange(len(classes))
    counts = used(file, "layer0")
    in_use = f"{(counts > 0).sum()} of {counts.size} slots are in use (above {USED_ABOVE} for some class)"
    words = f"{row.title}, seed {file.seed}, one z per test image; {in_use}"
    if len(classes) > MOST:
        shown = np.sort(np.argsort(-file.array("class_sizes"), kind="stable")[:MOST])
        words += f"; of {len(classes)} classes the {MOST} with most test images"
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
    page, across = (style.COLUMN, FEW) if count <= FEW else (style.PAGE, min(count, ACROSS))
    unit = (page - left - right) / (across * (1 + GAP) - GAP)  # inches: width of one image
    block_height = head + rows * (unit * tall + foot)
    canvas = Canvas(page, len(blocks) * block_height, note)
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


TABLES = {"table4": table4, "slots": slots}
FIGURES = {"fig7": fig7}
CLAIMS = (similar_classes, meaningless_slots)
