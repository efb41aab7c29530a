"""L_K of test images for K = 1, 2, 5, 10, ..., all from the same weights: its bias and its noise."""

import numpy as np

from memvae.analyses.job import Job
from memvae.analyses.likelihood.compute import log_weights

STEPS = (1, 2, 5)  # of every power of ten


def compute(job: Job) -> dict[str, np.ndarray]:
    """Estimates for each K; arrays as in docs/files.md. The draws are those of the analysis `likelihood`."""
    settings = job.settings
    x = job.tensor(job.data.test_binary)[: settings["images"]]
    samples = max(settings["samples"], settings["more_samples"])
    mode = job.mode(decoder_rows=len(x) * samples)
    log_w = log_weights(job.model, x, samples, (job.seed, "log-likelihood of test images"), mode)
    counts = ladder(samples)
    means, spreads = zip(*(estimates(log_w, k) for k in counts), strict=True)
    return {
        "k": np.array(counts),
        "log_likelihood": np.stack(means, axis=1),
        "sd_of_estimate": np.stack(spreads, axis=1),
    }


def ladder(largest: int) -> list[int]:
    """1, 2, 5, 10, ... below the largest K, and that."""
    powers = (10**n for n in range(len(str(largest))))
    return [k for power in powers for step in STEPS if (k := step * power) < largest] + [largest]


def estimates(log_w: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of L_K over as many groups of K samples as there are, and its standard deviation over them: [N] each.

    log_w: [N, S]. The mean has the expectation of a single L_K and less noise. The deviation is that of a single L_K;
    0 where there is one group.
    """
    groups = log_w.shape[1] // k
    of_group = log_w[:, : groups * k].reshape(len(log_w), groups, k)
    largest = of_group.max(axis=2, keepdims=True)
    values = largest[..., 0] + np.log(np.exp(of_group - largest).mean(axis=2))  # [N, groups]
    return values.mean(axis=1), values.std(axis=1, ddof=1) if groups > 1 else np.zeros(len(log_w))
