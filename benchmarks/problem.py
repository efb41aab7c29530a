"""The problem that every variant is given, the right answer in float64, and the refusal of variants that miss it."""

import copy
import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from memvae.model.network import MemVAE, sample_posterior
from memvae.random import keyed
from memvae.settings import config
from memvae.settings.spec import Network, Training
from memvae.training.objective import objective

Arrays = dict[str, np.ndarray]  # by the names of MemVAE's parameters

BATCHES = 20  # of one timed epoch
CHECKED_STEPS = 3  # from the second on Adam's moments and corrections matter
SHARPER = 100  # a bound is a mean over pixels and images: their rounding averages out
SPREAD = 0.05  # standard deviation of what is added to the weights: at the start the memory has no gradient
SMALL = 1e-3  # of the whole gradient's norm: smaller tensors (biases before batch norm: exactly 0) are held to this


@dataclass(frozen=True)
class Problem:
    """x: [N, D] binary images, BATCHES batches; noise: eps of the checked steps [CHECKED_STEPS, K, B, Z], float32."""

    title: str
    network: Network
    training: Training
    weights: Arrays
    x: np.ndarray
    noise: np.ndarray

    @property
    def k(self) -> int:
        return self.training.samples

    @property
    def batch(self) -> int:
        return self.training.batch_size

    def checked(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch [B, D] and noise [K, B, Z] of one of the checked steps."""
        return self.x[step * self.batch : (step + 1) * self.batch], self.noise[step]


class Variant(Protocol):
    """One way to compute the step. It starts at the problem's weights."""

    name: str
    tolerance: float  # of gradient and weights, relative to float64; the bound's is SHARPER times smaller
    analytic_kl: bool  # the KL term in closed form in place of the sampled one
    clips: bool  # clips as the paper does and follows Lasagne's Adam; otherwise only bound and gradient are compared

    def step(self, x: np.ndarray, noise: np.ndarray) -> float:
        """Takes one step on x: [B, D] with eps: [K, B, Z]; returns its bound, nats."""

    def gradient(self) -> Arrays:
        """What the first step's optimiser used: after clipping, where it clips."""

    def weights(self) -> Arrays: ...

    def epoch(self) -> object:
        """BATCHES steps on shuffled batches with draws of its own: this is what is timed."""


@dataclass(frozen=True)
class Answer:
    """bounds: of each checked step, nats; gradient: of the first; weights: after the last."""

    bounds: list[float]
    gradient: Arrays
    weights: Arrays


class Disagreement(Exception):
    """A variant computes something else and is not timed."""


def make(run: str, network: Network | None = None) -> Problem:
    """The problem of a run such as `mnist-mem_vae-k5-s0`, on drawn images; `network` replaces the run's own."""
    settings = config.load()
    spec = settings.spec(run)
    network = network or spec.network
    training = replace(spec.training, precision="float32")
    generator = keyed("benchmark")
    model = MemVAE(network).initialise(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=SPREAD)
    noise = torch.randn(CHECKED_STEPS, training.samples, training.batch_size, network.latent, generator=generator)
    x = images(BATCHES * training.batch_size, network.image, generator)
    return Problem(
        settings.models[run.split("-")[1]]["title"], network, training, arrays_of(model), x.numpy(), noise.numpy()
    )


def images(count: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Binary images with an empty rim and blobs inside, like binarised digits: [count, rows * columns]."""
    coarse = torch.randn(count, 1, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, shape, mode="bicubic")[:, 0]
    rim = max(shape[0] // 7, 1)
    inside = torch.zeros(shape)
    inside[rim:-rim, rim:-rim] = 1
    pixels = torch.sigmoid(6 * smooth - 3) * inside
    return (torch.rand(pixels.shape, generator=generator) < pixels).float().flatten(1)


def arrays_of(model: MemVAE) -> Arrays:
    return {name: value.detach().double().numpy().copy() for name, value in model.named_parameters()}


def model_of(problem: Problem, dtype: torch.dtype = torch.float32) -> MemVAE:
    """The problem's network with its weights."""
    model = MemVAE(problem.network).to(dtype)
    weights = {name: torch.from_numpy(value) for name, value in problem.weights.items()}
    model.load_state_dict(weights, strict=False)  # the statistics are of the rows at hand
    return model


def answer(problem: Problem, analytic_kl: bool, clips: bool) -> Answer:
    """The checked steps in float64: our objective, with clipping and Adam written out once more."""
    model, training = model_of(problem, torch.float64), problem.training
    parameters = dict(model.named_parameters())
    first = {name: torch.zeros_like(p) for name, p in parameters.items()}
    second = copy.deepcopy(first)
    bounds: list[float] = []
    gradient: Arrays = {}
    for t in range(1, CHECKED_STEPS + 1):
        x, noise = (torch.from_numpy(a).double() for a in problem.checked(t - 1))
        bound, loss = _analytic(model, x, noise) if analytic_kl else _sampled(model, x, noise, training)
        found = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
        if clips:
            norm = torch.cat([g.flatten() for g in found.values()]).norm()
            factor = min(1.0, training.clip_norm / norm.item())
            found = {n: (g * factor).clamp(-training.clip_element, training.clip_element) for n, g in found.items()}
        bounds.append(bound.item())
        gradient = gradient or {name: g.numpy() for name, g in found.items()}
        rate = training.learning_rate * (1 - training.beta2**t) ** 0.5 / (1 - training.beta1**t)
        with torch.no_grad():
            for name, parameter in parameters.items():
                first[name] = training.beta1 * first[name] + (1 - training.beta1) * found[name]
                second[name] = training.beta2 * second[name] + (1 - training.beta2) * found[name] ** 2
                parameter.sub_(rate * first[name] / (second[name].sqrt() + training.epsilon))
    return Answer(bounds, gradient, arrays_of(model))


def check(problem: Problem, variant: Variant) -> dict[str, float]:
    """Relative errors against float64: bound, worst tensor of the gradient, change of all weights.

    Raises Disagreement above the tolerance. The variant must be fresh. It has taken the checked steps afterwards.
    """
    right = answer(problem, variant.analytic_kl, variant.clips)
    bounds: list[float] = []
    gradient: Arrays = {}
    for step in range(CHECKED_STEPS if variant.clips else 1):
        bounds.append(variant.step(*problem.checked(step)))
        gradient = gradient or variant.gradient()
    errors = {
        "bound": max(abs(found / wanted - 1) for found, wanted in zip(bounds, right.bounds, strict=False)),
        "gradient": _error(gradient, right.gradient),
    }
    if variant.clips:
        errors["weights"] = _error_of_change(variant.weights(), right.weights, problem.weights)
    limits = {name: variant.tolerance / (SHARPER if name == "bound" else 1) for name in errors}
    if wrong := [name for name, error in errors.items() if not error <= limits[name]]:
        raise Disagreement(
            f"{problem.title}, K = {problem.k}, {variant.name}: the {wrong[0]} is off by {errors[wrong[0]]:.1e}, "
            f"expected at most {limits[wrong[0]]:.0e}; it computes something else, so it is not timed"
        )
    return errors


def _sampled(model: MemVAE, x: Tensor, noise: Tensor, training: Training) -> tuple[Tensor, Tensor]:
    """Bound and loss as the paper has them."""
    result = objective(model, x, noise, training.reconstruction_weight)
    return result.bound, result.loss


def _analytic(model: MemVAE, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """L_1 = log p(x|z) - KL(q || p), KL = -1/2 sum (1 + log_var - mu^2 - e^log_var). noise: [1, B, Z]."""
    q = model.encode(x)
    log_px = model.decode(sample_posterior(q, noise).flatten(0, 1)).log_density(x)
    kl = -0.5 * (1 + q.log_variance - q.mean**2 - q.log_variance.exp()).sum(-1)
    bound = (log_px - kl).mean()
    return bound, -bound


def _error(found: Arrays, right: Arrays) -> float:
    """Largest over tensors of |found - right| / |right|."""
    floor = SMALL * _norm(right)
    return max(
        float(np.linalg.norm(found[name] - value) / max(float(np.linalg.norm(value)), floor))
        for name, value in right.items()
    )


def _error_of_change(found: Arrays, right: Arrays, before: Arrays) -> float:
    """Over all weights together: where the gradient is exactly 0 (biases before batch norm), Adam enlarges rounding."""
    error = _norm({name: found[name] - right[name] for name in before})
    return error / _norm({name: right[name] - before[name] for name in before})


def _norm(arrays: Arrays) -> float:
    return math.sqrt(sum(float((value**2).sum()) for value in arrays.values()))
