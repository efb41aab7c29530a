"""Trainable parameters (Table 3): instantiate and count; no data, no training."""

import torch

from memvae.model.network import MemVAE
from memvae.settings.spec import Network


def count_parameters(network: Network) -> int:
    """Number of trainable scalars: with the biases before batch norm, gamma, beta, c and the composition vectors."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in MemVAE(network).parameters())
