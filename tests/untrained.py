"""Models with random weights and images with random pixels, keyed; the training that the paper gives a model."""

import reference
import torch

from benchmarks.gpu import TRAINING as MNIST  # noqa: F401 (taken from here)
from memvae.model.layers import Normalise
from memvae.model.network import MemVAE
from memvae.random import keyed
from memvae.settings.spec import Network

LATENT, PIXELS = 3, 12
VARIANTS = list(reference.NETWORKS)
WITH_MEMORY = [name for name in VARIANTS if any(reference.NETWORKS[name]["slots"])]


def random_model(name: str) -> MemVAE:
    model = reference.randomise(MemVAE(Network(**reference.NETWORKS[name])), keyed(1, name))
    return model.use_statistics("collected")


def images(rows: int) -> torch.Tensor:
    return (torch.rand(rows, PIXELS, generator=keyed(2, "images")) < 0.5).double()


def grey(rows: int) -> torch.Tensor:
    return torch.rand(rows, PIXELS, generator=keyed(2, "grey"))


def statistics(model: MemVAE) -> set[str]:
    return {module.statistics for module in model.modules() if isinstance(module, Normalise)}


def float32_model(name: str) -> MemVAE:
    """As models are used, with the weights of `random_model`."""
    single = MemVAE(Network(**reference.NETWORKS[name])).float()
    single.load_state_dict(random_model(name).state_dict())
    return single.use_statistics("collected")
