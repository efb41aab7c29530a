"""Which slots respond to which class, and what the slots look like (Table 4, Figure 7)."""

from typing import cast

import numpy as np
import torch
from torch import Tensor

from memvae.analyses.job import Job
from memvae.model.layers import Memory
from memvae.model.network import MemVAE, sample_posterior
from memvae.random import keyed

ROWS = 1000  # images at a time


def compute(job: Job) -> dict[str, np.ndarray]:
    """The arrays of `slots` for the real-valued test images."""
    x, labels = job.tensor(job.data.pixels("test")), job.data.labels("test")
    job.attributes["images"] = len(x)
    return slots(job.model, x, labels, job.settings["top"], job.seed)


@torch.no_grad()
def slots(model: MemVAE, x: Tensor, labels: np.ndarray, top: int, seed: int) -> dict[str, np.ndarray]:
    """The arrays of `analysis/slots` (docs/files.md) for every decoder layer with memory.

    x: [N, D] real-valued test images; labels: [N]. One z ~ q(z|x) per image, collected statistics. With sigmoid
    attention each image's h_a is divided by its sum over slots before averaging (the authors' code).
    """
    classes = np.unique(labels)
    means = torch.stack(
        [x[torch.from_numpy(labels == label).to(x.device)].mean(0) for label in classes]
    )  # [classes, D]
    arrays: dict[str, np.ndarray] = {"classes": classes.astype(np.int64), "class_means": means.cpu().numpy()}
    arrays["class_sizes"] = np.array([(labels == label).sum() for label in classes])  # images
    for level, h_a in preferences(model, x, seed).items():
        memory = cast(Memory, model.memory_of(level))
        by_class = np.stack([h_a[labels == label].mean(0) for label in classes])  # [classes, S]
        order = np.argsort(-by_class, axis=1, kind="stable")[:, :top]
        arrays |= {
            f"layer{level}/preferences": by_class,
            f"layer{level}/mean_preference": h_a.mean(0),
            f"layer{level}/top": order.astype(np.int64),
            f"layer{level}/top_values": np.take_along_axis(by_class, order, axis=1),
            f"layer{level}/perplexity": perplexity(by_class),
            f"layer{level}/correlation": correlation(by_class),
            f"layer{level}/norms": memory.M.double().norm(dim=1).cpu().numpy(),
        }
    if model.memory_of(0):
        arrays["layer0/images"] = model.slot_means().cpu().numpy()
    return arrays


@torch.no_grad()
def preferences(model: MemVAE, x: Tensor, seed: int) -> dict[int, np.ndarray]:
    """h_a of every layer with memory, summing to 1 over the slots of an image: level -> float64 [N, S]."""
    noise = torch.randn(len(x), model.network.latent, generator=keyed(seed, "slots")).to(x.device)
    found: dict[int, list[np.ndarray]] = {int(level): [] for level in model.memory}
    for rows, eps in zip(x.split(ROWS), noise.split(ROWS), strict=True):
        for level, h_g in model.generative_information(sample_posterior(model.encode(rows), eps)).items():
            h_a = cast(Memory, model.memory_of(level)).preferences(h_g).double()
            found[level].append((h_a / h_a.sum(1, keepdim=True)).cpu().numpy())
    return {level: np.concatenate(parts) for level, parts in found.items()}


def correlation(by_class: np.ndarray) -> np.ndarray:
    """Between the classes' distributions over slots: [classes, S] -> [classes, classes]; nan for a constant one."""
    if by_class.shape[1] < 2:
        return np.full((len(by_class), len(by_class)), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.atleast_2d(np.corrcoef(by_class))


def perplexity(distributions: np.ndarray) -> np.ndarray:
    """exp of the entropy of each row: the number of slots that a class uses. [classes, S] -> [classes]."""
    log_p = np.log(distributions, out=np.zeros_like(distributions), where=distributions > 0)
    return np.exp(-(distributions * log_p).sum(1))
