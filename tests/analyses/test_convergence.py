"""The estimate of the log-likelihood against K: its values where they are known, and what is shown of them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
import torch
import untrained
from scipy.special import gamma

from memvae.analyses.convergence.compute import compute, estimates, ladder
from memvae.analyses.convergence.show import figure, findings, measure, table
from memvae.analyses.job import Job
from memvae.analyses.likelihood import compute as likelihood
from memvae.report import render, style
from memvae.report.paper import read_paper
from memvae.report.view import View

PAPER = read_paper(Path(__file__).resolve().parents[2] / "config/paper.yaml")


def test_the_ladder_ends_in_the_largest_k():
    assert ladder(5000) == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    assert ladder(7) == [1, 2, 5, 7] and ladder(1) == [1] and ladder(2) == [1, 2]


def test_estimates_of_known_weights():
    """Weights 1 and 3 in turn: L_1 is their mean logarithm, L_2 the logarithm of 2 whatever the group."""
    log_w = np.log(np.tile([1.0, 3.0], 10))[None] - 1000  # far below what exp can hold
    mean, sd = estimates(log_w, 1)
    assert mean[0] == pytest.approx(np.log(3) / 2 - 1000) and sd[0] == pytest.approx(
        np.log(log_w.size * 0 + 3) / 2, rel=0.03
    )
    mean, sd = estimates(log_w, 2)
    assert mean[0] == pytest.approx(np.log(2) - 1000) and sd[0] == pytest.approx(0, abs=1e-9)
    mean, sd = estimates(log_w, 20)
    assert mean[0] == pytest.approx(np.log(2) - 1000) and sd[0] == 0


def test_lognormal_weights_have_the_bias_that_is_known():
    """log w ~ N(0, s^2): L_1 is 0, and log E w = s^2 / 2, which L_K reaches from below by about (e^{s^2} - 1) / 2K."""
    s = 0.5
    log_w = s * np.random.default_rng(0).standard_normal((50, 20_000))
    found = {k: estimates(log_w, k)[0].mean() for k in (1, 10, 100)}
    assert found[1] == pytest.approx(0, abs=0.005)
    for k in (10, 100):
        assert found[k] == pytest.approx(s**2 / 2 - (np.exp(s**2) - 1) / (2 * k), abs=0.004)


def job(model, samples, more=0, images=4):
    data = SimpleNamespace(test_binary=untrained.images(6).float().numpy())
    settings = {"samples": samples, "more_samples": more, "images": images}
    return Job(model, SimpleNamespace(seed=3, network=model.network), data, settings, torch.device("cpu"))


def test_the_largest_k_is_the_log_likelihood_and_the_smallest_its_mean_weight():
    model = untrained.float32_model("mem_vae")
    arrays = compute(job(model, samples=20, more=1500))
    x = untrained.images(4).float()
    key = (3, "log-likelihood of test images")
    (expected,) = likelihood.log_likelihood(model, x, [1500], key)
    np.testing.assert_allclose(arrays["log_likelihood"][:, -1], expected, rtol=1e-6)
    weights = likelihood.log_weights(model, x, 1500, key)
    np.testing.assert_allclose(arrays["log_likelihood"][:, 0], weights.mean(axis=1), rtol=1e-9)
    assert arrays["k"].tolist() == ladder(1500) and not arrays["sd_of_estimate"][:, -1].any()
    rising = np.diff(arrays["log_likelihood"][:, :6].mean(axis=0))  # up to K = 50, means over 30 groups and more
    assert (rising > 0).all() and arrays["sd_of_estimate"][:, 0].min() > 0


# ---- what is shown ---------------------------------------------------------------------------------------------------
def view(folder: Path, models=("vae", "mem_vae")) -> View:
    rows, files = [], []
    counts = np.array(ladder(50))
    for place, model in enumerate(models):
        row = synthetic.row(model)
        rows.append(row)
        values = -80.0 + place - np.array([[1.0], [3.0]]) / counts  # two images, missing 1 / K and 3 / K
        arrays = {"k": counts, "log_likelihood": values, "sd_of_estimate": np.ones_like(values) * (counts < 50)}
        settings = {"samples": 50, "more_samples": 0, "images": 2}
        files.append(synthetic.write(folder, row["runs"][0], "analysis/convergence", arrays, settings))
    part = {"analysis": "convergence", "module": "", "layout": synthetic.layout(*rows), "inputs": files}
    return render.view(part, PAPER)


def c4(groups: int) -> float:
    """What the standard deviation of so many normal values is on average, of the true one."""
    return float(np.sqrt(2 / (groups - 1)) * gamma(groups / 2) / gamma((groups - 1) / 2))


def test_numbers_and_cells(tmp_path):
    found = view(tmp_path)
    numbers = {(one.row.model, one.quantity, one.condition): one for one in measure(found)}
    one = numbers["vae", "missing", "K = 1"]
    assert one.mean == pytest.approx(2 - 2 / 50) and one.error == pytest.approx(1 - 1 / 50)
    assert numbers["mem_vae", "log_likelihood", "K = 50"].mean == pytest.approx(-79 - 2 / 50)
    cells = [record for record in table(found).records if record["model"] == "VAE"]
    assert [record["k"] for record in cells] == ladder(50) == [record["samples"] for record in cells]
    assert cells[0]["missing"] == pytest.approx(2 - 2 / 50) and cells[-1]["missing"] == 0
    assert cells[0]["sd_of_estimate"] == pytest.approx(1 / c4(50)) and cells[0]["images"] == 2
    assert cells[-2]["sd_of_estimate"] == pytest.approx(1 / c4(2)) and cells[-1]["sd_of_estimate"] is None
    assert findings(found) == ["MNIST: from K = 20 to 50 the estimate rises by at most 0.060 ± 0.030 nats (VAE)."]


def test_the_figure_shows_what_is_missing_at_every_k_but_the_largest(tmp_path):
    with style.paper():
        drawn = figure(view(tmp_path))
        (axes,) = drawn.axes
        drawn.canvas.draw()
        assert drawn.bbox.x0 <= drawn.legends[0].get_window_extent().x0  # nothing of the legend is cut
        assert drawn.legends[0].get_window_extent().x1 <= drawn.bbox.x1
        lines = {container.get_label(): container.lines[0] for container in axes.containers}
        np.testing.assert_allclose(lines["VAE"].get_xdata(), ladder(50)[:-1])
        np.testing.assert_allclose(lines["VAE"].get_ydata(), [2 / k - 2 / 50 for k in ladder(50)[:-1]])
        style.save(drawn, tmp_path / "convergence.png")
    assert axes.get_yscale() == axes.get_xscale() == "log" and "K = 50" in axes.get_ylabel()
