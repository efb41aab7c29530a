"""Missing pixels of test images, for imputation: which pixels are missing, and their starting values.

Every draw is keyed by (seed, noise) and made image by image, so image i gets the same draw whatever `count` is.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from memvae.errors import InputError

MASKS, VALUES = 0, 1  # what is drawn: separate streams


@dataclass(frozen=True)
class Noise:
    """One way to lose pixels."""

    name: str  # square_6, drop_0.2, left_half
    kind: str  # square | drop | left_half
    level: float = 0.0  # square: side in pixels; drop: probability that a pixel is missing


def noises(settings: Mapping[str, Any]) -> list[Noise]:
    """The noises of the config's `analyses.imputation`: squares, drops, the left half, in that order.

    Raises InputError when a square's side is not even and positive or a probability not in (0, 1].
    """
    found = []
    for side in settings["squares"]:
        if side < 2 or side % 2:
            raise InputError(f"analyses.imputation.squares: found {side}, expected an even number of pixels")
        found.append(Noise(f"square_{side}", "square", side))
    for probability in settings["drops"]:
        if not 0 < probability <= 1:
            raise InputError(f"analyses.imputation.drops: found {probability}, expected a probability above 0")
        found.append(Noise(f"drop_{probability:g}", "drop", probability))
    if settings["left_half"]:
        found.append(Noise("left_half", "left_half"))
    return found


def missing(noise: Noise, count: int, image: tuple[int, int], seed: int) -> np.ndarray:
    """bool [count, D], True where a pixel is missing: a centred square, single pixels (other ones in every image) or
    the columns 0 .. columns // 2 - 1.

    Raises InputError when the square does not fit into the image.
    """
    rows, columns = image
    if noise.kind == "drop":
        return _generator(noise, seed, MASKS).random((count, rows * columns)) < noise.level
    mask = np.zeros((rows, columns), bool)
    if noise.kind == "left_half":
        mask[:, : columns // 2] = True
    else:
        side = int(noise.level)
        if side > min(rows, columns) or side % 2:
            raise InputError(
                f"analyses.imputation.squares: found {side} for images of {rows} x {columns}, expected an even number "
                f"up to {min(rows, columns)}"
            )
        top, left = (rows - side) // 2, (columns - side) // 2
        mask[top : top + side, left : left + side] = True
    return np.tile(mask.reshape(1, -1), (count, 1))


def starting_values(noise: Noise, count: int, image: tuple[int, int], seed: int) -> np.ndarray:
    """float32 [count, D], uniform in [0, 1): what missing pixels hold before the first iteration."""
    return _generator(noise, seed, VALUES).random((count, image[0] * image[1]), dtype=np.float32)


def _generator(noise: Noise, seed: int, purpose: int) -> np.random.Generator:
    key = np.random.SeedSequence(seed, spawn_key=(purpose, zlib.crc32(noise.name.encode())))
    return np.random.Generator(np.random.PCG64(key))
