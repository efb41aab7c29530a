"""How cost grows: time and peak memory of a training step, of a training, and of a likelihood, against their sizes.

Times of one kind take turns. Peak memory is of a process of its own, above what it held before the model was built.
Steps are eager in float32, for a compilation per size would take longer than all of this.
"""

import contextlib
import math
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import likelihood
from benchmarks.measure import take_turns
from benchmarks.problem import Problem, images, make, model_of
from benchmarks.variants_torch import Ours
from memvae.model import device as compute
from memvae.progress import say
from memvae.random import keyed
from memvae.settings import config
from memvae.training.loop import TrainingData, train

RUN = "mnist-mem_vae-k1-s0"
STEPS = 3  # of one call
TINY_IMAGES = 1000  # of the trainings

# kind -> sizes; what is measured is a training step, a whole training, or the likelihood of one image
SIZES = {
    "samples K": (1, 2, 5, 10, 20, 50),
    "slots per layer": (0, 30, 70, 140, 280, 1000),
    "hidden units": (125, 250, 500, 750, 1000),
    "epochs": (5, 10, 20, 40),  # the fixed part of a short training bends the line below
    "seeds": (1, 2, 4, 8),
    "likelihood samples": (500, 1000, 5000, 20000, 100000),
}
WHAT = {"epochs": "training", "seeds": "training", "likelihood samples": "likelihood of an image"}


@dataclass(frozen=True)
class Point:
    """order: the exponent p of time ~ size^p over the upper half of the sizes; peak_mb: 10^6 bytes."""

    what: str
    size_of: str
    size: int
    median_ms: float
    low_ms: float
    high_ms: float
    peak_mb: float | None
    order: float
    memory_order: float | None


def measure(rounds: int) -> list[Point]:
    points = []
    for kind, sizes in SIZES.items():
        say(f"growth: {kind}")
        seconds = take_turns({str(size): work(kind, size) for size in sizes}, rounds)
        peaks = [None if kind in ("epochs", "seeds") else peak_mb(kind, size) for size in sizes]
        medians = [statistics.median(seconds[str(size)]) for size in sizes]
        order, memory_order = _order(sizes, medians), _order(sizes, peaks)
        for size, peak in zip(sizes, peaks, strict=True):
            ms = [1000 * s / (STEPS if kind not in WHAT else 1) for s in seconds[str(size)]]
            what = WHAT.get(kind, "training step")
            points.append(
                Point(what, kind, size, statistics.median(ms), min(ms), max(ms), peak, order or math.nan, memory_order)
            )
    return points


def work(kind: str, size: int) -> Callable[[], object]:
    """The call that is timed at one size."""
    if kind in ("epochs", "seeds"):
        return partial(_train, epochs=size if kind == "epochs" else 2, seeds=size if kind == "seeds" else 1)
    if kind == "likelihood samples":
        problem = make(RUN)
        model = model_of(problem).use_statistics("collected").requires_grad_(False)  # cost does not depend on weights
        return partial(likelihood.ours, model, torch.from_numpy(problem.x[:1]), samples=size)
    variant = Ours(problem_of(kind, size))
    return partial(_steps, variant)


def problem_of(kind: str, size: int) -> Problem:
    """MEM-VAE's problem with one of its sizes changed; no slots at all is the VAE."""
    if kind == "samples K":
        return make(f"mnist-mem_vae-k{size}-s0")
    network = config.load().spec(RUN).network
    layers = len(network.hidden)
    if kind == "slots per layer":
        return make(RUN, replace(network, slots=(size,) * layers))
    return make(RUN, replace(network, hidden=(size,) * layers))


def peak_mb(kind: str, size: int) -> float:
    """Peak resident memory of the work, 10^6 bytes, above that of a process which has only imported."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, kind, size).result()


def _peak(kind: str, size: int) -> float:
    compute.set_up()
    torch.set_num_threads(1)
    before = _status("VmRSS")
    work(kind, size)()
    return (_status("VmHWM") - before) * 1024 / 1e6


def _status(field: str) -> int:
    """kiB. Not getrusage: after a spawn its maximum is still the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def _steps(variant: Ours) -> None:
    for step in range(STEPS):
        variant.step(*variant.problem.checked(step))


def _train(epochs: int, seeds: int) -> None:
    """Trainings of a small network, one after the other, with a data set kept small."""
    spec = config.load().spec(RUN)
    network = replace(spec.network, hidden=(100, 100), latent=20, slots=(10, 10))
    training = replace(spec.training, epochs=epochs, curve_every=epochs)
    x = images(TINY_IMAGES, network.image, keyed("benchmark")).numpy()
    data = TrainingData(x, x[:100], "0" * 64)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        for seed in range(seeds):
            one = replace(spec, seed=seed, network=network, training=training)
            train(one, data, Path(folder) / f"{seed}.state.h5", torch.device("cpu"), save_seconds=math.inf)


def _order(sizes: tuple[int, ...], values: list[float] | list[float | None]) -> float | None:
    """Slope of log value against log size over the upper half."""
    known = [(s, v) for s, v in zip(sizes, values, strict=True) if s and v]
    upper = known[len(known) // 2 :]
    if len(upper) < 2:
        return None
    x, y = np.log(np.array(upper)).T
    return float(np.polyfit(x, y, 1)[0])
