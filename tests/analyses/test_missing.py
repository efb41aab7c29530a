"""The chains that infer missing pixels, and the log-likelihood of these, in a model whose answers are known exactly.

x = W z + b + noise, z ~ N(0, I): p(x_missing | x_observed) is normal with known mean and variance. Two encoders: the
exact q(z|x), and a wrong one, shifted and too wide.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
import untrained
from scipy.stats import multivariate_normal
from torch import Tensor

from memvae.analyses.missing import CHAINS, ESTIMATES, METROPOLIS, SAMPLED, refused
from memvae.analyses.missing.compute import chain, log_densities, log_likelihood
from memvae.analyses.missing.show import figure, measure, table
from memvae.errors import InputError
from memvae.model.network import Likelihood, Posterior
from memvae.random import keyed
from memvae.report import render, style
from memvae.report.paper import read_paper
from memvae.report.view import View

pytestmark = pytest.mark.usefixtures("double")
W = torch.tensor([[1.2, 0.3], [-0.7, 0.9], [0.5, -1.1], [0.8, 0.6], [-0.4, 0.2]], dtype=torch.float64)  # [D, Z]
B = torch.tensor([0.3, -0.2, 0.1, 0.0, 0.5], dtype=torch.float64)
VARIANCE = 1.0  # of the noise
MISSING = torch.tensor([True, False, True, True, False])
X = torch.tensor([0.9, -1.3, 0.4, 1.1, 0.2], dtype=torch.float64)
COPIES = 2000  # independent chains on the same x


def exact() -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of p(x_missing | x_observed)."""
    covariance, m = (W @ W.T + VARIANCE * torch.eye(5)).numpy(), MISSING.numpy()
    gain = covariance[np.ix_(m, ~m)] @ np.linalg.inv(covariance[np.ix_(~m, ~m)])
    mean = B.numpy()[m] + gain @ (X - B).numpy()[~m]
    return mean, covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(~m, m)]


def log_density() -> float:
    mean, covariance = exact()
    return float(multivariate_normal.logpdf(X[MISSING].numpy(), mean, covariance))


def decode(z: Tensor) -> Likelihood:
    out = z @ W.T + B
    return Likelihood(out, torch.full_like(out, np.log(VARIANCE)), [])


def encoder(shift: float = 0.0, widen: float = 1.0) -> Callable[[Tensor], Posterior]:
    """q(z|x) with independent components: the exact mean plus a shift, the exact variances times a factor."""
    covariance = torch.linalg.inv(torch.eye(2) + W.T @ W / VARIANCE)

    def encode(x: Tensor) -> Posterior:
        mean = (x - B) @ W / VARIANCE @ covariance + shift
        return Posterior(mean, (widen * covariance.diag()).log().expand_as(mean), [], [])

    return encode


def run(
    name: str, encode: Callable[[Tensor], Posterior], iterations: int = 60, burn_in: int = 30, copies: int = COPIES
):
    x, missing = X.expand(copies, -1), MISSING.expand(copies, -1)
    start = torch.rand(x.shape, generator=keyed(1, "start"))
    return chain(name, encode, decode, x, missing, start, x, iterations, burn_in, (0, "linear", "test"))


def means(found) -> tuple[np.ndarray, np.ndarray]:
    """Over the independent chains: the mean of their averages at the missing pixels, and its standard error."""
    values = found.estimates["average"][:, MISSING].numpy()
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))


def test_metropolis_is_right_with_a_wrong_encoder_and_pseudo_gibbs_is_not():
    """Over 2,000 chains; 5 standard errors of three numbers are exceeded by chance once in 500,000 times."""
    wrong = encoder(shift=0.2, widen=1.3)
    mean, error = means(run(METROPOLIS, wrong))
    assert (abs(mean - exact()[0]) < 5 * error).all() and (error < 0.02).all()
    mean, error = means(run("pseudo_gibbs", wrong))
    assert (abs(mean - exact()[0]) > 0.2).all() and (abs(mean - exact()[0]) > 20 * error).all()


def test_pseudo_gibbs_is_right_where_metropolis_accepts_all():
    """W of orthogonal columns: q(z|x) has independent components and is exact."""
    mean, error = means(run("pseudo_gibbs", encoder()))
    found = run(METROPOLIS, encoder())
    ...


@pytest.mark.parametrize("widen", [0.7, 1.0, 2.0])
def test_metropolis_has_the_exact_distribution_whatever_the_encoder(widen):
    """E p(x_missing|z) over p(z|x_observed) is the density itself: the log-scores of all chains as one."""
    found = run(METROPOLIS, encoder(0.2, widen))
    pooled = float(torch.logsumexp(found.log_score, 0) - np.log(COPIES))
    assert pooled == pytest.approx(log_density(), abs=0.03)
    wrong = run("pseudo_gibbs", encoder(0.2, widen))
    assert abs(float(torch.logsumexp(wrong.log_score, 0) - np.log(COPIES)) - log_density()) > 0.1


def test_the_log_likelihood_of_missing_pixels_is_exact_in_the_limit_and_unbiased_by_bad_proposals():
    """Proposals of a wrong encoder, from states that are far off: the weights make up for them."""
    wrong = encoder(0.4, 1.5)
    x, missing = X.expand(100, -1), MISSING.expand(100, -1)
    states = [wrong(x + shift) for shift in (0.0, 0.5, -0.5)]
    few, many = (log_likelihood(wrong, decode, x, missing, states, k, (0, "test")).numpy() for k in (20, 2001))
    assert many.mean() == pytest.approx(log_density(), abs=5 * many.std() / 10) and many.std() < 0.1
    assert few.std() > 2 * many.std()
