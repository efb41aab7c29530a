"""The K-sample bound and the local reconstruction error (docs/method.md, Objective): loss = -mean L_K + local error."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memvae.model.densities import LOG_2PI, log_mean_exp
from memvae.model.layers import normalise
from memvae.model.network import Likelihood, MemVAE, Posterior, sample_posterior


@dataclass(frozen=True)
class Objective:
    """bound: mean L_K over the batch, nats; local_error: weighted local reconstruction error, nats. Both scalars."""

    bound: Tensor
    local_error: Tensor

    @property
    def loss(self) -> Tensor:
        return self.local_error - self.bound


def objective(model: MemVAE, x: Tensor, noise: Tensor, weight: float, second_noise: Tensor | None = None) -> Objective:
    """What a training step minimises.

    x: [B, D]; noise: eps [K, B, Z]; weight: of the local reconstruction error, per hidden layer; second_noise: the
    same shape, for a local error with a draw of its own.
    Differs: the authors draw a second z for the local error; one shared draw has the same expected loss and gradient
    and saves a decoder pass. `second_noise` restores it.
    """
    posterior = model.encode(x)
    z = sample_posterior(posterior, noise)
    likelihood = model.decode(z.flatten(0, 1))
    log_w = log_weights(x, posterior, likelihood, noise, z)  # [K, B]
    bound = (log_w.squeeze(0) if len(log_w) == 1 else log_mean_exp(log_w)).mean()
    if weight == 0 or not model.network.has_memory:
        return Objective(bound, bound.new_zeros(()))
    if second_noise is not None:
        likelihood = model.decode(sample_posterior(posterior, second_noise).flatten(0, 1))
    return Objective(bound, weight * local_error(posterior.normalised, likelihood.hidden, len(noise)))


def log_weights(x: Tensor, posterior: Posterior, likelihood: Likelihood, noise: Tensor, z: Tensor) -> Tensor:
    """log p(x, z_k) - log q(z_k|x): [K, B]."""
    return likelihood.log_density(x) - log_ratio(posterior, noise, z)


def log_ratio(posterior: Posterior, noise: Tensor, z: Tensor) -> Tensor:
    """log q(z|x) - log p(z) of z = mu + sigma eps: the sampled KL term. noise, z: [K, B, Z] -> [K, B]."""
    log_qz = -0.5 * (LOG_2PI + posterior.log_variance + noise**2).sum(-1)
    return log_qz - posterior.log_prior(z)


def local_error(normalised: Sequence[Tensor], hidden: Sequence[Tensor], samples: int) -> Tensor:
    """Sum over layers of mean (n_l - d_l)^2: the encoder's normalised pre-activation against the decoder's output.

    normalised: [B, H] per layer; hidden: h_out [K B, H] per layer, normalised here by its batch statistics over
    batch and samples, then averaged over the K samples. Gradients flow into both sides.
    """
    total = hidden[0].new_zeros(())
    for n, h_out in zip(normalised, hidden, strict=True):
        d = normalise(h_out)
        if samples > 1:
            d = d.view(samples, *n.shape).mean(0)  # [K B, H] -> [B, H]
        total = total + ((n - d) ** 2).mean()
    return total


def draw_noise(samples: int, batch: int, latent: int, generator: torch.Generator) -> Tensor:
    """eps ~ N(0, I): [K, B, Z], on the generator's device."""
    return torch.randn(samples, batch, latent, generator=generator, device=generator.device)
