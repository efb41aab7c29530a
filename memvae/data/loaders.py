"""One loader per data set: it reads raw files and returns images for each split, integers or floats in [0, 1].

A loader is called with the data set's entry of the configuration and the folder of its raw files. Apart from the names
in `LOADERS`, the configuration may give `package.module:function`; this function gets only the entry and returns arrays
by name.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from memvae.data import formats
from memvae.errors import InputError
from memvae.files import store
from memvae.settings import rules

OCR_ORDER_SEED = 20160619  # ours; fixes the order of the training rows, which are in circulation in more than one
AUTHORS_SEED = 1234  # of numpy's global generator at the start of their script
DIGITS_SPLIT_SEED = 20160621  # ours
FREY_TEST = 100  # of 1,965 frames (authors' code)
DIGITS_TEST = 297  # of 1,797 images (ours)
BYTES = 256  # pixel = byte / 256: the authors read mnist.pkl.gz, whose largest value is 255 / 256, and Frey faces so
BYTE_LOADERS = ("mnist", "frey_faces")
SPLITS = ("train", "valid", "test")
ARRAYS = (*(f"{split}/{kind}" for split in SPLITS for kind in ("images", "labels")), "maximum")  # of the user's own

Entry = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Raw:
    """Images [N, D] or [N, rows, columns] and labels [N] by split; a pixel is image / maximum."""

    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    maximum: float
    sources: dict[str, str] = field(default_factory=dict)  # name -> sha256 of what is not in the entry's `files`
    test_binary: np.ndarray | None = None  # uint8, shaped as the test images: their binarisation, where it is given


def load(entry: Entry, raw: Path) -> Raw:
    """The data set that an entry of the config describes. Raises InputError on an unknown loader or malformed data."""
    if ":" in entry["loader"]:
        return imported(entry)
    rules.known("loader", entry["loader"], LOADERS)
    return LOADERS[entry["loader"]](entry, raw)


def mnist(entry: Entry, raw: Path) -> Raw:
    """60,000 training images (training and validation together, as the paper) and 10,000 test images, with labels.

    A pixel is byte / 256, at most 0.99609375, as in the authors' mnist.pkl.gz (docs/method.md). The test images are
    binarised by the authors' draw: with their seed they first binarise the training images and then these.
    """
    images = {"train": formats.idx_images(raw / "train-images-idx3-ubyte.gz")}
    images["test"] = formats.idx_images(raw / "t10k-images-idx3-ubyte.gz")
    labels = {"train": formats.idx_labels(raw / "train-labels-idx1-ubyte.gz")}
    labels["test"] = formats.idx_labels(raw / "t10k-labels-idx1-ubyte.gz")
    generator = np.random.RandomState(AUTHORS_SEED)  # whose stream numpy keeps as it was in 2016
    draws = {split: generator.binomial(1, images[split] / BYTES).astype(np.uint8) for split in ("train", "test")}
    return Raw(images, labels, BYTES, test_binary=draws["test"])


def ocr_letters(entry: Entry, raw: Path) -> Raw:
    """32,152 training, 10,000 validation and 10,000 test images, binary, without labels.

    The training rows are sorted and then shuffled by a fixed seed, so every copy in circulation gives the same arrays.
    """
    pixels = entry["image"][0] * entry["image"][1]
    images = {split: formats.binary_rows(raw / f"ocr_letters.{split}.data", pixels) for split in SPLITS}
    rows = images["train"]
    rows = rows[np.lexsort(rows.T[::-1])]
    images["train"] = rows[_generator(OCR_ORDER_SEED).permutation(len(rows))]
    return Raw(images, {}, 1)


def frey_faces(entry: Entry, raw: Path) -> Raw:
    """1,865 training and 100 test frames, split by the authors' shuffle: its first 100 frames are for test.

    A pixel is byte / 256, as in the loader that the authors used (docs/method.md); no byte is above 238.
    """
    frames = formats.frey_mat(raw / "frey_rawface.mat")
    frames = frames[np.random.RandomState(AUTHORS_SEED).permutation(len(frames))]
    images = {"train": frames[FREY_TEST:], "test": frames[:FREY_TEST]}
    return Raw(images, {}, BYTES)


def digits(entry: Entry, raw: Path) -> Raw:
    """1,500 training and 297 test images from scikit-learn's digits, each class split in the same proportion.

    A pixel is byte / 255 (ours: 16 of 16 becomes 1). 8 x 8 pixels of 0..16 become 28 x 28 of 0..255: a border of
    zeros is added (10 x 10) and every step is divided into three by bilinear interpolation.
    """
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    small, labels = small.astype(np.uint8).reshape(-1, 8, 8), labels.astype(np.uint8)
    images = _enlarged(small)
    test = _stratified(labels, DIGITS_TEST, _generator(DIGITS_SPLIT_SEED))
    splits = {"train": np.setdiff1d(np.arange(len(labels)), test), "test": test}
    sources = {"sklearn.datasets.load_digits": hashlib.sha256(small.tobytes() + labels.tobytes()).hexdigest()}
    return Raw({k: images[v] for k, v in splits.items()}, {k: labels[v] for k, v in splits.items()}, 255, sources)


def hdf5(entry: Entry, raw: Path) -> Raw:
    """The user's own HDF5 file, named by the entry's key `file`, with the arrays that `from_arrays` describes."""
    import h5py

    if not entry.get("file"):
        raise InputError("loader hdf5: the key file is missing; expected the path of an HDF5 file")
    path = rules.user_path(entry["file"], "file")
    if not path.is_file():
        raise InputError(f"{path}: not found; expected an HDF5 file with train/images and test/images")
    arrays: dict[str, np.ndarray] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and name in ARRAYS:
            if (
                item.external or item.is_virtual or item.dtype.kind not in "biuf"
            ):  # it could be any file of this machine
                raise InputError(f"{path}: {name}: found other things than numbers in the file itself")
            arrays[name] = item[()]

    try:
        with h5py.File(path, "r", locking=False) as file:
            file.visititems(collect)
    except (OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:100] or "too little memory"
        raise InputError(f"{path}: cannot be read ({reason}); expected HDF5 with train/images") from error
    return from_arrays(arrays, str(path), {path.name: store.file_checksum(path)})


def imported(entry: Entry) -> Raw:
    """What the user's own function `package.module:function` returns for this entry; see `from_arrays`."""
    name = entry["loader"]
    function = rules.imported("loader", name)
    if not callable(function):
        rules.refuse("loader", name, "the name of a function")
    arrays = function(entry)
    if not isinstance(arrays, Mapping):
        raise InputError(f"loader {name}: found {type(arrays).__name__}, expected a mapping from names to arrays")
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    if unknown := sorted(set(arrays) - set(ARRAYS)):
        raise InputError(f"loader {name}: found the unknown array {unknown[0]!r}, expected some of {', '.join(ARRAYS)}")
    return from_arrays(arrays, f"loader {name}", {name: store.checksum(arrays)})


def from_arrays(arrays: Mapping[str, np.ndarray], where: str, sources: dict[str, str]) -> Raw:
    """Checks a user's arrays: `train/images`, `test/images`, perhaps `valid/images` and `<split>/labels`.

    Images are uint8 or floats in [0, 1], [N, D] or [N, rows, columns]; labels are whole numbers from 0 to 255, [N].
    A scalar `maximum` says which value means 1; without it that is 1 where no image exceeds 1, else 255.
    Raises InputError, beginning with `where`, on anything else.
    """
    images = {key.split("/")[0]: value for key, value in arrays.items() if key.endswith("/images")}
    if missing := {"train", "test"} - set(images):
        found = ", ".join(sorted(arrays)) or "no arrays"
        raise InputError(f"{where}: found {found}, expected {max(missing)}/images")
    kinds = {value.dtype.kind for value in images.values()}
    if kinds != {"f"} and {value.dtype for value in images.values()} != {np.dtype(np.uint8)}:
        found = ", ".join(sorted({str(value.dtype) for value in images.values()}))
        raise InputError(f"{where}: found images of {found}, expected uint8, or floats in [0, 1], in every split")
    if kinds == {"f"}:
        images = {split: value.astype(np.float32) for split, value in images.items()}
    brightest = max((float(value.max()) for value in images.values() if value.size), default=0.0)
    maximum = 1.0 if kinds == {"f"} or brightest <= 1 else 255.0
    if "maximum" in arrays:
        given = arrays["maximum"]
        if given.size != 1 or given.dtype.kind not in "iuf" or not 0 < float(given.reshape(-1)[0]) < np.inf:
            raise InputError(f"{where}: found maximum {given.tolist()!r}, expected one positive number")
        maximum = float(given.reshape(-1)[0])
    labels = {key.split("/")[0]: value for key, value in arrays.items() if key.endswith("/labels")}
    return Raw(images, labels, maximum, sources)


LOADERS: dict[str, Callable[[Entry, Path], Raw]] = {
    "mnist": mnist,
    "ocr_letters": ocr_letters,
    "frey_faces": frey_faces,
    "digits": digits,
    "hdf5": hdf5,
}


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _enlarged(small: np.ndarray) -> np.ndarray:
    """uint8 [N, 28, 28] of 0..255 from uint8 [N, 8, 8] of 0..16, in whole numbers: the same on every machine."""
    padded = np.pad(small.astype(np.int64), ((0, 0), (1, 1), (1, 1)))  # [N, 10, 10]
    weights = np.zeros((28, 10), np.int64)  # thirds
    for place in range(28):
        step, third = divmod(place, 3)
        weights[place, step] = 3 - third
        if third:
            weights[place, step + 1] = third
    ninths = weights @ padded @ weights.T  # [N, 28, 28], 0 .. 9 * 16
    return ((ninths * 255 + 72) // 144).astype(np.uint8)


def _stratified(labels: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Sorted places of `count` images, each class in its proportion (rounded by the largest remainders)."""
    sizes = np.bincount(labels)
    shares = sizes * count / len(labels)
    wanted = np.floor(shares).astype(int)
    wanted[np.argsort(wanted - shares, kind="stable")[: count - wanted.sum()]] += 1
    chosen = [generator.permutation(np.flatnonzero(labels == label))[:number] for label, number in enumerate(wanted)]
    return np.sort(np.concatenate(chosen))
