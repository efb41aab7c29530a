"""A prepared data set, as training and evaluation use it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from memvae.data.loaders import BYTE_LOADERS, BYTES
from memvae.errors import InputError
from memvae.files import store
from memvae.settings.config import making


@dataclass(frozen=True, eq=False)
class Dataset:
    """The content of `data/<dataset>.h5`."""

    path: Path
    name: str
    title: str
    image: tuple[int, int]  # rows, columns
    maximum: float  # a pixel is image / maximum
    likelihood: str  # bernoulli | gaussian
    sha256: str  # of the arrays
    arrays: dict[str, np.ndarray] = field(repr=False)

    @property
    def splits(self) -> tuple[str, ...]:
        """`train`, perhaps `valid`, and `test`."""
        return tuple(split for split in ("train", "valid", "test") if f"{split}/images" in self.arrays)

    @property
    def classes(self) -> int:
        """The number of classes, one more than the largest label; 0 where there are no labels."""
        return max((int(value.max()) + 1 for key, value in self.arrays.items() if key.endswith("/labels")), default=0)

    @property
    def test_binary(self) -> np.ndarray:
        """float32 [N, D]: the test images as the likelihood sees them: binary, or the pixels for Gaussian data."""
        if self.likelihood == "gaussian":
            return self.pixels("test")
        return self._array("test/binary").astype(np.float32)

    def pixels(self, split: str) -> np.ndarray:
        """float32 [N, D] in [0, 1], real-valued. Raises InputError when there is no such split."""
        pixels = self._array(f"{split}/images").astype(np.float32)
        pixels /= np.float32(self.maximum)
        return pixels

    def labels(self, split: str) -> np.ndarray:
        """int64 [N], from 0. Raises InputError when the data set has no labels."""
        return self._array(f"{split}/labels").astype(np.int64)

    def _array(self, key: str) -> np.ndarray:
        if key not in self.arrays:
            found = ", ".join(sorted(self.arrays))
            raise InputError(f"{self.path}: {self.title} has no {key}, only {found}; choose another data set")
        return self.arrays[key]


def load(path: Path | str) -> Dataset:
    """Reads `data/<dataset>.h5`. Raises InputError when it is missing, damaged, another kind of file, or MNIST or Frey
    faces on the scale that this project had at first (byte / 255, byte / 238)."""
    stored = store.read(path, "dataset")
    facts = stored.attributes
    if facts.get("loader") in BYTE_LOADERS and facts.get("maximum") != BYTES:
        raise InputError(
            f"{path}: found pixels of byte / {facts.get('maximum'):g}, an old scale, expected byte / {BYTES}, the "
            f"authors'; delete it and make it again with {making(path)}"
        )
    try:
        own = {name: facts[name] for name in ("title", "maximum", "likelihood", "sha256")}
        return Dataset(stored.path, facts["dataset"], image=tuple(facts["image"]), arrays=stored.arrays, **own)
    except KeyError as error:
        raise InputError(f"{path}: the attribute {error} is missing; delete the file and make it again") from None
