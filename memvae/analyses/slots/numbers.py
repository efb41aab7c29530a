"""Numbers of a file of slots, and how its layers and ranks are called."""

import numpy as np

from memvae.errors import InputError
from memvae.report.layout import RunFile
from memvae.settings.config import Row

PAPER_MODEL = "vis_mem_vae"  # Table 4 and Figure 7 are about it
ORDINALS = ("1st", "2nd", "3rd")
USED_ABOVE = 0.01  # a slot is in use when some class prefers it by more than this (computed so from the authors' file)


def authors_row(row: Row) -> bool:
    """Whether the authors' numbers of slots are about this row."""
    return (row.paper_dataset, row.model) == ("mnist", PAPER_MODEL)


def layers(file: RunFile) -> list[str]:
    """Decoder layers with memory, the one next to the data first."""
    names = sorted({name.split("/")[0] for name in file.stored.arrays if name.endswith("/preferences")})
    if not names:
        raise InputError(f"{file.path}: has no preferences of any layer; delete it and make it again")
    return names


def used(file: RunFile, layer: str) -> np.ndarray:
    """Number of classes that prefer each slot by more than 0.01: [S]."""
    return (file.array(f"{layer}/preferences") > USED_ABOVE).sum(axis=0)


def layer_title(layer: str) -> str:
    """`layer0` -> `layer next to the data`, `layer1` -> `layer 2 from the data`."""
    place = int(layer.removeprefix("layer"))
    return "layer next to the data" if place == 0 else f"layer {place + 1} from the data"


def ordinal(place: int) -> str:
    """0 -> `1st`."""
    return ORDINALS[place] if place < len(ORDINALS) else f"{place + 1}th"
