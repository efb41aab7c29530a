"""What the memory adds to an image: energy and pattern by spatial frequency, and likelihood, with and without memory.

The paper judges Figure 6 by eye: without the memory, the main pattern stays and local detail is lost.
"""

import numpy as np
import torch
from torch import Tensor

from memvae.analyses.detail import CONDITIONS
from memvae.analyses.generation.compute import conditions
from memvae.analyses.job import Job
from memvae.analyses.likelihood.compute import bound_parts, log_likelihood
from memvae.model import device as computing
from memvae.model.network import MemVAE
from memvae.random import keyed


def compute(job: Job) -> dict[str, np.ndarray]:
    """Spectra of images and likelihoods of test images, with the memory and disabled; arrays as in docs/files.md."""
    settings = job.settings
    draws, cutoff, samples = settings["draws"], settings["cutoff"], settings["samples"]
    arrays = spectra(job.model, job.data.pixels("test"), draws, cutoff, job.seed)
    x = job.tensor(job.data.test_binary)
    images = min(settings["images"] or len(x), len(x))
    mode = job.mode(decoder_rows=CONDITIONS * images * samples)
    return arrays | likelihoods(job.model, x, images, samples, settings["bound_draws"], job.seed, mode)


@torch.no_grad()
def spectra(model: MemVAE, test: np.ndarray, draws: int, cutoff: float, seed: int) -> dict[str, np.ndarray]:
    """The arrays of `analysis/detail` (docs/files.md) that compare images, each with and without the memory.

    test: [N, D], real-valued test images; draws: of z from the prior, the same for every condition, whose decoder means
    are the images; cutoff: cycles per pixel, between low and high.
    """
    network = model.network
    z = model.sample_prior(draws, keyed(seed, "detail"))
    means = {name: model.decode(z, disabled).mean.cpu().numpy() for name, disabled in conditions(network).items()}
    transformed = {name: transform(x.reshape(-1, *network.image)) for name, x in {"data": test, **means}.items()}
    frequency, bands = radial_bands(network.image)
    high = radius(network.image) > cutoff
    arrays = {"frequency": frequency}
    for name, f in transformed.items():
        energy = cross_energy(f, f)
        arrays |= {
            f"spectrum/{name}": bands @ energy.mean(0).ravel(),
            f"low/{name}": energy[:, ~high].sum(1),
            f"high/{name}": energy[:, high].sum(1),
        }
    for name in list(means)[1:]:
        cross = cross_energy(transformed["full"], transformed[name])
        shared = bands @ cross.mean(0).ravel()
        size = np.sqrt(arrays["spectrum/full"] * arrays[f"spectrum/{name}"])
        arrays |= {
            f"coherence/{name}": np.divide(shared, size, out=np.zeros_like(size), where=size > 0),
            f"cross_low/{name}": cross[:, ~high].sum(1),
            f"cross_high/{name}": cross[:, high].sum(1),
        }
        unrelated = cross_energy(transformed["full"], np.roll(transformed[name], 1, axis=0))  # another draw's image
        arrays |= {
            f"chance_low/{name}": unrelated[:, ~high].sum(1),
            f"chance_high/{name}": unrelated[:, high].sum(1),
        }
    return arrays


def likelihoods(
    model: MemVAE, x: Tensor, images: int, samples: int, draws: int, seed: int, mode: computing.Mode = computing.PLAIN
) -> dict[str, np.ndarray]:
    """Per condition, nats: `log_likelihood/` (L_K, K = samples, first `images`), `bound/` and `log_px/` (all images).

    x: [N, D], the test images as the likelihood sees them; draws: of z ~ q(z|x), for the bound. All draws are those of
    the analysis `likelihood`, the same for every condition. mode: of the passes for L_K.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, disabled in conditions(model.network).items():
        key = (seed, "log-likelihood of test images")
        (arrays[f"log_likelihood/{name}"],) = log_likelihood(model, x[:images], [samples], key, mode, disabled)
        parts = bound_parts(model, x, draws, (seed, "bound of test images"), disabled)
        arrays |= {f"bound/{name}": parts.bound, f"log_px/{name}": parts.log_px}
    return arrays


def transform(images: np.ndarray) -> np.ndarray:
    """The Fourier transform F of each image without its mean: [N, rows, columns] -> complex [N, rows, columns].

    Divided by the number of pixels, so that the sum of |F|^2 is the image's variance (Parseval).
    """
    values = images.astype(np.float64)
    values -= values.mean(axis=(1, 2), keepdims=True)
    return np.fft.fft2(values, norm="forward")


def cross_energy(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Re F1 conj F2, of the shape of the two: the energy that the transforms share; |F|^2 for one and itself."""
    return one.real * other.real + one.imag * other.imag


def radius(image: tuple[int, int]) -> np.ndarray:
    """Distance of each coefficient from zero frequency, cycles per pixel: [rows, columns]."""
    vertical, horizontal = (np.fft.fftfreq(side) for side in image)
    return np.hypot(vertical[:, None], horizontal)


def radial_bands(image: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Middle of each band of frequencies, cycles per pixel [R], and which coefficients it holds, 0 or 1 [R, D].

    A band is as wide as the spacing of frequencies along the longer side. Zero frequency is in none.
    """
    side = max(image)
    number = np.rint(radius(image).ravel() * side)
    numbers = np.unique(number[1:])  # the first coefficient is zero frequency
    return numbers / side, (numbers[:, None] == number).astype(np.float64)
