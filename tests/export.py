"""An evaluator of model files in numpy and h5py alone, float64: written from the paper's equations and the names of the
weights (docs/files.md), it shares nothing with the package or with reference.py. Bernoulli data.
"""

import json

import h5py
import numpy as np

CLAMP = np.log(1e6 - 1)  # logits of the means 1e-6 and 1 - 1e-6


class Export:
    """A model file: `weights` float64 by name, `network` as in its spec."""

    def __init__(self, path):
        with h5py.File(path) as file:
            self.weights = {name: array[()].astype(np.float64) for name, array in file["weights"].items()}
            self.network = json.loads(file.attrs["spec"])["network"]

    def posterior(self, x):
        """Mean and log-variance of q(z|x), [B, Z] each. x: [B, D]."""
        for level in range(len(self.network["hidden"])):
            x = self._hidden(f"encoder.{level}", x)
        return self._dense("posterior_mean", x), self._dense("posterior_log_variance", x)

    def logits(self, z):
        """Logits of the mean of p(x|z): [B, D]. z: [B, Z]."""
        h = z
        for level in reversed(range(len(self.network["hidden"]))):
            h = self._hidden(f"decoder.{level}", h)
            if self.network["slots"][level]:
                h = self._compose(level, h)
        return self._dense("output", h)

    def log_weights(self, x, samples, rng, chunk=500):
        """log p(x, z_k) - log q(z_k|x), z_k ~ q(z|x): [samples]. x: [D], binary."""
        mean, log_variance = self.posterior(x[None])
        log_w = []
        for start in range(0, samples, chunk):
            eps = rng.standard_normal((min(chunk, samples - start), mean.shape[1]))
            z = mean + np.exp(log_variance / 2) * eps
            logits = np.clip(self.logits(z), -CLAMP, CLAMP)
            log_px = (x * logits - np.logaddexp(0, logits)).sum(axis=1)
            log_w.append(log_px + (eps**2 + log_variance - z**2).sum(axis=1) / 2)  # log(2 pi) cancels
        return np.concatenate(log_w)

    def _dense(self, name, h):
        return h @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _hidden(self, name, h):
        mean, variance = (self.weights[f"{name}.normalise.{statistic}"] for statistic in ("mean", "variance"))
        n = (self._dense(f"{name}.dense", h) - mean) / np.sqrt(variance + 1e-10)
        return np.maximum(self.weights[f"{name}.gamma"] * n + self.weights[f"{name}.beta"], 0)

    def _compose(self, level, h_g):
        w = {name.removeprefix(f"memory.{level}."): array for name, array in self.weights.items()}
        e = h_g @ w["C"] + w["c"]
        h_a = softmax(e) if self.network["attention"] == "softmax" else sigmoid(e)
        h_m = h_a @ w["M"]
        if self.network["composition"] == "sum":
            return np.maximum(h_g + h_m, 0)
        terms = (1, h_g, h_m, h_g * h_m)
        inner = sigmoid(sum(w[f"compose.c{n}"] * term for n, term in enumerate(terms, 1)))
        outer = sum(w[f"compose.a{n}"] * term for n, term in enumerate(terms, 1))
        return np.maximum(outer + w["compose.b1"] * inner, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_mean(log_w):
    """log of the mean of the weights over the last axis: L_K of K of them."""
    log_w = np.asarray(log_w)
    largest = log_w.max(axis=-1, keepdims=True)
    return largest[..., 0] + np.log(np.exp(log_w - largest).mean(axis=-1))
