"""Missing-value imputation (Figure 8): the missing pixels are drawn towards the model, iteration by iteration."""

import numpy as np
import torch
from torch import Tensor

from memvae.errors import InputError
from memvae.model import device as compute
from memvae.model.network import MemVAE, sample_posterior
from memvae.progress import Progress
from memvae.random import keyed


@torch.no_grad()
def impute(
    model: MemVAE,
    x: Tensor,
    missing: Tensor,
    start: Tensor,
    iterations: int,
    batch_size: int,
    key: tuple[int | str, ...],
    mode: compute.Mode = compute.PLAIN,
) -> tuple[Tensor, np.ndarray]:
    """The completed images [N, D] and the error after each iteration [iterations].

    x: [N, D] real-valued test images; missing: bool [N, D]; start: [N, D], what the missing pixels hold at first.
    In each iteration z ~ q(z|x), one sample, and the missing pixels take the decoder's mean; the observed ones stay.
    Batch norm uses the statistics of the batch at hand (the authors' code). The error is the squared error over the
    missing pixels, divided by their number. mode: of the network's passes.
    """
    if len(x) % batch_size == 1:
        raise InputError(
            f"imputation: found {len(x)} images in batches of {batch_size}: the last, of one image, has no statistics; "
            "choose another analyses.imputation.batch_size"
        )
    complete = compute.compiled(_complete) if mode.compiled else _complete
    model.use_statistics("batch")
    completed = torch.where(missing, start, x)
    errors = np.empty(iterations)
    progress = Progress(f"imputation {key[-1]}", iterations)
    for iteration in range(iterations):
        total = 0.0
        for begin in range(0, len(x), batch_size):
            rows = slice(begin, begin + batch_size)
            generator = keyed(*key, iteration, begin)
            noise = torch.randn(len(x[rows]), model.network.latent, generator=generator).to(x.device)
            completed[rows] = complete(model, mode.precision, x[rows], missing[rows], completed[rows], noise)
            total += ((completed[rows] - x[rows]) ** 2).sum(dtype=torch.float64).item()
        errors[iteration] = total / missing.sum().item()
        progress.step(f"error {errors[iteration]:.4f}")
    model.use_statistics("collected")
    return completed, errors


def _complete(model: MemVAE, precision: str, x: Tensor, missing: Tensor, completed: Tensor, noise: Tensor) -> Tensor:
    """The images after one more iteration. All [B, D], noise: [B, Z]."""
    with compute.products(precision, x.device):
        mean = model.decode(sample_posterior(model.encode(completed), noise)).mean
    return torch.where(missing, mean, x)
