"""What is measured on a trained model, against the reference with the same draws.

Random draws are keyed, so a test makes them again from the key that the module documents. Relative 1e-9 as in
test_model.py: float64 on both sides, in another order of summation.
"""

import gc
from dataclasses import replace

import numpy as np
import project
import pytest
import reference
import torch
from scipy import special, stats
from sklearn import datasets

from memvae import compute, store
from memvae.errors import InputError
from memvae.evaluation import classifier, detail, imputation, likelihood, models, probing, slots
from memvae.evaluation.generation import generate
from memvae.model.layers import Normalise
from memvae.model.network import MemVAE
from memvae.random import keyed
from memvae.spec import Network, RunSpec, Training
from memvae.training.loop import Trained
from memvae.training.state import Curves

pytestmark = pytest.mark.usefixtures("double")
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
CPU = torch.device("cpu")
VARIANTS = list(reference.NETWORKS)
WITH_MEMORY = [name for name in VARIANTS if any(reference.NETWORKS[name]["slots"])]
LATENT, PIXELS = 3, 12


def random_model(name: str) -> MemVAE:
    model = reference.randomise(MemVAE(Network(**reference.NETWORKS[name])), keyed(1, name))
    return model.use_statistics("collected")


def images(rows: int) -> torch.Tensor:
    return (torch.rand(rows, PIXELS, generator=keyed(2, "images")) < 0.5).double()


def grey(rows: int) -> torch.Tensor:
    return torch.rand(rows, PIXELS, generator=keyed(2, "grey"))


def statistics(model: MemVAE) -> set[str]:
    return {module.statistics for module in model.modules() if isinstance(module, Normalise)}


# ---- likelihood ------------------------------------------------------------------------------------------------------
def draws_of(image: int, samples: int, seed: int = 0) -> np.ndarray:
    """eps [K, 1, Z] of one image: blocks of 1,000 samples, each with its own key."""
    blocks = [
        torch.randn(likelihood.BLOCK, 1, LATENT, generator=keyed(seed, "test", image, block))
        for block in range(-(-samples // likelihood.BLOCK))
    ]
    return torch.cat(blocks)[:samples].numpy()


@pytest.mark.parametrize("name", VARIANTS)
def test_log_likelihood_equals_the_reference(name):
    model, x = random_model(name), images(3)
    p, own = reference.parameters_of(model), reference.statistics_of(model)
    found = likelihood.log_likelihood(model, x, [1, 30, 1700], (0, "test"))
    for samples, values in zip((1, 30, 1700), found, strict=True):
        expected = [reference.bound(p, x[i : i + 1].numpy(), draws_of(i, samples), own).item() for i in range(len(x))]
        np.testing.assert_allclose(values, expected, **CLOSE)


@pytest.mark.parametrize(("chunk", "rows"), [(1, 1), (7, 7), (333, 333), (1000, 1000), (500, 1000), (40, 10**6)])
def test_log_likelihood_does_not_depend_on_the_size_of_a_chunk(monkeypatch, chunk, rows):
    """Nor on how many images are decoded together, as on a GPU."""
    model, x = random_model("mem_vae"), images(3)
    expected = likelihood.log_likelihood(model, x, [40, 1100], (0, "test"))
    monkeypatch.setattr(likelihood, "CHUNK", chunk)
    monkeypatch.setattr(likelihood, "ROWS", {"cpu": rows})
    np.testing.assert_allclose(likelihood.log_likelihood(model, x, [40, 1100], (0, "test")), expected, rtol=1e-12)


def test_log_likelihood_of_an_image_does_not_depend_on_the_others():
    model, x = random_model("mem_vae"), images(4)
    (many,) = likelihood.log_likelihood(model, x, [50], (0, "test"))
    (one,) = likelihood.log_likelihood(model, x[:1], [50], (0, "test"))
    (changed,) = likelihood.log_likelihood(model, torch.cat([1 - x[:3], x[3:]]), [50], (0, "test"))
    np.testing.assert_array_equal(one, many[:1])
    np.testing.assert_array_equal(changed[3], many[3])


@pytest.mark.parametrize("samples", [[20, 100], [100, 20], [20, 20], [999, 1000, 1001, 2000]])
def test_each_k_uses_the_first_draws_whatever_else_is_asked(samples):
    model, x = random_model("mem_vae"), images(2)
    together = likelihood.log_likelihood(model, x, samples, (0, "test"))
    for k, values in zip(samples, together, strict=True):
        np.testing.assert_allclose(values, likelihood.log_likelihood(model, x, [k], (0, "test"))[0], rtol=1e-12)


def test_log_likelihood_depends_on_the_seed():
    model, x = random_model("mem_vae"), images(2)
    first, other = (likelihood.log_likelihood(model, x, [5], (seed, "test"))[0] for seed in (0, 1))
    assert (first != other).all()


def test_log_likelihood_of_a_float32_model_is_accurate_to_a_thousandth():
    """As models are used: the log-weights are summed in float64, a bit of the weights' own rounding stays."""
    model, x = random_model("mem_vae"), images(5)
    (expected,) = likelihood.log_likelihood(model, x, [500], (0, "test"))
    (found,) = likelihood.log_likelihood(float32_model("mem_vae"), x.float(), [500], (0, "test"))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-3)


def float32_model(name: str) -> MemVAE:
    """As models are used, with the weights of `random_model`."""
    single = MemVAE(Network(**reference.NETWORKS[name])).float()
    single.load_state_dict(random_model(name).state_dict())
    return single.use_statistics("collected")


@pytest.mark.parametrize(("samples", "disabled"), [(30, 0), (1100, 0), (30, 1)])
def test_with_bf16_products_the_largest_weights_are_scored_again_in_float32(monkeypatch, samples, disabled):
    """With all of them kept nothing of bf16 is left; with some of them little; with one of them more."""
    torch.set_default_dtype(torch.float32)
    model, x, bf16 = float32_model("mem_vae"), images(8).float(), compute.Mode("bf16", False)
    exact = likelihood.log_likelihood(model, x, [20, samples], (0, "test"), disabled=disabled)
    off = {}
    for kept in (2000, 25, 1):
        monkeypatch.setattr(likelihood, "RESCORED", kept)
        found = likelihood.log_likelihood(model, x, [20, samples], (0, "test"), bf16, disabled)
        off[kept] = np.abs(found[1] - exact[1]).mean()
        assert np.abs(found[0] - exact[0]).mean() < (2e-6 if kept > 1 else 0.02)
    assert off[2000] < 2e-6  # float32, in another order
    assert off[2000] < off[25] < 0.02 and off[2000] < off[1] < 0.02


def test_imputation_with_bf16_products_differs_by_their_rounding():
    torch.set_default_dtype(torch.float32)
    model, x = float32_model("mem_vae"), grey(40).float()
    missing = torch.rand(40, PIXELS, generator=keyed(0, "missing")) < 0.5
    modes = (compute.PLAIN, compute.Mode("bf16", False))
    found = [imputation.impute(model, x, missing, x.flip(0), 1, 20, (0, "test"), mode)[0] for mode in modes]
    assert 0 < (found[0] - found[1]).abs().max() < 0.05
    assert torch.equal(found[0][~missing], found[1][~missing])


def test_the_output_of_a_gaussian_model_stays_float32():
    torch.set_default_dtype(torch.float32)
    model = float32_model("gaussian_memory")
    h = torch.randn(5, model.network.hidden[0], generator=keyed(0, "h"))
    with compute.products("bf16", CPU):
        found = model.likelihood(h)
    assert torch.equal(found.out, model.output(h)) and torch.equal(found.log_variance, model.output_log_variance(h))


def test_the_largest_weights_are_found_whatever_the_order_of_the_draws():
    """Ten chunks of three images: kept are the five largest of each image, with their draws."""
    log_w, noise = torch.randn(50, 3, generator=keyed(0, "w")), torch.randn(50, 3, LATENT, generator=keyed(0, "n"))
    sums = likelihood._LogSum(noise[0], 5)
    for start in range(0, 50, 5):
        sums.add(log_w[start : start + 5], noise[start : start + 5])
    value, order = log_w.topk(5, dim=0)
    assert torch.equal(sums.best, value)
    assert torch.equal(sums.noise, torch.stack([noise[order[:, image], image] for image in range(3)], dim=1))
    np.testing.assert_allclose(sums.total(sums.best), torch.logsumexp(log_w, 0), rtol=1e-12)


def test_memory_does_not_grow_with_k(monkeypatch):
    """The largest tensor that is alive while chunks are scored: the same for ten times the samples."""

    def largest(samples: int) -> int:
        found, before = [], {id(value) for value in gc.get_objects()}
        with monkeypatch.context() as patch:

            def watched(*arguments):
                alive = [o for o in gc.get_objects() if type(o) is torch.Tensor and id(o) not in before]
                found.append(max(tensor.numel() for tensor in alive))
                return terms(*arguments)

            patch.setattr(likelihood, "_log_terms", watched)
            likelihood.log_likelihood(model, x, [samples], (0, "test"))
        return max(found)

    terms, model, x = likelihood._log_terms, random_model("mem_vae"), images(1)
    monkeypatch.setattr(likelihood, "BLOCK", 100)
    monkeypatch.setattr(likelihood, "CHUNK", 50)
    assert largest(200) == largest(2000) == 100 * LATENT  # a block's draws


@project.needs_compiler
@pytest.mark.slow
def test_compiled_evaluation_equals_the_eager_one():
    """Likelihood with two K, and imputation; float32, so that only the order of sums differs."""
    torch.set_default_dtype(torch.float32)
    model, x = float32_model("mem_vae"), images(8).float()
    eager, compiled = compute.PLAIN, compute.Mode("float32", True)
    for disabled in (0, 1):
        found = [
            likelihood.log_likelihood(model, x, [30, 1100], (0, "test"), mode, disabled) for mode in (eager, compiled)
        ]
        np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    missing = torch.rand(8, PIXELS, generator=keyed(0, "missing")) < 0.5
    start, key = grey(8).float(), (0, "test")
    done = [imputation.impute(model, x, missing, start, 3, 4, key, mode) for mode in (eager, compiled)]
    torch.testing.assert_close(done[0][0], done[1][0], rtol=1e-3, atol=1e-4)  # batch norm of four images


@pytest.mark.parametrize("name", ["vae", "mem_vae", "gaussian_memory"])
def test_parts_of_the_bound_equal_the_reference(name):
    model, x, draws = random_model(name), images(6), 10
    p, own = reference.parameters_of(model), reference.statistics_of(model)
    eps = np.concatenate(
        [torch.randn(draws, 1, LATENT, generator=keyed(0, "test", i, 0)).numpy() for i in range(6)], axis=1
    )
    found = likelihood.bound_parts(model, x, draws, (0, "test"))
    log_px, kl = reference.bound_parts(p, x.numpy(), eps, own)
    np.testing.assert_allclose(found.log_px, log_px.mean(0), **CLOSE)
    np.testing.assert_allclose(found.kl, kl.mean(0), **CLOSE)
    np.testing.assert_allclose(found.bound, reference.log_weights(p, x.numpy(), eps, own).mean(0), **CLOSE)
    np.testing.assert_allclose(found.bound, found.log_px - found.kl, rtol=1e-12)


@pytest.mark.parametrize("rows", [10, 30, 10**6])
def test_parts_of_the_bound_do_not_depend_on_the_size_of_a_chunk(monkeypatch, rows):
    model, x = random_model("mem_vae"), images(7)
    expected = likelihood.bound_parts(model, x, 10, (0, "test"))
    monkeypatch.setattr(likelihood, "ROWS", {"cpu": rows})
    np.testing.assert_allclose(likelihood.bound_parts(model, x, 10, (0, "test")).bound, expected.bound, rtol=1e-12)


def test_the_sampled_kl_is_the_analytic_one_on_average():
    model, x = random_model("vae"), images(3)
    q = reference.encode(reference.parameters_of(model), x.numpy(), reference.statistics_of(model))
    expected = 0.5 * (np.exp(q["log_variance"]) + q["mean"] ** 2 - 1 - q["log_variance"]).sum(1)
    found = np.mean([likelihood.bound_parts(model, x, 500, (seed, "test")).kl for seed in range(20)], axis=0)
    # 10,000 draws; the sampled KL's standard deviation is below 3 nats in so small a model
    np.testing.assert_allclose(found, expected, atol=5 * 3 / 100)


# ---- generation ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", WITH_MEMORY)
def test_generation_disables_first_one_and_then_every_memory(name):
    model = random_model(name)
    found = generate(model, 20, 0, CPU)
    p, own, depth = reference.parameters_of(model), reference.statistics_of(model), len(model.decoder)
    assert found["images"].shape == (3, 20, PIXELS)
    for row, disabled in zip(found["images"], ((), {depth - 1}, set(range(depth))), strict=True):
        expected = reference.decode(p, found["z"], own, disabled)["output"]["mean"]
        np.testing.assert_allclose(row, expected, **CLOSE)


def test_imputation_refuses_a_last_batch_of_one_image():
    x, missing, start = corrupted(11)
    with pytest.raises(InputError, match="batch_size"):
        imputation.impute(random_model("mem_vae"), x, missing, start, 1, 10, (0, "test"))


def test_generation_draws_z_from_the_prior():
    z = generate(random_model("mem_vae"), 2000, 0, CPU)["z"]
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3  # the seed is fixed


@pytest.mark.parametrize(
    "function",
    [
        lambda m: generate(m, 2, 0, CPU),
        lambda m: slots.slots(m, grey(2), [0, 1], 1, 0),
        lambda m: detail.spectra(m, grey(2).numpy(), 2, 0.2, 0, CPU),
        lambda m: detail.likelihoods(m, images(2), 2, 2, 2, 0),
    ],
)
def test_a_model_without_memory_is_refused_where_memory_is_shown(function):
    with pytest.raises(InputError, match="no memory"):
        function(random_model("vae"))


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

    def decode(self, z, disabled):
        return type("Means", (), {"mean": torch.from_numpy(self.means[disabled].reshape(len(z), -1))})


def test_coherence_is_1_for_the_same_images_and_0_for_independent_noise():
    draw = np.random.default_rng(0)
    noise, other = draw.normal(size=(2, 4000, 8, 8))
    found = detail.spectra(Painted(noise, noise, other), noise[:3].reshape(3, -1), 4000, 0.2, 0, CPU)
    np.testing.assert_allclose(found["coherence/first"], 1, rtol=1e-12)
    np.testing.assert_allclose(found["coherence/both"], 0, atol=0.04)  # at least 4 coefficients in 4,000 images
    for band in ("low", "high"):
        np.testing.assert_array_equal(found[f"cross_{band}/first"], found[f"{band}/full"])
        assert abs(found[f"cross_{band}/both"].sum()) < 0.04 * found[f"{band}/full"].sum()


def test_low_and_high_energies_are_parted_at_the_cutoff():
    """A coarse wave in all images, a fine one in those of the full memory alone."""
    coarse, fine = np.tile(wave(8, 8, 1), (3, 1, 1)), wave(8, 8, 3, 0.1) - 0.5
    found = detail.spectra(Painted(coarse + fine, coarse, coarse), coarse.reshape(3, -1), 3, 0.2, 0, CPU)
    np.testing.assert_allclose(found["high/full"], 0.1**2 / 2)
    np.testing.assert_allclose(found["high/first"], 0, atol=1e-12)
    np.testing.assert_allclose([found["low/full"], found["low/both"], found["low/data"]], 0.3**2 / 2)
    assert np.isfinite(found["coherence/first"]).all()  # also in bands without energy


@pytest.mark.parametrize("name", ["mem_vae", "three_layers"])
def test_spectra_are_those_of_the_references_means(name):
    model = random_model(name)
    p, own, depth = reference.parameters_of(model), reference.statistics_of(model), len(model.decoder)
    found = detail.spectra(model, grey(5).numpy(), 30, 0.3, 0, CPU)
    z = torch.randn(30, LATENT, generator=keyed(0, "detail")).numpy()
    for condition, disabled in {"full": (), "first": {depth - 1}, "both": set(range(depth))}.items():
        variance = reference.decode(p, z, own, disabled)["output"]["mean"].var(1)
        np.testing.assert_allclose(found[f"low/{condition}"] + found[f"high/{condition}"], variance, **CLOSE)
        np.testing.assert_allclose(found[f"spectrum/{condition}"].sum(), variance.mean(), **CLOSE)
    np.testing.assert_allclose(found["low/data"] + found["high/data"], grey(5).numpy().var(1), **CLOSE)


@pytest.mark.parametrize("name", ["mem_vae", "three_layers"])
def test_likelihood_with_disabled_memories_equals_the_reference_with_h_m_of_ones(name):
    model, x = random_model(name), images(4)
    p, own, depth = reference.parameters_of(model), reference.statistics_of(model), len(model.decoder)
    found = detail.likelihoods(model, x, 3, 30, 10, 0)
    draws = {
        (purpose, count): np.concatenate(
            [torch.randn(count, 1, LATENT, generator=keyed(0, purpose, i, 0)).numpy() for i in range(4)], axis=1
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
    model, x = random_model("mem_vae"), images(4)
    found = detail.likelihoods(model, x, 4, 30, 10, 0)
    (expected,) = likelihood.log_likelihood(model, x, [30], (0, "log-likelihood of test images"))
    np.testing.assert_array_equal(found["log_likelihood/full"], expected)
    parts = likelihood.bound_parts(model, x, 10, (0, "bound of test images"))
    np.testing.assert_array_equal(found["bound/full"], parts.bound)
    np.testing.assert_array_equal(found["log_px/full"], parts.log_px)


# ---- slots -----------------------------------------------------------------------------------------------------------
LABELS = np.arange(40) % 4


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_average_preferences_equal_the_reference(monkeypatch, name):
    """The sigmoid's values are divided by each image's sum first; images that are real-valued, one z each."""
    monkeypatch.setattr(slots, "ROWS", 7)  # so that more than one chunk is made
    model, x = random_model(name), grey(40)
    p, own = reference.parameters_of(model), reference.statistics_of(model)
    eps = torch.randn(40, LATENT, generator=keyed(0, "slots")).numpy()
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
    model = random_model("vis_mem_vae")
    found = slots.slots(model, grey(40), LABELS, 3, 0)["layer0/images"]
    np.testing.assert_allclose(found, reference.slot_images(reference.parameters_of(model), np.arange(4)), **CLOSE)


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [([0.25] * 4, 4), ([1.0, 0.0, 0.0, 0.0], 1), ([0.5, 0.5, 0, 0], 2), ([0.5, 0.25, 0.25, 0], 2**1.5)],
)
def test_perplexity_counts_the_slots_in_use(distribution, expected):
    assert slots.perplexity(np.array([distribution])) == pytest.approx([expected])
    assert reference.perplexity(distribution) == pytest.approx(expected)


# ---- imputation ------------------------------------------------------------------------------------------------------
def corrupted(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    missing = torch.rand(rows, PIXELS, generator=keyed(3, "missing")) < 0.5
    return grey(rows), missing, torch.rand(rows, PIXELS, generator=keyed(3, "start"))


@pytest.mark.parametrize("name", ["vae", "mem_vae", "vis_mem_vae", "gaussian_memory"])
def test_imputation_equals_the_reference(name):
    """In batches of 10 of 20 images, each normalised by its own statistics."""
    model, (x, missing, start), key = random_model(name), corrupted(20), (0, "test")
    completed, errors = imputation.impute(model, x, missing, start, 5, 10, key)
    expected, squared = [], np.zeros(5)
    for begin in (0, 10):
        rows = slice(begin, begin + 10)
        noise = [torch.randn(10, LATENT, generator=keyed(*key, i, begin)).numpy() for i in range(5)]
        arrays = (x[rows].numpy(), missing[rows].numpy(), start[rows].numpy())
        found, error = reference.impute(reference.parameters_of(model), *arrays, noise)
        expected.append(found[-1])
        squared += np.array(error) * missing[rows].sum().item()
    np.testing.assert_allclose(completed, np.concatenate(expected), **CLOSE)
    np.testing.assert_allclose(errors, squared / missing.sum().item(), **CLOSE)


def test_observed_pixels_never_change_and_missing_ones_do():
    x, missing, start = corrupted(20)
    before = x.clone()
    completed, _ = imputation.impute(random_model("mem_vae"), x, missing, start, 3, 20, (0, "test"))
    assert torch.equal(completed[~missing], x[~missing]) and torch.equal(x, before)
    assert (completed[missing] != start[missing]).all()


def test_imputation_uses_the_statistics_of_the_batch_and_leaves_the_collected_ones():
    """A model whose collected statistics are nonsense completes the same."""
    model, (x, missing, start) = random_model("mem_vae"), corrupted(20)
    expected, _ = imputation.impute(model, x, missing, start, 2, 20, (0, "test"))
    own = reference.statistics_of(model)
    for module in model.modules():
        if isinstance(module, Normalise):
            module.mean.fill_(1e6)
    completed, _ = imputation.impute(model, x, missing, start, 2, 20, (0, "test"))
    assert torch.equal(completed, expected) and statistics(model) == {"collected"}
    assert (reference.statistics_of(model)["encoder"][0][0] == 1e6).all() and (own["encoder"][0][0] != 1e6).all()


def test_images_of_another_batch_do_not_change_a_completion():
    model, (x, missing, start) = random_model("mem_vae"), corrupted(20)
    expected, _ = imputation.impute(model, x, missing, start, 2, 10, (0, "test"))
    other, _ = imputation.impute(model, torch.cat([x[:10], 1 - x[10:]]), missing, start, 2, 10, (0, "test"))
    assert torch.equal(other[:10], expected[:10]) and not torch.equal(other[10:], expected[10:])


# ---- probing ---------------------------------------------------------------------------------------------------------
def test_features_are_the_last_layer_of_the_recognition_model(monkeypatch):
    monkeypatch.setattr(probing, "ROWS", 7)
    model, x = random_model("three_layers"), grey(20)
    expected = reference.encode(reference.parameters_of(model), x.numpy(), reference.statistics_of(model))
    found = probing.features(model, x)
    np.testing.assert_allclose(found, expected["activations"][-1], **CLOSE)
    assert found.shape == (20, 5) and found.min() == 0


def labelled(rows: int, features: int = 6, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes around random centres, far enough apart to be separated by planes."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes, rows)
    centres = 4 * draw.normal(size=(classes, features))
    return torch.from_numpy(centres[labels] + 0.3 * draw.normal(size=(rows, features))), torch.from_numpy(labels)


def test_hinge_gradient_equals_numerical_differentiation():
    h, labels = labelled(50)
    one_hot = torch.nn.functional.one_hot(labels).to(h.dtype)
    weights = torch.randn(6, 4, generator=keyed(4, "weights")) * 0.2  # away from ties and kinks
    found = probing.hinge_gradient(weights, h, labels, one_hot)
    for i, j in np.ndindex(6, 4):
        step = torch.zeros(6, 4)
        step[i, j] = 1e-6
        low, high = (
            reference.crammer_singer((weights + s * step).T.numpy(), h.numpy(), labels.numpy())[0] for s in (-1, 1)
        )
        assert found[i, j].item() == pytest.approx((high - low) / 2e-6, rel=1e-6, abs=1e-8)  # rounding: 1e-15 / 1e-6


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_the_authors_classifier_takes_the_references_steps(steps):
    """Batches of 100 in order and from the first again; the last 30 images fill no batch."""
    h, labels = labelled(330)
    found = probing.crammer_singer(h, labels, steps)
    expected = reference.adagrad(np.zeros((4, 6)), h.numpy(), labels.numpy(), steps)
    np.testing.assert_allclose(found, expected.T, **CLOSE)


def test_the_authors_classifier_separates_what_is_separable():
    h, labels = labelled(400)
    predicted = (h @ probing.crammer_singer(h, labels, 300)).argmax(1)
    assert torch.equal(predicted, labels)


def test_the_authors_classifier_minimises_its_objective():
    h, labels = labelled(400)
    h = h + torch.randn(h.shape, generator=keyed(5, "noise")) * 4  # no longer separable
    losses = [
        reference.crammer_singer(probing.crammer_singer(h, labels, steps).T.numpy(), h.numpy(), labels.numpy())[0]
        for steps in (1, 10, 100, 1000)
    ]
    assert losses[0] > losses[1] > losses[2] > losses[3]


def test_linear_svc_chooses_nothing_on_test_images():
    h, labels = (values.numpy() for values in labelled(300))
    h = h + np.random.default_rng(1).normal(size=h.shape) * 3
    test_h = np.random.default_rng(2).normal(size=(50, 6)) * 4
    order = np.random.default_rng(3).permutation(50)
    first, permuted, other = (
        probing.linear_svc(h, labels, test, [0.0001, 0.01, 1.0], 200, 0) for test in (test_h, test_h[order], -test_h)
    )
    for result in (permuted, other):
        assert result.chosen_c == first.chosen_c
        np.testing.assert_array_equal(result.validation_accuracy, first.validation_accuracy)
    np.testing.assert_array_equal(permuted.predicted, first.predicted[order])
    assert first.chosen_c == [0.0001, 0.01, 1.0][np.argmax(first.validation_accuracy)]


def test_linear_svc_chooses_on_the_first_images_and_fits_all():
    h, labels = (values.numpy() for values in labelled(300))
    h = h + np.random.default_rng(1).normal(size=h.shape) * 3
    other = np.where(np.arange(300) < 200, labels, (labels + 1) % 4)
    first, second = (probing.linear_svc(h, known, h, [0.0001, 0.01, 1.0], 200, 0) for known in (labels, other))
    np.testing.assert_array_equal(first.validation_accuracy, second.validation_accuracy)
    assert (first.predicted != second.predicted).any()


def test_linear_svc_learns_what_is_separable():
    h, labels = (values.numpy() for values in labelled(300))
    result = probing.linear_svc(h[:200], labels[:200], h[200:], [0.01, 1.0], 200, 0)
    np.testing.assert_array_equal(result.predicted, labels[200:])


# ---- the judge of completed images -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    found = datasets.load_digits()
    return torch.from_numpy(found.data / 16).float(), torch.from_numpy(found.target).long()


def test_the_classifier_learns_digits(digits):
    torch.set_default_dtype(torch.float32)
    x, labels = digits
    model = classifier.train_classifier(x[:1200], labels[:1200], (8, 8), 4, seed=0)
    assert (model.predict(x[1200:]) == labels[1200:].numpy()).mean() > 0.6  # chance is 0.1


def test_the_classifier_depends_on_the_seed_alone(digits):
    torch.set_default_dtype(torch.float32)
    first, again, other = (
        classifier.train_classifier(digits[0][:200], digits[1][:200], (8, 8), 1, s) for s in (0, 0, 1)
    )
    assert torch.equal(first.dense.weight, again.dense.weight)
    assert not torch.equal(first.dense.weight, other.dense.weight)


def test_a_prediction_does_not_depend_on_the_other_images(digits):
    torch.set_default_dtype(torch.float32)
    x, labels = digits
    model = classifier.train_classifier(x[:200], labels[:200], (8, 8), 1, seed=0)
    np.testing.assert_array_equal(model.predict(x[50:60]), model.predict(x)[50:60])


# ---- model files -----------------------------------------------------------------------------------------------------
TRAINING = Training(
    samples=1,
    epochs=3,
    full_epochs=3,
    constant_epochs=1,
    batch_size=8,
    binarise="each_epoch",
    learning_rate=1e-3,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-4,
    decay=0.998,
    clip_norm=5.0,
    clip_element=1.0,
    reconstruction_weight=0.1,
    reconstruction_draw="shared",
    curve_every=1,
    precision="float32",
)
SPEC = RunSpec("tiny-mem_vae-k1-s0", "tiny", "tiny", "MEM-VAE", 0, Network(**reference.NETWORKS["mem_vae"]), TRAINING)


def saved(path, spec: RunSpec = SPEC) -> Trained:
    model = reference.randomise(MemVAE(SPEC.network).float(), keyed(6, "model"))
    trained = Trained(model, Curves([1, 2, 3], [-3.0, -2.0, -1.0], [1, 3], [-4.0, -2.0], [-3.5, -1.5]), "float32")
    models.save(path, trained, spec, "d" * 64, CPU)
    return trained


def test_a_model_file_gives_back_the_model_its_statistics_and_its_curves(tmp_path):
    torch.set_default_dtype(torch.float32)
    trained = saved(tmp_path / "m.h5")
    loaded = models.load(tmp_path / "m.h5", CPU)
    assert loaded.spec == SPEC and statistics(loaded.model) == {"collected"}
    a, b = trained.model.state_dict(), loaded.model.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    stored = store.read(tmp_path / "m.h5", "model")
    for name, values in vars(trained.curves).items():
        np.testing.assert_array_equal(stored.arrays[f"curves/{name}"], values)
    expected = {"epoch": 3, "data_sha256": "d" * 64, "model_sha256": stored.attributes["sha256"]}
    assert expected.items() <= loaded.provenance.items()


def test_weights_that_do_not_fit_the_specification_are_refused(tmp_path):
    torch.set_default_dtype(torch.float32)
    saved(tmp_path / "m.h5", replace(SPEC, network=replace(SPEC.network, slots=(5, 3))))
    with pytest.raises(InputError, match=r"m\.h5") as caught:
        models.load(tmp_path / "m.h5", CPU)
    assert "\n" not in str(caught.value)


def test_a_state_is_no_model(tmp_path):
    store.write(tmp_path / "s.h5", "state", {"x": np.zeros(1)}, {})
    with pytest.raises(InputError, match="found memvae/state, expected memvae/model"):
        models.load(tmp_path / "s.h5", CPU)


def test_log_mean_exp_of_the_reference_is_scipys():
    """The reference itself, where it is not a line of algebra."""
    w = np.random.default_rng(0).normal(size=(50, 3)) * 30
    np.testing.assert_allclose(reference.log_mean_exp(w), special.logsumexp(w, axis=0) - np.log(50), rtol=1e-13)
