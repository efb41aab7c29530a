"""The figures: arrays in, Figure out; and `write`, which finds the arrays in the analyses' files.

Images are [n, D] with pixels in [0, 1] (others are clipped), drawn white on black as the data are.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from memvae.config import Row
from memvae.errors import InputError
from memvae.report import style
from memvae.report.layout import Files, Layout, RunFile
from memvae.report.origin import facts
from memvae.report.slot_tables import ordinal

FIGURE8_NOISE = "left_half"
GRID = 8  # images along a side of a panel of Figure 8
GAP = 0.12  # between images, as a share of an image's width


def write(name: str, layout: Mapping[str, Any], inputs: Sequence[Path], output: Path) -> None:
    """Writes the figure `name` to `output` and its sibling: `.png` and `.pdf`.

    Raises InputError on an unknown name, a wrong layout, or a missing, damaged or foreign input.
    """
    makers: dict[str, tuple[str, Callable[[Layout, Files], Figure]]] = {
        "fig6": ("analysis/generation", _figure6),
        "fig7": ("analysis/slots", _figure7),
        "fig8": ("analysis/imputation", _figure8),
        "training": ("model", _training),
    }
    if name not in makers:
        raise InputError(f"figure: found {name!r}, expected one of {', '.join(makers)}")
    kind, make = makers[name]
    with style.paper():
        style.save(make(Layout.from_dict(layout), Files(inputs, kind)), output)


def memory_disabled(images: np.ndarray, shape: tuple[int, int], note: str = "") -> Figure:
    """Figure 6. `images` [3, n, D]: means with the memory as it is, without the first layer's, without both."""
    rows, count = images.shape[:2]
    labels = ("full memory", "first layer\ndisabled", "both layers\ndisabled")
    figure, area = _canvas(style.PAGE, left=0.68, top=0.04, note=note)
    cell = _cell_size(area.width, count, shape)
    axes = area.axes(rows * cell[1] + (rows - 1) * GAP * cell[0])
    for place in range(rows):
        _draw_row(axes, images[place], shape, -place * _pitch(shape))
        middle = -place * _pitch(shape) - shape[0] / shape[1] / 2
        axes.text(-0.25, middle, labels[place], ha="right", va="center", linespacing=0.95)
    _frame_images(axes, count, rows, shape)
    return figure


def slot_images(
    images: np.ndarray, values: np.ndarray, classes: Sequence[int], shape: tuple[int, int], note: str = ""
) -> Figure:
    """Figure 7. `images` [3, classes, D] of the slots each class prefers most; `values` [3, classes], their preferences."""
    rows, count = values.shape
    pitch = _pitch(shape) + 0.22  # room for the value below each image, in image widths
    figure, area = _canvas(style.PAGE, left=0.36, top=0.2, note=note)
    cell = _cell_size(area.width, count, shape)
    axes = area.axes(cell[0] * (rows * pitch - GAP))
    for place in range(rows):
        _draw_row(axes, images[place], shape, -place * pitch)
        middle = -place * pitch - shape[0] / shape[1] / 2
        axes.text(-0.1, middle, ordinal(place), ha="right", va="center")
        for column in range(count):
            centre = column * (1 + GAP) + 0.5
            text = f"{values[place, column]:.2f}"
            axes.text(centre, -place * pitch - shape[0] / shape[1] - 0.04, text, ha="center", va="top", fontsize=7)
    for column, label in enumerate(classes):
        head = f"\N{LEFT DOUBLE QUOTATION MARK}{label}\N{RIGHT DOUBLE QUOTATION MARK}"
        axes.text(column * (1 + GAP) + 0.5, 0.06, head, ha="center", va="bottom")
    axes.set_xlim(0, count * (1 + GAP) - GAP)
    axes.set_ylim(-rows * pitch + GAP, 0)
    return figure


@dataclass(frozen=True)
class Imputed:
    """One model's panel of Figure 8: its completed images, and which of them the competitor alone got right."""

    title: str
    images: np.ndarray  # [64, D]
    marked: np.ndarray  # bool [64]
    recovered: float  # share of all test images, %


def imputed(
    truth: np.ndarray, perturbed: np.ndarray, models: Sequence[Imputed], shape: tuple[int, int], caption: str, note: str
) -> Figure:
    """Figure 8. `truth`, `perturbed` [64, D]: one panel each, then one panel per model."""
    panels = [
        Imputed("test data", truth, np.zeros(len(truth), bool), np.nan),
        Imputed("left half missing", perturbed, np.zeros(len(perturbed), bool), np.nan),
        *models,
    ]
    between = 0.09  # inches
    figure, area = _canvas(style.PAGE, left=0.02, top=0.2, note=note, caption=caption)
    width = (area.width - between * (len(panels) - 1)) / len(panels)
    height = width * shape[0] / shape[1]
    area.reserve(height)
    for place, panel in enumerate(panels):
        axes = area.place(area.left + place * (width + between), width, height)
        axes.imshow(_mosaic(panel.images, shape), vmin=0, vmax=1, extent=(0, GRID, GRID, 0), aspect="auto")
        share = "" if np.isnan(panel.recovered) else f": {panel.recovered:.1f} % recovered"
        axes.set_title(f"({chr(97 + place)}) {panel.title}{share}", pad=3)
        axes.set_axis_off()
        for number in np.flatnonzero(panel.marked):
            _mark(axes, number % GRID, number // GRID)
    return figure


@dataclass(frozen=True)
class Curve:
    """One run's learning curve, nats per image."""

    label: str
    colour: str
    marker: str
    line: str
    epochs: np.ndarray  # [P]
    test: np.ndarray  # [P]
    train: np.ndarray  # [P]


def learning_curves(panels: Mapping[str, Sequence[Curve]], note: str = "") -> Figure:
    """One panel per data set: the bound on test images (with markers) and on training images (thin) against epoch."""
    width = style.PAGE if len(panels) > 1 else style.COLUMN
    figure, area = _canvas(width, left=0.48, top=0.22, note=note, bottom=0.4)
    between = 0.55  # inches: room for the next panel's numbers
    each = (area.width - between * (len(panels) - 1)) / len(panels)
    height = 2.1
    area.reserve(height)
    for place, (title, curves) in enumerate(panels.items()):
        axes = area.place(area.left + place * (each + between), each, height)
        for curve in curves:
            _draw_curve(axes, curve)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_ylim(*_curve_limits(curves))
        axes.set_xlim(0, None)
        axes.grid(alpha=0.25, linewidth=0.4)
        axes.legend(handles=_legend(curves), loc="lower right", frameon=False, handlelength=2.2, labelspacing=0.3)
        if place == 0:
            axes.set_ylabel("bound (nats per image)")
    return figure


def _figure6(layout: Layout, files: Files) -> Figure:
    (row, found), *_ = _made(files, layout, "analysis/generation")
    file = found[0]
    images = file.array("images")
    return memory_disabled(images, file.image, _note(layout, [file], f"{row.title}, {images.shape[1]} draws of z"))


def _figure7(layout: Layout, files: Files) -> Figure:
    (row, found), *_ = _made(files, layout, "analysis/slots")
    file = found[0]
    top = file.array("layer0/top").T  # [3, classes]
    images = file.array("layer0/images")[top]  # [3, classes, D]
    note = _note(layout, [file], f"{row.title}, one z per test image")
    return slot_images(images, file.array("layer0/top_values").T, file.array("classes").tolist(), file.image, note)


def _figure8(layout: Layout, files: Files) -> Figure:
    rows = _made(files, layout, "analysis/imputation")
    if len(rows) < 2:
        raise InputError(f"fig8: found imputation files of {len(rows)} model, expected two: the figure compares them")
    (row, found), (other_row, other_found) = rows[:2]
    ours, theirs = found[0], other_found[0]
    if not np.array_equal(ours.array("labels"), theirs.array("labels")):
        raise InputError(f"{theirs.path}: its labels differ from those of {ours.path}; delete one and make it again")
    models = [_imputed(row.title, ours, theirs), _imputed(other_row.title, theirs, ours)]
    judge, images = 100 * ours.attribute("classifier_accuracy"), ours.array("labels").size
    caption = (
        "Red: this model's image shows a wrong digit, the other model's the right one, judged by a classifier that is "
        f"right on {judge:.2f} % of the clean test images. Recovered: share of all {images:,} test images."
    )
    note = _note(layout, [ours, theirs], f"{ours.array(f'{FIGURE8_NOISE}/error').size} iterations, one z each")
    truth, perturbed = ours.array("truth"), ours.array(f"{FIGURE8_NOISE}/perturbed")
    return imputed(truth, perturbed, models, ours.image, caption, note)


def _imputed(title: str, file: RunFile, competitor: RunFile) -> Imputed:
    images = file.array(f"{FIGURE8_NOISE}/completed")
    recovered, others = (one.array(f"{FIGURE8_NOISE}/recovered") for one in (file, competitor))
    return Imputed(title, images, (~recovered & others)[: len(images)], 100 * float(recovered.mean()))


def _training(layout: Layout, files: Files) -> Figure:
    rows = _made(files, layout, "model")
    models = list(dict.fromkeys(row.model for row, _ in rows))
    samples = sorted({row.k for row, _ in rows})
    panels: dict[str, list[Curve]] = {}
    for row, found in rows:
        place = models.index(row.model)
        label = row.title + (f", K = {row.k}" if len(samples) > 1 else "")
        for file in found:
            panels.setdefault(row.dataset, []).append(
                Curve(
                    label=label,
                    colour=style.COLOURS[place % len(style.COLOURS)],
                    marker=style.MARKERS[place % len(style.MARKERS)],
                    line=("-", "--", "-.", ":")[samples.index(row.k) % 4],
                    epochs=file.array("curves/test_epoch"),
                    test=file.array("curves/test_bound"),
                    train=file.array("curves/train_bound_collected"),
                )
            )
    everything = [file for _, found in rows for file in found]
    return learning_curves(panels, _note(layout, everything, "bound: one evaluation draw of the training's K samples"))


def _made(files: Files, layout: Layout, kind: str) -> list[tuple[Row, list[RunFile]]]:
    """The rows that have files. Raises InputError when there is none."""
    rows = [(row, found) for row, found in files.rows(layout, kind) if found]
    if not rows:
        raise InputError(f"figure: no row has a {kind} file at scale {layout.scale}; nothing to draw")
    return rows


def _note(layout: Layout, files: Sequence[RunFile], samples: str) -> str:
    """What a figure below the paper's scale says of itself; empty at the paper's scale."""
    return f"{layout.note}. Data: {facts(files)}; {samples}." if layout.note else ""
