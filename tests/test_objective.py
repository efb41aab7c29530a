"""The objective against the reference in float64, its gradient, and a model whose likelihood is known exactly.

Relative 1e-9 as in test_model.py: float64 on both sides, in another order of summation.
"""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import reference
import torch
from scipy import stats

from memvae.analyses.likelihood.compute import log_likelihood
from memvae.model.network import Likelihood, MemVAE, Posterior
from memvae.random import keyed
from memvae.settings.spec import Network
from memvae.training.objective import draw_noise, log_ratio, log_weights, objective

pytestmark = pytest.mark.usefixtures("double")
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
VARIANTS = list(reference.NETWORKS)
BATCH, WEIGHT = 9, 0.1


def random_model(name: str) -> MemVAE:
    return reference.randomise(MemVAE(Network(**reference.NETWORKS[name])), keyed(1, name))


def images(rows: int = BATCH) -> torch.Tensor:
    return (torch.rand(rows, 12, generator=keyed(2, "images")) < 0.5).double()


def noise(samples: int, draw: str = "noise") -> torch.Tensor:
    return torch.randn(samples, BATCH, 3, generator=keyed(3, draw))


# ---- against the reference -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("name", VARIANTS)
def test_bound_and_local_error_equal_the_reference(name, samples):
    model, x, eps = random_model(name), images(), noise(samples)
    p = reference.parameters_of(model)
    found = objective(model, x, eps, WEIGHT)
    np.testing.assert_allclose(found.bound.item(), reference.bound(p, x.numpy(), eps.numpy()).mean(), **CLOSE)
    expected = reference.local_error(p, x.numpy(), eps.numpy()) if model.network.has_memory else 0.0
    np.testing.assert_allclose(found.local_error.item(), expected, **CLOSE)
    assert found.loss.item() == pytest.approx(expected - found.bound.item(), rel=1e-12)


@pytest.mark.parametrize("samples", [1, 5])
def test_log_weights_of_each_image_and_sample_equal_the_reference(samples):
    model, x, eps = random_model("mem_vae"), images(), noise(samples)
    posterior = model.encode(x)
    z = posterior.mean + torch.exp(posterior.log_variance / 2) * eps
    found = log_weights(x, posterior, model.decode(z.flatten(0, 1)), eps, z)
    expected = reference.log_weights(reference.parameters_of(model), x.numpy(), eps.numpy())
    assert found.shape == (samples, BATCH)
    np.testing.assert_allclose(found.detach(), expected, **CLOSE)


def test_log_ratio_is_the_difference_of_two_scipy_densities():
    model, eps = random_model("mem_vae"), noise(4)
    q = model.encode(images())
    mean, deviation = q.mean.detach().numpy(), np.exp(q.log_variance.detach().numpy() / 2)
    z = mean + deviation * eps.numpy()
    expected = (stats.norm(mean, deviation).logpdf(z) - stats.norm.logpdf(z)).sum(-1)
    np.testing.assert_allclose(log_ratio(q, eps, torch.from_numpy(z)).detach(), expected, **CLOSE)


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("name", ["mem_vae", "three_layers"])
def test_a_second_draw_changes_the_local_error_alone(name, samples):
    model, x, eps, second = random_model(name), images(), noise(samples), noise(samples, "second")
    p = reference.parameters_of(model)
    shared, found = objective(model, x, eps, WEIGHT), objective(model, x, eps, WEIGHT, second)
    assert torch.equal(shared.bound, found.bound)
    np.testing.assert_allclose(found.local_error.item(), reference.local_error(p, x.numpy(), second.numpy()), **CLOSE)
    np.testing.assert_allclose(
        found.loss.item(), reference.loss(p, x.numpy(), eps.numpy(), WEIGHT, second.numpy()), **CLOSE
    )
    assert abs(found.local_error - shared.local_error) > 1e-6


def test_local_error_of_two_unrelated_sides_is_about_0_4_nats():
    """Both have mean square 1, so mean (n - d)^2 is 2 where they are uncorrelated: 0.1 * 2 for each of two layers."""
    found = objective(random_model("mem_vae"), images(), noise(1), WEIGHT).local_error
    assert found.item() == pytest.approx(0.4, abs=0.1)  # nine images leave some chance correlation


@pytest.mark.parametrize(("name", "weight"), [("vae", WEIGHT), ("gaussian", WEIGHT), ("mem_vae", 0.0)])
def test_there_is_no_local_error_without_memory_or_weight(name, weight):
    assert objective(random_model(name), images(), noise(2), weight).local_error.item() == 0


def reference_loss(model, weight, x, eps, second):
    return reference.loss(reference.parameters_of(model), x, eps, weight, second)


@pytest.mark.parametrize(
    ("name", "samples", "second"),
    [(name, 1, False) for name in VARIANTS]
    + [("mem_vae", 5, False), ("mem_vae", 5, True), ("vis_mem_vae", 5, False), ("gaussian", 5, False)],
)
def test_gradient_of_every_parameter_equals_numerical_differentiation(name, samples, second):
    """Along a random direction in each parameter, central differences of the *reference's* loss.

    A step of 1e-7 is too short to cross a kink of relu; the rounding of a loss of about 20, 1e-14, is then worth 1e-7.
    """
    model, x, eps = random_model(name), images(), noise(samples)
    other = noise(samples, "second") if second else None
    objective(model, x, eps, WEIGHT, other).loss.backward()
    weight = WEIGHT if model.network.has_memory else 0.0
    draw, step = keyed(4, name), 1e-7
    for parameter_name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=draw)
        direction /= direction.norm()
        moved = copy.deepcopy(model)
        target = moved.get_parameter(parameter_name)
        values = []
        for sign in (step, -step):
            with torch.no_grad():
                target.copy_(parameter + sign * direction)
            arrays = (None if a is None else a.numpy() for a in (x, eps, other))
            values.append(reference_loss(moved, weight, *arrays))
        expected = (values[0] - values[1]) / (2 * step)
        found = (parameter.grad * direction).sum().item()
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6), parameter_name


def test_gradients_of_the_local_error_flow_into_both_sides():
    model = random_model("mem_vae")
    objective(model, images(), noise(1), WEIGHT).local_error.backward()
    for part in (model.encoder, model.decoder, model.memory):
        assert any(p.grad is not None and p.grad.abs().max() > 1e-6 for p in part.parameters())


# ---- the bound -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["vae", "mem_vae", "gaussian_memory"])
def test_bound_grows_with_k(name):
    """Of the same draws, the mean L_K over all subsets of K grows with K, image by image: no chance involved."""
    model, x = random_model(name).use_statistics("collected"), images()
    posterior, eps = model.encode(x), noise(6)
    z = posterior.mean + torch.exp(posterior.log_variance / 2) * eps
    log_w = log_weights(x, posterior, model.decode(z.flatten(0, 1)), eps, z)

    def mean_bound(k: int) -> torch.Tensor:
        subsets = torch.combinations(torch.arange(6), k)
        return torch.stack([log_w[rows].logsumexp(0) - np.log(k) for rows in subsets]).mean(0)

    bounds = torch.stack([mean_bound(k) for k in range(1, 7)])
    assert (bounds.diff(dim=0) > 0).all()
    assert objective(model, x, eps, 0.0).bound.item() == pytest.approx(bounds[-1].mean().item(), rel=1e-9)
    singles = [objective(model, x, one[None], 0.0).bound.item() for one in eps]
    assert np.mean(singles) == pytest.approx(bounds[0].mean().item(), rel=1e-9)


class LinearGaussian:
    """z ~ N(0, I), x | z ~ N(A z + b, s^2 I), so x ~ N(b, A A' + s^2 I) exactly.

    The columns of A are orthogonal: the posterior is then a diagonal Gaussian, and q can be it. `error` moves q's mean
    by as many of its standard deviations, and widens it.
    """

    PIXELS, LATENT, DEVIATION = 6, 3, 0.7

    def __init__(self, error: float = 0.0):
        draw = np.random.default_rng(5)
        basis, _ = np.linalg.qr(draw.normal(size=(self.PIXELS, self.LATENT)))
        self.A = torch.from_numpy(basis * [2.0, 1.0, 0.5])
        self.b = torch.from_numpy(draw.normal(size=self.PIXELS))
        self.error = error
        self.network = SimpleNamespace(latent=self.LATENT, has_memory=False)

    def encode(self, x):
        precision = 1 + (self.A**2).sum(0) / self.DEVIATION**2
        mean = (x - self.b) @ self.A / self.DEVIATION**2 / precision
        mean = mean + self.error * precision.rsqrt()
        return Posterior(mean, (self.error - precision.log()).expand_as(mean), [], [])

    def decode(self, z, disabled=0):
        out = z @ self.A.T + self.b
        return Likelihood(out, torch.full_like(out, 2 * np.log(self.DEVIATION)), [])

    def exact(self, x):
        covariance = self.A @ self.A.T + self.DEVIATION**2 * torch.eye(self.PIXELS)
        return stats.multivariate_normal(self.b.numpy(), covariance.numpy()).logpdf(x.numpy())

    def draw(self, rows):
        z, eps = (torch.randn(rows, n, generator=keyed(6, "x", n)) for n in (self.LATENT, self.PIXELS))
        return z @ self.A.T + self.b + self.DEVIATION * eps


@pytest.mark.parametrize("samples", [1, 5, 50])
def test_with_the_exact_posterior_the_bound_is_the_likelihood_whatever_the_draws(samples):
    model = LinearGaussian()
    x = model.draw(20)
    for seed in range(3):
        eps = draw_noise(samples, 20, model.LATENT, keyed(seed, "eps"))
        found = objective(model, x, eps, WEIGHT)
        assert found.bound.item() == pytest.approx(model.exact(x).mean(), rel=1e-12)
        assert found.loss.item() == -found.bound.item()


def test_with_the_exact_posterior_the_estimated_likelihood_is_exact_for_every_image():
    model = LinearGaussian()
    x = model.draw(5)
    for found in log_likelihood(model, x, [1, 7, 1500], (0, "test")):
        np.testing.assert_allclose(found, model.exact(x), rtol=1e-12)


def test_with_an_inexact_posterior_the_bound_rises_to_the_likelihood():
    """L_1 is below by KL(q || p), known in closed form; L_K rises and its gap falls as 1/K."""
    model, error = LinearGaussian(error=0.5), 0.5
    x = model.draw(200)
    gaps = [(model.exact(x) - found) for found in log_likelihood(model, x, [1, 10, 100, 1000], (0, "test"))]
    kl = model.LATENT * 0.5 * (np.exp(error) + error**2 - 1 - error)  # of N(error, e^error) to N(0, 1), each dimension
    assert abs(gaps[0].mean() - kl) < 3 * gaps[0].std() / np.sqrt(len(x))
    means = [gap.mean() for gap in gaps]
    assert means[0] > 2 * means[1] > 4 * means[2] and means[1] > 0
    assert abs(means[-1]) < 3 * gaps[-1].std() / np.sqrt(len(x)) + 1e-3


def test_noise_has_the_shape_samples_batch_latent_and_is_standard_normal():
    eps = draw_noise(50, 40, 3, keyed(0, "eps"))
    assert eps.shape == (50, 40, 3)
    assert stats.kstest(eps.ravel().numpy(), "norm").pvalue > 1e-3
