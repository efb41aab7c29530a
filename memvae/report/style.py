"""The one matplotlib style, and figures as `.png` and `.pdf` whose bytes depend on their content alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["MPLBACKEND"] = "agg"  # files alone are drawn, whatever a user's environment says

import matplotlib
from matplotlib.figure import Figure

from memvae.files.store import replacing

COLUMN = 3.25  # inches: width of one column of the paper
PAGE = 6.75  # inches: of both
NOTE_SIZE = 6.5  # points
# Okabe and Ito (2008): distinct for the colour-blind; the yellow is left out, too pale on white.
COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
RED = "#E00000"

SETTINGS: Any = {  # matplotlib's rcParams
    "font.family": "STIXGeneral",  # ships with matplotlib, so every machine has it
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # fonts embedded as TrueType, so text in the PDF stays text
    "svg.hashsalt": "memvae",
}
METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def look(place: int, k: int = 0) -> dict[str, str]:
    """Colour and marker of the model at this place of a figure, and the line of the K of training at place `k`."""
    marks = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
    return {**marks, "linestyle": LINES[k % len(LINES)]}


def text(words: str) -> str:
    """Words as matplotlib draws them as they are: a dollar sign begins no formula."""
    return words.replace("$", r"\$")


@contextmanager
def paper() -> Iterator[None]:
    """Within it, matplotlib draws in this style, whatever a user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def save(figure: Figure, output: Path | str) -> None:
    """Writes `output` and its sibling, `.png` and `.pdf`, each atomically. Raises InputError where that fails."""
    os.environ.pop("SOURCE_DATE_EPOCH", None)  # no time enters a figure
    for suffix, metadata in METADATA.items():
        with replacing(Path(output).with_suffix(suffix)) as temporary:
            figure.savefig(temporary, format=suffix.removeprefix("."), metadata=metadata)
