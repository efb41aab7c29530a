"""Learning curves: the bound on test and on training images against the epoch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from memvae.errors import InputError
from memvae.files.store import Stored
from memvae.report import statistics, style
from memvae.report.canvas import panels
from memvae.report.claims import Part
from memvae.report.statistics import Measured
from memvae.report.table import Column, Section
from memvae.report.view import Pairs, View
from memvae.settings.config import Row

CURVES = 28  # learning curves of a figure; of more runs, seeds are averaged
NAMED = 14  # rows of its legend; of more, the best are named, as many as there are colours
POINTS = 6  # epochs of a learning curve that the page prints
OTHERS: Any = {"color": "#BBBBBB", "linewidth": 0.4, "zorder": 1}
TRAIN: Any = {"linewidth": 0.6, "markersize": 2.8, "markerfacecolor": "white", "markeredgewidth": 0.6}
LEGEND: Any = {"frameon": False, "handlelength": 3.0, "columnspacing": 1.2, "borderpad": 0, "labelspacing": 0.3}

PAGE = Part(
    "Learning curves",
    "The bound with the K of the training, on test images and on as many training images, statistics collected anew "
    "for every point.",
)


def measure(view: View) -> Iterator[Measured]:
    """The last point of each curve, nats per image."""
    for row, found in view.made:
        for name, array in (("test_bound", "test_bound"), ("train_bound", "train_bound_collected")):
            yield statistics.plain(row, found, name, "nats", _last(array), "last epoch")


def records(view: View) -> list[dict[str, Any]]:
    """Every point of every run's curve, nats per image: curves.csv beside the page of results."""
    return [
        {"run": file.run, "epoch": int(epoch), "test_bound": float(test), "train_bound": float(train)}
        for file in view.done
        for epoch, test, train in zip(
            *(_points_of(file, name) for name in ("test_epoch", "test_bound", "train_bound_collected")),
            strict=True,
        )
    ]


def points(view: View) -> Section:
    """Some points of every curve, about equally spaced in the logarithm of the epoch."""
    rows = []
    for run, group in groupby(records(view), key=itemgetter("run")):
        every = list(group)
        last = len(every) - 1
        places = sorted({round(last ** (n / (POINTS - 1))) for n in range(1, POINTS)} | {last})
        texts = [
            f"{every[at]['epoch']:,}: {every[at]['test_bound']:.2f} "
            f"({every[at]['train_bound'] - every[at]['test_bound']:+.2f})"
            for at in places
        ]
        rows.append({"run": run, "points": "; ".join(texts)})
    heading = "epoch: test bound (training minus test), nats"
    return Section("", [Column("run", "run"), Column("points", heading)], rows)


def findings(view: View) -> list[str]:
    """Of each data set which model ends highest, and whether the bounds still rise: the first seed of each row."""
    sentences = []
    for title, made in view.by_dataset.items():
        rows = {row.title + (f", K = {row.k}" if row.k > 1 else ""): found[0] for row, found in made}
        last = {name: _last("test_bound")(file) for name, file in rows.items()}
        best, worst = max(last, key=last.__getitem__), min(last, key=last.__getitem__)
        curve = _points_of(rows[best], "test_bound")
        rise = curve[-1] - curve[max(0, 3 * len(curve) // 4 - 1)]
        beside = f", {worst} lowest ({last[worst]:.2f})" if len(last) > 1 else ""
        sentences.append(
            f"{title}: {best} ends highest ({last[best]:.2f} nats on test images){beside}; in the last quarter of its "
            f"points the bound of {best} changes by {rise:+.2f} nats."
        )
    return sentences


@dataclass(frozen=True)
class Curve:
    """The learning curve of a run, or the mean over a row's seeds, nats per image."""

    label: str  # empty: one of the others, grey and thin
    look: Mapping[str, Any]  # colour, marker and style of its line
    epochs: np.ndarray  # [P]
    test: np.ndarray  # [P]
    train: np.ndarray  # [P]
    test_sd: np.ndarray | None = None  # [P]: over seeds


def learning_curves(curves_of: Mapping[str, Sequence[Curve]], note: str = "") -> Figure:
    """One panel per data set: the bound on test images (full markers) and on training images (hollow) against epoch."""
    entries = _legend([curve for curves in curves_of.values() for curve in curves])
    beside = 4 if len(curves_of) > 1 else 2  # legend entries
    legend = 0.15 * -(-len(entries) // beside) + 0.08  # inches
    canvas, placed = panels(list(curves_of), 2.1, 0.38 + legend, note)
    for (title, axes), curves in zip(placed.items(), curves_of.values(), strict=True):
        for curve in curves:
            if not curve.label:
                axes.plot(curve.epochs, curve.test, **OTHERS)
                continue
            every = max(1, len(curve.epochs) // 8)
            common: Any = {**curve.look, "markevery": (every // 2, every)}
            axes.plot(curve.epochs, curve.test, **common)
            axes.plot(curve.epochs, curve.train, **common, **TRAIN)
            if curve.test_sd is not None:
                band = (curve.test - curve.test_sd, curve.test + curve.test_sd)
                axes.fill_between(curve.epochs, *band, color=common["color"], alpha=0.2, linewidth=0)
        first = title == next(iter(placed))
        axes.set(xlabel="epoch", ylabel="bound, nats per image" if first else "", ylim=_limits(curves))
        axes.set_xlim(left=0)
    below = (canvas.below + 0.02) / canvas.size[1]
    canvas.figure.legend(handles=entries, loc="lower center", bbox_to_anchor=(0.5, below), ncols=beside, **LEGEND)
    return canvas.figure


def training(view: View) -> Figure:
    """The learning curves of all models; of many, the best are named."""
    rows = view.made
    everything = [file for _, found in rows for file in found]
    named = [row for row, _ in (rows if len(rows) <= NAMED else _best(view.by_dataset))]
    models = list(dict.fromkeys(row.model for row in named))
    samples = sorted({row.k for row in named})
    averaged = len(everything) > CURVES
    curves: dict[str, list[Curve]] = {}
    for row, found in rows:
        label, look = "", {}
        if row in named:
            label = style.text(row.title) + (f", K = {row.k}" if len(samples) > 1 else "")
            look = style.look(models.index(row.model), samples.index(row.k))
        for seeds in [found] if averaged else [[file] for file in found]:
            curves.setdefault(row.dataset, []).append(_curve(seeds, label, look))
    said = ["bounds with the K of the training"]
    if averaged and any(len(found) > 1 for _, found in rows):
        said.append("means over seeds, with one standard deviation of test images' as a band")
    if len(named) < len(rows):
        said.append(f"named: the highest last bounds on test images; grey: the other {len(rows) - len(named):,} models")
    return learning_curves(curves, view.figure_note(everything, "; ".join(said)))


def _best(by_data: Mapping[str, Pairs]) -> Pairs:
    """Of each data set the rows whose bound on test images ends highest; as many rows in all as there are colours."""
    each = max(1, len(style.COLOURS) // len(by_data))

    def last(pair: tuple[Row, list[Stored]]) -> float:
        return -float(np.mean([_last("test_bound")(file) for file in pair[1]]))

    return [pair for pairs in by_data.values() for pair in sorted(pairs, key=last)[:each]]


def _curve(seeds: list[Stored], label: str, look: Mapping[str, Any]) -> Curve:
    """The mean over some seeds' files. Raises InputError when their curves differ in their epochs."""
    epochs = _points_of(seeds[0], "test_epoch")
    for file in seeds:
        if not np.array_equal(_points_of(file, "test_epoch"), epochs):
            raise InputError(
                f"{file.path}: its curve has other epochs than {seeds[0].path}; delete one and train again"
            )
    test = np.stack([_points_of(file, "test_bound") for file in seeds])  # [seeds, P]
    train = np.stack([_points_of(file, "train_bound_collected") for file in seeds])
    sd = test.std(axis=0, ddof=1) if len(seeds) > 1 else None
    return Curve(label, look, epochs, test.mean(axis=0), train.mean(axis=0), sd)


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
        entries.setdefault(curve.label, Line2D([], [], **curve.look, label=curve.label))
    grey: Any = {"color": "#555555", "marker": "o"}
    kinds = [Line2D([], [], **grey, label="test images"), Line2D([], [], **grey, **TRAIN, label="training images")]
    others = [] if all(curve.label for curve in curves) else [Line2D([], [], **OTHERS, label="others, test images")]
    return [*entries.values(), *kinds, *others]


def _last(array: str) -> Callable[[Stored], float]:
    return lambda file: float(_points_of(file, array)[-1])


def _points_of(file: Stored, array: str) -> np.ndarray:
    """[P]. Raises InputError when the curve has no point."""
    values = file.array(f"curves/{array}")
    if not values.size:
        raise InputError(f"{file.path}: its learning curve is empty; delete it and train again")
    return values


FIGURES = {"training": training}
RECORDS = {"curves": records}
ON_PAGE = {"points": points}
