"""Two distances for each test image, computed from a model."""

import numpy as np
import torch

from memvae.analyses.job import Job


@torch.no_grad()
def compute(job: Job) -> dict[str, np.ndarray]:
    """`within` and `between` [N]: the mean distance of an image's posterior mean to those of its own class and of the
    other classes; nan where there is no such image."""
    count = job.settings["images"]
    labels = torch.from_numpy(job.data.labels("test")[:count])
    mean = job.model.encode(job.tensor(job.data.pixels("test")[:count])).mean.cpu().double()  # [N, Z]
    distance = torch.cdist(mean, mean)  # [N, N]
    same = labels[:, None] == labels  # [N, N]
    own = same & ~torch.eye(len(labels), dtype=torch.bool)
    return {
        "labels": labels.numpy(),
        "within": ((distance * own).sum(1) / own.sum(1)).numpy(),
        "between": ((distance * ~same).sum(1) / (~same).sum(1)).numpy(),
    }
