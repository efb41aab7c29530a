"""The 5,000-sample log-likelihood: all rows at once with sigmoid then log, against the analysis `likelihood`."""

import contextlib
import math
import os
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import Row, summarise, take_turns
from benchmarks.problem import Disagreement, Problem, make
from benchmarks.variants_torch import Ours, PlainVAE, load
from memvae.analyses.likelihood.compute import BLOCK, Key, log_likelihood
from memvae.model.device import Mode
from memvae.model.network import MemVAE, collect_statistics
from memvae.progress import say
from memvae.random import keyed

RUN = "mnist-mem_vae-k1-s0"
SAMPLES, IMAGES = 5000, 4
MODES = (Mode("float32", False), Mode("float32", True), Mode("bf16", True))
EPOCHS = 10  # of training first: 200 steps, so that the weights are not those of a random network
TOLERANCE = 0.05  # nats an image
KEY: Key = ("benchmark", "likelihood")


def measure(rounds: int) -> list[Row]:
    """Rows for the naive form and ours, ms per image; raises Disagreement when their values differ."""
    torch._dynamo.reset()  # it keeps at most eight versions of one function
    problem = make(RUN)
    model = trained(problem)
    naive = PlainVAE(problem.network).eval()
    load(naive, {name: value.numpy() for name, value in model.state_dict().items()})
    x = torch.from_numpy(problem.x[:IMAGES])
    calls = {"plain PyTorch": partial(naive_log_likelihood, naive, x, SAMPLES, KEY)}
    calls |= {f"memvae, {mode}": partial(ours, model, x, mode) for mode in MODES}
    right = calls["plain PyTorch"]()
    for name, call in calls.items():
        worst = float(np.abs(call() - right).max())
        if not worst <= TOLERANCE:
            raise Disagreement(f"{name}: {worst:.3f} nats apart, expected at most {TOLERANCE}; it is not timed")
        say(f"likelihood, {name}: agrees ({worst:.0e} nats)")
    seconds = take_turns(calls, rounds)
    return summarise(f"likelihood, {SAMPLES} samples, an image", problem.title, 1, seconds, IMAGES)


def trained(problem: Problem) -> MemVAE:
    """A model after some steps, with collected statistics."""
    variant = Ours(problem)
    for _ in range(EPOCHS):
        variant.epoch()
    collect_statistics(variant.model, torch.from_numpy(problem.x), keyed("benchmark", "statistics"))
    return variant.model.requires_grad_(False)


def ours(model: MemVAE, x: Tensor, mode: Mode = MODES[0], samples: int = SAMPLES) -> np.ndarray:
    """L_K of each image, [N]; without the package's lines on progress."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        return log_likelihood(model, x, [samples], KEY, mode)[0]


@torch.no_grad()
def naive_log_likelihood(model: PlainVAE, x: Tensor, samples: int, key: Key) -> np.ndarray:
    """L_K of each image, with the draws of `log_likelihood`. x: [N, D] -> [N]."""
    latent = model.posterior_mean.out_features
    values = []
    for i, image in enumerate(x):
        generators = [keyed(*key, i, block) for block in range(-(-samples // BLOCK))]
        noise = torch.cat([torch.randn(BLOCK, 1, latent, generator=g) for g in generators])[:samples]
        mean, log_variance, _ = model.encode(image[None])
        z = mean + torch.exp(0.5 * log_variance) * noise  # [K, 1, Z]
        p, _ = model.decode(z.flatten(0, 1))
        log_w = model.log_weights(image, p[:, None], z, mean, log_variance)  # [K, 1]
        values.append(torch.logsumexp(log_w[:, 0], 0).item() - math.log(samples))
    return np.array(values)
