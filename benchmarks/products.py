"""The step's matrix products alone: the floor of every implementation that multiplies with these kernels."""

from collections.abc import Callable
from itertools import pairwise

import torch

from memvae.settings.spec import Network

Shape = tuple[int, int, int]  # rows, inner, columns


def forward(network: Network, batch: int, samples: int) -> list[Shape]:
    """Every product of one forward pass, the first being the one with the images."""
    hidden, rows = network.hidden, batch * samples
    found = [(batch, i, o) for i, o in pairwise((network.pixels, *hidden))]
    found += [(batch, hidden[-1], network.latent)] * 2
    found += [(rows, i, o) for i, o in zip((*hidden[1:], network.latent), hidden, strict=True)]
    for units, slots in zip(hidden, network.slots, strict=True):
        found += [(rows, units, slots), (rows, slots, units)] if slots else []
    return [*found, (rows, hidden[0], network.pixels)]


def step_flops(network: Network, batch: int, samples: int) -> int:
    """FLOPs of a step's products: forward, and two products backward for each but the first, whose input is data."""
    shapes = forward(network, batch, samples)
    flops = [2 * n * i * o for n, i, o in shapes]
    return 3 * sum(flops) - flops[0]


def products(network: Network, batch: int, samples: int, dtype: torch.dtype) -> Callable[[], None]:
    """A call that computes all of them: Y = X W^T, and backward dX = dY W and dW = dY^T X. One thread as set."""
    jobs = []
    for place, (n, i, o) in enumerate(forward(network, batch, samples)):
        x, w, y = (torch.randn(shape).to(dtype) for shape in ((n, i), (o, i), (n, o)))
        jobs.append((x, w.T, torch.empty_like(y)))
        jobs.append((y.T, x, torch.empty_like(w)))
        if place:
            jobs.append((y, w, torch.empty_like(x)))

    def call() -> None:
        for a, b, out in jobs:
            torch.mm(a, b, out=out)

    return call
