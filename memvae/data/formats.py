"""The published file formats: bytes in, uint8 arrays out; whatever is malformed is refused in one line."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from memvae.errors import InputError

IDX_LABELS, IDX_IMAGES = 2049, 2051  # magic numbers: unsigned bytes in one and in three dimensions
FREY_SHAPE = (560, 1965)  # pixels (28 rows x 20 columns), video frames


def idx_images(path: Path) -> np.ndarray:
    """uint8 [N, rows, columns] from a gzipped IDX file of images. Raises InputError when it is anything else."""
    return _idx(path, IDX_IMAGES, dimensions=3)


def idx_labels(path: Path) -> np.ndarray:
    """uint8 [N] from a gzipped IDX file of labels. Raises InputError when it is anything else."""
    return _idx(path, IDX_LABELS, dimensions=1)


def binary_rows(path: Path, pixels: int) -> np.ndarray:
    """uint8 [N, pixels] from a text file with one image a line, `pixels` numbers 0 or 1 with commas between them.

    Empty lines are skipped. Raises InputError with the number of the first line that is anything else.
    """
    lines = _read(path).splitlines()
    kept = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not kept:
        raise InputError(f"{path}: found no rows, expected {pixels} comma-separated 0 or 1 a line; fetch it again")
    length = 2 * pixels - 1
    for number, line in kept:
        if len(line) != length:
            raise _bad_row(path, number, f"{line.count(b',') + 1} values in {len(line)} characters", pixels)
    characters = np.frombuffer(b"".join(line for _, line in kept), np.uint8).reshape(-1, length)
    images = characters[:, 0::2] - np.uint8(ord("0"))  # [N, pixels]; other characters wrap around to above 1
    wrong = (images > 1).any(1) | (characters[:, 1::2] != ord(",")).any(1)
    if wrong.any():
        number, line = kept[int(wrong.argmax())]
        raise _bad_row(path, number, repr(line[:20].decode(errors="replace")) + "...", pixels)
    return images


def frey_mat(path: Path) -> np.ndarray:
    """uint8 [1965, 560], the frames in video order, each 28 rows x 20 columns row by row, from `frey_rawface.mat`.

    Raises InputError when it is no MATLAB file, or one without `ff` of that shape and type.
    """
    from scipy.io import loadmat

    _read(path, 1)
    try:
        contents = loadmat(path)
    except Exception as error:  # a damaged file makes scipy raise a dozen different kinds
        reason = " ".join(str(error).split())[:80]
        raise InputError(f"{path}: found no readable MATLAB file ({reason}), expected v5; fetch it again") from error
    if "ff" not in contents:
        names = ", ".join(sorted(key for key in contents if not key.startswith("__"))) or "nothing"
        raise InputError(f"{path}: found {names}, expected the variable ff; fetch it again")
    faces = contents["ff"]
    if not isinstance(faces, np.ndarray) or faces.shape != FREY_SHAPE or faces.dtype != np.uint8:
        found = f"{getattr(faces, 'dtype', type(faces).__name__)} {list(getattr(faces, 'shape', []))}"
        raise InputError(f"{path}: found ff as {found}, expected uint8 {list(FREY_SHAPE)}; fetch it again")
    return np.ascontiguousarray(faces.T)


def _idx(path: Path, magic: int, dimensions: int) -> np.ndarray:
    """Big-endian: magic number, length of every dimension, then one byte per value."""
    try:
        data = gzip.decompress(_read(path))
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise InputError(f"{path}: found no whole gzip file ({error}), expected gzipped IDX; fetch it again") from error
    header = 4 * (1 + dimensions)
    if len(data) < header:
        raise InputError(f"{path}: found {len(data)} bytes, expected an IDX header of {header}; fetch it again")
    found, *shape = struct.unpack(f">{1 + dimensions}I", data[:header])
    if found != magic:
        raise InputError(f"{path}: found the IDX magic number {found}, expected {magic}; is it another file's name?")
    size = 1
    for length in shape:
        size *= length
    if len(data) - header != size or not size:
        raise InputError(
            f"{path}: found {len(data) - header:,} bytes after the header, expected {size:,} for {shape}; "
            "fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()


def _read(path: Path, size: int = -1) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected a data file; fetch it again") from error


def _bad_row(path: Path, number: int, found: str, pixels: int) -> InputError:
    return InputError(f"{path}, line {number}: found {found}, expected {pixels} comma-separated 0 or 1; fetch it again")
