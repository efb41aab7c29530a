"""What every model generates, with the nearest training images, and distances that show whether it copies them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from memvae.files.store import Stored
from memvae.report import statistics, style
from memvae.report.canvas import GAP, GRID, Canvas, draw_images, mosaic
from memvae.report.claims import Part
from memvae.report.paper import run_key
from memvae.report.statistics import Measured
from memvae.report.table import NOT_RUN, Column, Section, Table
from memvae.report.view import View, record_of
from memvae.settings.config import Row

KINDS = ("means", "draws")  # of samples: E[x|z], and x ~ p(x|z)
UNIT = "Euclidean distance, pixels in [0, 1]"
REPLICATES = 200  # of the bootstrap: the error of an error is then 5 %
NEAREST = 5  # % of the test images that are nearest to a training image
HEAD, LABELS, BETWEEN = 0.36, 0.5, 0.1  # inches: above a model's images, left of the right panel, between panels
TALLEST = 3.0  # inches of a panel
APART = 0.35  # between an image of the test set and the interpolation, as a share of an image's width
LINES = (0.0, 1.08, 3.1, 4.18, 5.84, 6.92)  # of the right panel, from above, in heights of an image

PAGE = Part(
    "Samples beside their nearest training images",
    "Ours: the paper's appendix shows samples with the memory disabled (Figure 6). A model that copies its training "
    "images would be nearer to them than test images are.",
)
COLUMNS = (
    Column("data", "data"),
    Column("model", "model"),
    Column("k", "K"),
    Column("images", "samples"),
    Column("distance", "distance"),
    Column("distance_standard_error", "standard error", 3),
    Column("test_distance", "of test images"),
    Column("test_distance_standard_error", "its standard error", 3),
    Column("farther", "difference", sign=True),
    Column("farther_standard_error", "its standard error", 3),
    Column("close", f"nearer than the nearest {NEAREST} % of test images, %", 1),
    Column("close_standard_error", "its standard error", 1),
    Column("copy_distance", "of copies"),
)


def measure(view: View) -> Iterator[Measured]:
    """Distances to the nearest training image: of samples, of test images, how much farther samples are, and of copies.

    Every seed has samples of its own, so their errors are independent; the images beside them are the same.
    """
    for row, found in view.made:
        for setting in ("samples", "images"):
            statistics.same_setting(found, setting)
        for kind in KINDS:
            n = found[0].array(f"{kind}/distance").size
            ours = statistics.independent(row, found, "distance", UNIT, _mean(f"{kind}/distance"), kind, n)
            theirs = statistics.per_image(
                row, found, "test_distance", UNIT, statistics.array(f"{kind}/test_distance"), kind
            )
            yield ours
            yield theirs
            yield replace(
                ours,
                quantity="farther",
                values=tuple(a - b for a, b in zip(ours.values, theirs.values, strict=True)),
                errors=tuple(statistics.joined(a, b) for a, b in zip(ours.errors, theirs.errors, strict=True)),
                error=statistics.joined(ours.error, theirs.error),
            )
            yield _close(row, found, kind)
            copies = f"{kind}/copy_distance"
            if found[0].has(copies):
                yield statistics.per_image(row, found, "copy_distance", UNIT, statistics.array(copies), kind)


def table(view: View) -> Table:
    """The table `sample_distances` (and `sample_distances_extended`): two rows per model."""
    records: list[dict[str, Any]] = []
    for row, found in view.rows:
        for kind in KINDS if found else ():
            record: dict[str, Any] = {**record_of(row, run_key), "k": row.k, "images": kind}
            for name in ("distance", "test_distance", "farther", "close", "copy_distance"):
                if one := view.number(row, name, kind):
                    record |= {name: one.mean, f"{name}_standard_error": one.error, f"{name}_sd": one.sd}
            record |= {"seeds": len(found), "test_images": found[0].array(f"{kind}/test_distance").size}
            records.append(record | view.facts(row, found, found[0].setting("samples")))
        if not found:
            records.append({**record_of(row, run_key), "k": row.k, "distance": NOT_RUN, **view.facts(row, found)})
    notes = view.notes(
        "Ours. Mean Euclidean distance to the nearest image that the model was trained on (pixels in [0, 1], "
        "real-valued), of samples and of test images. Means E[x|z] stand beside real-valued test images, draws "
        "x ~ p(x|z) beside the test images of the likelihood, which are binary for Bernoulli data; z is from the "
        "prior.",
        "A model with the distribution of the data has draws as far away as test images, and 5 % of them nearer than "
        "the nearest 5 % of the test images. Means lack the noise of draws, so they can be nearer without a copy.",
        "Copies: training images binarised anew, the draws of a model that has learned them by heart. Where images "
        "are not binarised, the distance of a copy is 0; so is that of a copied mean.",
        f"Standard errors are over samples and over test images. Data: {view.data()}." if view.done else "",
    )
    title = "Distance of samples to the training images"
    return Table("sample_distances", title, records, [Section("", COLUMNS, records, long=True)], notes)


def figure(view: View) -> Figure:
    """The figure `samples` (and `samples_extended`): of each model, its first seed, a row of three panels."""
    shown = [(row, found[0]) for made in view.by_dataset.values() for row, found in made]
    several = len({row.k for row, _ in shown}) > 1
    heights = [GRID * _unit(file.image) * file.image[0] / file.image[1] for _, file in shown]
    canvas = Canvas(style.PAGE, sum(heights) + HEAD * len(shown), _note(view, [file for _, file in shown]))
    below = sum(heights) + HEAD * len(shown)
    for (row, file), height in zip(shown, heights, strict=True):
        below -= HEAD + height
        k = f", K = {row.k}" if several else ""
        _model(canvas, below, file, f"{row.title} on {row.dataset}{k}")
    return canvas.figure


def findings(view: View) -> list[str]:
    """Whether samples copy training images: of each model the share of draws that are nearer than most test images."""
    shares = {row: view.number(row, "close", "draws") for row, _ in view.made}
    words = [
        f"{row.title} on {row.dataset} {one.mean:.1f} ± {one.error or 0:.1f} %" for row, one in shares.items() if one
    ]
    return [
        f"Draws nearer to a training image than the nearest {NEAREST} % of test images are: {', '.join(words)}. "
        f"A model with the distribution of the data has {NEAREST} %, one that copies has more."
    ]


def _note(view: View, files: list[Stored]) -> str:
    gaussian = any(file.spec["network"].get("likelihood") == "gaussian" for file in files)
    words = (
        "Means E[x|z] and draws x ~ p(x|z) for the same 64 z from the prior. Nearest: the training image with the "
        "smallest Euclidean distance to the mean above it, one of the first eight means. Interpolation: means on the "
        "straight line in z between the posterior means of two test images, which stand outside; both ends are their "
        "reconstructions. Disabled: the memory information of every layer is set to ones, as in Figure 6."
    )
    clipped = " Images of Gaussian models are shown within [0, 1]." if gaussian else ""
    return f"{words}{clipped}\n{view.figure_note(files, f'seed {files[0].seed}')}"


def _unit(shape: tuple[int, int]) -> float:
    """Inches of the width of an image: what fits the page, or what is tall enough."""
    across = 3 * GRID + (GRID - 1) * GAP + 2 * (1 + APART)  # two panels, and the third with an image on each side
    return min((style.PAGE - LABELS - 2 * BETWEEN - 0.04) / across, TALLEST / GRID * shape[1] / shape[0])


def _model(canvas: Canvas, below: float, file: Stored, title: str) -> None:
    """Three panels: means, draws, and nearest training images above interpolations. below: their lower edge, inches."""
    shape, unit = file.image, _unit(file.image)
    tall = unit * shape[0] / shape[1]
    side, left = GRID * unit, 0.02
    for kind in KINDS:
        axes = canvas.axes(left, below, side, GRID * tall)
        axes.imshow(mosaic(file.array(f"{kind}/images"), shape), vmin=0, vmax=1, aspect="auto")
        axes.set_axis_off()
        axes.set_title(kind, pad=3, fontsize=7)
        if kind == KINDS[0]:
            head = (below + GRID * tall + 0.19 + canvas.below) / canvas.size[1]
            canvas.figure.text(left / canvas.size[0], head, style.text(title), va="bottom", fontweight="bold")
        left += side + BETWEEN
    left += LABELS
    step = unit * (1 + APART)
    between = unit * (GRID * (1 + GAP) - GAP)

    def line(place: int, images: np.ndarray, label: str, heading: str = "", beside: bool = False) -> None:
        bottom = below + GRID * tall - (LINES[place] + 1) * tall
        axes = canvas.axes(left + step, bottom, between, tall)
        draw_images(axes, images[1:-1] if beside else images, shape)
        axes.set_title(heading, pad=3, fontsize=7)
        axes.text(-1.5 - APART, shape[0] / shape[1] / 2, label, ha="right", va="center", fontsize=style.NOTE_SIZE)
        for x, image in ((left, images[:1]), (left + step + between + unit * APART, images[-1:])) if beside else ():
            draw_images(canvas.axes(x, bottom, unit, tall), image, shape)

    beside = file.array("means/nearest")
    line(0, file.array("means/images")[: len(beside)], "mean", "nearest training images")
    line(1, beside, "nearest")
    for pair, (first, last) in enumerate(file.array("interpolation/ends")):
        images = np.concatenate([first[None], file.array("interpolation/full")[pair], last[None]])
        label = "memory" if file.has_memory else ""
        line(2 + 2 * pair, images, label, "" if pair else "interpolation between test images", beside=True)
        if file.has_memory:
            line(3 + 2 * pair, file.array("interpolation/both")[pair], "disabled")


def _mean(array: str) -> Any:
    return lambda file: (float(file.array(array).mean()), statistics.standard_error(file.array(array)))


def _close(row: Row, found: list[Stored], kind: str) -> Measured:
    """Share of samples nearer than the nearest test images, %.

    The errors are those of a bootstrap of samples and test images; these are the same for every seed.
    """
    pairs = [(file.array(f"{kind}/distance"), file.array(f"{kind}/test_distance")) for file in found]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(REPLICATES):
        test = rng.integers(0, pairs[0][1].size, pairs[0][1].size)
        drawn.append([close(ours[rng.integers(0, ours.size, ours.size)], theirs[test]) for ours, theirs in pairs])
    by_seed = np.array(drawn)  # [replicates, seeds]
    errors, error = tuple(map(float, by_seed.std(axis=0, ddof=1))), float(by_seed.mean(axis=1).std(ddof=1))
    values = tuple(close(ours, theirs) for ours, theirs in pairs)
    return Measured(row, tuple(found), "close", kind, "%", values, errors, error, pairs[0][0].size)


def close(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of samples that are nearer than the nearest NEAREST % of test images, %. ours, theirs: distances, [N], [M].

    Binary images are often equally far: of samples as far as the last of these test images, the same part counts as of
    test images, so that the share of test images themselves is exact.
    """
    limit = np.quantile(theirs, NEAREST / 100, method="inverted_cdf")  # one of them
    part = (NEAREST / 100 - (theirs < limit).mean()) / (theirs == limit).mean()
    return 100 * float((ours < limit).mean() + part * (ours == limit).mean())


TABLES = {"sample_distances": table}
FIGURES = {"samples": figure}
