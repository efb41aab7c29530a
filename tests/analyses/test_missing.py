"""The chains that infer missing pixels, and the log-likelihood of these, in a model whose answers are known exactly.

x = W z + b + noise, z ~ N(0, I): p(x_missing | x_observed) is normal with known mean and variance.
"""

from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
import untrained
from scipy.stats import multivariate_normal
from torch import Tensor

from memvae.analyses.missing import (
    CHAINS,
    COMPARED,
    ESTIMATES,
    EXACT,
    LONG,
    METROPOLIS,
    PAPER,
    PSEUDO_GIBBS,
    SAMPLED,
    lengths,
    refused,
)
from memvae.analyses.missing.compute import Chain, Decode, Encode, chain, log_densities, log_likelihood
from memvae.analyses.missing.show import figure, measure, survives, table
from memvae.model.network import Likelihood, Posterior
from memvae.random import keyed
from memvae.report import render, style
from memvae.report.paper import read_paper
from memvae.report.view import View

pytestmark = pytest.mark.usefixtures("double")
PRINTED = read_paper(Path(__file__).resolve().parents[2] / "config/paper.yaml")
W = torch.tensor([[1.2, 0.3], [-0.7, 0.9], [0.5, -1.1], [0.8, 0.6], [-0.4, 0.2]], dtype=torch.float64)  # [D, Z]
B = torch.tensor([0.3, -0.2, 0.1, 0.0, 0.5], dtype=torch.float64)
VARIANCE = 1.0  # of the noise
MISSING = torch.tensor([True, False, True, True, False])
X = torch.tensor([0.9, -1.3, 0.4, 1.1, 0.2], dtype=torch.float64)
COPIES = 2000  # independent chains on the same x


def exact(w: Tensor = W) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of p(x_missing | x_observed)."""
    covariance, m = (w @ w.T + VARIANCE * torch.eye(5)).numpy(), MISSING.numpy()
    gain = covariance[np.ix_(m, ~m)] @ np.linalg.inv(covariance[np.ix_(~m, ~m)])
    mean = B.numpy()[m] + gain @ (X - B).numpy()[~m]
    return mean, covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(~m, m)]


def log_density() -> float:
    """log p(x_missing | x_observed)."""
    return float(multivariate_normal.logpdf(X[MISSING].numpy(), *exact()))


def decoder(w: Tensor = W) -> Decode:
    return lambda z: Likelihood(z @ w.T + B, torch.full((len(z), 5), float(np.log(VARIANCE))), [])


def encoder(shift: float = 0.0, widen: float = 1.0, w: Tensor = W) -> Encode:
    """q(z|x) with independent components: the exact mean plus a shift, the exact variances times a factor."""
    covariance = torch.linalg.inv(torch.eye(w.shape[1]) + w.T @ w / VARIANCE)

    def encode(x: Tensor) -> Posterior:
        mean = (x - B) @ w / VARIANCE @ covariance + shift
        return Posterior(mean, (widen * covariance.diag()).log().expand_as(mean), [], [])

    return encode


def run(name: str, encode: Encode, decode: Decode | None = None) -> Chain:
    """430 iterations, of which the first 30 are burn-in: what is left of its bias is small among the others."""
    x, missing = X.expand(COPIES, -1), MISSING.expand(COPIES, -1)
    start = torch.rand(x.shape, generator=keyed(1, "start"))
    return chain(name, encode, decode or decoder(), x, missing, start, x, 430, 30, (0, "linear", "test"))


def means(found: Chain) -> tuple[np.ndarray, np.ndarray]:
    """Over the independent chains: the mean of their averages at the missing pixels, and its standard error."""
    values = found.estimates["average"][:, MISSING].numpy()
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))


def test_metropolis_is_right_with_a_wrong_encoder_and_pseudo_gibbs_is_not():
    """5 standard errors of three numbers are exceeded by chance once in 500,000 times."""
    wrong = encoder(shift=0.2, widen=1.3)
    mean, error = means(run(METROPOLIS, wrong))
    assert (abs(mean - exact()[0]) < 5 * error).all() and (error < 0.02).all()
    mean, error = means(run("pseudo_gibbs", wrong))
    assert (abs(mean - exact()[0]) > 0.2).all() and (abs(mean - exact()[0]) > 20 * error).all()


def test_with_the_exact_encoder_all_is_accepted_and_pseudo_gibbs_is_right_too():
    """One z, so that q(z|x) has no covariance to leave out."""
    w = W[:, :1]
    found = {name: run(name, encoder(w=w), decoder(w)) for name in SAMPLED}
    assert found[METROPOLIS].accepted.double().mean() > 0.999  # the ratio is 1 but for rounding
    for one in found.values():
        mean, error = means(one)
        assert (abs(mean - exact(w)[0]) < 5 * error).all() and (error < 0.02).all()


@pytest.mark.parametrize("widen", [0.7, 2.0])
def test_metropolis_has_the_exact_distribution_whatever_the_width_of_the_encoder(widen):
    """The mean of p(x_missing|z) over p(z|x_observed) is the density itself: all chains as one, 800,000 draws."""
    found = [run(name, encoder(0.2, widen)).log_score for name in (METROPOLIS, PSEUDO_GIBBS)]
    pooled = [torch.logsumexp(score, 0) - np.log(COPIES) for score in found]
    assert float(pooled[0]) == pytest.approx(log_density(), abs=0.04)
    assert abs(float(pooled[1]) - log_density()) > 0.1


def test_the_log_likelihood_of_missing_pixels_is_exact_in_the_limit():
    """With proposals of a wrong encoder from states that are far off; an odd number, shared unevenly among them."""
    wrong = encoder(0.2, 1.5)
    x, missing = X.expand(100, -1), MISSING.expand(100, -1)
    states = [wrong(x + shift) for shift in (0.0, 0.5, -0.5)]
    decode = decoder()
    few, many = (log_likelihood(wrong, decode, x, missing, states, k, (0, "test")).numpy() for k in (21, 2101))
    assert 2 * many.std() < few.std() and few.mean() > many.mean()  # the bias is upwards, as said
    assert many.mean() == pytest.approx(log_density(), abs=5 * many.std() / 10)


def test_a_prior_of_the_models_own_is_its_prior():
    """z moved by a constant, and its prior with it: the same model, and with the same draws the same numbers."""
    wrong, decode, move = encoder(0.2, 1.3), decoder(), torch.tensor([[0.7, -1.1]])

    def encode(x: Tensor) -> Posterior:
        q = wrong(x)
        return Posterior(q.mean + move, q.log_variance, [], [], (move, torch.zeros_like(move)))

    def moved(z: Tensor) -> Likelihood:
        return decode(z - move)

    one, other = run(METROPOLIS, wrong), run(METROPOLIS, encode, moved)
    assert not one.accepted.all() and torch.equal(one.accepted, other.accepted)
    x, missing = X.expand(10, -1), MISSING.expand(10, -1)
    found = [
        log_likelihood(q, p, x, missing, [q(x + 0.5)], 20, (0, "test")) for q, p in ((wrong, decode), (encode, moved))
    ]
    torch.testing.assert_close(*found)


def test_without_a_missing_pixel_there_is_nothing_to_infer():
    x, none = X.expand(3, -1), torch.zeros(3, 5, dtype=torch.bool)
    found = log_likelihood(encoder(), decoder(), x, none, [encoder()(x)], 4, (0, "test"))
    assert found.tolist() == [0, 0, 0]


# ---- with the networks of the paper ----------------------------------------------------------------------------------
def corrupted(rows: int, model: str) -> tuple[Tensor, Tensor, Tensor]:
    x = untrained.grey(rows) if "gaussian" in model else untrained.images(rows)
    missing = torch.rand(rows, untrained.PIXELS, generator=keyed(3, "missing")) < 0.5
    return x, missing, torch.rand(rows, untrained.PIXELS, generator=keyed(3, "start"))


@pytest.mark.parametrize("model", ["mem_vae", "gaussian_memory"])
@pytest.mark.parametrize("name", CHAINS)
def test_every_chain_makes_the_same_passes_and_keeps_observed_pixels(name, model):
    network, (x, missing, start) = untrained.random_model(model), corrupted(20, model)
    encoded: list[Tensor] = []
    decoded: list[int] = []

    def encode(given: Tensor) -> Posterior:
        encoded.append(given.clone())
        return network.encode(given)

    def decode(z: Tensor) -> Likelihood:
        decoded.append(len(z))
        return network.decode(z)

    found = chain(name, encode, decode, x, missing, start, x, 12, 4, (0, "square", "test"))
    assert len(encoded) == 12 and decoded == [20] * 12
    assert all(torch.equal(given[~missing], x[~missing]) for given in encoded)
    filled = torch.stack(encoded[1:])[:, missing]
    assert bool(((filled == 0) | (filled == 1)).all()) == (name in SAMPLED and model == "mem_vae")
    assert found.accepted.all() == (name not in EXACT) and found.accepted[:4].all()  # all of burn-in
    assert len(found.states) == 8  # the iterations after burn-in
    for estimate in ESTIMATES:
        error = (((found.estimates[estimate] - x) ** 2) * missing).sum(1) / missing.sum(1)
        np.testing.assert_allclose(found.curves[estimate][-1], error, rtol=1e-9)


def test_a_rejected_z_is_kept():
    """Chains of 8 and of 9 iterations end in the same decoder's mean where the ninth z was rejected, and only there."""
    network, (x, missing, start) = untrained.random_model("mem_vae"), corrupted(200, "mem_vae")
    ends = [chain(METROPOLIS, network.encode, network.decode, x, missing, start, x, t, 1, (0, "", "")) for t in (8, 9)]
    changed = (ends[0].estimates["last"] != ends[1].estimates["last"]).any(1)
    assert torch.equal(changed, ends[1].accepted[-1]) and 0 < changed.sum() < 200


@pytest.mark.parametrize("model", ["mem_vae", "gaussian_memory"])
def test_densities_of_pixels_sum_to_that_of_the_image(model):
    network, x = untrained.random_model(model), corrupted(4, model)[0]
    likelihood = network.decode(torch.randn(12, untrained.LATENT, generator=keyed(0, "z")))
    torch.testing.assert_close(log_densities(likelihood, x).sum(-1), likelihood.log_density(x))


def test_burn_in_leaves_something_to_average():
    assert refused({"burn_in": 5, "iterations": 5}, []).startswith("burn_in: found 5, expected less than the 5")
    assert not refused({"burn_in": 4, "iterations": 5}, [])
    settings = {"burn_in": 4, "iterations": 5, "long": 3}
    assert lengths(settings, METROPOLIS) == (5, 4) and lengths(settings, LONG) == (15, 12)


# ---- what is shown ---------------------------------------------------------------------------------------------------
def view(folder: Path, here: str = "mnist") -> View:
    """Of 400 images VAE recovers the first 200 with every chain; MEM-VAE 40 more, but with Metropolis none more.
    Errors of an image are 0.1 or 0.3; 0.05 less with Metropolis."""
    rows, files, images = [], [], 400
    for model, more in (("vae", 0), ("mem_vae", 40)):
        row = synthetic.row(model, here=here)
        rows.append(row)
        arrays = {"labels": np.arange(images) % 10}
        for noise in ("square_6", "left_half"):
            arrays[f"{noise}/log_likelihood"] = np.full(images, -30.0)
            for name in CHAINS:
                exact = name in EXACT
                arrays[f"{noise}/{name}/log_score"] = np.full(images, -40.0 + exact)
                arrays[f"{noise}/{name}/accepted"] = np.array([1.0, 0.5, 0.2, 0.4]) if exact else np.ones(4)
                for estimate in ESTIMATES:
                    error = np.where(np.arange(images) % 2, 0.1, 0.3) - 0.05 * exact
                    arrays |= {
                        f"{noise}/{name}/{estimate}/error": error,
                        f"{noise}/{name}/{estimate}/curve": np.array([0.5, 0.4, 0.3, error.mean()]),
                        f"{noise}/{name}/{estimate}/recovered": np.arange(images) < 200 + more * (not exact),
                    }
        settings = {"iterations": 4, "burn_in": 2, "long": 1, "samples": 10}
        noises = ["square_6", "left_half"]
        files.append(synthetic.write(folder, row["runs"][0], "analysis/missing", arrays, settings, noises=noises))
    part = {"analysis": "missing", "module": "", "layout": synthetic.layout(*rows), "inputs": files}
    return render.view(part, PRINTED)


def test_numbers_of_a_chain_and_their_paired_differences(tmp_path):
    numbers = {(one.row.model, one.quantity, one.condition): one for one in measure(view(tmp_path))}
    error = numbers["vae", "error", "left_half paper last"]
    assert error.mean == pytest.approx(0.2) and error.error == pytest.approx(0.1 / 399**0.5)
    gain = numbers["vae", "error_minus_paper", "left_half metropolis average"]
    assert gain.mean == pytest.approx(-0.05) and gain.error == pytest.approx(0, abs=1e-9)  # paired
    points = numbers["mem_vae", "recovered_minus_paper", "square_6 metropolis average"]
    assert points.mean == pytest.approx(-10) and points.error == pytest.approx(100 * (0.09 / 399) ** 0.5)
    assert numbers["vae", "moves", "left_half metropolis"].mean == pytest.approx(0.6)  # after burn-in
    assert numbers["vae", "log_score", "left_half metropolis"].mean == -39


def test_the_claim_is_judged_with_every_chain(tmp_path):
    """40 of 400 images are 10 points, and 1.4 standard errors of chance in training are 1.4 points."""
    claim, *counts = survives(view(tmp_path))
    assert f"{CHAINS[PAPER]}, last +10.0 ± 2.1 points, holds" in claim
    assert f"{CHAINS[METROPOLIS]}, average +0.0 ± 1.4 points, not settled" in claim
    assert "pseudo-Gibbs, average 0 and 0; Metropolis-within-Gibbs, average 2 and 0" in counts[0] and len(counts) == 2


def test_nothing_is_said_of_the_claim_where_other_data_stand_for_mnist(tmp_path):
    claim, *_ = survives(view(tmp_path, here="digits"))
    assert "no verdict" in claim and "holds" not in claim


def test_the_table_has_every_estimate_and_shows_that_of_each_chain(tmp_path):
    made = table(view(tmp_path))
    assert len(made.records) == 2 * 2 * len(CHAINS) * len(ESTIMATES)
    shown = [(record["chain"], record["estimate"]) for record in made.sections[0].records]
    assert shown == 2 * [(CHAINS[name], estimate) for name, estimate in COMPARED]
    heading, lines = made.sections[0].lines()
    cells = dict(zip(heading, lines[-1], strict=True))
    assert cells["error"] == "0.1500 ± 0.0050" and cells["error minus the paper's"] == "-0.0500 ± 0.0000"
    assert lines[0][heading.index("error minus the paper's")] == ""


def test_the_figure_shows_the_curves_of_every_model_and_noise(tmp_path):
    with style.paper():
        drawn = figure(view(tmp_path))
        assert len(drawn.axes) == 2 * (2 + 1)
        lines = {line.get_label(): line for line in drawn.axes[0].lines}
        np.testing.assert_allclose(lines[f"{CHAINS[METROPOLIS]}: average"].get_ydata(), [0.5, 0.4, 0.3, 0.15])
        accepted = drawn.axes[2].lines[0]
        np.testing.assert_allclose(accepted.get_ydata(), [20, 40])
        np.testing.assert_allclose(accepted.get_xdata(), [3, 4])
        style.save(drawn, tmp_path / "missing.png")
