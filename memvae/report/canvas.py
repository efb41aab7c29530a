"""Drawing tools for the figures: sizes in inches, rows and grids of images, marks."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from memvae.report import style

FOOTER_CHARACTERS = 25  # per inch, in small print
FOOTER_LINE = 0.105  # inches
GAP = 0.12  # between images, as a share of an image's width
GRID = 8  # images along a side of a panel of Figure 8


class Canvas:
    """A figure measured in inches, with a footer of small print below its content."""

    def __init__(self, width: float, height: float, footer: str = ""):
        """`height`: of the content, inches; the footer's lines are added to it."""
        characters = int(width * FOOTER_CHARACTERS)
        lines = [line for part in footer.splitlines() for line in textwrap.wrap(part, characters)]
        self.size = (width, height + 0.03 + (0.05 + FOOTER_LINE * len(lines) if lines else 0.0))
        self.below = self.size[1] - height
        self.figure = Figure(figsize=self.size)
        if lines:
            top = (self.below - 0.05) / self.size[1]
            words = style.text("\n".join(lines))
            self.figure.text(0.02 / width, top, words, fontsize=style.NOTE_SIZE, va="top", linespacing=1.1)

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Axes placed in inches from the left and from the content's lower edge."""
        wide, tall = self.size
        return self.figure.add_axes((left / wide, (bottom + self.below) / tall, width / wide, height / tall))


def panels(titles: Sequence[str], height: float, foot: float, note: str) -> tuple[Canvas, dict[str, Axes]]:
    """Axes side by side, one for each title, with a grid: a page wide, or a column where there is one.

    height: of the axes, foot: of what stands below them; inches.
    """
    page = style.PAGE if len(titles) > 1 else style.COLUMN
    left, right, between, head = 0.58, 0.06, 0.5, 0.2  # inches
    width = (page - left - right - between * (len(titles) - 1)) / len(titles)
    canvas = Canvas(page, foot + height + head, note)
    placed = {}
    for place, title in enumerate(titles):
        placed[title] = canvas.axes(left + place * (width + between), foot, width, height)
        placed[title].set(title=style.text(title))
        placed[title].grid(alpha=0.25, linewidth=0.4)
    return canvas, placed


def draw_images(axes: Axes, images: np.ndarray, shape: tuple[int, int]) -> None:
    """`images` [n, D] beside each other; the unit of the axes is an image's width."""
    tall = shape[0] / shape[1]
    for place, image in enumerate(images):
        left = place * (1 + GAP)
        axes.imshow(image.reshape(shape), vmin=0, vmax=1, extent=(left, left + 1, 0, tall), aspect="auto")
    axes.set(xlim=(0, len(images) * (1 + GAP) - GAP), ylim=(0, tall))
    axes.set_axis_off()


def mosaic(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The first 64 of `images` [n, D] as one picture of 8 x 8, one white pixel apart; missing ones are white."""
    rows, columns = shape
    picture = np.ones((GRID, rows + 1, GRID, columns + 1))  # [down, image rows, across, image columns]
    for place, image in enumerate(images[: GRID * GRID]):
        picture[place // GRID, :rows, place % GRID, :columns] = image.reshape(shape)
    return picture.reshape(GRID * (rows + 1), GRID * (columns + 1))


def mark(axes: Axes, column: int, row: int) -> None:
    """A red rectangle with a white rim: in grey print the rim tells it from the image."""
    halo = [patheffects.Stroke(linewidth=2.4, foreground="white"), patheffects.Normal()]
    box = Rectangle((column + 0.03, row + 0.03), 0.9, 0.9, fill=False, edgecolor=style.RED, linewidth=1.3)
    box.set_path_effects(halo)
    box.set_clip_on(False)
    axes.add_patch(box)
