"""Readers of the published file formats: bytes in, uint8 arrays out; a malformed file is refused in one line."""

import gzip
import math
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

    Empty lines are skipped. Raises InputError when it is anything else.
    """
    lines = [line.strip() for line in _read(path).splitlines() if line.strip()]
    characters = np.frombuffer(b"".join(line + b"\n" for line in lines), np.uint8)
    if len(characters) == 2 * pixels * len(lines) > 0:
        numbers, between = characters.reshape(len(lines), pixels, 2).transpose(2, 0, 1)  # [N, pixels] each
        images = numbers - np.uint8(ord("0"))  # other characters wrap around to above 1
        if (images <= 1).all() and (between[:, :-1] == ord(",")).all() and (between[:, -1] == ord("\n")).all():
            return images
    raise InputError(f"{path}: found other lines, expected {pixels} comma-separated 0 or 1 in each; fetch it again")


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
    faces = contents.get("ff")
    if not isinstance(faces, np.ndarray) or faces.shape != FREY_SHAPE or faces.dtype != np.uint8:
        found = ", ".join(f"{key} {getattr(value, 'dtype', '')}" for key, value in contents.items() if key[0] != "_")
        raise InputError(f"{path}: found {found}, expected ff of uint8 {list(FREY_SHAPE)}; fetch it again")
    return np.ascontiguousarray(faces.T)


def _idx(path: Path, magic: int, dimensions: int) -> np.ndarray:
    """Big-endian: magic number, length of every dimension, then one byte per value."""
    header = struct.Struct(f">{1 + dimensions}I")
    try:
        data = gzip.decompress(_read(path))
        found, *shape = header.unpack_from(data)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise InputError(f"{path}: found no whole gzip file ({error}), expected gzipped IDX; fetch it again") from error
    size = math.prod(shape)
    if found != magic or not size or len(data) != header.size + size:
        raise InputError(
            f"{path}: found {len(data):,} bytes, IDX magic number {found}, shape {shape}; expected {magic} and a byte "
            "for each value; fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=header.size).reshape(shape).copy()


def _read(path: Path, size: int = -1) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected a data file; fetch it again") from error
