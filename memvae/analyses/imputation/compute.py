"""Missing-value imputation (Figure 8): in each iteration the missing pixels are replaced by the decoder's mean."""

import numpy as np
import torch
from torch import Tensor

from memvae.analyses.imputation.classifier import load_classifier
from memvae.analyses.job import Job
from memvae.data import corruption
from memvae.model import device as computing
from memvae.model.network import MemVAE, sample_posterior
from memvae.progress import Progress
from memvae.random import keyed


def compute(job: Job) -> dict[str, np.ndarray]:
    """For every noise of the settings the errors, which completions the classifier reads right, and the first images;
    arrays as in docs/files.md."""
    settings, image = job.settings, job.data.image
    assert job.classifier is not None  # the declaration asks for it
    judge = load_classifier(job.classifier, job.device)
    x, labels, shown = job.tensor(job.data.pixels("test")), job.data.labels("test"), settings["shown"]
    arrays = {"labels": labels, "truth": job.data.pixels("test")[:shown]}
    noises = corruption.noises(settings)
    mode = job.mode(network_rows=len(noises) * settings["iterations"] * len(x))
    for noise in noises:
        missing = job.tensor(corruption.missing(noise, len(x), image, job.seed))
        start = job.tensor(corruption.starting_values(noise, len(x), image, job.seed))
        key = (job.seed, f"{job.spec.run} {noise.name}")
        completed, error = impute(
            job.model, x, missing, start, settings["iterations"], settings["batch_size"], key, mode
        )
        arrays |= {
            f"{noise.name}/error": error,
            f"{noise.name}/recovered": judge.model.predict(completed) == labels,
            f"{noise.name}/perturbed": start.where(missing, x)[:shown].cpu().numpy(),
            f"{noise.name}/completed": completed[:shown].cpu().numpy(),
        }
    job.attributes |= {"noises": [noise.name for noise in noises], **judge.attributes}
    return arrays


@torch.no_grad()
def impute(
    model: MemVAE,
    x: Tensor,
    missing: Tensor,
    start: Tensor,
    iterations: int,
    batch_size: int,
    key: tuple[int | str, ...],
    mode: computing.Mode = computing.PLAIN,
) -> tuple[Tensor, np.ndarray]:
    """The completed images [N, D] and the error after each iteration [iterations].

    x: [N, D] real-valued test images; missing: bool [N, D]; start: [N, D], what the missing pixels hold at first.
    In each iteration z ~ q(z|x), one sample, and the missing pixels take the decoder's mean; the observed ones stay.
    Batch norm uses the statistics of the batch at hand (the authors' code). The error is the squared error over the
    missing pixels, divided by their number. mode: of the network's passes.
    """
    starts = list(range(0, len(x), batch_size))
    if len(x) % batch_size == 1 and len(starts) > 1:
        del starts[-1]  # a batch of one image has no statistics: it joins the one before
    complete = computing.compiled(_complete) if mode.compiled else _complete
    model.use_statistics("batch")
    completed = torch.where(missing, start, x)
    errors = np.empty(iterations)
    progress = Progress(f"imputation {key[-1]}", iterations)
    for iteration in range(iterations):
        total = 0.0
        for begin, end in zip(starts, [*starts[1:], len(x)], strict=True):
            rows = slice(begin, end)
            generator = keyed(*key, iteration, begin)
            noise = torch.randn(len(x[rows]), model.network.latent, generator=generator).to(x.device)
            completed[rows] = complete(model, mode.precision, x[rows], missing[rows], completed[rows], noise)
            total += ((completed[rows] - x[rows]) ** 2).sum(dtype=torch.float64).item()
        errors[iteration] = total / max(missing.sum().item(), 1)
        progress.step(f"error {errors[iteration]:.4f}")
    model.use_statistics("collected")
    return completed, errors


def _complete(model: MemVAE, precision: str, x: Tensor, missing: Tensor, completed: Tensor, noise: Tensor) -> Tensor:
    """The images after one more iteration. All [B, D], noise: [B, Z]."""
    with computing.products(precision, x.device):
        mean = model.decode(sample_posterior(model.encode(completed), noise)).mean
    return torch.where(missing, mean, x)
