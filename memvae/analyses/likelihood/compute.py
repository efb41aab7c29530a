"""Test log-likelihood by importance sampling, and the parts of the one-sample bound.

Each image has its own keyed draws, in blocks of samples, so its value does not depend on the chunk size or on other
images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memvae.analyses.job import Job
from memvae.model import device as computing
from memvae.model.network import MemVAE, Posterior, sample_posterior
from memvae.progress import Progress
from memvae.random import keyed
from memvae.training.loop import binarised, chosen
from memvae.training.objective import log_ratio

Key = tuple[int | str, ...]  # what the draws are for; image and block are added

BLOCK = 1000  # samples of one image that are drawn from one generator
CHUNK = 500  # of a block's samples decoded at a time: their activations fit a core's cache
ROWS = {"cpu": CHUNK, "cuda": 50_000}  # decoded at a time, of one image or of several
RESCORED = 100  # largest weights of an image that are computed again in float32 where products are in bf16


def compute(job: Job) -> dict[str, np.ndarray]:
    """L_K of the first `images` test images for K = `samples` (and `more_samples`), and L_1 with its parts of all test
    images and of the first `train_images` images that it was trained on; arrays as in docs/files.md."""
    settings = job.settings
    test = job.tensor(job.data.test_binary)
    images = settings["images"] or len(test)
    samples = [k for k in (settings["samples"], settings["more_samples"]) if k]
    mode = job.mode(decoder_rows=images * max(samples))
    values = log_likelihood(job.model, test[:images], samples, (job.seed, "log-likelihood of test images"), mode)
    arrays = dict(zip(("test/log_likelihood", "test/log_likelihood_more"), values, strict=False))
    for split, x in (("test", test), ("train", training_images(job, settings["train_images"]))):
        parts = bound_parts(job.model, x, settings["bound_draws"], (job.seed, f"bound of {split} images"))
        arrays |= {f"{split}/{name}": value for name, value in vars(parts).items()}
    return arrays


def training_images(job: Job, count: int | None = None) -> Tensor:
    """The first `count` (None: all) images that the model was trained on, as training saw them: [N, D]."""
    train = torch.from_numpy(chosen(job.data.pixels("train"), job.spec)[:count])
    if job.spec.training.binarise == "each_epoch":
        train = binarised(train, job.generator("train images")).float()
    return train.to(job.device)


@dataclass(frozen=True)
class Parts:
    """Per image [N], nats: bound = log_px - kl, means over the draws; kl = log q(z|x) - log p(z)."""

    bound: np.ndarray
    log_px: np.ndarray
    kl: np.ndarray


@torch.no_grad()
def log_likelihood(
    model: MemVAE, x: Tensor, samples: list[int], key: Key, mode: computing.Mode = computing.PLAIN, disabled: int = 0
) -> list[np.ndarray]:
    """L_K of each image for each K of `samples` (all from the same draws): one float64 array [N] per K.

    x: [N, D]; L_K = log 1/K sum_k p(x, z_k) / q(z_k | x), z_k ~ q(z|x). Sums in float64. key: of the draws.
    mode: of the decoder's passes. With bf16 products the `RESCORED` largest weights of each image are computed again in
    float32 (what that leaves of bf16: docs/performance.md). Memory does not grow with K.
    disabled: memories, counted from the data, that give h_m = 1 in p(x, z); q(z|x) stays as it is.
    """
    log_weights = computing.compiled(_log_weights) if mode.compiled else _log_weights
    kept = RESCORED if mode.precision == "bf16" else 0
    values = np.empty((len(samples), len(x)))
    progress = Progress(f"{key[-1]}, image", len(x))
    step = max(ROWS[x.device.type] // CHUNK, 1)
    for start in range(0, len(x), step):
        images = x[start : start + step]
        posterior = model.encode(images)
        q = posterior.mean, posterior.log_variance, posterior.prior
        sums = _LogSum(posterior.mean, kept)
        done = 0
        for noise in _chunks(sorted(samples), key, range(start, start + len(images)), posterior.mean):
            sums.add(log_weights(model, mode.precision, images, *q, noise, disabled), noise)
            done += len(noise)
            if done in samples:
                best = _log_weights(model, "float32", images, *q, sums.noise, disabled) if kept else sums.best
                total = sums.total(best).cpu() - np.log(done)
                values[[k == done for k in samples], start : start + len(images)] = total
        for _ in images:
            progress.step()
    return list(values)


@torch.no_grad()
def log_weights(model: MemVAE, x: Tensor, samples: int, key: Key, mode: computing.Mode = computing.PLAIN) -> np.ndarray:
    """log p(x, z_k) - log q(z_k | x) for the draws of `log_likelihood`: float64 [N, K], products in float32.

    x: [N, D]; key, mode: as there.
    """
    weights = computing.compiled(_log_weights) if mode.compiled else _log_weights
    values = np.empty((len(x), samples))
    progress = Progress(f"{key[-1]}, image", len(x))
    for image in range(len(x)):
        posterior = model.encode(x[image : image + 1])
        q, done = (posterior.mean, posterior.log_variance, posterior.prior), 0
        for noise in _chunks([samples], key, range(image, image + 1), posterior.mean):
            log_w = weights(model, "float32", x[image : image + 1], *q, noise, 0)
            values[image, done : done + len(noise)] = log_w[:, 0].cpu().numpy()
            done += len(noise)
        progress.step()
    return values


class _LogSum:
    """log of a growing sum of weights per image; the largest weights are kept apart, with their draws."""

    def __init__(self, mean: Tensor, kept: int):
        """mean: [B, Z], of the posterior: its shape, type and device are the draws' own."""
        self.kept = kept
        self.rest = mean.new_full(mean.shape[:1], -torch.inf, dtype=torch.float64)  # [B]
        self.best = mean.new_empty(0, len(mean))  # [kept, B]
        self.noise = mean.new_empty(0, *mean.shape)  # [kept, B, Z]

    def add(self, log_w: Tensor, noise: Tensor) -> None:
        """log_w: [K, B]; noise: [K, B, Z]."""
        if self.kept:
            log_w, noise = torch.cat([self.best, log_w]), torch.cat([self.noise, noise])
            order = log_w.topk(min(self.kept, len(log_w)), dim=0).indices  # [kept, B]
            self.best = log_w.gather(0, order)
            self.noise = noise.gather(0, order[..., None].expand(-1, -1, noise.shape[-1]))
            log_w = log_w.scatter(0, order, -torch.inf)
        self.rest = torch.logaddexp(self.rest, torch.logsumexp(log_w.double(), 0))

    def total(self, best: Tensor) -> Tensor:
        """log of the whole sum: [B]. best: [kept, B], the weights kept apart, possibly computed anew."""
        return torch.logaddexp(self.rest, torch.logsumexp(best.double(), 0)) if self.kept else self.rest


@torch.no_grad()
def bound_parts(model: MemVAE, x: Tensor, draws: int, key: Key, disabled: int = 0) -> Parts:
    """L_1 of each image and its parts, means over `draws` samples of z. x: [N, D]. key: of the draws.

    disabled: as in `log_likelihood`.
    """
    found: list[list[Tensor]] = [[], []]
    step = max(ROWS[x.device.type] // draws, 1)
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        noise = torch.cat([_draw((*key, start + i), 0, draws, model.network.latent) for i in range(len(rows))], dim=1)
        terms = _log_terms(model, rows, model.encode(rows), noise.to(x), disabled)
        for values, term in zip(found, terms, strict=True):
            values.append(term.double().mean(0).cpu())
    log_px, kl = (torch.cat(values).numpy() for values in found)
    return Parts(log_px - kl, log_px, kl)


def _log_weights(
    model: MemVAE,
    precision: str,
    x: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    prior: tuple[Tensor, Tensor] | None,
    noise: Tensor,
    disabled: int,
) -> Tensor:
    """log p(x, z) - log q(z|x): [K, B]; the arguments as below, q(z|x) and prior by their tensors, for the compiler."""
    with computing.products(precision, x.device):
        log_px, ratio = _log_terms(model, x, Posterior(mean, log_variance, [], [], prior), noise, disabled)
    return log_px - ratio


def _log_terms(model: MemVAE, x: Tensor, posterior: Posterior, noise: Tensor, disabled: int) -> tuple[Tensor, Tensor]:
    """log p(x|z) and log q(z|x) - log p(z). x: [B, D], noise: [K, B, Z] -> [K, B] each."""
    z = sample_posterior(posterior, noise)
    return model.decode(z.flatten(0, 1), disabled).log_density(x), log_ratio(posterior, noise, z)


def _chunks(samples: list[int], key: Key, images: range, mean: Tensor) -> Iterator[Tensor]:
    """The draws of some images, [<= CHUNK, B, Z] at a time, cut so that each K of `samples` ends a chunk.

    mean: [B, Z], of the posterior.
    """
    for first in range(0, samples[-1], BLOCK):
        draws = [_draw((*key, image), first // BLOCK, BLOCK, mean.shape[-1]) for image in images]
        noise = torch.cat(draws, dim=1).to(mean)
        ends = {min(k - first, BLOCK) for k in samples if k > first} | set(range(CHUNK, BLOCK + 1, CHUNK))
        start = 0
        for end in sorted(end for end in ends if first + end <= samples[-1]):
            yield noise[start:end]
            start = end


def _draw(key: Key, block: int, count: int, latent: int) -> Tensor:
    """eps: [count, 1, Z], drawn on the CPU in the default type, so that every device and precision sees the same."""
    return torch.randn(count, 1, latent, generator=keyed(*key, block))
