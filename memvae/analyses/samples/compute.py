"""Samples from the prior with their nearest training images, and interpolations in z between test images."""

import numpy as np
import torch
from torch import Tensor

from memvae.analyses.job import Job
from memvae.analyses.samples import SHOWN
from memvae.model.network import MemVAE
from memvae.training.loop import binarised, chosen

BESIDE = 8  # samples that are shown beside their nearest training image
PAIRS, STEPS = 2, 8  # of test images, and images on the way from one to the other
ROWS = 250  # images whose distances to all training images are computed at a time


@torch.no_grad()
def compute(job: Job) -> dict[str, np.ndarray]:
    """Samples, distances to the nearest training image, interpolations; arrays as in docs/files.md."""
    samples, test_images = job.settings["samples"], job.settings["images"] or None
    generator = job.generator("samples")
    likelihood = job.model.decode(job.model.sample_prior(samples, generator))
    means, draws = likelihood.mean.cpu(), likelihood.draw(generator).cpu()
    train, test = chosen(job.data.pixels("train"), job.spec), job.data.pixels("test")
    compared = {
        "means/distance": means.numpy(),
        "means/test_distance": test[:test_images],
        "draws/distance": draws.numpy(),
        "draws/test_distance": job.data.test_binary[:test_images],
    }
    if job.spec.training.binarise == "each_epoch":  # what a model that has learned its training images by heart draws
        compared["draws/copy_distance"] = binarised(torch.from_numpy(train[:samples]), generator).float().numpy()
    places, arrays = {}, {}
    for name, images in compared.items():
        places[name], arrays[name] = nearest(job.tensor(images), job.tensor(train))
    pairs = min(PAIRS, len(test) // 2)
    ends = job.tensor(test[: 2 * pairs])
    return arrays | {
        "means/images": means[:SHOWN].numpy(),
        "means/nearest": train[places["means/distance"][:BESIDE]],
        "draws/images": draws[:SHOWN].numpy(),
        "interpolation/ends": ends.view(pairs, 2, -1).cpu().numpy(),
        **{f"interpolation/{name}": images.cpu().numpy() for name, images in interpolation(job.model, ends).items()},
    }


def nearest(images: Tensor, train: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Which of `train` [N, D] is nearest to each of `images` [n, D], and its Euclidean distance: i64 [n], f64 [n].

    Rounding may choose among training images that are equally near; the distance is exactly that of the chosen one.
    """
    squares = (train * train).sum(1)  # [N]; an image's own square changes no order
    places = torch.cat([(squares - 2 * rows @ train.T).argmin(1) for rows in images.split(ROWS)])
    distance = torch.linalg.vector_norm(images.double() - train[places].double(), dim=1)
    return places.cpu().numpy(), distance.cpu().numpy()


def interpolation(model: MemVAE, ends: Tensor) -> dict[str, Tensor]:
    """Means [P, STEPS, D] on the straight line in z between the posterior means of two images.

    ends: [2 P, D]. `full`: the model as it is; `both`: the h_m of every memory is set to ones, as in Figure 6.
    """
    mean = model.encode(ends).mean
    t = torch.linspace(0, 1, STEPS, device=ends.device)[:, None]
    z = torch.lerp(mean[0::2, None], mean[1::2, None], t)  # [P, STEPS, Z]
    disabled = {"full": 0, **({"both": len(model.network.hidden)} if model.network.has_memory else {})}
    return {name: model.decode(z.flatten(0, 1), count).mean.view(*z.shape[:2], -1) for name, count in disabled.items()}
