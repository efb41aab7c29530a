"""Each published format is read as it was written, and what is damaged is refused in one line."""

import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memvae.data import formats
from memvae.errors import InputError

IMAGES = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (7, 5, 3), dtype=np.uint8)
LABELS = np.arange(7, dtype=np.uint8)


def idx(values, magic=None, shape=None):
    magic = magic or {3: 2051, 1: 2049}[values.ndim]
    shape = shape or values.shape
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + values.tobytes()


def refused(read, path, content):
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    line = str(caught.value)
    assert str(path) in line and "expected" in line and "\n" not in line


def test_idx_files_are_read_as_written(tmp_path):
    (tmp_path / "images").write_bytes(gzip.compress(idx(IMAGES), mtime=0))
    (tmp_path / "labels").write_bytes(gzip.compress(idx(LABELS), mtime=0))
    np.testing.assert_array_equal(formats.idx_images(tmp_path / "images"), IMAGES)
    np.testing.assert_array_equal(formats.idx_labels(tmp_path / "labels"), LABELS)
    assert formats.idx_images(tmp_path / "images").flags.writeable


@pytest.mark.parametrize(
    "content",
    [
        idx(IMAGES),  # not packed
        b"",
        gzip.compress(idx(IMAGES), mtime=0)[:-1],
        gzip.compress(idx(IMAGES), mtime=0) + b"more",
        gzip.compress(idx(IMAGES), mtime=0) * 2,
        gzip.compress(idx(IMAGES)[:10], mtime=0),
        gzip.compress(idx(IMAGES)[:-1], mtime=0),
        gzip.compress(idx(IMAGES) + b"x", mtime=0),
        gzip.compress(idx(IMAGES, shape=(2**32 - 1,) * 3), mtime=0),
        gzip.compress(idx(IMAGES[:0], shape=(0, 5, 3)), mtime=0),
        gzip.compress(idx(IMAGES, magic=2052), mtime=0),
        gzip.compress(idx(LABELS) + b"padding", mtime=0),
    ],
)
def test_a_malformed_idx_file_is_refused(tmp_path, content):
    refused(formats.idx_images, tmp_path / "file.gz", content)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_idx_file_is_never_read_as_other_images(data):
    content = bytearray(gzip.compress(idx(IMAGES), mtime=0))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] ^= data.draw(st.integers(1, 255))
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.gz"
        path.write_bytes(content)
        try:
            found = formats.idx_images(path)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            np.testing.assert_array_equal(found, IMAGES)


def test_binary_rows_are_read_as_written(tmp_path):
    images = np.random.Generator(np.random.PCG64(1)).integers(0, 2, (9, 12), dtype=np.uint8)
    text = "\r\n".join(",".join(map(str, row)) for row in images) + "\n\n"
    (tmp_path / "rows").write_text(text)
    np.testing.assert_array_equal(formats.binary_rows(tmp_path / "rows", 12), images)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"0,1,1\n0,1\n",
        b"0,1,1\n\n0,1,1,0\n",
        b"0,1\n0,1,1,0\n",  # as many characters as two rows of three
        b"0,1,1\n0,2,1\n",
        b"0,1,1\n0,/,1\n",
        b"0,1,1\n0 1 1\n",
        b"0,1,1\n\xff\xfe,,1",
        b"<html>\n",
        b"\x1f\x8b\x08\x00\x00",
    ],
)
def test_malformed_rows_are_refused(tmp_path, content):
    refused(lambda path: formats.binary_rows(path, 3), tmp_path / "rows", content)


@pytest.fixture
def mat(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")

    def make(**variables):
        path = tmp_path / "frey.mat"
        scipy_io.savemat(path, variables)
        return path

    return make


def frames():
    return np.random.Generator(np.random.PCG64(2)).integers(0, 256, formats.FREY_SHAPE, dtype=np.uint8)


def test_frey_columns_become_rows(mat):
    faces = formats.frey_mat(mat(ff=frames()))
    np.testing.assert_array_equal(faces, frames().T)
    assert faces.shape == (1965, 560) and faces.flags.c_contiguous


def test_another_mat_file_is_refused(mat):
    for variables in ({"gg": frames()}, {"ff": frames().T}, {"ff": frames().astype(float)}, {"ff": {"a": 1}}):
        with pytest.raises(InputError, match="expected ff of uint8"):
            formats.frey_mat(mat(**variables))
