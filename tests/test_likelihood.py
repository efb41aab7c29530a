"""The importance-weighted likelihood and the parts of the bound, against the reference with the same draws."""

import gc

import numpy as np
import project
import pytest
import reference
import torch
import untrained
from scipy import special

from memvae.analyses.imputation import compute as imputation
from memvae.analyses.likelihood import compute as likelihood
from memvae.model import device as compute
from memvae.random import keyed

pytestmark = pytest.mark.usefixtures("double")
CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # float64 on both sides, in another order of summation
CPU = torch.device("cpu")


def draws_of(image: int, samples: int, seed: int = 0) -> np.ndarray:
    """eps [K, 1, Z] of one image: blocks of 1,000 samples, each with its own key."""
    blocks = [
        torch.randn(likelihood.BLOCK, 1, untrained.LATENT, generator=keyed(seed, "test", image, block))
        for block in range(-(-samples // likelihood.BLOCK))
    ]
    return torch.cat(blocks)[:samples].numpy()


@pytest.mark.parametrize("name", untrained.VARIANTS)
def test_log_likelihood_equals_the_reference(name):
    model, x = untrained.random_model(name), untrained.images(3)
    p, own = reference.parameters_of(model), reference.statistics_of(model)
    found = likelihood.log_likelihood(model, x, [1, 30, 1700], (0, "test"))
    for samples, values in zip((1, 30, 1700), found, strict=True):
        expected = [reference.bound(p, x[i : i + 1].numpy(), draws_of(i, samples), own).item() for i in range(len(x))]
        np.testing.assert_allclose(values, expected, **CLOSE)


@pytest.mark.parametrize(("chunk", "rows"), [(1, 1), (7, 7), (333, 333), (1000, 1000), (500, 1000), (40, 10**6)])
def test_log_likelihood_does_not_depend_on_the_size_of_a_chunk(monkeypatch, chunk, rows):
    """Nor on how many images are decoded together, as on a GPU."""
    model, x = untrained.random_model("mem_vae"), untrained.images(3)
    expected = likelihood.log_likelihood(model, x, [40, 1100], (0, "test"))
    monkeypatch.setattr(likelihood, "CHUNK", chunk)
    monkeypatch.setattr(likelihood, "ROWS", {"cpu": rows})
    np.testing.assert_allclose(likelihood.log_likelihood(model, x, [40, 1100], (0, "test")), expected, rtol=1e-12)


def test_log_likelihood_of_an_image_does_not_depend_on_the_others():
    model, x = untrained.random_model("mem_vae"), untrained.images(4)
    (many,) = likelihood.log_likelihood(model, x, [50], (0, "test"))
    (one,) = likelihood.log_likelihood(model, x[:1], [50], (0, "test"))
    (changed,) = likelihood.log_likelihood(model, torch.cat([1 - x[:3], x[3:]]), [50], (0, "test"))
    np.testing.assert_array_equal(one, many[:1])
    np.testing.assert_array_equal(changed[3], many[3])


@pytest.mark.parametrize("samples", [[20, 100], [100, 20], [20, 20], [999, 1000, 1001, 2000]])
def test_each_k_uses_the_first_draws_whatever_else_is_asked(samples):
    model, x = untrained.random_model("mem_vae"), untrained.images(2)
    together = likelihood.log_likelihood(model, x, samples, (0, "test"))
    for k, values in zip(samples, together, strict=True):
        np.testing.assert_allclose(values, likelihood.log_likelihood(model, x, [k], (0, "test"))[0], rtol=1e-12)


def test_log_likelihood_depends_on_the_seed():
    model, x = untrained.random_model("mem_vae"), untrained.images(2)
    first, other = (likelihood.log_likelihood(model, x, [5], (seed, "test"))[0] for seed in (0, 1))
    assert (first != other).all()


def test_log_likelihood_of_a_float32_model_is_accurate_to_a_thousandth():
    """As models are used: the log-weights are summed in float64, a bit of the weights' own rounding stays."""
    model, x = untrained.random_model("mem_vae"), untrained.images(5)
    (expected,) = likelihood.log_likelihood(model, x, [500], (0, "test"))
    (found,) = likelihood.log_likelihood(untrained.float32_model("mem_vae"), x.float(), [500], (0, "test"))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(("samples", "disabled"), [(30, 0), (1100, 0), (30, 1)])
def test_with_bf16_products_the_largest_weights_are_scored_again_in_float32(monkeypatch, samples, disabled):
    """With all of them kept nothing of bf16 is left; with some of them little; with one of them more."""
    torch.set_default_dtype(torch.float32)
    model, x, bf16 = untrained.float32_model("mem_vae"), untrained.images(8).float(), compute.Mode("bf16", False)
    exact = likelihood.log_likelihood(model, x, [20, samples], (0, "test"), disabled=disabled)
    off = {}
    for kept in (2000, 25, 1):
        monkeypatch.setattr(likelihood, "RESCORED", kept)
        found = likelihood.log_likelihood(model, x, [20, samples], (0, "test"), bf16, disabled)
        off[kept] = np.abs(found[1] - exact[1]).mean()
        assert np.abs(found[0] - exact[0]).mean() < (2e-6 if kept > 1 else 0.02)
    assert off[2000] < 2e-6  # float32, in another order
    assert off[2000] < off[25] < 0.02 and off[2000] < off[1] < 0.02


def test_the_output_of_a_gaussian_model_stays_float32():
    torch.set_default_dtype(torch.float32)
    model = untrained.float32_model("gaussian_memory")
    h = torch.randn(5, model.network.hidden[0], generator=keyed(0, "h"))
    with compute.products("bf16", CPU):
        found = model.likelihood(h)
    assert torch.equal(found.out, model.output(h)) and torch.equal(found.log_variance, model.output_log_variance(h))


def test_the_largest_weights_are_found_whatever_the_order_of_the_draws():
    """Ten chunks of three images: kept are the five largest of each image, with their draws."""
    log_w, noise = (
        torch.randn(50, 3, generator=keyed(0, "w")),
        torch.randn(50, 3, untrained.LATENT, generator=keyed(0, "n")),
    )
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

    terms, model, x = likelihood._log_terms, untrained.random_model("mem_vae"), untrained.images(1)
    monkeypatch.setattr(likelihood, "BLOCK", 100)
    monkeypatch.setattr(likelihood, "CHUNK", 50)
    assert largest(200) == largest(2000) == 100 * untrained.LATENT  # a block's draws


@project.needs_compiler
@pytest.mark.slow
def test_compiled_evaluation_equals_the_eager_one():
    """Likelihood with two K, and imputation; float32, so that only the order of sums differs."""
    torch.set_default_dtype(torch.float32)
    model, x = untrained.float32_model("mem_vae"), untrained.images(8).float()
    eager, compiled = compute.PLAIN, compute.Mode("float32", True)
    for disabled in (0, 1):
        found = [
            likelihood.log_likelihood(model, x, [30, 1100], (0, "test"), mode, disabled) for mode in (eager, compiled)
        ]
        np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    missing = torch.rand(8, untrained.PIXELS, generator=keyed(0, "missing")) < 0.5
    start, key = untrained.grey(8).float(), (0, "test")
    done = [imputation.impute(model, x, missing, start, 3, 4, key, mode) for mode in (eager, compiled)]
    torch.testing.assert_close(done[0][0], done[1][0], rtol=1e-3, atol=1e-4)  # batch norm of four images


@pytest.mark.parametrize("name", ["vae", "mem_vae", "gaussian_memory"])
def test_parts_of_the_bound_equal_the_reference(name):
    model, x, draws = untrained.random_model(name), untrained.images(6), 10
    p, own = reference.parameters_of(model), reference.statistics_of(model)
    eps = np.concatenate(
        [torch.randn(draws, 1, untrained.LATENT, generator=keyed(0, "test", i, 0)).numpy() for i in range(6)], axis=1
    )
    found = likelihood.bound_parts(model, x, draws, (0, "test"))
    log_px, kl = reference.bound_parts(p, x.numpy(), eps, own)
    np.testing.assert_allclose(found.log_px, log_px.mean(0), **CLOSE)
    np.testing.assert_allclose(found.kl, kl.mean(0), **CLOSE)
    np.testing.assert_allclose(found.bound, reference.log_weights(p, x.numpy(), eps, own).mean(0), **CLOSE)
    np.testing.assert_allclose(found.bound, found.log_px - found.kl, rtol=1e-12)


@pytest.mark.parametrize("rows", [10, 30, 10**6])
def test_parts_of_the_bound_do_not_depend_on_the_size_of_a_chunk(monkeypatch, rows):
    model, x = untrained.random_model("mem_vae"), untrained.images(7)
    expected = likelihood.bound_parts(model, x, 10, (0, "test"))
    monkeypatch.setattr(likelihood, "ROWS", {"cpu": rows})
    np.testing.assert_allclose(likelihood.bound_parts(model, x, 10, (0, "test")).bound, expected.bound, rtol=1e-12)


def test_the_sampled_kl_is_the_analytic_one_on_average():
    model, x = untrained.random_model("vae"), untrained.images(3)
    q = reference.encode(reference.parameters_of(model), x.numpy(), reference.statistics_of(model))
    expected = 0.5 * (np.exp(q["log_variance"]) + q["mean"] ** 2 - 1 - q["log_variance"]).sum(1)
    found = np.mean([likelihood.bound_parts(model, x, 500, (seed, "test")).kl for seed in range(20)], axis=0)
    # 10,000 draws; the sampled KL's standard deviation is below 3 nats in so small a model
    np.testing.assert_allclose(found, expected, atol=5 * 3 / 100)


def test_log_mean_exp_of_the_reference_is_scipys():
    """The reference itself, where it is not a line of algebra."""
    w = np.random.default_rng(0).normal(size=(50, 3)) * 30
    np.testing.assert_allclose(reference.log_mean_exp(w), special.logsumexp(w, axis=0) - np.log(50), rtol=1e-13)
