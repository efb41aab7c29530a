"""HDF5 files: what was written comes back, or an error; never something else."""

import errno
import json
import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from memvae.errors import InputError, Unreadable
from memvae.files import store

ARRAYS = {
    "weights/output.bias": np.arange(12, dtype=np.float32).reshape(3, 4),
    "weights/deep/er": np.array([[True], [False]]),
    "curves/epoch": np.arange(5),
    "large": np.random.default_rng(0).random((40, 30)),  # large enough to be compressed
    "empty": np.zeros((0, 3), np.uint8),
}
ATTRIBUTES = {
    "spec": {"run": "tiny", "network": {"hidden": [5, 5]}},
    "epoch": 3,
    "share": 0.25,
    "title": "digits 8x8 ü",
    "flag": True,
    "list": ["a", 1],
    "nothing": None,
    "accuracy": np.float64(0.5),
}


@pytest.fixture(autouse=True)
def denormal_numbers():
    """Hypothesis wants them; a job, and so a test that runs one in this process, sets them to zero."""
    torch.set_flush_denormal(False)


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(
        first[key].dtype == second[key].dtype and np.array_equal(first[key], second[key]) for key in first
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "m.h5"
    store.write(path, "model", ARRAYS, ATTRIBUTES)
    return path


# ---- round trip ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("compress", [True, False])
def test_what_was_written_comes_back(tmp_path, compress):
    store.write(tmp_path / "m.h5", "model", ARRAYS, ATTRIBUTES, compress)
    found = store.read(tmp_path / "m.h5", "model")
    assert same(found.arrays, ARRAYS)
    assert ATTRIBUTES.items() <= found.attributes.items()
    assert found.attributes["format"] == "memvae/model" and found.attributes["format_version"] == store.FORMAT_VERSION
    assert found.attributes["sha256"] == store.checksum(ARRAYS)


names = st.from_regex(r"[a-z]{1,3}(/[a-z.]*[a-z]){0,2}", fullmatch=True)
some_arrays = numpy_strategies.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
    numpy_strategies.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays=st.dictionaries(names, some_arrays, max_size=4))
def test_any_arrays_come_back_bit_for_bit(tmp_path, arrays):
    arrays = {key: value for key, value in arrays.items() if not any(k.startswith(key + "/") for k in arrays)}
    store.write(tmp_path / "any.h5", "model", arrays, {})
    found = store.read(tmp_path / "any.h5", "model").arrays
    assert found.keys() == arrays.keys()
    for key, value in arrays.items():
        assert found[key].tobytes() == value.tobytes() and found[key].shape == value.shape  # also not-a-numbers


def test_kinds_have_subkinds(tmp_path):
    store.write(tmp_path / "a.h5", "analysis/slots", ARRAYS, {})
    assert same(store.read(tmp_path / "a.h5", "analysis").arrays, ARRAYS)
    assert same(store.read(tmp_path / "a.h5", "analysis/slots").arrays, ARRAYS)
    with pytest.raises(InputError):
        store.read(tmp_path / "a.h5", "analysis/slot")


def test_equal_content_gives_equal_bytes_whatever_the_order_the_name_or_the_time(tmp_path, file):
    time.sleep(1.1)  # HDF5 times have seconds
    other = tmp_path / "elsewhere" / "other.h5"
    store.write(other, "model", dict(reversed(ARRAYS.items())), dict(reversed(ATTRIBUTES.items())))
    assert other.read_bytes() == file.read_bytes()


def test_another_program_can_read_a_file(file):
    """Plain HDF5, for whoever has no memvae."""
    with h5py.File(file) as opened:
        np.testing.assert_array_equal(opened["large"][()], ARRAYS["large"])
        assert json.loads(opened.attrs["spec"]) == ATTRIBUTES["spec"]
        assert opened["large"].compression == "gzip" and opened["large"].shuffle


@pytest.mark.parametrize(
    "changes",
    [
        {"a": np.array([1.0, 2.0, 4.0])},
        {"a": np.array([[1.0], [2.0], [3.0]])},
        {"a": np.array([1.0, 2.0, 3.0], np.float32)},
        {"b": np.array([1.0, 2.0, 3.0])},
        {"a": np.array([1.0, 2.0, 3.0]), "b": np.zeros(0)},
    ],
)
def test_the_checksum_sees_names_types_shapes_and_bytes(changes):
    assert store.checksum(changes) != store.checksum({"a": np.array([1.0, 2.0, 3.0])})


# ---- atomicity -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("place", "name"), [(os, "fsync"), (os, "replace"), (h5py.File, "create_dataset"), (h5py, "File")]
)
def test_a_write_that_fails_leaves_the_earlier_file_and_nothing_else(monkeypatch, file, place, name):
    def full_disk(*arguments, **options):
        raise OSError(28, "No space left on device")

    before = file.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(InputError, match="No space left"):
        patch.setattr(place, name, full_disk)
        store.write(file, "model", {"other": np.zeros(3)}, {})
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


# ---- files that are refused ------------------------------------------------------------------------------------------
def refused(path, kind="model") -> str:
    with pytest.raises(InputError) as caught:
        store.read(path, kind)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path):
    assert "snakemake" in refused(tmp_path / "none.h5")


@pytest.mark.parametrize("length", [0, 1, 100, 511, 512, 513, 2000, -1000, -1])
def test_a_truncated_file_is_refused(file, length):
    file.write_bytes(file.read_bytes()[:length])
    assert "damaged" in refused(file)


@pytest.mark.parametrize("content", [b"PK\x03\x04 a numpy archive", b"\x89HDF\r\n\x1a\n and no more", b"\0" * 5000])
def test_a_file_of_another_kind_of_program_is_refused(file, content):
    file.write_bytes(content)
    assert "damaged" in refused(file)


def test_writing_the_same_again_leaves_the_file_and_its_age(file):
    os.utime(file, (1, 1))
    store.write(file, "model", ARRAYS, ATTRIBUTES)
    assert file.stat().st_mtime == 1
    store.write(file, "model", ARRAYS, ATTRIBUTES | {"epoch": 4321})
    assert file.stat().st_mtime > 1


def test_hdf5_of_another_program_is_refused(file):
    with h5py.File(file, "w") as opened:
        opened["data"] = np.zeros(3)
    assert "no memvae format" in refused(file)


def test_a_file_of_another_stage_is_refused(file):
    message = refused(file, "state")
    assert "memvae/model" in message and "memvae/state" in message


def test_a_newer_format_is_refused(monkeypatch, file):
    with monkeypatch.context() as patch:
        patch.setattr(store, "FORMAT_VERSION", store.FORMAT_VERSION + 1)
        store.write(file, "model", ARRAYS, ATTRIBUTES)
    assert "update memvae" in refused(file)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_changes_nothing(file, where, bit):
    """Anywhere: in arrays, attributes, HDF5's own structures (on which HDF5 can hang) and in the seal."""
    content = file.read_bytes()
    broken = bytearray(content)
    broken[int(where * len(content))] ^= 1 << bit
    damaged = file.with_name("damaged.h5")
    damaged.write_bytes(broken)
    try:
        found = store.read(damaged, "model")
    except InputError as error:
        assert "damaged" in str(error)
    else:
        expected = store.read(file, "model")
        assert same(found.arrays, expected.arrays) and found.attributes == expected.attributes


def test_arrays_changed_within_hdf5_are_refused(file):
    """By a program that knows HDF5 and not memvae."""
    with h5py.File(file, "r+") as opened:
        opened["large"][3, 3] += 1e-9
    assert "damaged" in refused(file)


def test_a_file_without_a_seal_is_checked_by_its_arrays(tmp_path):
    """One that another program made as docs/files.md describes."""
    path = tmp_path / "own.h5"
    with h5py.File(path, "w") as opened:
        opened["large"] = ARRAYS["large"]
        checksum = store.checksum({"large": ARRAYS["large"]})
        opened.attrs.update({"format": "memvae/model", "format_version": 1, "sha256": checksum})
    assert same(store.read(path, "model").arrays, {"large": ARRAYS["large"]})
    with h5py.File(path, "r+") as opened:
        opened["large"][3, 3] += 1e-9
    assert "sha256" in refused(path)


# ---- what differs between two identical runs -------------------------------------------------------------------------
def test_what_differs_between_runs_is_kept_beside_the_file(file):
    before = file.read_bytes()
    for attempts in (1, 2):
        store.write_run_json(file, time.monotonic() - 5, device="a cpu")
        record = json.loads((file.parent / "m.h5.run.json").read_text())
        assert record["attempts"] == attempts and record["device"] == "a cpu" and 5 <= record["seconds"] < 60
    assert file.read_bytes() == before
    own = {"seconds", "finished", "host", "machine", "command", "attempts"}
    assert own <= record.keys() and not own & store.read(file, "model").attributes.keys()


def test_a_damaged_record_of_a_run_is_replaced(file):
    for text in ("{ half a", "[]", '{"attempts": 1e999}', '{"attempts": "3"}', "[" * 100_000):
        (file.parent / "m.h5.run.json").write_text(text)
        store.write_run_json(file, time.monotonic())
        assert json.loads((file.parent / "m.h5.run.json").read_text())["attempts"] == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOLCK, errno.ENOMEM])
def test_what_cannot_be_read_just_now_is_not_called_damaged(file, monkeypatch, number):
    def failing(path):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(Unreadable, match="cannot be read just now") as caught:
        store.read(file, "model")
    assert "damaged" not in str(caught.value) and "delete" not in str(caught.value)
