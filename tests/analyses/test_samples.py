"""Samples and their nearest training images: distances and images where they are known, and what is shown of them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
import torch
import untrained

from memvae.analyses.job import Job
from memvae.analyses.samples.compute import STEPS, compute, interpolation, nearest
from memvae.analyses.samples.show import close, figure, findings, measure, table
from memvae.model.network import Likelihood
from memvae.random import keyed
from memvae.report import render, style
from memvae.report.paper import read_paper
from memvae.report.view import View
from memvae.settings import config, targets
from memvae.settings.strict_yaml import read_yaml

ROOT = Path(__file__).resolve().parents[2]
PAPER = read_paper(ROOT / "config/paper.yaml")
CONFIG = config.Config(config.normalise(read_yaml(ROOT / "config/config.yaml")))
SAMPLES = 400


# ---- distances -------------------------------------------------------------------------------------------------------
def test_the_nearest_of_a_copied_image_is_itself():
    train = untrained.grey(700)
    copied = [3, 699, 0]
    places, distance = nearest(train[copied], train)
    assert places.tolist() == copied and not distance.any()


def test_the_nearest_image_is_that_of_all_distances():
    images, train = torch.rand(2, 600, 5, generator=keyed(0, "test"))
    places, distance = nearest(images, train)
    every = np.linalg.norm(images.numpy()[:, None].astype(float) - train.numpy().astype(float), axis=2)  # [n, N]
    np.testing.assert_allclose(distance, every.min(1), atol=1e-4)  # of two equally near within rounding either
    np.testing.assert_allclose(every[np.arange(600), places], distance, rtol=1e-12)


# ---- draws -----------------------------------------------------------------------------------------------------------
def test_bernoulli_draws_are_binary_and_their_mean_approaches_the_mean():
    logits = torch.tensor([-2.0, 0.0, 3.0]).expand(20_000, 3)
    drawn = Likelihood(logits, None, []).draw(keyed(0, "draws"))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(0), torch.sigmoid(logits[0]), atol=0.015, rtol=0)  # 4 standard errors of 0.5


def test_gaussian_draws_approach_mean_and_variance():
    mean, log_variance = torch.tensor([0.2, 0.7]), torch.tensor([-3.0, 0.5])
    rows = (20_000, 2)
    drawn = Likelihood(mean.expand(rows), log_variance.expand(rows), []).draw(keyed(0, "draws"))
    sd = torch.exp(0.5 * log_variance)
    assert ((drawn.mean(0) - mean).abs() < 4 * sd / 20_000**0.5).all()
    torch.testing.assert_close(drawn.std(0), sd, atol=0, rtol=4 / (2 * 20_000) ** 0.5)


# ---- interpolation ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["vae", "mem_vae", "gaussian_memory"])
def test_an_interpolation_ends_in_reconstructions(name):
    model, x = untrained.float32_model(name), untrained.grey(4)
    found = interpolation(model, x)
    z = model.encode(x).mean
    assert set(found) == ({"full", "both"} if model.network.has_memory else {"full"})
    for condition, disabled in (("full", 0), ("both", len(model.network.hidden))):
        if condition in found:
            mean = model.decode(z, disabled).mean.view(2, 2, -1)  # [pair, end, D]
            torch.testing.assert_close(found[condition][:, [0, -1]], mean)
    middle = model.decode((3 * z[0] + 4 * z[1])[None] / 7).mean[0]  # the fifth of eight images
    torch.testing.assert_close(found["full"][0, 4], middle)
    assert len(found["full"][0]) == STEPS == 8


# ---- the whole -------------------------------------------------------------------------------------------------------
def job(model, seed=3, binarise="each_epoch", subset=0, test=None, binary=None) -> Job:
    pixels = {"train": untrained.grey(300).numpy(), "test": untrained.grey(5).numpy() if test is None else test}
    binary = untrained.images(5).float().numpy() if binary is None else binary
    data = SimpleNamespace(pixels=pixels.__getitem__, test_binary=binary)
    training = SimpleNamespace(images=subset, binarise=binarise, validation=0)
    spec = SimpleNamespace(seed=seed, training=training, run="digits-vae-k1-s0")
    return Job(model, spec, data, {"samples": SAMPLES, "images": 0}, torch.device("cpu"))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_samples():
    model = untrained.float32_model("mem_vae")
    one, same, other = (compute(job(model, seed)) for seed in (3, 3, 4))
    assert {name: array.tobytes() for name, array in one.items()} == {
        name: array.tobytes() for name, array in same.items()
    }
    for name in ("means/images", "draws/images"):
        assert (one[name] != other[name]).any()
    np.testing.assert_array_equal(one["means/test_distance"], other["means/test_distance"])


def test_nearest_images_belong_to_the_first_means_and_are_training_images():
    arrays = compute(job(untrained.float32_model("mem_vae")))
    off = np.linalg.norm(arrays["means/images"][:8] - arrays["means/nearest"], axis=1)
    np.testing.assert_allclose(arrays["means/distance"][:8], off, rtol=1e-5)
    assert nearest(torch.from_numpy(arrays["means/nearest"]), untrained.grey(300))[1].max() == 0
    assert arrays["means/images"].shape == arrays["draws/images"].shape == (64, untrained.PIXELS)


def test_training_images_have_distance_0_and_those_left_out_of_training_have_not():
    model, train = untrained.float32_model("vae"), untrained.grey(300).numpy()
    assert not compute(job(model, test=train))["means/test_distance"].any()
    distance = compute(job(model, subset=100, test=train))["means/test_distance"]
    assert (distance == 0).sum() == 100


def test_copies_are_binarised_training_images_and_only_where_training_binarises():
    model = untrained.float32_model("vae")
    assert "draws/copy_distance" not in compute(job(model, binarise="never"))
    distance = compute(job(model))["draws/copy_distance"]
    assert distance.size == 300  # all training images, fewer than samples
    expected = 12 / 6  # of an own image: the mean of p (1 - p) over uniform p is 1/6, for each of 12 pixels
    assert (distance**2).mean() < expected


def test_draws_with_the_distribution_of_the_data_are_as_far_as_test_images(tmp_path):
    """A model that knows the data: every pixel is on with probability 1/2, in its draws as in the test images."""
    network = SimpleNamespace(latent=2, hidden=(3,), has_memory=False)
    model = SimpleNamespace(
        network=network,
        sample_prior=lambda draws, generator: torch.randn(draws, 2, generator=generator),
        decode=lambda z, disabled=0: Likelihood(torch.zeros(len(z), untrained.PIXELS), None, []),
        encode=lambda x: SimpleNamespace(mean=torch.zeros(len(x), 2)),
    )
    test = (torch.rand(SAMPLES, untrained.PIXELS, generator=keyed(9, "test")) < 0.5).float().numpy()
    arrays = compute(job(model, binary=test))
    numbers = {one.quantity: one for one in measure(view(tmp_path, arrays)) if one.condition == "draws"}
    for name, expected in (("farther", 0.0), ("close", 5.0)):
        assert abs(numbers[name].mean - expected) < 3 * numbers[name].error
    assert numbers["farther"].error < 0.02


# ---- what is shown ---------------------------------------------------------------------------------------------------
def shown(copies=True) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(0)
    images = {
        "means/images": (64,), "draws/images": (64,), "means/nearest": (8,), "interpolation/ends": (2, 2),
        "interpolation/full": (2, STEPS), "interpolation/both": (2, STEPS),
    }  # fmt: skip
    arrays = {name: draws.random((*shape, synthetic.PIXELS), dtype=np.float32) for name, shape in images.items()}
    arrays |= {
        "means/distance": np.array([1.0, 3.0]),
        "means/test_distance": np.array([2.0, 2.0, 5.0]),
        "draws/distance": np.array([6.0, 6.0, 10.0, 10.0]),
        "draws/test_distance": np.array([7.0, 9.0]),
    }
    return arrays | ({"draws/copy_distance": np.array([4.0, 5.0])} if copies else {})


def view(folder: Path, *arrays: dict[str, np.ndarray], models=("mem_vae", "vae")) -> View:
    """One model for each mapping of arrays."""
    rows, files = [synthetic.row(model) for model, _ in zip(models, arrays, strict=False)], []
    for row, content in zip(rows, arrays, strict=True):
        settings = {"samples": 64, "images": 0}
        files.append(synthetic.write(folder, row["runs"][0], "analysis/samples", content, settings))
    part = {"analysis": "samples", "module": "", "layout": synthetic.layout(*rows), "inputs": files}
    return render.view(part, PAPER)


def test_numbers_and_cells(tmp_path):
    found = view(tmp_path, shown())
    numbers = {(one.quantity, one.condition): one for one in measure(found)}
    assert numbers["distance", "means"].mean == 2 and numbers["distance", "means"].error == pytest.approx(1)
    assert numbers["test_distance", "means"].mean == 3 and numbers["test_distance", "means"].error == pytest.approx(1)
    farther = numbers["farther", "means"]
    assert farther.mean == -1 and farther.error == pytest.approx(2**0.5) == farther.errors[0]
    assert numbers["close", "draws"].mean == 50  # two of four lie below 7, the nearest test image
    assert numbers["copy_distance", "draws"].mean == 4.5 and ("copy_distance", "means") not in numbers
    (sentence,) = findings(found)
    assert f"MEM-VAE on MNIST {numbers['close', 'draws'].mean:.1f} ±" in sentence
    means, draws = table(found).records
    assert means["images"] == "means" and means["distance"] == 2 and means["farther"] == -1
    assert draws["test_images"] == 2 and draws["copy_distance"] == 4.5 and draws["samples"] == 64


def test_equally_far_images_count_in_part(tmp_path):
    """Samples that are as far as the test images, of which 70 % have the smallest distance."""
    far = np.sqrt([2.0] * 7 + [3.0] * 3)
    found = view(tmp_path, shown() | {"draws/distance": np.tile(far, 3), "draws/test_distance": far})
    (share,) = (one for one in measure(found) if (one.quantity, one.condition) == ("close", "draws"))
    assert share.mean == pytest.approx(5)


def test_the_error_of_the_share_of_near_draws_is_its_spread_and_seeds_share_the_test_images(tmp_path):
    """Draws nearer than test images: a binomial error would be too small, and seeds do not average the limit out."""
    rng, found, said = np.random.default_rng(0), [], []
    for place in range(300):
        test = rng.normal(0, 1, 400)
        seeds = [shown() | {"draws/distance": rng.normal(-0.5, 1, 400), "draws/test_distance": test} for _ in "01"]
        found.append([close(one["draws/distance"], test) for one in seeds])
        if place < 10:
            row = synthetic.row("mem_vae", seeds=2)
            files = [
                synthetic.write(tmp_path / str(place), run, "analysis/samples", one, {"samples": 64, "images": 0})
                for run, one in zip(row["runs"], seeds, strict=True)
            ]
            part = {"analysis": "samples", "module": "", "layout": synthetic.layout(row), "inputs": files}
            (one,) = (m for m in measure(render.view(part, PAPER)) if (m.quantity, m.condition) == ("close", "draws"))
            said.append((one.errors[0], one.error))
    spread = np.array(found)
    expected = spread[:, 0].std(ddof=1), spread.mean(axis=1).std(ddof=1)
    assert np.mean(said, axis=0) == pytest.approx(expected, rel=0.2)
    assert expected[1] > 1.1 * expected[0] / 2**0.5


def test_the_figure_has_a_row_of_panels_for_each_model(tmp_path):
    memory, plain = shown(), {name: array for name, array in shown(False).items() if name != "interpolation/both"}
    with style.paper():
        drawn = figure(view(tmp_path, memory, plain))
        style.save(drawn, tmp_path / "samples.png")
    axes = drawn.axes
    assert [one.get_title() for one in axes].count("means") == 2
    labels = [text.get_text() for one in axes for text in one.texts]
    assert labels.count("disabled") == 2 and labels.count("nearest") == 2  # two pairs of one model; both models
    bottom = min(one.get_position().y0 for one in axes)
    right = max(one.get_position().x1 for one in axes)
    assert bottom > 0 and right <= 1
    boxes = [one.get_position() for one in axes]
    apart = [not a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place]]
    assert all(apart)


def test_the_extended_figure_and_table_show_the_frey_faces_too():
    for name, has in (("samples", False), ("samples_extended", True), ("sample_distances_extended", True)):
        (part,) = targets.target(CONFIG, name)["parts"]
        assert ("frey_faces" in {row["paper_dataset"] for row in part["layout"]["rows"]}) is has
    plain, extended = (targets.all_files(CONFIG, extended=flag) for flag in (False, True))
    assert "figures/samples.png" in plain and "figures/samples_extended.png" not in plain
    assert {"figures/samples_extended.png", "results/tables/sample_distances_extended.csv"} < set(extended)
