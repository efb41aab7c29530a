"""Every loader gives the data set it names, the same bytes each time; what does not fit is refused in one line."""

import importlib.util
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from memvae.data import dataset, download, loaders
from memvae.data.prepare import TEST_BINARISATION_SEED, binarised, prepare
from memvae.errors import InputError
from memvae.files import store

ROOT = Path(__file__).resolve().parents[1]
ENTRIES = yaml.safe_load((ROOT / "config/config.yaml").read_text())["datasets"]
OWN = {"title": "own", "image": [4, 3], "likelihood": "bernoulli", "binarise": "each_epoch"}
needs_sklearn = pytest.mark.skipif(not importlib.util.find_spec("sklearn"), reason="scikit-learn is not installed")


def own_arrays(kind=np.uint8):
    generator = np.random.Generator(np.random.PCG64(5))
    arrays = {
        "train/images": generator.integers(0, 256, (20, 4, 3), dtype=np.uint8),
        "test/images": generator.integers(0, 256, (8, 12), dtype=np.uint8),
    }
    if kind != np.uint8:
        arrays = {key: (value / 255).astype(kind) for key, value in arrays.items()}
    return arrays | {"train/labels": np.arange(20) % 4, "test/labels": np.arange(8) % 4}


def written(path, arrays):
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value
    return OWN | {"loader": "hdf5", "file": str(path)}


def stored(path, name, entry, raw=Path()):
    arrays, attributes = prepare(name, entry, raw)
    store.write(path, "dataset", arrays, attributes)
    return dataset.load(path)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    pytest.importorskip("sklearn")
    return stored(tmp_path_factory.mktemp("digits") / "digits.h5", "digits", ENTRIES["digits"])


# ---- digits ----------------------------------------------------------------------------------------------------------
def test_digits_have_their_shapes_and_ranges(digits):
    assert digits.pixels("train").shape == (1500, 784) and digits.pixels("test").shape == (297, 784)
    assert digits.pixels("train").dtype == np.float32 and digits.labels("train").dtype == np.int64
    assert digits.pixels("train").min() == 0 and digits.pixels("train").max() == 1
    assert digits.classes == 10 and digits.splits == ("train", "test") and digits.image == (28, 28)
    assert (digits.name, digits.title, digits.likelihood) == ("digits", "digits 8x8", "bernoulli")


def test_digits_are_split_in_the_proportion_of_the_classes(digits):
    train, test = np.bincount(digits.labels("train")), np.bincount(digits.labels("test"))
    assert train.sum() == 1500 and test.sum() == 297
    assert abs(test - (train + test) * 297 / 1797).max() < 1


@needs_sklearn
def test_digits_keep_every_image_and_its_label(digits):
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    corners = np.concatenate([digits.pixels("train"), digits.pixels("test")]).reshape(-1, 28, 28)[:, 3:25:3, 3:25:3]
    found = np.c_[corners.reshape(-1, 64), np.r_[digits.labels("train"), digits.labels("test")]]
    expected = np.c_[np.round(small / 16 * 255) / 255, labels]
    np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], atol=1e-6)  # float32


@needs_sklearn
def test_enlarging_is_bilinear():
    from scipy.ndimage import zoom

    small = np.random.Generator(np.random.PCG64(0)).integers(0, 17, (3, 8, 8), dtype=np.uint8)
    padded = np.pad(small, ((0, 0), (1, 1), (1, 1))).astype(float)
    reference = np.stack([zoom(image, 2.8, order=1) for image in padded]) * 255 / 16
    assert abs(loaders._enlarged(small) - reference).max() <= 0.5 + 1e-9  # rounding


def test_the_binary_test_set_is_one_draw_of_the_pixels(digits):
    pixels, binary = digits.pixels("test"), digits.test_binary
    assert binary.dtype == np.float32 and set(np.unique(binary)) == {0.0, 1.0}
    assert (binary[pixels == 1] == 1).all() and (binary[pixels == 0] == 0).all()
    deviation = np.sqrt((pixels * (1 - pixels)).sum()) / pixels.size
    assert abs(binary.mean() - pixels.mean()) < 4 * deviation


def test_binarisation_follows_the_pixel_and_not_the_number_of_images():
    images = np.tile(np.arange(256, dtype=np.uint8), (4000, 1))
    draws = binarised(images, 255, TEST_BINARISATION_SEED)
    assert abs(draws.mean(0) - np.arange(256) / 255).max() < 4.5 * np.sqrt(0.25 / 4000)
    np.testing.assert_array_equal(binarised(images[:10], 255, TEST_BINARISATION_SEED), draws[:10])
    assert (binarised(images[:10], 255, 1) != draws[:10]).any()


# ---- the user's own --------------------------------------------------------------------------------------------------
def test_an_hdf5_file_of_ones_own_is_taken(tmp_path):
    data = stored(tmp_path / "out.h5", "own", written(tmp_path / "own.h5", own_arrays()))
    expected = own_arrays()
    np.testing.assert_array_equal(data.pixels("train"), (expected["train/images"].reshape(20, 12) / 255).astype("f4"))
    np.testing.assert_array_equal(data.labels("test"), expected["test/labels"])
    assert data.classes == 4 and list(store.read(data.path, "dataset").attributes["sources"]) == ["own.h5"]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_in_the_unit_interval_stay_what_they_are(tmp_path, kind):
    data = stored(tmp_path / "out.h5", "own", written(tmp_path / "own.h5", own_arrays(kind)))
    np.testing.assert_array_equal(data.pixels("test"), own_arrays(kind)["test/images"].astype(np.float32))
    assert data.maximum == 1


def test_a_stated_maximum_is_used(tmp_path):
    arrays = own_arrays()
    arrays = {key: value // 16 if "images" in key else value for key, value in arrays.items()} | {"maximum": 15}
    data = stored(tmp_path / "out.h5", "own", written(tmp_path / "own.h5", arrays))
    assert data.maximum == 15 and data.pixels("train").max() == 1


def test_binary_images_are_not_binarised_again(tmp_path):
    arrays = {key: value // 128 if "images" in key else value for key, value in own_arrays().items()}
    data = stored(tmp_path / "out.h5", "own", written(tmp_path / "own.h5", arrays) | {"binarise": "never"})
    assert data.maximum == 1
    np.testing.assert_array_equal(data.test_binary, arrays["test/images"])


def test_gaussian_data_have_no_binary_images(tmp_path):
    entry = written(tmp_path / "own.h5", own_arrays()) | {"likelihood": "gaussian", "binarise": "never"}
    data = stored(tmp_path / "out.h5", "own", entry)
    assert "test/binary" not in data.arrays
    np.testing.assert_array_equal(data.test_binary, data.pixels("test"))


def test_data_without_labels_say_so(tmp_path):
    arrays = {key: value for key, value in own_arrays().items() if "images" in key}
    data = stored(tmp_path / "out.h5", "own", written(tmp_path / "own.h5", arrays))
    assert data.classes == 0
    with pytest.raises(InputError, match=r"own has no test/labels, only test/binary, test/images, train/images"):
        data.labels("test")
    with pytest.raises(InputError, match="no valid/images"):
        data.pixels("valid")


NAN = np.full((8, 12), np.nan, np.float32)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"test/images": None}, "expected test/images"),
        ({"train/images": None, "test/images": None}, "expected train/images"),
        ({"test/images": np.zeros((8, 13), np.uint8)}, r"found the shape \[8, 13\]"),
        ({"test/images": np.zeros((8, 3, 4), np.uint8)}, r"expected \[N, 4, 3\] or \[N, 12\]"),
        ({"test/images": np.zeros((0, 12), np.uint8)}, r"\[0, 12\]"),
        ({"test/images": np.uint8(3)}, r"found the shape \[\]"),
        ({"test/images": np.zeros((8, 12), np.int64)}, "int64"),
        ({"test/images": np.zeros((8, 12))}, "float64, uint8"),
        ({"test/images": np.array([["a"] * 12] * 8, "S1")}, "other things than numbers"),
        ({"train/images": np.zeros((20, 12), "f4"), "test/images": NAN}, "values from nan"),
        (
            {"train/images": np.full((20, 12), 1.5), "test/images": np.zeros((8, 12))},
            "values from 1.5 to 1.5, expected 0 to 1",
        ),
        ({"train/images": np.full((20, 12), -0.1), "test/images": np.zeros((8, 12))}, "from -0.1"),
        ({"test/labels": np.zeros(7, int)}, r"\[7\], expected \[8\]"),
        ({"test/labels": np.zeros(8)}, "float64"),
        ({"test/labels": np.full(8, -1)}, "from -1"),
        ({"test/labels": np.full(8, 256)}, "to 256"),
        ({"valid/labels": np.zeros(8, int)}, "expected valid/images beside it"),
        ({"maximum": 100}, "expected 0 to 100"),
        ({"maximum": 0}, "expected one positive number"),
        ({"maximum": np.ones(3)}, "expected one positive number"),
        ({"maximum": np.nan}, "expected one positive number"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, expected):
    arrays = {key: value for key, value in (own_arrays() | change).items() if value is not None}
    entry = written(tmp_path / "own.h5", arrays)
    with pytest.raises(InputError, match=expected) as caught:
        prepare("own", entry, tmp_path)
    assert "\n" not in str(caught.value)


def test_grey_images_that_are_never_binarised_are_refused(tmp_path):
    entry = written(tmp_path / "own.h5", own_arrays()) | {"binarise": "never"}
    with pytest.raises(InputError, match="expected only these two"):
        prepare("own", entry, tmp_path)


def test_a_file_that_is_no_hdf5_is_refused(tmp_path):
    entry = written(tmp_path / "own.h5", own_arrays())
    content = (tmp_path / "own.h5").read_bytes()
    for damaged in (b"", b"text", content[:-1]):
        (tmp_path / "own.h5").write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read"):
            prepare("own", entry, tmp_path)
    (tmp_path / "own.h5").unlink()
    with pytest.raises(InputError, match="not found"):
        prepare("own", entry, tmp_path)
    with pytest.raises(InputError, match="the key file is missing"):
        prepare("own", OWN | {"loader": "hdf5"}, tmp_path)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's own with one function, `images`, whose body the test writes."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def make(body):
        names.append(f"own_module_{len(names)}")
        (tmp_path / f"{names[-1]}.py").write_text(f"import numpy as np\n{body}\n")
        return OWN | {"loader": f"{names[-1]}:images"}

    yield make
    for name in names:
        sys.modules.pop(name, None)


def test_a_function_of_ones_own_is_called_with_the_entry(module, tmp_path):
    entry = module(
        "def images(entry):\n"
        "    rows, columns = entry['image']\n"
        "    return {'train/images': np.full((5, rows, columns), 51, np.uint8),\n"
        "            'test/images': np.full((4, rows, columns), 102, np.uint8), 'test/labels': [0, 1, 2, 3]}"
    )
    data = stored(tmp_path / "out.h5", "own", entry)
    assert data.pixels("train").shape == (5, 12) and np.allclose(data.pixels("test"), 0.4)
    assert data.labels("test").tolist() == [0, 1, 2, 3]
    assert list(store.read(data.path, "dataset").attributes["sources"]) == [entry["loader"]]


def made(tests: int, train_labels: list[int], test_labels: list[int]) -> str:
    """The source of a loader of two training images and some test images, with these labels."""
    images = f"'train/images': np.ones((2, 12)), 'test/images': np.ones(({tests}, 12))"
    labels = f"'train/labels': np.array({train_labels}), 'test/labels': np.array({test_labels})"
    return f"import numpy as np\ndef images(entry): return {{{images}, {labels}}}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("def other(entry): pass", "expected the name of a module and of an object in it"),
        ("images = 3", "expected the name of a function"),
        ("def images(entry): return 3", "found int, expected a mapping"),
        ("def images(entry): return {}", "found no arrays, expected train/images"),
        ("def images(entry): return {'train/pictures': [1]}", "unknown array 'train/pictures'"),
        ("def images(entry): return {'train/images': [[1]], 'test/images': [[1]]}", "int64"),
        ("def images(entry): return {'train/images': [[1.0]], 'test/images': [[1.0]]}", r"\[1, 1\]"),
        (made(1, [0, 1], [0]), "test/images: found 1 image, expected 2 or more"),
        (made(2, [1, 1], [1, 1]), "train/labels: found one class"),
        (made(2, [0, 1], [0, 2]), "test/labels: found the class 2, which train/labels lack"),
    ],
)
def test_a_function_that_does_not_fit_is_refused(module, body, expected):
    with pytest.raises(InputError, match=expected):
        prepare("own", module(body), Path())


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        ("mnits", "'mnits', expected one of mnist"),
        ("no_such_module:images", "put its folder into PYTHONPATH"),
        ("memvae.no_such_module:images", "put its folder into PYTHONPATH"),
        (":images", "expected the name of a module"),
    ],
)
def test_an_unknown_loader_is_refused(loader, expected):
    with pytest.raises(InputError, match=expected):
        prepare("own", OWN | {"loader": loader}, Path())


def test_what_breaks_inside_the_users_function_keeps_its_traceback(module):
    with pytest.raises(ZeroDivisionError):
        prepare("own", module("def images(entry): return 1 / 0"), Path())
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        prepare("own", module("import no_such_package"), Path())


# ---- raw files -------------------------------------------------------------------------------------------------------
def test_a_missing_or_changed_raw_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz: not found"):
        prepare("mnist", ENTRIES["mnist"], tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"changed")
    with pytest.raises(InputError, match="delete it and fetch it again"):
        prepare("mnist", ENTRIES["mnist"], tmp_path)


def test_rows_in_any_order_give_the_same_ocr_images(tmp_path):
    generator = np.random.Generator(np.random.PCG64(0))
    rows = generator.integers(0, 2, (30, 128))
    entry = {key: value for key, value in ENTRIES["ocr_letters"].items() if key != "files"}
    found = []
    for order in (np.arange(30), generator.permutation(30)):
        for split in ("train", "valid", "test"):
            text = "\n".join(",".join(map(str, row)) for row in (rows[order] if split == "train" else rows))
            (tmp_path / f"ocr_letters.{split}.data").write_text(text)
        found.append(prepare("ocr_letters", entry, tmp_path)[0])
    assert store.checksum(found[0]) == store.checksum(found[1])
    assert sorted(map(tuple, found[0]["train/images"])) == sorted(map(tuple, rows))
    np.testing.assert_array_equal(found[0]["valid/images"], rows)


# ---- the real data, where they are -----------------------------------------------------------------------------------
def real_folder():
    given = download.data_folder()
    return given if given else ROOT.parent / "shared/data"


@pytest.fixture
def real(tmp_path):
    """A function from the name of a data set to the data set, made from the files of the user's folder."""

    def make(name):
        folder = real_folder()
        if not (folder / name).is_dir():
            pytest.skip(f"no {name} in {folder}; name a folder of downloaded files in MEMVAE_DATA_FOLDER")
        entry = ENTRIES[name]
        for file, rule in entry["files"].items():
            download.fetch(name, file, rule | {"homes": []}, tmp_path / "raw" / file, folder)
        return stored(tmp_path / f"{name}.h5", name, entry, tmp_path / "raw")

    return make


def test_real_mnist_is_the_published_one(real):
    mnist = real("mnist")
    train = mnist.pixels("train")
    assert train.shape == (60_000, 784) and mnist.pixels("test").shape == (10_000, 784)
    assert train.max() == mnist.pixels("test").max() == 255 / 256 and mnist.maximum == 256
    assert train.mean(dtype=np.float64) == pytest.approx(0.1307 * 255 / 256, abs=5e-5)  # the usual constant is of / 255
    saturated = mnist.arrays["test/images"] == 255  # one in 256 of them is 0 in the binary images
    assert 1 - mnist.test_binary[saturated].mean() == pytest.approx(1 / 256, rel=0.15)
    assert np.bincount(mnist.labels("train")).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.labels("test")[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert mnist.test_binary.mean() == pytest.approx(mnist.pixels("test").mean(dtype=np.float64), abs=4e-4)


def test_real_ocr_letters_are_binary_and_counted(real):
    ocr = real("ocr_letters")
    assert [len(ocr.pixels(split)) for split in ocr.splits] == [32_152, 10_000, 10_000]
    assert ocr.image == (16, 8) and ocr.maximum == 1 and ocr.classes == 0
    assert set(np.unique(ocr.pixels("train"))) == {0.0, 1.0}
    np.testing.assert_array_equal(ocr.test_binary, ocr.pixels("test"))


def test_mnist_is_binarised_by_the_authors_draw(tmp_path, monkeypatch):
    """numpy's generator of 2016 takes one uniform number a pixel: all training images first, then the test images."""
    generator = np.random.Generator(np.random.PCG64(3))
    images = {
        "train": generator.integers(0, 256, (7, 28, 28), np.uint8),
        "t10k": generator.integers(0, 256, (5, 28, 28), np.uint8),
    }
    monkeypatch.setattr(loaders.formats, "idx_images", lambda path: images[path.name.partition("-")[0]])
    monkeypatch.setattr(
        loaders.formats, "idx_labels", lambda path: np.arange(len(images[path.name.partition("-")[0]]), dtype=np.uint8)
    )
    found = stored(
        tmp_path / "mnist.h5", "mnist", {k: v for k, v in ENTRIES["mnist"].items() if k != "files"}, tmp_path
    )
    p = images["t10k"].reshape(5, 784) / 256
    uniform = np.random.RandomState(1234).random_sample(12 * 784)[7 * 784 :].reshape(5, 784)
    np.testing.assert_array_equal(found.test_binary, np.where(p <= 0.5, uniform > 1 - p, uniform <= p))


@pytest.mark.parametrize("maximum", [255, 238])
def test_a_file_on_an_old_scale_is_refused_by_name(tmp_path, maximum):
    facts = {"dataset": "mnist", "title": "MNIST", "image": [4, 3], "maximum": maximum, "likelihood": "gaussian"}
    store.write(
        tmp_path / "mnist.h5", "dataset", {"test/images": np.zeros((2, 12), np.uint8)}, facts | {"loader": "mnist"}
    )
    with pytest.raises(InputError, match=f"byte / {maximum}, an old scale, expected byte / 256.*make it again"):
        dataset.load(tmp_path / "mnist.h5")


def test_the_first_real_ocr_training_rows_are_like_all(real):
    """The rows are sorted to be the same in every copy; without the shuffle after it the first would be alike."""
    train = real("ocr_letters").pixels("train")
    error = train.std(0) / np.sqrt(5000)
    assert (abs(train[:5000].mean(0) - train.mean(0)) <= 4.5 * error).all()


def test_real_frey_faces_are_shuffled_frames(real):
    frey = real("frey_faces")
    assert frey.pixels("train").shape == (1865, 560) and frey.pixels("test").shape == (100, 560)
    assert max(frey.pixels(split).max() for split in frey.splits) == 238 / 256 and frey.maximum == 256
    assert frey.pixels("train").mean(dtype=np.float64) == pytest.approx(0.60, abs=0.01)
    assert frey.likelihood == "gaussian" and frey.image == (28, 20)
    frames = frey.pixels("train").reshape(-1, 28, 20)
    smooth = abs(np.diff(frames, axis=2)).mean()  # neighbours in a row; read in another order they would not be alike
    assert smooth < 0.5 * abs(np.diff(frames.reshape(-1, 20, 28), axis=1)).mean()
