"""Missing-value imputation (Figure 8): the missing pixels are drawn towards the model, iteration by iteration."""

import numpy as np
import torch
from torch import Tensor

from memvae.errors import InputError
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
) -> tuple[Tensor, np.ndarray]:
    """The completed images [N, D] and the error after each iteration [iterations].

    x: [N, D] real-valued test images; missing: bool [N, D]; start: [N, D], what the missing pixels hold at first.
    In each iteration z ~ q(z|x), one sample, and the missing pixels take the decoder's mean; the observed ones stay.
    Batch norm uses the statistics of the batch at hand (the authors' code). The error is the squared error over the
    missing pixels, divided by their number.
    """
    if len(x) % batch_size == 1:
        raise InputError(
            f"imputation: found {len(x)} images in batches of {batch_size}: the last, of one image, has no statistics; "
            "choose another analyses.imputation.batch_size"
        )
    model.use_statistics("batch")
    completed = torch.where(missing, start, x)
    errors = np.empty(iterations)
    progress = Progress(f"imputation {key[-1]}", iterations)
    for iteration in range(iterations):
        total = 0.0
        for begin in range(0, len(x), batch_size):
            rows = slice(begin, begin + batch_size)
            generator = keyed(*key, iteration, begin)
            posterior = model.encode(completed[rows])
            noise = torch.randn(posterior.mean.shape, generator=generator).to(x.device)
            mean = model.decode(sample_posterior(posterior, noise)).mean
            completed[rows] = torch.where(missing[rows], mean, x[rows])
            total += ((completed[rows] - x[rows]) ** 2).sum(dtype=torch.float64).item()
        errors[iteration] = total / missing.sum().item()
        progress.step(f"error {errors[iteration]:.4f}")
    model.use_statistics("collected")
    return completed, errors
