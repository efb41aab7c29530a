"""The step in plain PyTorch, as an example of a textbook has it, and as this package takes it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.problem import Arrays, Problem, model_of
from memvae.settings.spec import Network
from memvae.training.objective import draw_noise
from memvae.training.step import Step

# Relative to the answer in float64, the worst tensor. float32: gradients are off by 2e-5, weights after three steps by
# 1e-3, and gradients by 2.5e-3 where units are dead, for batch norm divides by sqrt(variance + 1e-10). bf16 has 8 bits,
# so each factor of a product is off by up to 4e-3; nine products later the whole gradient is off by 4e-2, its worst
# tensor by 1.2e-1. A term left out or written wrongly shows as about 1.
FLOAT64, FLOAT32, BF16 = 1e-6, 5e-3, 2e-1
CLIP = 1e-6


class Plain:
    """`nn.Linear`, `BatchNorm1d`, sigmoid then log, `torch.optim.Adam`, `.item()` at every step."""

    name = "plain PyTorch"
    analytic_kl, clips = False, True

    def __init__(self, problem: Problem, dtype: torch.dtype = torch.float32):
        self.tolerance = FLOAT64 if dtype == torch.float64 else FLOAT32
        self.problem, training = problem, problem.training
        self.model = PlainVAE(problem.network).to(dtype)
        load(self.model, problem.weights)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), lr=training.learning_rate, betas=(training.beta1, training.beta2)
        )
        self.steps = 0
        self.x = torch.from_numpy(problem.x).to(dtype)

    def epoch(self) -> float:
        total = 0.0
        for rows in torch.randperm(len(self.x)).split(self.problem.batch):
            noise = torch.randn(self.problem.k, len(rows), self.problem.network.latent, dtype=self.x.dtype)
            total += self._step(self.x[rows], noise)
        return total

    def step(self, x: np.ndarray, noise: np.ndarray) -> float:
        return self._step(torch.from_numpy(x).to(self.x.dtype), torch.from_numpy(noise).to(self.x.dtype))

    def gradient(self) -> Arrays:
        moments = {name: self.optimiser.state[p]["exp_avg"] for name, p in self.model.named_parameters()}
        return {
            name: moments[plain_name(name)].double().numpy() / (1 - self.problem.training.beta1)
            for name in self.problem.weights
        }

    def weights(self) -> Arrays:
        found = dict(self.model.named_parameters())
        return {name: found[plain_name(name)].detach().double().numpy().copy() for name in self.problem.weights}

    def _step(self, x: Tensor, noise: Tensor) -> float:
        training = self.problem.training
        bound, local_error = self.model(x, noise)
        loss = -bound + training.reconstruction_weight * local_error
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
        torch.nn.utils.clip_grad_value_(self.model.parameters(), training.clip_element)
        self.steps += 1
        for group in self.optimiser.param_groups:  # Lasagne's Adam adds eps to the uncorrected root
            group["eps"] = training.epsilon / (1 - training.beta2**self.steps) ** 0.5
        self.optimiser.step()
        return bound.item()


class PlainVAE(nn.Module):
    """VAE and MEM-VAE (sigmoid attention, elementwise MLP), written as the equations read."""

    def __init__(self, network: Network):
        super().__init__()
        self.hidden, latent = network.hidden, network.latent
        self.encoder = nn.ModuleList(PlainLayer(i, o) for i, o in pairwise((network.pixels, *network.hidden)))
        self.posterior_mean = nn.Linear(self.hidden[-1], latent)
        self.posterior_log_variance = nn.Linear(self.hidden[-1], latent)
        above = (*self.hidden[1:], latent)
        self.decoder = nn.ModuleList(PlainLayer(i, o) for i, o in zip(above, self.hidden, strict=True))
        levels = enumerate(zip(self.hidden, network.slots, strict=True))
        self.memory = nn.ModuleDict({str(level): PlainMemory(h, s) for level, (h, s) in levels if s})
        self.output = nn.Linear(self.hidden[0], network.pixels)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """x: [B, D], noise: [K, B, Z]. Returns the mean of L_K and the local reconstruction error."""
        mean, log_variance, normalised = self.encode(x)
        z = mean + torch.exp(0.5 * log_variance) * noise  # [K, B, Z]
        p, hidden = self.decode(z.flatten(0, 1))
        log_w = self.log_weights(x, p.view(len(noise), *x.shape), z, mean, log_variance)  # [K, B]
        bound = (torch.logsumexp(log_w, 0) - np.log(len(noise))).mean()
        local_error = torch.zeros(())
        for level in self.memory:
            h, n = hidden[int(level)], normalised[int(level)]
            d = (h - h.mean(0)) / torch.sqrt(h.var(0, correction=0) + 1e-10)
            local_error = local_error + ((n - d.view(len(noise), *n.shape).mean(0)) ** 2).mean()
        return bound, local_error

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        h, normalised = x, []
        for layer in self.encoder:
            h, n = layer(h)
            normalised.append(n)
        return self.posterior_mean(h), self.posterior_log_variance(h), normalised

    def decode(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        """z: [N, Z]. Returns the Bernoulli means [N, D] and every layer's h_out."""
        h = z
        hidden: list[Tensor] = []
        for level in reversed(range(len(self.decoder))):
            h, _ = self.decoder[level](h)
            if str(level) in self.memory:
                h = self.memory[str(level)](h)
            hidden.insert(0, h)
        return torch.sigmoid(self.output(h)).clamp(CLIP, 1 - CLIP), hidden

    @staticmethod
    def log_weights(x: Tensor, p: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """log p(x|z) + log p(z) - log q(z|x): [K, B]."""
        log_px = (x * torch.log(p) + (1 - x) * torch.log(1 - p)).sum(-1)
        log_pz = (-0.5 * np.log(2 * np.pi) - 0.5 * z**2).sum(-1)
        log_qz = (-0.5 * np.log(2 * np.pi) - 0.5 * log_variance - 0.5 * (z - mean) ** 2 / log_variance.exp()).sum(-1)
        return log_px + log_pz - log_qz


class PlainLayer(nn.Module):
    """Dense, batch norm, relu. Returns h and the normalised pre-activation."""

    def __init__(self, inputs: int, units: int):
        super().__init__()
        self.dense = nn.Linear(inputs, units)
        self.norm = nn.BatchNorm1d(units, eps=1e-10, affine=False)
        self.gamma = nn.Parameter(torch.ones(units))
        self.beta = nn.Parameter(torch.zeros(units))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        n = self.norm(self.dense(h))
        return torch.relu(self.gamma * n + self.beta), n


class PlainMemory(nn.Module):
    """Attention, reading and composition of one layer."""

    def __init__(self, units: int, slots: int):
        super().__init__()
        self.C = nn.Parameter(torch.zeros(units, slots))
        self.c = nn.Parameter(torch.zeros(slots))
        self.M = nn.Parameter(torch.zeros(slots, units))
        self.a1, self.a2, self.a3, self.a4, self.b1 = (nn.Parameter(torch.zeros(units)) for _ in range(5))
        self.c1, self.c2, self.c3, self.c4 = (nn.Parameter(torch.zeros(units)) for _ in range(4))

    def forward(self, h_g: Tensor) -> Tensor:
        h_a = torch.sigmoid(h_g @ self.C + self.c)
        h_m = h_a @ self.M
        inner = torch.sigmoid(self.c1 + self.c2 * h_g + self.c3 * h_m + self.c4 * h_g * h_m)
        return torch.relu(self.a1 + self.a2 * h_g + self.a3 * h_m + self.a4 * h_g * h_m + self.b1 * inner)


def plain_name(name: str) -> str:
    """PlainVAE's name of one of MemVAE's parameters or statistics."""
    for ours, theirs in ((".compose.", "."), ("normalise.mean", "norm.running_mean")):
        name = name.replace(ours, theirs)
    return name.replace("normalise.variance", "norm.running_var")


def load(module: nn.Module, weights: Arrays) -> None:
    """Puts MemVAE's weights into a PlainVAE; what is not named keeps its value."""
    found = module.load_state_dict({plain_name(n): torch.from_numpy(w) for n, w in weights.items()}, strict=False)
    if found.unexpected_keys:
        raise KeyError(f"no such weights: {found.unexpected_keys}")


class Ours:
    """memvae.training.step.Step, called as the training loop calls it."""

    analytic_kl, clips = False, True

    def __init__(self, problem: Problem, precision: str = "float32", compiled: bool = False):
        self.name = f"memvae, {'compiled' if compiled else 'eager'} {precision}"
        self.tolerance = BF16 if precision == "bf16" else FLOAT32
        self.problem = problem
        self.model = model_of(problem).use_statistics("batch")
        training = replace(problem.training, precision=precision)
        self.take = Step(self.model, training, compiled=compiled)
        self.x = torch.from_numpy(problem.x).bool()
        self.generator = torch.Generator().manual_seed(0)

    def epoch(self) -> float:
        total = torch.zeros((), dtype=torch.float64)
        for rows in torch.randperm(len(self.x), generator=self.generator).split(self.problem.batch):
            noise = draw_noise(self.problem.k, len(rows), self.problem.network.latent, self.generator)
            total += self.take(self.x[rows], noise, self.problem.training.learning_rate)
        return total.item()

    def step(self, x: np.ndarray, noise: np.ndarray) -> float:
        rate = self.problem.training.learning_rate
        return self.take(torch.from_numpy(x).bool(), torch.from_numpy(noise), rate).item()

    def gradient(self) -> Arrays:
        first, _ = self.take.optimiser.moments()
        return {name: m.double().numpy() / (1 - self.problem.training.beta1) for name, m in first.items()}

    def weights(self) -> Arrays:
        return {name: value.detach().double().numpy().copy() for name, value in self.model.named_parameters()}
