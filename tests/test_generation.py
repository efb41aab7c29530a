"""Generation, detail and slots of a trained model, against the reference with the same draws."""

import numpy as np
import pytest
import reference
import torch
import untrained
from scipy import stats

from memvae.analyses.detail import compute as detail
from memvae.analyses.generation.compute import generate
from memvae.analyses.likelihood import compute as likelihood
from memvae.analyses.slots import compute as slots
from memvae.random import keyed
from memvae.settings.spec import Network

pytestmark = pytest.mark.usefixtures("double")
CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # float64 on both sides, in another order of summation


@pytest.mark.parametrize("name", untrained.WITH_MEMORY)
def test_generation_disables_first_one_and_then_every_memory(name):
    model = untrained.random_model(name)
    found = generate(model, 20, 0)
    p, own, depth = reference.parameters_of(model), reference.statistics_of(model), len(model.decoder)
    assert found["images"].shape == (3, 20, untrained.PIXELS)
    for row, disabled in zip(found["images"], ((), {depth - 1}, set(range(depth))), strict=True):
        expected = reference.decode(p, found["z"], own, disabled)["output"]["mean"]
        np.testing.assert_allclose(row, expected, **CLOSE)


def test_generation_draws_z_from_the_prior():
    z = generate(untrained.random_model("mem_vae"), 2000, 0)["z"]
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3  # the seed is fixed


# ---- detail ----------------------------------------------------------------------------------------------------------
def wave(rows: int, columns: int, cycles: int, amplitude: float = 0.3) -> np.ndarray:
    """One image, a sinusoid with so many cycles from left to right."""
    row = amplitude * np.sin(2 * np.pi * cycles * np.arange(columns) / columns)
    return 0.5 + np.tile(row, (1, rows, 1))


@pytest.mark.parametrize(("cycles", "frequency"), [(1, 1 / 28), (3, 3 / 28), (4, 4 / 28), (13, 13 / 28)])
def test_a_sinusoid_has_all_its_energy_at_its_frequency(cycles, frequency):
    f = detail.transform(wave(28, 28, cycles))
    energy, (found, bands) = detail.cross_energy(f, f)[0], detail.radial_bands((28, 28))
    spectrum = bands @ energy.ravel()
    assert found[spectrum.argmax()] == pytest.approx(frequency)
    assert spectrum.max() == pytest.approx(0.3**2 / 2)  # the variance of a sinusoid
    assert spectrum.sum() == pytest.approx(spectrum.max())
    assert energy[detail.radius((28, 28)) > 0.125].sum() == pytest.approx(0.045 if cycles > 3 else 0)


@pytest.mark.parametrize("image", [(28, 28), (16, 8), (28, 20), (5, 7)])
def test_energies_sum_to_the_variance_of_each_image(image):
    """Parseval; every frequency but zero is in one band, whatever the shape."""
    x = np.random.default_rng(0).random((6, *image))
    f = detail.transform(x)
    energy, (frequency, bands) = detail.cross_energy(f, f), detail.radial_bands(image)
    np.testing.assert_allclose(energy.sum((1, 2)), x.var((1, 2)), rtol=1e-12)
    np.testing.assert_allclose(energy.reshape(6, -1) @ bands.sum(0), x.var((1, 2)), rtol=1e-12)
    np.testing.assert_array_equal(bands.sum(0), [0] + [1] * (image[0] * image[1] - 1))
    assert (np.diff(frequency) > 0).all() and frequency[0] == pytest.approx(1 / max(image)) and frequency[-1] < 0.75


def test_energy_of_a_shifted_image_is_the_same_and_what_they_share_is_not():
    """Half a period: the same energy, the opposite pattern."""
    one = wave(8, 8, 2)
    f, g = detail.transform(one), detail.transform(np.roll(one, 2, axis=2))
    np.testing.assert_allclose(detail.cross_energy(f, f).sum(), detail.cross_energy(g, g).sum(), rtol=1e-12)
    np.testing.assert_allclose(detail.cross_energy(f, g).sum(), -detail.cross_energy(f, f).sum(), rtol=1e-12)


class Painted:
    """In place of a model: its means are given, whatever z is."""

    network = Network(image=(8, 8), hidden=(5, 4), latent=2, slots=(3, 3))

    def __init__(self, full: np.ndarray, first: np.ndarray, both: np.ndarray):
        self.means = {0: full, 1: first, 2: both}

    def sample_prior(self, draws, generator):
        return torch.randn(draws, self.network.latent, generator=generator)

    def decode(self, z, disabled):
        return type("Means", (), {"mean": torch.from_numpy(self.means[disabled].reshape(len(z), -1))})


def test_coherence_is_1_for_the_same_images_and_0_for_independent_noise():
    draw = np.random.default_rng(0)
    noise, other = draw.normal(size=(2, 4000, 8, 8))
    found = detail.spectra(Painted(noise, noise, other), noise[:3].reshape(3, -1), 4000, 0.2, 0)
    np.testing.assert_allclose(found["coherence/first"], 1, rtol=1e-12)
    np.testing.assert_allclose(found["coherence/both"], 0, atol=0.04)  # at least 4 coefficients in 4,000 images
    for band in ("low", "high"):
        np.testing.assert_array_equal(found[f"cross_{band}/first"], found[f"{band}/full"])
        assert abs(found[f"cross_{band}/both"].sum()) < 0.04 * found[f"{band}/full"].sum()


def test_low_and_high_energies_are_parted_at_the_cutoff():
    """A coarse wave in all images, a fine one in those of the full memory alone."""
    coarse, fine = np.tile(wave(8, 8, 1), (3, 1, 1)), wave(8, 8, 3, 0.1) - 0.5
    found = detail.spectra(Painted(coarse + fine, coarse, coarse), coarse.reshape(3, -1), 3, 0.2, 0)
    np.testing.assert_allclose(found["high/full"], 0.1**2 / 2)
    np.testing.assert_allclose(found["high/first"], 0, atol=1e-12)
    np.testing.assert_allclose([found["low/full"], found["low/both"], found["low/data"]], 0.3**2 / 2)
    assert np.isfinite(found["coherence/first"]).all()  # also in bands without energy


@pytest.mark.parametrize("name", ["mem_vae", "three_layers"])
def test_spectra_are_those_of_the_references_means(name):
    model = untrained.random_model(name)
    p, own, depth = reference.parameters_of(model), reference.statistics_of(model), len(model.decoder)
    found = detail.spectra(model, untrained.grey(5).numpy(), 30, 0.3, 0)
    z = torch.randn(30, untrained.LATENT, generator=keyed(0, "detail")).numpy()
    for condition, disabled in {"full": (), "first": {depth - 1}, "both": set(range(depth))}.items():
        variance = reference.decode(p, z, own, disabled)["output"]["mean"].var(1)
        np.testing.assert_allclose(found[f"low/{condition}"] + found[f"high/{condition}"], variance, **CLOSE)
        np.testing.assert_allclose(found[f"spectrum/{condition}"].sum(), variance.mean(), **CLOSE)
    np.testing.assert_allclose(found["low/data"] + found["high/data"], untrained.grey(5).numpy().var(1), **CLOSE)


@pytest.mark.parametrize("name", ["mem_vae", "three_layers"])
def test_likelihood_with_disabled_memories_equals_the_reference_with_h_m_of_ones(name):
    model, x = untrained.random_model(name), untrained.images(4)
    p, own, depth = reference.parameters_of(model), reference.statistics_of(model), len(model.decoder)
    found = detail.likelihoods(model, x, 3, 30, 10, 0)
    draws = {
        (purpose, count): np.concatenate(
            [torch.randn(count, 1, untrained.LATENT, generator=keyed(0, purpose, i, 0)).numpy() for i in range(4)],
            axis=1,
        )
        for purpose, count in (("log-likelihood of test images", likelihood.BLOCK), ("bound of test images", 10))
    }
    many, few = (values[:30] for values in draws.values())
    for condition, disabled in {"full": (), "first": {depth - 1}, "both": set(range(depth))}.items():
        expected = reference.bound(p, x[:3].numpy(), many[:, :3], own, disabled)
        np.testing.assert_allclose(found[f"log_likelihood/{condition}"], expected, **CLOSE)
        expected = reference.log_weights(p, x.numpy(), few, own, disabled).mean(0)
        np.testing.assert_allclose(found[f"bound/{condition}"], expected, **CLOSE)


def test_full_memory_has_the_values_of_the_likelihood_without_the_option():
    model, x = untrained.random_model("mem_vae"), untrained.images(4)
    found = detail.likelihoods(model, x, 4, 30, 10, 0)
    (expected,) = likelihood.log_likelihood(model, x, [30], (0, "log-likelihood of test images"))
    np.testing.assert_array_equal(found["log_likelihood/full"], expected)
    parts = likelihood.bound_parts(model, x, 10, (0, "bound of test images"))
    np.testing.assert_array_equal(found["bound/full"], parts.bound)
    np.testing.assert_array_equal(found["log_px/full"], parts.log_px)


# ---- slots -----------------------------------------------------------------------------------------------------------
LABELS = np.arange(40) % 4


@pytest.mark.parametrize("name", untrained.WITH_MEMORY)
def test_average_preferences_equal_the_reference(monkeypatch, name):
    """The sigmoid's values are divided by each image's sum first; images that are real-valued, one z each."""
    monkeypatch.setattr(slots, "ROWS", 7)  # so that more than one chunk is made
    model, x = untrained.random_model(name), untrained.grey(40)
    p, own = reference.parameters_of(model), reference.statistics_of(model)
    eps = torch.randn(40, untrained.LATENT, generator=keyed(0, "slots")).numpy()
    found = slots.slots(model, x, LABELS, 2, 0)
    for level in (level for level, count in enumerate(model.network.slots) if count):
        h_a = reference.preference(p, x.numpy(), eps[None], own, -1 - level)
        expected = reference.class_average(h_a, LABELS, classes=4)
        layer = {key.split("/")[1]: value for key, value in found.items() if key.startswith(f"layer{level}/")}
        np.testing.assert_allclose(layer["preferences"], expected, **CLOSE)
        np.testing.assert_allclose(layer["preferences"].sum(1), 1, rtol=1e-12)
        np.testing.assert_allclose(layer["mean_preference"], h_a.mean(0), **CLOSE)
        np.testing.assert_allclose(layer["top_values"], -np.sort(-expected, axis=1)[:, :2], **CLOSE)
        for row, order, values in zip(expected, layer["top"], layer["top_values"], strict=True):
            np.testing.assert_allclose(row[order], values, **CLOSE)
        np.testing.assert_allclose(layer["perplexity"], [reference.perplexity(row) for row in expected], **CLOSE)
        np.testing.assert_allclose(layer["correlation"][0, 1], np.corrcoef(expected[0], expected[1])[0, 1], **CLOSE)
        memory = p["decoder"][-1 - level]["memory"]
        np.testing.assert_allclose(layer["norms"], np.sqrt((memory["M"] ** 2).sum(1)), **CLOSE)
    np.testing.assert_array_equal(found["classes"], [0, 1, 2, 3])


def test_slot_images_of_the_layer_next_to_the_data_equal_the_reference():
    model = untrained.random_model("vis_mem_vae")
    found = slots.slots(model, untrained.grey(40), LABELS, 3, 0)["layer0/images"]
    np.testing.assert_allclose(found, reference.slot_images(reference.parameters_of(model), np.arange(4)), **CLOSE)


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [([0.25] * 4, 4), ([1.0, 0.0, 0.0, 0.0], 1), ([0.5, 0.5, 0, 0], 2), ([0.5, 0.25, 0.25, 0], 2**1.5)],
)
def test_perplexity_counts_the_slots_in_use(distribution, expected):
    assert slots.perplexity(np.array([distribution])) == pytest.approx([expected])
    assert reference.perplexity(distribution) == pytest.approx(expected)
