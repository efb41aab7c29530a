"""MEM-VAE: a variational autoencoder whose decoder reads an external memory (Li, Zhu, Zhang; ICML 2016)."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memvae.model.network import MemVAE

__version__ = "0.1.0"


def load_model(model: Path | str) -> "MemVAE":
    """The trained network of a model file, on the CPU, with collected statistics and without gradients.

    model: a path, or the name of a published model (models/README.md), such as `ocr_letters-vae`.
    Raises InputError when the file is missing, damaged or no model.
    """
    import torch  # here, because Snakemake imports the package at every dry run

    from memvae.model import trained as models

    path = Path(model)
    if not path.suffix and not path.exists():
        path = models.published(path.name)
    return models.load(path, torch.device("cpu")).model
