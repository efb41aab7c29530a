"""The step in JAX, written by hand for a CPU or GPU: one jitted `lax.scan` over the batches of an epoch. float32."""

import os
from functools import partial
from typing import Any

os.environ.setdefault("NPROC", "1")  # threads of XLA on the CPU; read when JAX starts

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.problem import Arrays, Problem

LIMIT = float(np.log((1 - 1e-6) / 1e-6))  # the clip of the mean at 1e-6, on logits
COMPOSITION = ("a1", "a2", "a3", "a4", "b1", "c1", "c2", "c3", "c4")
Weights = dict[str, jax.Array]
State = tuple[Weights, Weights, Weights, jax.Array]  # weights, first and second moments, steps


class Jax:
    """`Problem` in float32; XLA fuses everything between two products."""

    name = "JAX scan"
    tolerance = 5e-3  # as float32 in variants_torch
    analytic_kl, clips = False, True

    def __init__(self, problem: Problem):
        self.problem = problem
        weights = {name: jnp.asarray(value, jnp.float32) for name, value in problem.weights.items()}
        first, second = ({name: jnp.zeros_like(value) for name, value in weights.items()} for _ in range(2))
        self.state: State = (weights, first, second, jnp.zeros((), jnp.float32))
        self.x = jnp.asarray(problem.x, jnp.float32)
        self.key = jax.random.key(0)
        take = partial(_step, problem)
        self.take = jax.jit(take)
        self.scan = jax.jit(partial(_epoch, problem, take), donate_argnums=0)

    def step(self, x: np.ndarray, noise: np.ndarray) -> float:
        self.state, bound = self.take(self.state, x, noise)
        return float(bound)

    def epoch(self) -> float:
        self.key, key = jax.random.split(self.key)
        self.state, total = self.scan(self.state, self.x, key)
        return float(total)

    def gradient(self) -> Arrays:
        scale = 1 - self.problem.training.beta1
        return {name: np.asarray(moment, np.float64) / scale for name, moment in self.state[1].items()}

    def weights(self) -> Arrays:
        return {name: np.asarray(value, np.float64) for name, value in self.state[0].items()}


def _epoch(problem: Problem, take: Any, state: State, x: jax.Array, key: jax.Array) -> tuple[State, jax.Array]:
    """Every batch of x: [N, D] in a fresh order. Returns the sum of the bounds."""
    shuffle, draw = jax.random.split(key)
    batches = jax.random.permutation(shuffle, len(x)).reshape(-1, problem.batch)

    def body(state: State, inputs: tuple[jax.Array, jax.Array]) -> tuple[State, jax.Array]:
        rows, key = inputs
        noise = jax.random.normal(key, (problem.k, problem.batch, problem.network.latent))
        return take(state, x[rows], noise)

    state, bounds = lax.scan(body, state, (batches, jax.random.split(draw, len(batches))))
    return state, bounds.sum()


def _step(problem: Problem, state: State, x: jax.Array, noise: jax.Array) -> tuple[State, jax.Array]:
    """Loss, gradient, clipping and Lasagne's Adam. x: [B, D], noise: [K, B, Z]."""
    w, first, second, t = state
    s = problem.training
    (_, bound), g = jax.value_and_grad(partial(_loss, problem), has_aux=True)(w, x, noise)
    norm = jnp.sqrt(sum((v**2).sum() for v in g.values()))
    g = {n: jnp.clip(v * jnp.minimum(1.0, s.clip_norm / norm), -s.clip_element, s.clip_element) for n, v in g.items()}
    t = t + 1
    rate = s.learning_rate * jnp.sqrt(1 - s.beta2**t) / (1 - s.beta1**t)
    first = {n: s.beta1 * m + (1 - s.beta1) * g[n] for n, m in first.items()}
    second = {n: s.beta2 * v + (1 - s.beta2) * g[n] ** 2 for n, v in second.items()}
    w = {n: p - rate * first[n] / (jnp.sqrt(second[n]) + s.epsilon) for n, p in w.items()}
    return (w, first, second, t), bound


def _loss(problem: Problem, w: Weights, x: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Loss and the mean of L_K."""
    levels = range(len(problem.network.hidden))
    h, normalised = x, []
    for level in levels:
        h, n = _layer(w, f"encoder.{level}", h)
        normalised.append(n)
    mean, log_variance = (_dense(w, f"posterior_{part}", h) for part in ("mean", "log_variance"))
    z = mean + jnp.exp(0.5 * log_variance) * noise  # [K, B, Z]
    h, local_error = z.reshape(-1, z.shape[-1]), jnp.zeros(())
    for level in reversed(levels):
        h, _ = _layer(w, f"decoder.{level}", h)
        if problem.network.slots[level]:
            h = _memory(w, f"memory.{level}", h)
            d = _normalise(h).reshape(problem.k, *normalised[level].shape).mean(0)
            local_error += ((normalised[level] - d) ** 2).mean()
    logits = jnp.clip(_dense(w, "output", h), -LIMIT, LIMIT).reshape(problem.k, *x.shape)
    log_px = (x * logits - jax.nn.softplus(logits)).sum(-1)
    log_w = log_px - 0.5 * (z**2).sum(-1) + 0.5 * (log_variance + noise**2).sum(-1)  # [K, B]; log 2 pi cancels
    bound = (jax.nn.logsumexp(log_w, 0) - jnp.log(problem.k)).mean()
    return problem.training.reconstruction_weight * local_error - bound, bound


def _layer(w: Weights, name: str, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    n = _normalise(_dense(w, f"{name}.dense", h))
    return jax.nn.relu(w[f"{name}.gamma"] * n + w[f"{name}.beta"]), n


def _dense(w: Weights, name: str, h: jax.Array) -> jax.Array:
    return h @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _normalise(a: jax.Array) -> jax.Array:
    return (a - a.mean(0)) / jnp.sqrt(a.var(0) + 1e-10)


def _memory(w: Weights, name: str, h_g: jax.Array) -> jax.Array:
    h_m = jax.nn.sigmoid(h_g @ w[f"{name}.C"] + w[f"{name}.c"]) @ w[f"{name}.M"]
    a1, a2, a3, a4, b1, c1, c2, c3, c4 = (w[f"{name}.compose.{v}"] for v in COMPOSITION)
    inner = jax.nn.sigmoid(c1 + c2 * h_g + c3 * h_m + c4 * h_g * h_m)
    return jax.nn.relu(a1 + a2 * h_g + a3 * h_m + a4 * h_g * h_m + b1 * inner)
