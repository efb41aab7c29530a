"""Numbers from a file of the analysis `slots`, and names of its layers and ranks."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from memvae.errors import InputError
from memvae.files.store import Stored
from memvae.settings.config import Row

PAPER_MODEL = "vis_mem_vae"  # Table 4 and Figure 7 are about it
DIGITS = ("mnist", "digits")  # data sets whose classes are the paper's
ENDINGS = {1: "st", 2: "nd", 3: "rd"}  # of ordinal numbers
USED_ABOVE = 0.01  # a slot is in use when some class prefers it by more than this (computed so from the authors' file)


def authors_row(row: Row) -> bool:
    """Whether the authors' numbers of slots are about this row: VIS-MEM-VAE on MNIST, or on the digits in its place."""
    dataset = row.runs[0].split("-")[0] if row.runs else row.paper_dataset
    return (row.paper_dataset, row.model) == ("mnist", PAPER_MODEL) and dataset in DIGITS


def layers(file: Stored) -> list[str]:
    """Decoder layers with memory, the one next to the data first."""
    names = sorted({name.split("/")[0] for name in file.arrays if name.endswith("/preferences")})
    if not names:
        raise InputError(f"{file.path}: has no preferences of any layer; delete it and make it again")
    return names


def used(file: Stored, layer: str) -> np.ndarray:
    """Number of classes that prefer each slot by more than 0.01: [S]."""
    return (file.array(f"{layer}/preferences") > USED_ABOVE).sum(axis=0)


def preferred(preferences: np.ndarray) -> np.ndarray:
    """Whether some class prefers a slot more than twice as much as if it preferred all alike: bool [S].

    preferences: [classes, S], rows that sum to 1. The authors' limit of 0.01 is above an equal preference of 300 slots
    and below that of 70, so it cannot compare memories of several sizes, nor say that one does nothing.
    """
    return np.asarray(preferences.max(axis=0) > 2 / preferences.shape[1])


def labels(file: Stored) -> list[str]:
    """The classes' names, in their order."""
    return [str(label) for label in file.array("classes")]


def pairs(classes: Sequence[str]) -> dict[str, tuple[int, int]]:
    """`7-9` -> the places of the two classes, of every pair."""
    return {f"{classes[a]}-{classes[b]}": (a, b) for a, b in combinations(range(len(classes)), 2)}


def layer_title(layer: str) -> str:
    """`layer0` -> `layer next to the data`, `layer1` -> `layer 2 from the data`."""
    place = int(layer.removeprefix("layer"))
    return "layer next to the data" if place == 0 else f"layer {place + 1} from the data"


def ordinal(place: int) -> str:
    """0 -> `1st`."""
    number = place + 1
    last = 0 if number % 100 in (11, 12, 13) else number % 10
    return f"{number}{ENDINGS.get(last, 'th')}"
