"""Generation with the memory disabled (Figure 6)."""

import numpy as np
import torch

from memvae.analyses.job import Job
from memvae.model.network import MemVAE
from memvae.random import keyed
from memvae.settings.spec import Network


def compute(job: Job) -> dict[str, np.ndarray]:
    """The arrays of `generate` for the settings' number of draws."""
    return generate(job.model, job.settings["draws"], job.seed)


@torch.no_grad()
def generate(model: MemVAE, draws: int, seed: int) -> dict[str, np.ndarray]:
    """`z` [draws, Z] from the prior and `images` [3, draws, D]: means with the memory as it is, with the h_m of the
    layer next to the data set to ones, with the h_m of every layer set to ones."""
    disabled = conditions(model.network).values()
    z = model.sample_prior(draws, keyed(seed, "generation"))
    images = [model.decode(z, memories).mean.cpu().numpy() for memories in disabled]
    return {"z": z.cpu().numpy(), "images": np.stack(images)}


def conditions(network: Network) -> dict[str, int]:
    """What is compared -> the number of memories, counted from the data, whose h_m is set to ones."""
    return {"full": 0, "first": 1, "both": len(network.hidden)}
