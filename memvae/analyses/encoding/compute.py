"""What the memory encodes: preferences and images of its slots, and the log-likelihood with its read-out replaced."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import cast

import numpy as np
import torch
from torch import Generator, Tensor, nn

from memvae.analyses.encoding import conditions
from memvae.analyses.job import Job
from memvae.analyses.likelihood.compute import bound_parts, log_likelihood, training_images
from memvae.analyses.slots.compute import ROWS, correlation, slots
from memvae.model import device as computing
from memvae.model.layers import Memory
from memvae.model.network import MemVAE, sample_posterior


@torch.no_grad()
def compute(job: Job) -> dict[str, np.ndarray]:
    """Preferences, class correlations, slot images, and likelihoods by read-out; arrays as in docs/files.md.

    Preferences and their draws of z are those of the analysis `slots`.
    """
    model, settings = job.model, job.settings
    pixels, labels = job.data.pixels("test"), job.data.labels("test")
    job.attributes["images"] = len(pixels)
    arrays = slots(model, job.tensor(pixels), labels, 1, job.seed)
    arrays |= {f"layer{level}/images": model.slot_means(level).cpu().numpy() for level in map(int, model.memory)}
    ink = ink_by_class(pixels, labels)
    arrays |= {"pixels/ink": ink, "pixels/correlation": correlation(ink)}
    means = mean_read_outs(model, training_images(job), job.generator("encoding"))
    x, samples = job.tensor(job.data.test_binary), settings["samples"]
    images = min(settings["images"] or len(x), len(x))
    mode = job.mode(decoder_rows=conditions(model.network) * images * samples)
    return arrays | likelihoods(model, x, images, samples, settings["bound_draws"], job.seed, means, mode)


def ink_by_class(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each image divided by its sum, then averaged over the images of a class, as the authors' code does.

    pixels: [N, D]; labels: [N] -> float64 [classes, D]. An image without ink stays empty.
    """
    sums = pixels.sum(axis=1, keepdims=True, dtype=np.float64)
    ink = np.divide(pixels, sums, out=np.zeros(pixels.shape), where=sums > 0)
    return np.stack([ink[labels == label].mean(axis=0) for label in np.unique(labels)])


@torch.no_grad()
def mean_read_outs(model: MemVAE, x: Tensor, generator: Generator) -> dict[int, Tensor]:
    """The mean of h_m over images, one z ~ q(z|x) each: level -> [H], of every layer with memory. x: [N, D]."""
    noise = torch.randn(len(x), model.network.latent, generator=generator).to(x.device)
    totals: dict[int, Tensor] = {}
    for rows, eps in zip(x.split(ROWS), noise.split(ROWS), strict=True):
        for level, h_g in model.generative_information(sample_posterior(model.encode(rows), eps)).items():
            h_a = cast(Memory, model.memory_of(level)).preferences(h_g).double().sum(0)
            totals[level] = totals[level] + h_a if level in totals else h_a
    # h_m = h_a M is linear, so its mean is that of h_a, read once
    slots_of = {level: cast(Memory, model.memory_of(level)).M.double() for level in totals}
    return {level: (h_a / len(x) @ slots_of[level]).to(x) for level, h_a in totals.items()}


@torch.no_grad()
def likelihoods(
    model: MemVAE,
    x: Tensor,
    images: int,
    samples: int,
    draws: int,
    seed: int,
    means: Mapping[int, Tensor],
    mode: computing.Mode = computing.PLAIN,
) -> dict[str, np.ndarray]:
    """`log_likelihood/<condition>` (L_K, K = samples, first `images`) and `bound/<condition>` (L_1, all images), nats.

    A condition is `kept`, the memory as it is, or `<place>/<read-out>`: the h_m of a layer (`layer0` is next to the
    data), or of `all`, is replaced by ones, by zeros, or by `means`, level -> [H]. x: [N, D], the test images as the
    likelihood sees them; draws: of z ~ q(z|x), for the bound. q(z|x) stays as it is, and all draws are those of the
    analysis `likelihood`, the same for every condition. mode: of the passes for L_K.
    """

    def of(decoder: MemVAE, condition: str) -> dict[str, np.ndarray]:
        key = (seed, "log-likelihood of test images")
        (values,) = log_likelihood(decoder, x[:images], [samples], key, mode)
        bound = bound_parts(decoder, x, draws, (seed, "bound of test images")).bound
        return {f"log_likelihood/{condition}": values, f"bound/{condition}": bound}

    arrays = of(model, "kept")
    levels = sorted(means)
    places = {f"layer{level}": [level] for level in levels} | ({"all": levels} if len(levels) > 1 else {})
    for place, replaced in places.items():
        decoder = with_constants(model, replaced)  # one for all read-outs, so that it is compiled once
        read_outs = {"ones": torch.ones_like, "zeros": torch.zeros_like, "mean": lambda mean: mean}
        for name, value in read_outs.items():
            for level in replaced:
                cast(Constant, decoder.memory[str(level)]).h_m.copy_(value(means[level]))
            arrays |= of(decoder, f"{place}/{name}")
    return arrays


class Constant(nn.Module):
    """In place of a memory: h_m: [H] is the same for every h_g, and composed with it as the memory does."""

    h_m: Tensor

    def __init__(self, memory: Memory):
        super().__init__()
        self.compose = memory.compose
        self.register_buffer("h_m", torch.ones_like(memory.M[0]))

    def forward(self, h_g: Tensor, disabled: bool = False) -> Tensor:
        return self.compose(h_g, self.h_m.expand_as(h_g))


def with_constants(model: MemVAE, levels: Sequence[int]) -> MemVAE:
    """A copy of the model whose memories at these levels are `Constant`, of ones."""
    copy = deepcopy(model)
    for level in levels:
        copy.memory[str(level)] = Constant(cast(Memory, copy.memory_of(level)))
    return copy
