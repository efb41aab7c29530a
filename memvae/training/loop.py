"""Training of one run: it can resume at every epoch; on the CPU, with the bits of an uninterrupted run."""

import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from memvae import signals
from memvae.errors import InputError
from memvae.model import device as compute
from memvae.model.network import MemVAE, collect_statistics
from memvae.progress import Progress
from memvae.random import keyed
from memvae.settings.spec import RunSpec
from memvae.settings.work import training_seconds
from memvae.training import state as training_state
from memvae.training.objective import draw_noise, objective
from memvae.training.optimiser import learning_rate
from memvae.training.state import Curves
from memvae.training.step import Step

VALIDATION_DRAWS = 10  # of binarisation and z for each validation image, so that its images alone make the noise
EVALUATION_ROWS = {"cpu": 1000, "cuda": 10_000}  # images at a time in a curve's point


@dataclass(frozen=True)
class Trained:
    """A model with its collected statistics, its learning curves, and the mode its steps were computed in.

    With a validation split it is the model of the epoch `curves.kept`, else of the last.
    earlier: epochs that were done before this process began.
    """

    model: MemVAE
    curves: Curves
    computed: str
    earlier: int = 0


@dataclass(frozen=True)
class TrainingData:
    """train: [N, D] pixels in [0, 1]; test: [M, D], binarised for Bernoulli data; sha256 of the data set's file."""

    train: np.ndarray
    test: np.ndarray
    sha256: str


def train(
    spec: RunSpec,
    data: TrainingData,
    state: Path,
    device: torch.device,
    save_seconds: float | None = None,
) -> Trained:
    """Trains to the last epoch, from the state file where there is one.

    save_seconds: between two states on disk (18.6 MB for MEM-VAE), else those of `saving_every`.

    SIGINT and SIGTERM wait for the end of the epoch while an epoch is not on disk yet, which takes less than
    `save_seconds` or one epoch; its state is saved, and `signals.Ended` raised.
    Raises InputError when the data do not fit the network, when another process holds the state, when it cannot be
    written, or when the bound is not finite (the last good state is kept).
    """
    _check(spec, data)
    save_seconds = saving_every() if save_seconds is None else save_seconds
    with training_state.lock(state) as check_alone, signals.held() as hold:
        generator = keyed(spec.seed, "training", device=device)
        model = MemVAE(spec.network).initialise(keyed(spec.seed, "weights")).to(device)
        mode = compute.mode(spec.training.precision, device, training_seconds(spec, len(data.train)))
        step = Step(model, replace(spec.training, precision=mode.precision), mode.compiled)
        start = training_state.resume(state, spec, data.sha256, step, generator, str(mode))
        done, curves = start.epochs, start.curves
        train_x, held_x, test_x = (torch.from_numpy(x).to(device) for x in (*split(data.train, spec), data.test))
        passes = _passes(spec, len(data.train), len(train_x))
        progress = Progress(f"{spec.run} epoch", spec.training.epochs, done)
        saved = time.monotonic()
        for epoch in range(done + 1, spec.training.epochs + 1):
            bound = 0.0
            for steps in passes:
                x = binarised(train_x, generator) if spec.training.binarise == "each_epoch" else train_x
                bound += steps / sum(passes) * _train_epoch(step, x, spec, epoch, generator, steps)
            if not np.isfinite(bound):
                raise InputError(
                    f"{spec.run}: the bound of epoch {epoch} is {bound}, expected a finite number; the state of an "
                    f"earlier epoch stays in {state}; lower training.learning_rate"
                )
            if compute.ran(mode) != mode:  # the first step, which was to be compiled, could not be
                start = replace(start, computed=start.computed.removesuffix(str(mode)) + str(compute.ran(mode)))
                mode = compute.ran(mode)
            hold.unsaved = True
            curves.epoch.append(epoch)
            curves.train_bound.append(bound)
            detail = f"train {bound:.2f}"
            last = epoch == spec.training.epochs
            if epoch == 1 or epoch % spec.training.curve_every == 0 or last:
                _add_point(model, x.to(train_x.dtype), test_x, spec, epoch, curves)
                detail += f", test {curves.test_bound[-1]:.2f}"
                if len(held_x):
                    curves.validation_bound.append(validation_bound(model, held_x, spec))
                    detail += f", validation {curves.validation_bound[-1]:.2f}"
                    if curves.kept == epoch:
                        best = {name: value.clone() for name, value in model.state_dict().items()}
                        start = replace(start, best=best)
            if last or hold.waiting or time.monotonic() - saved >= save_seconds:
                check_alone()
                training_state.save(state, spec, data.sha256, step, generator, replace(start, epochs=epoch))
                saved = time.monotonic()
                hold.unsaved = False
            progress.step(detail, always=True)
            hold.check()
    if start.best:
        model.load_state_dict(start.best)
    return Trained(model.use_statistics("collected"), curves, start.computed, done)


def saving_every() -> float:
    """Seconds between two states on disk: the environment variable MEMVAE_SAVE_SECONDS, or 10."""
    wanted = os.environ.get("MEMVAE_SAVE_SECONDS") or "10"
    try:
        seconds = float(wanted)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < np.inf:
        raise InputError(f"MEMVAE_SAVE_SECONDS: found {wanted!r}, expected seconds, a number from 0")
    return seconds


def split(images: np.ndarray, spec: RunSpec) -> tuple[np.ndarray, np.ndarray]:
    """The images that a run trains on, and those that it is validated on: [N, D] -> [n, D], [m, D].

    Of all, or of `training.images` of them, drawn by the seed, the share `training.validation` is held out.
    """
    training = spec.training
    if training.images > len(images):
        raise InputError(
            f"{spec.run}: training.images is {training.images}, expected at most the {len(images)} training images"
        )
    count = training.images or len(images)
    left = count - round(training.validation * count)
    if training.validation and not training.batch_size <= left < count:
        raise InputError(
            f"{spec.run}: training.validation is {training.validation}, which holds out {count - left} of {count} "
            f"training images; expected one or more, and at least a batch ({training.batch_size}) that is left"
        )
    if left == len(images):
        return images, images[:0]
    order = torch.randperm(len(images), generator=keyed(spec.seed, "training images")).numpy()
    return images[np.sort(order[:left])], images[np.sort(order[left:count])]


def chosen(images: np.ndarray, spec: RunSpec) -> np.ndarray:
    """The images that a run trains on, as of `split`. [N, D] -> [n, D]."""
    return split(images, spec)[0]


def binarised(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """x ~ Bernoulli(pixel), bool, of the same shape."""
    return torch.rand(pixels.shape, generator=generator, device=pixels.device) < pixels


@torch.no_grad()
def mean_bound(model: MemVAE, x: Tensor, samples: int, generator: torch.Generator) -> float:
    """Mean L_K over the images x: [N, D], with the statistics the model is set to; nats."""
    total = 0.0
    for rows in x.split(max(EVALUATION_ROWS[x.device.type] // samples, 1)):
        noise = draw_noise(samples, len(rows), model.network.latent, generator)
        total += objective(model, rows, noise, weight=0.0).bound.item() * len(rows)
    return total / len(x)


@torch.no_grad()
def validation_bound(model: MemVAE, held: Tensor, spec: RunSpec) -> float:
    """Mean L_K over the validation images, [m, D] pixels, with the statistics the model is set to; nats.

    A mean over `VALIDATION_DRAWS` of binarisation and z, the same at every epoch, so that epochs are compared by them.
    """
    generator = keyed(spec.seed, "validation", device=held.device)
    bounds = []
    for _ in range(VALIDATION_DRAWS):
        x = binarised(held, generator).to(held.dtype) if spec.training.binarise == "each_epoch" else held
        bounds.append(mean_bound(model, x, spec.training.samples, generator))
    return sum(bounds) / len(bounds)


def _passes(spec: RunSpec, images: int, own: int) -> list[int]:
    """Steps of each pass over the `own` images of a run in one epoch, which has as many steps as one over all `images`.

    Of all images it is one pass; of a subset several, the last of which may end early.
    """
    steps, each = (count // spec.training.batch_size for count in (images, own))
    return [min(each, steps - done) for done in range(0, steps, each)]


def _train_epoch(
    step: Step, x: Tensor, spec: RunSpec, epoch: int, generator: torch.Generator, steps: int | None = None
) -> float:
    """One pass in a fresh order, of at most `steps`; an incomplete batch is dropped. A GPU is waited for at its end.

    Returns the mean L_K over the steps, or NaN when the weights after the last step are no longer finite.
    """
    step.model.use_statistics("batch")
    order = torch.randperm(len(x), generator=generator, device=x.device)
    batches = order[: len(x) - len(x) % spec.training.batch_size].view(-1, spec.training.batch_size)[:steps]
    total = step.many(x, batches, learning_rate(spec.training, epoch), generator)
    return total.item() / len(batches) if step.finite() else math.nan


def _add_point(model: MemVAE, x: Tensor, test_x: Tensor, spec: RunSpec, epoch: int, curves: Curves) -> None:
    """Collects the statistics on x and adds test and train bound with them.

    The draws have a generator of their own, so that how often a point is made does not change the training.
    """
    generator = keyed(spec.seed, "curve", epoch, device=x.device)
    collect_statistics(model, x, generator)
    samples = spec.training.samples
    curves.test_epoch.append(epoch)
    curves.test_bound.append(mean_bound(model, test_x, samples, generator))
    curves.train_bound_collected.append(mean_bound(model, x[: len(test_x)], samples, generator))


def _check(spec: RunSpec, data: TrainingData) -> None:
    found, expected = data.train.shape[1], spec.network.pixels
    if found != expected:
        raise InputError(
            f"{spec.run}: the data have {found} pixels an image, the network expects {expected}; check image"
        )
    if len(data.train) < spec.training.batch_size:
        raise InputError(
            f"{spec.run}: found {len(data.train)} training images, expected at least one batch of "
            f"{spec.training.batch_size}"
        )
