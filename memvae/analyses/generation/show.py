"""Figure 6: images from the prior, with the memory and without."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from memvae.files.store import Stored
from memvae.report import style
from memvae.report.canvas import GAP, Canvas, draw_images
from memvae.report.claims import Part
from memvae.report.statistics import Measured
from memvae.report.view import View

CONDITIONS = ("full", "first", "both")  # as `conditions` of compute.py has them

PAGE = Part(
    "Generation with the memory disabled (Figure 6)",
    "What is read from memory is replaced by ones, in the layer next to the data or in every layer.",
)


def measure(view: View) -> Iterator[Measured]:
    """Images, no numbers."""
    return iter(())


def fig6(view: View) -> Figure:
    """Figure 6 of the first model, its first seed."""
    (row, found), *_ = view.made
    file = found[0]
    titles = condition_titles(file)
    images = file.array("images")[[CONDITIONS.index(condition) for condition in titles]]
    note = view.figure_note([file], f"{row.title}, seed {file.seed}, {images.shape[1]} draws of z")
    return memory_disabled(images, file.image, list(titles.values()), note)


def condition_titles(file: Stored) -> dict[str, str]:
    """The conditions to show of a file of `generation` or `detail` -> what they are called.

    A network of one layer shows one disabled memory: its first layer is all that it has.
    """
    layers = len(file.spec["network"]["hidden"])
    if layers == 1:
        return {"full": "full memory", "both": "memory disabled"}
    every = "both" if layers == 2 else "all"
    return {"full": "full memory", "first": "first layer disabled", "both": f"{every} layers disabled"}


def memory_disabled(images: np.ndarray, shape: tuple[int, int], labels: Sequence[str], note: str = "") -> Figure:
    """images: [rows, n, D], a row of n images for each label."""
    rows, count = images.shape[:2]
    left, right, tall = 0.72, 0.02, shape[0] / shape[1]
    unit = (style.PAGE - left - right) / (count * (1 + GAP) - GAP)  # inches: width of one image
    canvas = Canvas(style.PAGE, 0.04 + unit * (rows * (tall + GAP) - GAP), note)
    for row in range(rows):
        axes = canvas.axes(left, unit * (rows - 1 - row) * (tall + GAP), style.PAGE - left - right, unit * tall)
        draw_images(axes, images[row], shape)
        axes.text(
            -0.25, tall / 2, labels[row].replace(" disabled", "\ndisabled"), ha="right", va="center", linespacing=0.95
        )
    return canvas.figure


def findings(view: View) -> list[str]:
    """How far the images of Figure 6 change without the memory."""
    (row, found), *_ = view.made
    images = {
        label: found[0].array("images")[CONDITIONS.index(one)] for one, label in condition_titles(found[0]).items()
    }
    full, *others = images.values()
    alike = [np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(full, other, strict=True)]) for other in others]
    changes = [f"{one:.2f} with {label}" for one, label in zip(alike, list(images)[1:], strict=True)]
    return [
        f"{row.title}: the mean correlation of an image with the one of the same z and full memory is "
        f"{', '.join(changes)} ({len(full)} images; the next section has more)."
    ]


FIGURES = {"fig6": fig6}
