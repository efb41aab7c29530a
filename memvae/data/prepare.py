"""From raw files to the arrays of `data/<dataset>.h5`, checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from memvae.data import download, loaders
from memvae.errors import InputError
from memvae.files import store

TEST_BINARISATION_SEED = 1602074160  # ours (the paper's arXiv number), of data sets whose loader gives no draw


def prepare(name: str, entry: Mapping[str, Any], raw: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and attributes of a `dataset` file (docs/files.md) for `store.write`.

    `entry` is the data set's entry of the config, `raw` the folder with the files it names. Images come out flat, row
    by row: uint8 [N, D], or float32 where the user's own were floats. Bernoulli data get `test/binary` uint8 [N, D].
    `sources` gives the sha256 of every file, of its sorted rows where the config states `sha256_rows`.
    Raises InputError when a file is not the one that the config names, or when shapes, types or values do not fit.
    """
    raw = Path(raw)
    sources = {file: _verified(raw / file, rule) for file, rule in entry.get("files", {}).items()}
    data = loaders.load(entry, raw)
    arrays = {}
    for split, images in data.images.items():
        arrays[f"{split}/images"] = _images(f"{name}: {split}/images", images, entry["image"], data.maximum)
    for split, labels in data.labels.items():
        if split not in data.images:
            raise InputError(f"{name}: found {split}/labels, expected {split}/images beside it")
        arrays[f"{split}/labels"] = _labels(f"{name}: {split}/labels", labels, len(data.images[split]))
    _usable(name, arrays)
    if entry["likelihood"] == "bernoulli":
        arrays["test/binary"] = _test_binary(name, arrays, entry["binarise"], data)
    attributes = {
        "dataset": name,
        "title": entry["title"],
        "image": list(entry["image"]),
        "maximum": float(data.maximum),
        "likelihood": entry["likelihood"],
        "loader": entry["loader"],
        "sources": sources | data.sources,
        **store.provenance(),
    }
    return arrays, attributes


def binarised(images: np.ndarray, maximum: float, seed: int) -> np.ndarray:
    """uint8 [N, D]: one draw of x ~ Bernoulli(image / maximum); the first rows do not depend on how many follow."""
    uniform = np.random.Generator(np.random.PCG64(seed)).random(images.shape)
    return (uniform < images / maximum).astype(np.uint8)


def _verified(path: Path, rule: Mapping[str, Any]) -> str:
    if not path.is_file():
        raise InputError(
            f"{path}: not found; expected a raw file with sha256 {download.expected(rule)}; fetch it with "
            f"`memvae download {path.parent.name}`"
        )
    found = download.checksum(path.read_bytes(), rule)
    if found != download.expected(rule):
        raise InputError(
            f"{path}: found sha256 {found}, expected {download.expected(rule)}; delete it and fetch it again"
        )
    return found


def _images(where: str, images: np.ndarray, image: list[int], maximum: float) -> np.ndarray:
    """Flat images [N, D] with every pixel in [0, 1] after the division by `maximum`."""
    rows, columns = image
    if images.ndim not in (2, 3) or not len(images) or images.shape[1:] not in ((rows, columns), (rows * columns,)):
        raise InputError(
            f"{where}: found the shape {list(images.shape)}, expected [N, {rows}, {columns}] or [N, {rows * columns}]; "
            "compare the key image in the config"
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= maximum):  # a NaN fails this too
        raise InputError(f"{where}: found values from {low:g} to {high:g}, expected 0 to {maximum:g}")
    return images.reshape(len(images), rows * columns)


def _labels(where: str, labels: np.ndarray, count: int) -> np.ndarray:
    if labels.shape != (count,):
        raise InputError(f"{where}: found the shape {list(labels.shape)}, expected [{count}], one label per image")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 255:
        found = f"{labels.dtype} from {labels.min()} to {labels.max()}"
        raise InputError(f"{where}: found {found}, expected whole numbers from 0 to 255")
    return labels.astype(np.uint8)


def _usable(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises InputError for what analyses could not take, hours of training later."""
    for split in ("train", "test"):
        if f"{split}/images" in arrays and len(arrays[f"{split}/images"]) < 2:
            raise InputError(f"{name}: {split}/images: found 1 image, expected 2 or more, for a spread over images")
    if "train/labels" not in arrays:
        return
    known = np.unique(arrays["train/labels"])
    if len(known) < 2:
        raise InputError(f"{name}: train/labels: found one class, expected 2 or more; leave the labels out")
    for split in ("valid", "test"):
        if (unknown := np.setdiff1d(arrays.get(f"{split}/labels", known), known)).size:
            raise InputError(
                f"{name}: {split}/labels: found the class {unknown[0]}, which train/labels lack, expected their "
                "classes alone; leave such images out"
            )


def _test_binary(name: str, arrays: Mapping[str, np.ndarray], binarise: str, data: loaders.Raw) -> np.ndarray:
    """The test images as the likelihood sees them: binarised once (authors' code)."""
    images, maximum = arrays["test/images"], data.maximum
    if binarise == "each_epoch":
        if data.test_binary is not None:
            return data.test_binary.reshape(images.shape)
        return binarised(images, maximum, TEST_BINARISATION_SEED)
    for key, images in arrays.items():
        if key.endswith("/images") and not np.isin(images, (0, maximum)).all():
            raise InputError(
                f"{name}: found pixels between 0 and {maximum:g} in {key}, expected only these two, because "
                "binarise is never; set binarise: each_epoch"
            )
    return (arrays["test/images"] == maximum).astype(np.uint8)
