"""The figures: arrays in, Figure out; and `write`, which finds the arrays in the analyses' files.

Images are [n, D] with pixels in [0, 1] (others are clipped), drawn white on black as the data are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from memvae.analyses.slots.tables import PAPER_MODEL, ordinal
from memvae.errors import InputError
from memvae.report import measures, style
from memvae.report.canvas import GAP, GRID, Canvas, draw_images, mark, mosaic
from memvae.report.layout import Files, Layout, RunFile
from memvae.report.origin import facts
from memvae.settings.config import Row

FIGURE8_NOISE = "left_half"
CURVES = 28  # learning curves of a figure; of more runs, seeds are averaged
NAMED = 14  # rows of its legend; of more, the best are named, as many as there are colours
OTHERS: Any = {"color": "#BBBBBB", "linewidth": 0.4, "zorder": 1}
TRAIN: Any = {"linewidth": 0.6, "markersize": 2.8, "markerfacecolor": "white", "markeredgewidth": 0.6}
LEGEND: Any = {"frameon": False, "handlelength": 3.0, "columnspacing": 1.2, "borderpad": 0, "labelspacing": 0.3}


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
    left, right, tall = 0.72, 0.02, shape[0] / shape[1]
    unit = (style.PAGE - left - right) / (count * (1 + GAP) - GAP)  # inches: width of one image
    canvas = Canvas(style.PAGE, 0.04 + unit * (rows * (tall + GAP) - GAP), note)
    for row in range(rows):
        axes = canvas.axes(left, unit * (rows - 1 - row) * (tall + GAP), style.PAGE - left - right, unit * tall)
        draw_images(axes, images[row], shape)
        axes.text(-0.25, tall / 2, labels[row], ha="right", va="center", linespacing=0.95)
    return canvas.figure


def slot_images(
    images: np.ndarray, values: np.ndarray, classes: Sequence[int], shape: tuple[int, int], note: str = ""
) -> Figure:
    """Figure 7. `images` [3, classes, D]: the slots that each class prefers most; `values` [3, classes]: how much."""
    rows, count = values.shape
    left, right, head, foot, tall = 0.34, 0.02, 0.2, 0.17, shape[0] / shape[1]
    unit = (style.PAGE - left - right) / (count * (1 + GAP) - GAP)  # inches: width of one image
    canvas = Canvas(style.PAGE, head + rows * (unit * tall + foot), note)
    for row in range(rows):
        bottom = foot + (rows - 1 - row) * (unit * tall + foot)
        axes = canvas.axes(left, bottom, style.PAGE - left - right, unit * tall)
        draw_images(axes, images[row], shape)
        axes.text(-0.1, tall / 2, ordinal(row), ha="right", va="center")
        for column, label in enumerate(classes):
            centre = column * (1 + GAP) + 0.5
            axes.text(centre, -0.03 / unit, f"{values[row, column]:.2f}", ha="center", va="top", fontsize=7)
            if row == 0:
                axes.text(centre, tall + 0.04 / unit, f"\u201c{label}\u201d", ha="center", va="bottom")
    return canvas.figure


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
    between, head = 0.07, 0.2  # inches
    width = (style.PAGE - 0.02 - between * (len(panels) - 1)) / len(panels)
    height = width * shape[0] / shape[1]
    canvas = Canvas(style.PAGE, height + head, "\n".join(filter(None, (caption, note))))
    for place, panel in enumerate(panels):
        axes = canvas.axes(0.01 + place * (width + between), 0, width, height)
        axes.imshow(mosaic(panel.images, shape), vmin=0, vmax=1, extent=(0, GRID, GRID, 0), aspect="auto")
        axes.set_axis_off()
        share = "" if np.isnan(panel.recovered) else f": {panel.recovered:.1f} %"
        axes.set_title(f"({chr(97 + place)}) {panel.title}{share}", pad=3)
        for index in np.flatnonzero(panel.marked):
            mark(axes, int(index) % GRID, int(index) // GRID)
    return canvas.figure


@dataclass(frozen=True)
class Curve:
    """The learning curve of a run, or the mean over a row's seeds, nats per image."""

    label: str  # empty: one of the others, grey and thin
    colour: str
    marker: str
    line: Any  # a matplotlib line style
    epochs: np.ndarray  # [P]
    test: np.ndarray  # [P]
    train: np.ndarray  # [P]
    test_sd: np.ndarray | None = None  # [P]: over seeds


def learning_curves(panels: Mapping[str, Sequence[Curve]], note: str = "") -> Figure:
    """One panel per data set: the bound on test images (full markers) and on training images (hollow) against epoch."""
    page = style.PAGE if len(panels) > 1 else style.COLUMN
    entries = _legend([curve for curves in panels.values() for curve in curves])
    beside = 4 if len(panels) > 1 else 2  # legend entries
    legend = 0.15 * -(-len(entries) // beside) + 0.08  # inches
    left, right, between, foot, head, height = 0.58, 0.06, 0.5, 0.38 + legend, 0.2, 2.1  # inches
    width = (page - left - right - between * (len(panels) - 1)) / len(panels)
    canvas = Canvas(page, foot + height + head, note)
    for place, (title, curves) in enumerate(panels.items()):
        axes = canvas.axes(left + place * (width + between), foot, width, height)
        for curve in curves:
            if not curve.label:
                axes.plot(curve.epochs, curve.test, **OTHERS)
                continue
            every = max(1, len(curve.epochs) // 8)
            common: Any = {"color": curve.colour, "linestyle": curve.line, "marker": curve.marker}
            axes.plot(curve.epochs, curve.test, markevery=(every // 2, every), **common)
            axes.plot(curve.epochs, curve.train, markevery=(every // 2, every), **common, **TRAIN)
            if curve.test_sd is not None:
                band = (curve.test - curve.test_sd, curve.test + curve.test_sd)
                axes.fill_between(curve.epochs, *band, color=curve.colour, alpha=0.2, linewidth=0)
        axes.set(title=title, xlabel="epoch", ylabel="" if place else "bound, nats per image", ylim=_limits(curves))
        axes.set_xlim(left=0)
        axes.grid(alpha=0.25, linewidth=0.4)
    below = (canvas.below + 0.02) / canvas.size[1]
    canvas.figure.legend(handles=entries, loc="lower center", bbox_to_anchor=(0.5, below), ncols=beside, **LEGEND)
    return canvas.figure


def _figure6(layout: Layout, files: Files) -> Figure:
    (row, found), *_ = _made(files, layout, "analysis/generation")
    file = found[0]
    images = file.array("images")
    return memory_disabled(
        images, file.image, _note(layout, [file], f"{row.title}, seed {file.seed}, {images.shape[1]} draws of z")
    )


def _figure7(layout: Layout, files: Files) -> Figure:
    made = _made(files, layout, "analysis/slots")
    row, found = next((pair for pair in made if pair[0].model == PAPER_MODEL), made[0])
    file = found[0]
    top = file.array("layer0/top").T  # [3, classes]
    images = file.array("layer0/images")[top]  # [3, classes, D]
    counts = measures.used(file, "layer0")
    use = f"{(counts > 0).sum()} of {counts.size} slots are in use (above {measures.USED_ABOVE} for some class)"
    note = _note(layout, [file], f"{row.title}, seed {file.seed}, one z per test image; {use}")
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
        "Red: this model's image shows a wrong digit and the other model's the right one, as a classifier sees them "
        f"that is right on {judge:.2f} % of the clean test images. In %: share of all {images:,} test images whose "
        "completion shows the right digit."
    )
    note = _note(
        layout, [ours, theirs], f"seed {ours.seed}, {ours.array(f'{FIGURE8_NOISE}/error').size} iterations, one z each"
    )
    truth, perturbed = ours.array("truth"), ours.array(f"{FIGURE8_NOISE}/perturbed")
    return imputed(truth, perturbed, models, ours.image, caption, note)


def _imputed(title: str, file: RunFile, competitor: RunFile) -> Imputed:
    images = file.array(f"{FIGURE8_NOISE}/completed")
    recovered, others = (one.array(f"{FIGURE8_NOISE}/recovered") for one in (file, competitor))
    return Imputed(title, images, (~recovered & others)[: len(images)], 100 * float(recovered.mean()))


def _training(layout: Layout, files: Files) -> Figure:
    rows = _made(files, layout, "model")
    everything = [file for _, found in rows for file in found]
    for file in everything:
        if not file.array("curves/test_epoch").size:
            raise InputError(f"{file.path}: its learning curve is empty; delete it and train again")
    named = [row for row, _ in (rows if len(rows) <= NAMED else _best(rows))]
    models = list(dict.fromkeys(row.model for row in named))
    samples = sorted({row.k for row in named})
    averaged = len(everything) > CURVES
    panels: dict[str, list[Curve]] = {}
    for row, found in rows:
        look = {"label": "", "colour": "", "marker": "", "line": ""}
        if row in named:
            place = models.index(row.model)
            look = {
                "label": row.title + (f", K = {row.k}" if len(samples) > 1 else ""),
                "colour": style.COLOURS[place % len(style.COLOURS)],
                "marker": style.MARKERS[place % len(style.MARKERS)],
                "line": ("-", "--", "-.", ":")[samples.index(row.k) % 4],
            }
        for seeds in [found] if averaged else [[file] for file in found]:
            panels.setdefault(row.dataset, []).append(_curve(seeds, look))
    said = ["bounds with the K of the training"]
    if averaged and any(len(found) > 1 for _, found in rows):
        said.append("means over seeds, with one standard deviation of test images' as a band")
    if len(named) < len(rows):
        said.append(f"named: the highest last bounds on test images; grey: the other {len(rows) - len(named):,} models")
    return learning_curves(panels, _note(layout, everything, "; ".join(said)))


def _best(rows: list[tuple[Row, list[RunFile]]]) -> list[tuple[Row, list[RunFile]]]:
    """Of each data set the rows whose bound on test images ends highest; as many rows in all as there are colours."""
    panels: dict[str, list[tuple[Row, list[RunFile]]]] = {}
    for row, found in rows:
        panels.setdefault(row.dataset, []).append((row, found))
    each = max(1, len(style.COLOURS) // len(panels))

    def last(pair: tuple[Row, list[RunFile]]) -> float:
        return -float(np.mean([file.array("curves/test_bound")[-1] for file in pair[1]]))

    return [pair for pairs in panels.values() for pair in sorted(pairs, key=last)[:each]]


def _curve(seeds: list[RunFile], look: Mapping[str, str]) -> Curve:
    """The mean over some seeds' files. Raises InputError when their curves differ in their epochs."""
    epochs = seeds[0].array("curves/test_epoch")
    for file in seeds:
        if not np.array_equal(file.array("curves/test_epoch"), epochs):
            raise InputError(
                f"{file.path}: its curve has other epochs than {seeds[0].path}; delete one and train again"
            )
    test = np.stack([file.array("curves/test_bound") for file in seeds])  # [seeds, P]
    train = np.stack([file.array("curves/train_bound_collected") for file in seeds])
    sd = test.std(axis=0, ddof=1) if len(seeds) > 1 else None
    return Curve(**look, epochs=epochs, test=test.mean(axis=0), train=train.mean(axis=0), test_sd=sd)


def _made(files: Files, layout: Layout, kind: str) -> list[tuple[Row, list[RunFile]]]:
    """The rows that have files. Raises InputError when there is none."""
    rows = [(row, found) for row, found in files.rows(layout, kind) if found]
    if not rows:
        raise InputError(f"figure: no row has a {kind} file at scale {layout.scale}; nothing to draw")
    return rows


def _note(layout: Layout, files: Sequence[RunFile], samples: str) -> str:
    """What a figure says of itself: below the paper's scale the scale's note, and always data, epochs and samples."""
    return f"{layout.note + '. ' if layout.note else ''}Data: {facts(files)}; {samples}."


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Of the vertical axis: the first tenth of the epochs, steep, may leave it."""
    late = [
        values[curve.epochs >= 0.1 * curve.epochs.max()] for curve in curves for values in (curve.test, curve.train)
    ]
    low, high = min(values.min() for values in late), max(values.max() for values in late)
    margin = 0.06 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def _legend(curves: Sequence[Curve]) -> list[Line2D]:
    """One entry per model and K (not per seed), and how test and training images differ."""
    entries: dict[str, Line2D] = {}
    for curve in (curve for curve in curves if curve.label):
        line = Line2D([], [], color=curve.colour, linestyle=curve.line, marker=curve.marker, label=curve.label)
        entries.setdefault(curve.label, line)
    grey: Any = {"color": "#555555", "marker": "o"}
    kinds = [Line2D([], [], **grey, label="test images"), Line2D([], [], **grey, **TRAIN, label="training images")]
    others = [] if all(curve.label for curve in curves) else [Line2D([], [], **OTHERS, label="others, test images")]
    return [*entries.values(), *kinds, *others]
