"""Model files by other means: the evaluator of export.py knows the file alone.

`MEMVAE_RESULTS=results/quick pytest -n 0 -s -k published tests/test_export.py` evaluates a folder of trained models
again, about half a minute of one core each, and prints how far they agree; data/<dataset>.h5 must be there.
"""

import hashlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import export
import h5py
import numpy as np
import project
import pytest
import reference
import torch
from export import Export

import memvae
from memvae.analyses.likelihood import compute as likelihood
from memvae.model import trained as models
from memvae.model.network import MemVAE, collect_statistics
from memvae.random import keyed
from memvae.settings import config
from memvae.settings.spec import Network
from memvae.training.loop import Trained
from memvae.training.state import Curves

BERNOULLI = [name for name, network in reference.NETWORKS.items() if "likelihood" not in network]
EXAMPLE = project.ROOT / "docs/example/load_model.py"
RESULTS = os.environ.get("MEMVAE_RESULTS")


def saved(path: Path, name: str) -> MemVAE:
    """A model file of random weights, with statistics collected on random images. Returns the model."""
    model = reference.randomise(MemVAE(Network(**reference.NETWORKS[name])), keyed(1, name))
    model.requires_grad_(False).output.bias[0] = 30.0  # beyond the clamp of the density
    model.posterior_mean.weight *= 0.3  # q near the prior and wider than it: no few importance weights decide
    model.posterior_log_variance.weight *= 0.3
    model.posterior_log_variance.bias += 1
    collect_statistics(model, images(500), keyed(2, name))
    spec = replace(config.load().spec("digits-mem_vae-k1-s0"), network=model.network)
    models.save(path, Trained(model, Curves(), "float32"), spec, "d" * 64, torch.device("cpu"))
    return model


def images(rows: int) -> torch.Tensor:
    return (torch.rand(rows, 12, generator=keyed(3, "images")) < 0.5).float()


@pytest.mark.parametrize("name", BERNOULLI)
def test_a_file_holds_all_of_posterior_and_decoder_mean(tmp_path, name):
    """1e-5: float32 against float64 in nets of this size."""
    model, x = saved(tmp_path / "m.h5", name), images(50)
    file, z = Export(tmp_path / "m.h5"), torch.randn(50, 3, generator=keyed(4, "z"))
    posterior = model.encode(x)
    mean, log_variance = file.posterior(x.double().numpy())
    np.testing.assert_allclose(mean, posterior.mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_variance, posterior.log_variance, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(export.sigmoid(file.logits(z.double().numpy())), model.decode(z).mean, atol=1e-5)


@pytest.mark.parametrize("network", BERNOULLI)
def test_every_weight_of_a_file_matters(tmp_path, network):
    """So the test above sees each of them: scaling its elements changes an output by over ten times that tolerance."""
    saved(tmp_path / "m.h5", network)
    file, rng = Export(tmp_path / "m.h5"), np.random.default_rng(0)
    x, z = images(50).double().numpy(), rng.standard_normal((50, 3))

    def outputs():
        return np.hstack([*file.posterior(x), export.sigmoid(file.logits(z))])

    before = outputs()
    for name, array in file.weights.items():
        file.weights[name] = array * rng.uniform(0.1, 4, array.shape)
        assert np.abs(outputs() - before).max() > 1e-4, name
        file.weights[name] = array


@pytest.mark.parametrize("name", BERNOULLI)
def test_log_likelihood_agrees_within_monte_carlo_error(tmp_path, name):
    """L_K once by the package, 20 times by the evaluator, whose spread gives the error: five standard deviations."""
    samples, repetitions, rng = 2000, 20, np.random.default_rng(0)
    model, x = saved(tmp_path / "m.h5", name), images(6)
    file = Export(tmp_path / "m.h5")
    (values,) = likelihood.log_likelihood(model, x, [samples], (0, "test"))
    log_w = [file.log_weights(image, samples * repetitions, rng) for image in x.double().numpy()]
    own = export.log_mean(np.reshape(log_w, (len(x), repetitions, samples)))  # [6, 20]
    spread = own.std(axis=1, ddof=1)
    assert (spread < 0.1).all()  # or the comparison would say little
    assert (np.abs(values - own.mean(axis=1)) < 5 * spread * np.sqrt(1 + 1 / repetitions)).all()


@pytest.mark.skipif(not RESULTS, reason="MEMVAE_RESULTS names no folder of results, such as results/quick")
def test_published_log_likelihoods_agree_within_monte_carlo_error():
    """Every model of the folder, on some 50 of its images, with the K of its file.

    With the published draws of z, every image to 0.05 nats: what bf16 products leave is 0.03 at most in the models
    of scale=long (docs/differences.md). With draws of its own, the mean: a few of thousands of weights decide an
    image's L_K, so its error has heavy tails, and no normal error bar fits. What holds whatever the tails: two
    evaluations of an image differ symmetrically about 0, so the sum of the differences exceeds 4 times the root of
    the sum of their squares with probability 2 exp(-8) at most (Hoeffding).
    """
    folder, rng, wrong = Path(RESULTS).absolute(), np.random.default_rng(0), []
    paths = [path for path in sorted(folder.glob("evaluation/*/likelihood.h5")) if is_bernoulli(path)]
    assert paths, f"{folder}: no evaluation/*/likelihood.h5 here"
    for path in paths:
        run = path.parent.name
        published, samples, x, places = published_values(folder, run)
        file = Export(folder / f"models/{run}.h5")
        seed = int(run.rsplit("-s", 1)[1])
        draws = [PublishedDraws(seed, int(place)) for place in places]
        same = [export.log_mean(file.log_weights(*pair)) for pair in zip(x, [samples] * len(x), draws, strict=True)]
        own = [export.log_mean(file.log_weights(image, samples, rng)) for image in x]
        largest, difference = np.abs(same - published).max(), own - published
        error = np.sqrt((difference**2).sum()) / len(x)
        print(
            f"{run}: {len(x)} images, K = {samples}; same draws: largest difference {largest:.4f} nats; "
            f"own draws: {difference.mean():+.3f} (standard error {error:.3f})"
        )
        if largest > 0.05 or abs(difference.mean()) > 4 * error:
            wrong.append(run)
    assert wrong == []


class PublishedDraws:
    """The noise behind a published value: blocks of 1,000 samples, each of a generator of its own (docs/method.md)."""

    def __init__(self, seed: int, image: int):
        self.key, self.drawn = (seed, "log-likelihood of test images", image), 0

    def standard_normal(self, shape: tuple[int, int]) -> np.ndarray:
        """The next rows, [rows, Z]; a call stays within a block."""
        block, start = divmod(self.drawn, 1000)
        self.drawn += shape[0]
        noise = torch.randn(1000, 1, shape[1], generator=keyed(*self.key, block))
        return noise[start : start + shape[0], 0].double().numpy()


def published_values(folder: Path, run: str) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
    """L_K of some 50 of the images [N] that were evaluated, K, these images [N, D] and their places [N]."""
    root = next(parent for parent in folder.parents if (parent / "data").is_dir())
    path = folder / f"evaluation/{run}/likelihood.h5"
    with h5py.File(path) as file, h5py.File(root / f"data/{run.split('-')[0]}.h5") as data:
        assert file.attrs["data_sha256"] == data.attrs["sha256"]
        values = file["test/log_likelihood"][()]
        chosen = slice(None, None, max(len(values) // 50, 1))
        binary = data["test/binary"][: len(values)][chosen].astype(np.float64)
        places = np.arange(len(values))[chosen]
        return values[chosen], json.loads(file.attrs["settings"])["samples"], binary, places


def is_bernoulli(path: Path) -> bool:
    """Whether this analysis is of a model of Bernoulli data, as the evaluator is."""
    with h5py.File(path) as file:
        return '"likelihood": "bernoulli"' in file.attrs["spec"]


def test_a_loaded_model_decodes_as_the_saved_one(tmp_path):
    model, z = saved(tmp_path / "m.h5", "mem_vae"), torch.randn(4, 3, generator=keyed(4, "z"))
    assert torch.equal(memvae.load_model(tmp_path / "m.h5").decode(z).mean, model.decode(z).mean)


def test_the_example_draws_sixteen_images_from_the_prior(tmp_path):
    saved(tmp_path / "m.h5", "mem_vae")
    result = project.run(tmp_path, sys.executable, str(EXAMPLE), "m.h5", "images.pt")
    assert result.returncode == 0, result.stderr
    drawn = torch.load(tmp_path / "images.pt")
    assert drawn.shape == (16, 3, 4) and ((drawn >= 0) & (drawn <= 1)).all()
    assert len(drawn[:, 1:].unique(dim=0)) == 16


# ---- the published models --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", sorted(models.PUBLISHED.glob("*.h5")), ids=lambda path: path.stem)
def test_a_published_model_is_the_one_that_its_card_describes(path):
    """Trained as the configuration says at scale=paper, loaded by its name, listed with its checksum."""
    loaded = models.load(path, torch.device("cpu"))
    assert loaded.spec == config.load(overrides={"scale": "paper"}).spec(loaded.spec.run)
    assert loaded.spec.run == f"{path.stem}-k1-s0"
    z = torch.randn(4, loaded.spec.network.latent, generator=keyed(4, "z"))
    assert torch.equal(memvae.load_model(path.stem).decode(z).mean, loaded.model.decode(z).mean)
    card = (models.PUBLISHED / "README.md").read_text()
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card
