"""Layers: dense with batch norm, the external memory with its attention, and the composition.

A layer normalises with one of two kinds of statistics, chosen for the whole model with `use_statistics`: `batch` (those
of the current rows, in training) or `collected` (stored ones, in evaluation).

Matrix products may run in bf16 (memvae.model.device): factors and result are rounded to bf16, and the sums inside are
float32. After a product, the type is that of its input again.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORMALISE_EPSILON = 1e-10  # the authors' code
CHUNK = 500  # rows: a layer of them fits a core's cache


class Normalise(nn.Module):
    """n = (a - mean) / sqrt(variance + 1e-10), biased variance, without an affine map. a: [N, H] -> [N, H]."""

    mean: Tensor
    variance: Tensor

    def __init__(self, units: int):
        super().__init__()
        self.statistics = "batch"
        self.register_buffer("mean", torch.zeros(units))
        self.register_buffer("variance", torch.ones(units))

    def forward(self, a: Tensor, own: int | None = None) -> Tensor:
        """own: rows, the first ones, whose statistics a batch is normalised by; without it all."""
        if self.statistics == "batch":
            return normalise(a) if own is None else normalise_by(a, a[:own])
        return F.batch_norm(a, self.mean, self.variance, eps=NORMALISE_EPSILON)

    def collect(self, a: Tensor) -> None:
        """Stores the statistics of the rows a: [N, H]."""
        variance, mean = torch.var_mean(a, dim=0, correction=0)
        self.mean.copy_(mean)
        self.variance.copy_(variance)


def normalise(a: Tensor) -> Tensor:
    """The rows of a: [N, H] normalised by their own biased mean and variance."""
    return F.batch_norm(a, None, None, training=True, eps=NORMALISE_EPSILON)


def normalise_by(a: Tensor, rows: Tensor) -> Tensor:
    """a: [N, H] normalised by the biased mean and variance of other rows, [B, H], into which gradients flow too."""
    variance, mean = torch.var_mean(rows, dim=0, correction=0)
    return (a - mean) / torch.sqrt(variance + NORMALISE_EPSILON)


class DenseBatchNorm(nn.Module):
    """h = relu(gamma n + beta) with n = Normalise(W h_in + b). [N, H_in] -> h: [N, H], n: [N, H]."""

    def __init__(self, inputs: int, units: int):
        super().__init__()
        self.dense = nn.Linear(inputs, units)
        self.normalise = Normalise(units)
        self.gamma = nn.Parameter(torch.ones(units))
        self.beta = nn.Parameter(torch.zeros(units))

    def forward(self, h: Tensor, own: int | None = None) -> tuple[Tensor, Tensor]:
        n = self.normalise(self.dense(h).to(h.dtype), own)
        return self.activate(n), n

    def activate(self, n: Tensor) -> Tensor:
        """relu(gamma n + beta)."""
        return torch.relu(torch.addcmul(self.beta, self.gamma, n))

    def collect(self, h: Tensor) -> Tensor:
        """Stores the statistics of the rows h: [N, H_in] and returns their output by these, [N, H]."""
        a = in_chunks(self.dense, h)
        self.normalise.collect(a)
        return in_chunks(lambda rows: self.activate(self.normalise(rows)), a)


def in_chunks(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """function(*inputs) of many rows, some at a time, so that what it computes in between stays in a core's cache.
    A GPU takes them together."""
    if inputs[0].is_cuda:
        return function(*inputs)
    return torch.cat([function(*rows) for rows in zip(*(x.split(CHUNK) for x in inputs), strict=True)])


class PseudoInputs(nn.Module):
    """The learned pseudo-inputs of a VampPrior: [N, D], clamped to [0, 1] as in the code of Tomczak and Welling."""

    def __init__(self, count: int, pixels: int):
        super().__init__()
        self.u = nn.Parameter(torch.empty(count, pixels))

    def forward(self) -> Tensor:
        return self.u.clamp(0, 1)


class Memory(nn.Module):
    """External memory of one decoder layer: preference values, reading, composition.

    h_a = sigmoid(h_g C + c) or softmax(h_g C + c);  h_m = h_a M;  h_out = composition(h_g, h_m).
    h_g: [N, H], C: [H, S], c: [S], M: [S, H] (a slot per row), h_a: [N, S], h_m and h_out: [N, H].
    """

    def __init__(self, units: int, slots: int, attention: str, composition: str):
        super().__init__()
        self.attention = ATTENTIONS[attention]
        self.C = nn.Parameter(torch.empty(units, slots))
        self.c = nn.Parameter(torch.zeros(slots))
        self.M = nn.Parameter(torch.empty(slots, units))
        self.compose = COMPOSITIONS[composition](units)

    def preferences(self, h_g: Tensor) -> Tensor:
        """h_a, the preference value of each slot."""
        return self.attention(torch.addmm(self.c, h_g, self.C).to(h_g.dtype))

    def forward(self, h_g: Tensor, disabled: bool = False) -> Tensor:
        """h_out; `disabled` sets h_m to ones (Figure 6)."""
        h_m = torch.ones_like(h_g) if disabled else (self.preferences(h_g) @ self.M).to(h_g.dtype)
        return self.compose(h_g, h_m)


class ElementwiseMLP(nn.Module):
    """h_out = relu(a1 + a2 h_g + a3 h_m + a4 h_g h_m + b1 sigmoid(c1 + c2 h_g + c3 h_m + c4 h_g h_m)), elementwise.

    Nine vectors in R^H; a2 = c2 = 1 and the rest 0 at the start, so that h_out = h_g: no memory.
    """

    def __init__(self, units: int):
        super().__init__()
        ones, zeros = torch.ones(units), torch.zeros(units)
        self.a1, self.a2, self.a3, self.a4 = (nn.Parameter(v.clone()) for v in (zeros, ones, zeros, zeros))
        self.b1 = nn.Parameter(zeros.clone())
        self.c1, self.c2, self.c3, self.c4 = (nn.Parameter(v.clone()) for v in (zeros, ones, zeros, zeros))

    def forward(self, h_g: Tensor, h_m: Tensor) -> Tensor:
        both = h_g * h_m
        inner = torch.sigmoid(_mix(self.c1, self.c2, self.c3, self.c4, h_g, h_m, both))
        return torch.relu(torch.addcmul(_mix(self.a1, self.a2, self.a3, self.a4, h_g, h_m, both), self.b1, inner))


class Sum(nn.Module):
    """h_out = relu(h_g + h_m): VIS-MEM-VAE."""

    def __init__(self, units: int):
        super().__init__()

    def forward(self, h_g: Tensor, h_m: Tensor) -> Tensor:
        return torch.relu(h_g + h_m)


def _mix(v1: Tensor, v2: Tensor, v3: Tensor, v4: Tensor, h_g: Tensor, h_m: Tensor, both: Tensor) -> Tensor:
    """v1 + v2 h_g + v3 h_m + v4 h_g h_m; fused products: a fifth off the time of a decoder pass."""
    return torch.addcmul(torch.addcmul(torch.addcmul(v1, v2, h_g), v3, h_m), v4, both)


def _softmax(logits: Tensor) -> Tensor:
    return torch.softmax(logits, dim=-1)


# A new attention or composition is a function or module and an entry here; all else takes the names from here.
ATTENTIONS: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "softmax": _softmax}  # logits -> h_a
COMPOSITIONS: dict[str, Callable[[int], nn.Module]] = {
    "mlp": ElementwiseMLP,
    "sum": Sum,
}  # units -> (h_g, h_m) -> h_out
