"""Test log-likelihood by importance sampling, and the parts of the one-sample bound.

Each image has its own keyed draws, in blocks of samples: neither the chunk size nor the other images change its value.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memvae.model.network import MemVAE, Posterior, sample_posterior
from memvae.progress import Progress
from memvae.random import keyed
from memvae.training.objective import log_ratio

Key = tuple[int | str, ...]  # what the draws are for; image and block are added

ROWS = 500  # decoded at a time: their activations fit a core's cache
BLOCK = 1000  # samples of one image that are drawn from one generator


@dataclass(frozen=True)
class Parts:
    """Per image [N], nats: bound = log_px - kl, means over the draws; kl = log q(z|x) - log p(z)."""

    bound: np.ndarray
    log_px: np.ndarray
    kl: np.ndarray


@torch.no_grad()
def log_likelihood(model: MemVAE, x: Tensor, samples: list[int], key: Key) -> list[np.ndarray]:
    """L_K of each image for each K of `samples` (all from the same draws): one float64 array [N] per K.

    x: [N, D]; L_K = log 1/K sum_k p(x, z_k) / q(z_k | x), z_k ~ q(z|x). Sums in float64. key: of the draws.
    """
    values = np.empty((len(samples), len(x)))
    progress = Progress(f"{key[-1]}, image", len(x))
    for i, image in enumerate(x):
        posterior = model.encode(image[None])
        total = torch.full((), -torch.inf, dtype=torch.float64)
        done = 0
        for noise in _chunks(sorted(samples), (*key, i), model.network.latent, x.device):
            log_px, ratio = _log_terms(model, image[None], posterior, noise)
            total = torch.logaddexp(total, torch.logsumexp((log_px - ratio).double(), 0).cpu().squeeze())
            done += len(noise)
            values[[k == done for k in samples], i] = total.item() - np.log(done)
        progress.step()
    return list(values)


@torch.no_grad()
def bound_parts(model: MemVAE, x: Tensor, draws: int, key: Key) -> Parts:
    """L_1 of each image and its parts, means over `draws` samples of z. x: [N, D]. key: of the draws."""
    found: list[list[Tensor]] = [[], []]
    step = max(ROWS // draws, 1)
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        noise = torch.cat([_draw((*key, start + i), 0, draws, model.network.latent) for i in range(len(rows))], dim=1)
        terms = _log_terms(model, rows, model.encode(rows), noise.to(x.device))
        for values, term in zip(found, terms, strict=True):
            values.append(term.double().mean(0).cpu())
    log_px, kl = (torch.cat(values).numpy() for values in found)
    return Parts(log_px - kl, log_px, kl)


def _log_terms(model: MemVAE, x: Tensor, posterior: Posterior, noise: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x|z) and log q(z|x) - log p(z). x: [B, D], noise: [K, B, Z] -> [K, B] each."""
    z = sample_posterior(posterior, noise)
    return model.decode(z.flatten(0, 1)).log_density(x), log_ratio(posterior, noise, z)


def _chunks(samples: list[int], key: Key, latent: int, device: torch.device) -> Iterator[Tensor]:
    """The draws of one image, [<= ROWS, 1, Z] at a time, cut so that each K of `samples` ends a chunk."""
    done = 0
    for block in range(-(-samples[-1] // BLOCK)):
        noise = _draw(key, block, BLOCK, latent).to(device)
        ends = {min(k - block * BLOCK, BLOCK) for k in samples if k > block * BLOCK} | set(range(ROWS, BLOCK + 1, ROWS))
        start = 0
        for end in sorted(ends):
            if done >= samples[-1]:
                return
            yield noise[start:end]
            done += end - start
            start = end


def _draw(key: Key, block: int, count: int, latent: int) -> Tensor:
    """eps: [count, 1, Z], drawn on the CPU so that every device sees the same."""
    return torch.randn(count, 1, latent, generator=keyed(*key, block))
