"""Log-densities, summed over the last axis; nats."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LOG_2PI = math.log(2 * math.pi)
LOGIT_LIMIT = 13.815509557963774  # log((1 - 1e-6) / 1e-6): the authors clip the mean to [1e-6, 1 - 1e-6]


def bernoulli_log_density(x: Tensor, logits: Tensor) -> Tensor:
    """log p(x) = sum_d x_d l_d - log(1 + e^{l_d}), logits clamped to +-13.8155.

    x: [..., D] in [0, 1], broadcast against logits: [..., D]. Returns [...].
    """
    logits = logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    return (x * logits - F.softplus(logits)).sum(-1)


def gaussian_log_density(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(x; mean, exp(log_variance)), diagonal. All [..., D], broadcast. Returns [...]."""
    return -0.5 * (LOG_2PI + log_variance + (x - mean) ** 2 * torch.exp(-log_variance)).sum(-1)


def standard_normal_log_density(z: Tensor) -> Tensor:
    """log N(z; 0, I). z: [..., Z]. Returns [...]."""
    return -0.5 * (LOG_2PI + z**2).sum(-1)


def mixture_log_density(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log 1/N sum_n N(z; mean_n, exp(log_variance_n)), diagonal. z: [..., Z]; mean, log_variance: [N, Z] -> [...].

    Float64 inside: the square is multiplied out, so that no tensor has both N and Z beside the rows of z.
    """
    z64, mean, log_variance = (tensor.double() for tensor in (z, mean, log_variance))
    precision = torch.exp(-log_variance)
    squares = z64**2 @ precision.T - 2 * z64 @ (mean * precision).T + (mean**2 * precision).sum(-1)  # [..., N]
    return log_mean_exp(-0.5 * (squares + (LOG_2PI + log_variance).sum(-1)), -1).to(z.dtype)


def log_mean_exp(log_w: Tensor, dim: int = 0) -> Tensor:
    """log of the mean of exp(log_w) over one axis, without overflow."""
    return torch.logsumexp(log_w, dim) - math.log(log_w.shape[dim])
