"""Generation with the memory disabled (Figure 6)."""

import numpy as np
import torch

from memvae.errors import InputError
from memvae.model.network import MemVAE
from memvae.random import keyed


@torch.no_grad()
def generate(model: MemVAE, draws: int, seed: int, device: torch.device) -> dict[str, np.ndarray]:
    """`z` [draws, Z] from the prior and `images` [3, draws, D]: means with the memory as it is, with the h_m of the
    layer next to the data set to ones, with the h_m of every layer set to ones.

    Raises InputError for a model without memory.
    """
    if not model.network.has_memory:
        raise InputError(
            "generation: this model has no memory to disable; name a model with slots in analyses.generation"
        )
    z = torch.randn(draws, model.network.latent, generator=keyed(seed, "generation")).to(device)
    images = [model.decode(z, disabled).mean.cpu().numpy() for disabled in (0, 1, len(model.network.hidden))]
    return {"z": z.cpu().numpy(), "images": np.stack(images)}
