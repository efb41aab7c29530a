"""Trainable parameters (Table 3), counted on the instantiated networks, without data or training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from memvae.model.network import MemVAE
from memvae.settings.spec import Network, network_of


def compute(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """`counts` of the networks of some rows: int64 [rows]."""
    networks = [network_of(row["network"], "network") for row in rows]
    return {"counts": np.array([count_parameters(network) for network in networks], dtype=np.int64)}


def count_parameters(network: Network) -> int:
    """Number of trainable scalars: with the biases before batch norm, gamma, beta, c and the composition vectors."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in MemVAE(network).parameters())
