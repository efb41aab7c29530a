"""Preferences by class as heat maps, similarity of classes as matrices and graphs, every slot as an image."""

from collections.abc import Iterator

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memvae.analyses.slots.numbers import labels, layer_title, layers, preferred
from memvae.files.store import Stored
from memvae.report import style
from memvae.report.canvas import GAP, Canvas, draw_images
from memvae.report.view import View

ACROSS = 5  # panels beside each other in the graph of classes
SLOTS_ACROSS = 20  # images of slots beside each other
WIDEST = 3.0  # points: the strongest edge of a graph
EMPTY = "#D9E6F2"  # a cell without a value
GRAPH_BLUE = style.COLOURS[0]


def ordered(preferences: np.ndarray) -> np.ndarray:
    """Slots by the class that prefers each most, those of a class by how much, the strongest first; behind them, in
    the same order, those that no class prefers (at most twice as much as if it preferred all alike).

    preferences: [classes, S] -> places of slots [S]. Equal values leave classes and slots in their order.
    """
    most = preferences.max(axis=0)
    return np.lexsort((-most, preferences.argmax(axis=0), ~preferred(preferences)))


# ---- preferences -----------------------------------------------------------------------------------------------------
def preferences(view: View) -> Figure:
    """Average preferences of every class (rows) for every slot (columns), of every model's first seed, in grey from a
    panel's smallest value to its largest."""
    left, right, between, head, foot = 0.42, 0.06, 0.34, 0.34, 0.26  # inches
    made = [(row, found[0]) for row, found in view.made]
    widest = max(sum(_slots(file, layer) for layer in layers(file)) for _, file in made)
    most = max(len(layers(file)) for _, file in made)
    unit = (style.PAGE - left - right - between * (most - 1)) / widest  # inches: width of a slot
    heights = [min(0.12 * len(labels(file)), 3.0) for _, file in made]
    said = f"seed {made[0][1].seed}, one z per test image. Slots: by the class below, which prefers them most, then by "
    said += "how much; behind them (–) those that no class prefers more than twice as much as if all were alike"
    note = view.figure_note([file for _, file in made], said)
    canvas = Canvas(style.PAGE, sum(heights) + len(made) * (head + foot), note)
    top = sum(heights) + len(made) * (head + foot)
    for (row, file), height in zip(made, heights, strict=True):
        at = left
        for layer in layers(file):
            values = file.array(f"{layer}/preferences")
            axes = canvas.axes(at, top - head - height, unit * values.shape[1], height)
            _heat_map(axes, values, labels(file))
            span = f"white {values.min():.3f}, black {values.max():.3f}"
            axes.set_title(f"{style.text(row.title)}, {layer_title(layer)}\n{span}", fontsize=7, loc="left", pad=3)
            at += unit * values.shape[1] + between
        top -= head + height + foot
    return canvas.figure


def _heat_map(axes: Axes, values: np.ndarray, classes: list[str]) -> None:
    """values: [classes, S]. Slots of one class between two lines, its name below; those that none prefers last."""
    order = ordered(values)
    axes.imshow(values[:, order], cmap="gray_r", aspect="auto")
    best = np.where(preferred(values), values.argmax(axis=0), len(classes))[order]
    names = [style.text(label) for label in [*classes, "–"]]
    starts = np.flatnonzero(np.diff(best, prepend=-1))
    ends = np.append(starts[1:], best.size)
    for start in starts[1:]:
        axes.axvline(start - 0.5, color=style.COLOURS[0], linewidth=0.4)
    axes.set_xticks((starts + ends - 1) / 2, [names[best[start]] for start in starts])
    axes.set_yticks(range(len(classes)), names[:-1])
    axes.tick_params(length=0, labelsize=6 if len(classes) <= 30 else 3, pad=1.5)
    axes.spines[["top", "right"]].set_visible(True)


# ---- similarity of classes -------------------------------------------------------------------------------------------
def class_graph(view: View) -> Figure:
    """How alike classes are, by raw pixels and by every layer's preferences: a matrix, and below it a graph.

    Differs: the authors' graph has edges cov_ij / sqrt(cov_jj), since their code changes the diagonal as it goes; ours
    are correlations.
    """
    made = [(row.title, found[0]) for row, found in view.made]
    panels = [("raw pixels", made[0][1].array("pixels/correlation"))]
    for title, file in made:
        panels += [(f"{title}\n{layer_title(layer)}", file.array(f"{layer}/correlation")) for layer in layers(file)]
    classes = labels(made[0][1])
    left, between, head, middle = 0.16, 0.2, 0.42, 0.2  # inches
    side = (style.PAGE - left - ACROSS * between + 0.12) / ACROSS
    block = head + 2 * side + middle
    lines = -(-len(panels) // ACROSS)
    said = f"seed {made[0][1].seed}; correlations between classes; edges: correlation minus the smallest one"
    canvas = Canvas(style.PAGE, lines * block, view.figure_note([file for _, file in made], said))
    for place, (title, matrix) in enumerate(panels):
        at, line = left + (place % ACROSS) * (side + between), place // ACROSS
        top = (lines - line) * block - head
        axes = canvas.axes(at, top - side, side, side)
        weights, span = _weights(matrix)
        shown = np.ma.masked_where(np.eye(len(matrix), dtype=bool) | ~np.isfinite(matrix), weights)
        axes.imshow(shown, cmap="gray_r", vmin=0, vmax=1)
        axes.set_facecolor(EMPTY)
        names = [style.text(label) for label in classes]
        axes.set_xticks(range(len(classes)), names)
        axes.set_yticks(range(len(classes)), names)
        axes.tick_params(length=0, labelsize=5.5 if len(classes) <= 15 else 3, pad=1.5)
        axes.set_title(f"{style.text(title)}\n{span}", fontsize=6.5, pad=3)
        _graph(canvas.axes(at, top - 2 * side - middle, side, side), weights, names)
    return canvas.figure


def _weights(matrix: np.ndarray) -> tuple[np.ndarray, str]:
    """Correlations of two classes from 0, the smallest, to 1, the largest: [classes, classes]; and the two in words.

    Without a correlation, or where all are equal when rounded to 0.01, every weight is 0.
    """
    between = matrix[~np.eye(len(matrix), dtype=bool)]
    between = between[np.isfinite(between)]
    if not between.size:
        return np.zeros(matrix.shape), "no correlations"
    smallest, largest = between.min(), between.max()
    if f"{smallest:.2f}" == f"{largest:.2f}":
        return np.zeros(matrix.shape), f"all {largest:z.2f}"
    weights = np.clip((np.nan_to_num(matrix, nan=smallest) - smallest) / (largest - smallest), 0, 1)
    return weights, f"white {smallest:z.2f}, black {largest:z.2f}"


def _graph(axes: Axes, weights: np.ndarray, names: list[str]) -> None:
    """A complete graph in a spring layout; width and colour of an edge are in proportion to its weight."""
    graph = nx.Graph()
    graph.add_nodes_from(range(len(weights)))
    for a, b in zip(*np.triu_indices(len(weights), 1), strict=True):
        graph.add_edge(int(a), int(b), weight=float(weights[a, b]))
    places = nx.spring_layout(graph, seed=0)
    edges = sorted(graph.edges(data="weight"), key=lambda edge: edge[2])  # the strongest on top
    for a, b, weight in edges:
        (x, y), (u, v) = places[a], places[b]
        if weight > 0.02:
            axes.plot((x, u), (y, v), color=GRAPH_BLUE, linewidth=WIDEST * weight, alpha=float(weight), zorder=1)
    for node, (x, y) in places.items():
        box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "black", "linewidth": 0.5}
        axes.text(x, y, names[node], fontsize=6.5, ha="center", va="center", bbox=box, zorder=2)
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15))  # the layout's, with room for a node
    axes.set_axis_off()


# ---- every slot ------------------------------------------------------------------------------------------------------
def atlas(view: View) -> Figure:
    """Every slot of every layer with memory as an image, of every model's first seed, sorted as in `preferences`."""
    head, foot = 0.2, 0.115  # inches
    panels = list(_sorted_slots(view))
    file = view.made[0][1][0]
    tall = file.image[0] / file.image[1]
    unit = style.PAGE / (SLOTS_ACROSS * (1 + GAP) - GAP)  # inches: width of an image
    lines = [-(-len(images) // SLOTS_ACROSS) for _, images, _ in panels]
    height = sum(head + n * (unit * tall + foot) for n in lines)
    said = f"seed {file.seed}; slots as they are. Below each: the class that prefers it most, and how much"
    canvas = Canvas(style.PAGE, height, view.figure_note([found[0] for _, found in view.made], said))
    top = height
    for title, images, words in panels:
        canvas.figure.text(0.003, (top - 0.06 + canvas.below) / canvas.size[1], title, fontsize=7, va="top")
        top -= head
        for start in range(0, len(images), SLOTS_ACROSS):
            shown = images[start : start + SLOTS_ACROSS]
            axes = canvas.axes(0, top - unit * tall, unit * (len(shown) * (1 + GAP) - GAP), unit * tall)
            draw_images(axes, shown, file.image)
            for place, word in enumerate(words[start : start + SLOTS_ACROSS]):
                middle = place * (1 + GAP) + 0.5
                axes.text(middle, -0.015 / unit, word, fontsize=5, ha="center", va="top")
            top -= unit * tall + foot
    return canvas.figure


def _sorted_slots(view: View) -> Iterator[tuple[str, np.ndarray, list[str]]]:
    """Title, images [S, D] and words below them, of every layer."""
    for row, (file, *_) in view.made:
        classes = labels(file)
        for layer in layers(file):
            values = file.array(f"{layer}/preferences")
            order = ordered(values)
            best = values.argmax(axis=0)
            words = [f"{style.text(classes[best[slot]])}: {values[best[slot], slot]:.3f}" for slot in order]
            yield f"{style.text(row.title)}, {layer_title(layer)}", file.array(f"{layer}/images")[order], words


def _slots(file: Stored, layer: str) -> int:
    return file.array(f"{layer}/preferences").shape[1]


FIGURES = {"preferences": preferences, "class_graph": class_graph, "atlas": atlas}
