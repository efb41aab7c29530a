"""MEM-VAE: a variational autoencoder whose decoder reads an external memory (Li, Zhu, Zhang; ICML 2016).

These functions are for use from Python (docs/explore.ipynb). Images are arrays or tensors [N, D], a row of pixels each.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from memvae.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from memvae.model.network import MemVAE

__version__ = "0.1.0"


# torch is imported within the functions, because Snakemake imports the package at every dry run
def load_model(model: Path | str) -> "MemVAE":
    """The trained network of a model file, on the CPU, with collected statistics and without gradients.

    model: a path, or the name of a published model (models/README.md), such as `ocr_letters-vae`.
    Raises InputError when the file is missing, damaged or no model.
    """
    import torch

    from memvae.model import trained as models

    path = Path(model)
    if not path.suffix and not path.exists():
        path = models.published(path.name)
    return models.load(path, torch.device("cpu")).model


def log_likelihood(
    model: "MemVAE", images: "np.ndarray | Tensor", samples: int = 500, seed: int = 0, disabled: int = 0
) -> "Tensor":
    """L_K of each image with K = `samples`, nats: float64 [N] (docs/method.md, Evaluation).

    On average a lower bound of log p(x), which rises with K. images: [N, D]; for a Bernoulli model each pixel is 0 or
    1, since a grey value has no such likelihood. seed: of the draws. disabled: memories, counted from the data, that
    give h_m = 1 in p(x, z), as in `MemVAE.decode`. Products in float32.
    Raises InputError when the images do not fit the model or are not binary.
    """
    import torch

    from memvae.analyses.likelihood import compute

    x = _images(model, images)
    if model.network.likelihood == "bernoulli" and not ((x == 0) | (x == 1)).all():
        raise InputError("log_likelihood: found grey pixels, expected 0 or 1; binarise them: torch.bernoulli(images)")
    if samples < 1:
        raise InputError(f"log_likelihood: found samples {samples}, expected at least 1")
    (values,) = compute.log_likelihood(model, x, [samples], (seed, "log-likelihood"), disabled=disabled)
    return torch.from_numpy(values)


def complete(
    model: "MemVAE",
    images: "np.ndarray | Tensor",
    missing: "np.ndarray | Tensor",
    iterations: int = 100,
    seed: int = 0,
) -> "Tensor":
    """The images, their missing pixels drawn towards the model (Figure 8; docs/method.md, Imputation): [N, D].

    images: [N, D] in [0, 1]; missing: bool [N, D], or [D] for all images alike, True where a pixel is missing, whose
    value is then not used. Batch norm has the statistics of a batch of up to 1,000 images, so give many together. seed:
    of the first values and of the draws of z. Products in float32.
    Raises InputError when the shapes do not fit the model, or with fewer than two images, which have no statistics.
    """
    import torch

    from memvae.analyses.imputation.compute import impute
    from memvae.random import keyed

    x = _images(model, images)
    if len(x) < 2:
        raise InputError(f"complete: found {len(x)} images, expected at least 2; batch norm needs their statistics")
    mask = torch.as_tensor(missing, device=x.device)
    if mask.dtype != torch.bool or mask.shape not in (x.shape, x.shape[1:]):
        raise InputError(
            f"complete: found missing of {mask.dtype} {list(mask.shape)}, expected bool {list(x.shape)} or "
            f"{list(x.shape[1:])}"
        )
    mask = mask.expand_as(x)
    if ((seen := x[~mask]) < 0).any() or (seen > 1).any():
        raise InputError(f"complete: found pixels from {seen.min():g} to {seen.max():g}, expected 0 to 1")
    start = torch.rand(x.shape, generator=keyed(seed, "first values")).to(x)
    completed, _ = impute(model, x, mask, start, iterations, 1000, (seed, "completion"))
    return completed


def _images(model: "MemVAE", images: "np.ndarray | Tensor") -> "Tensor":
    """The images as the model's weights are: type and device. Raises InputError when they are not [N, D]."""
    import torch

    x = torch.as_tensor(images).to(model.output.weight)
    if x.ndim != 2 or x.shape[1] != model.network.pixels:
        raise InputError(
            f"images: found the shape {list(x.shape)}, expected [N, {model.network.pixels}]: a row of pixels for each "
            f"image of {' x '.join(map(str, model.network.image))}; flatten them: images.reshape(len(images), -1)"
        )
    return x
