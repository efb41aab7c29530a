"""The variational autoencoder of the paper, with or without memory: one class for every variant.

    recognition  x -> h_1 -> ... -> h_L -> mu, log_var        z = mu + exp(log_var / 2) eps
    generation   z -> h_L -> ... -> h_1 -> p(x | z)           each hidden layer may read a memory of its own

Layer lists start next to the data on both sides, so `encoder[l]` and `decoder[l]` belong to the same level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from memvae.errors import InputError
from memvae.model.densities import (
    bernoulli_log_density,
    gaussian_log_density,
    mixture_log_density,
    standard_normal_log_density,
)
from memvae.model.layers import DenseBatchNorm, Memory, Normalise, PseudoInputs, in_chunks
from memvae.settings.spec import Network

MEMORY_STANDARD_DEVIATION = 0.01  # of M at the start: the authors' code
PSEUDO_INPUT = 0.05, 0.01  # mean and standard deviation of a pixel of a pseudo-input at the start: Tomczak and Welling


@dataclass(frozen=True)
class Posterior:
    """q(z|x) and what led to it. mean, log_variance: [B, Z]; normalised, hidden: [B, H] per layer."""

    mean: Tensor
    log_variance: Tensor
    normalised: Sequence[Tensor]  # n_l, before gamma, beta and relu
    hidden: Sequence[Tensor]  # h_l
    prior: tuple[Tensor, Tensor] | None = None  # mean, log_variance of q(z|u_n), [N, Z]: p(z); None: N(0, I)

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z). z: [..., Z] -> [...]."""
        return standard_normal_log_density(z) if self.prior is None else mixture_log_density(z, *self.prior)


@dataclass(frozen=True)
class Likelihood:
    """p(x|z). out: [N, D], logits (Bernoulli) or means (Gaussian); hidden: h_out per layer [N, H]."""

    out: Tensor
    log_variance: Tensor | None  # [N, D]; None: Bernoulli
    hidden: list[Tensor]

    @property
    def mean(self) -> Tensor:
        """E[x|z]: [N, D]."""
        return torch.sigmoid(self.out) if self.log_variance is None else self.out

    def draw(self, generator: torch.Generator) -> Tensor:
        """x ~ p(x|z) for each z: [N, D], 0 or 1, or for Gaussian data any number. generator: of the CPU."""
        noise = torch.rand if self.log_variance is None else torch.randn
        drawn = noise(self.out.shape, generator=generator, dtype=self.out.dtype).to(self.out.device)
        if self.log_variance is None:
            return (drawn < self.mean).to(self.out.dtype)
        return self.mean + torch.exp(0.5 * self.log_variance) * drawn

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x|z) in nats. x: [B, D]; the N rows are taken as [N / B, B] -> [N / B, B]."""
        shape = (-1, *x.shape)
        if self.log_variance is None:
            return bernoulli_log_density(x, self.out.view(shape))
        return gaussian_log_density(x, self.out.view(shape), self.log_variance.view(shape))


class MemVAE(nn.Module):
    """MEM-VAE, VIS-MEM-VAE, and with no slots the plain VAE."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network
        widths = (network.pixels, *network.hidden)
        self.encoder = nn.ModuleList(DenseBatchNorm(i, o) for i, o in pairwise(widths))
        self.posterior_mean = nn.Linear(widths[-1], network.latent)
        self.posterior_log_variance = nn.Linear(widths[-1], network.latent)
        above = (*network.hidden[1:], network.latent)  # what feeds each decoder layer
        self.decoder = nn.ModuleList(DenseBatchNorm(i, o) for i, o in zip(above, network.hidden, strict=True))
        self.memory = nn.ModuleDict(
            {
                str(level): Memory(units, slots, network.attention, network.composition)
                for level, (units, slots) in enumerate(zip(network.hidden, network.slots, strict=True))
                if slots
            }
        )
        self.output = nn.Linear(network.hidden[0], network.pixels)
        if network.likelihood == "gaussian":
            self.output_log_variance = nn.Linear(network.hidden[0], network.pixels)
        self.pseudo_inputs = PseudoInputs(network.pseudo_inputs, network.pixels) if network.pseudo_inputs else None

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> "MemVAE":
        """Every W and C Glorot-uniform, biases 0, M ~ N(0, 0.01^2), u ~ N(0.05, 0.01^2); the rest as constructed.

        Returns the model.
        """
        for name, parameter in self.named_parameters():
            last = name.rsplit(".", 1)[-1]
            if last in ("weight", "C"):
                nn.init.xavier_uniform_(parameter, generator=generator)
            elif last == "bias":
                parameter.zero_()
            elif last == "M":
                parameter.normal_(0, MEMORY_STANDARD_DEVIATION, generator=generator)
            elif last == "u":
                parameter.normal_(*PSEUDO_INPUT, generator=generator)
        return self

    def memory_of(self, level: int) -> Memory | None:
        """The memory of a decoder layer, level 0 next to the data; None where it has none."""
        return cast(Memory, self.memory[str(level)]) if str(level) in self.memory else None

    def use_statistics(self, statistics: str) -> "MemVAE":
        """Batch norm from now on by `batch` or `collected` (see layers). Returns the model."""
        for module in self.modules():
            if isinstance(module, Normalise):
                module.statistics = statistics
        return self

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x), and with pseudo-inputs their q(z|u_n), of which the prior is the mixture. x: [B, D] in [0, 1].

        Batch norm by `batch` takes the statistics of x alone, so that q(z|u) is the same function as q(z|x).
        """
        own = None if self.pseudo_inputs is None else len(x)
        h = x if self.pseudo_inputs is None else torch.cat([x, self.pseudo_inputs().to(x.dtype)])
        normalised, hidden = [], []
        for layer in self.encoder:
            h, n = layer(h, own)
            normalised.append(n)
            hidden.append(h)
        q = self.posterior(h, normalised, hidden)
        if own is None:
            return q
        normalised, hidden = ([tensor[:own] for tensor in tensors] for tensors in (normalised, hidden))
        return Posterior(q.mean[:own], q.log_variance[:own], normalised, hidden, (q.mean[own:], q.log_variance[own:]))

    @torch.no_grad()
    def sample_prior(self, draws: int, generator: torch.Generator | None = None) -> Tensor:
        """z from the prior, that of collected statistics: [draws, Z], on the model's device. generator: of the CPU."""
        device = self.output.weight.device
        noise = torch.randn(draws, self.network.latent, generator=generator).to(device)
        if self.pseudo_inputs is None:
            return noise
        mean, log_variance = cast(tuple[Tensor, Tensor], self.encode(self.pseudo_inputs.u[:0]).prior)
        chosen = torch.randint(len(mean), (draws,), generator=generator).to(device)
        return sample_posterior(Posterior(mean[chosen], log_variance[chosen], [], []), noise)

    def posterior(self, h: Tensor, normalised: Sequence[Tensor] = (), hidden: Sequence[Tensor] = ()) -> Posterior:
        """The two heads of the recognition model. h: [B, H], its last layer."""
        mean, log_variance = (head(h).to(h.dtype) for head in (self.posterior_mean, self.posterior_log_variance))
        return Posterior(mean, log_variance, normalised, hidden)

    def decode(self, z: Tensor, disabled: int = 0) -> Likelihood:
        """p(x|z). z: [N, Z]. The first `disabled` memories, counted from the data, give h_m = 1 (Figure 6)."""
        h = z
        hidden: list[Tensor] = []
        for level in reversed(range(len(self.decoder))):
            h, _ = self.decoder[level](h)
            if memory := self.memory_of(level):
                h = memory(h, disabled=level < disabled)
            hidden.insert(0, h)
        return self.likelihood(h, hidden)

    def likelihood(self, h: Tensor, hidden: list[Tensor] | None = None) -> Likelihood:
        """The output layer. h: [N, H], the decoder layer next to the data."""
        if self.network.likelihood == "bernoulli":
            return Likelihood(self.output(h).to(h.dtype), None, hidden or [])
        with torch.autocast(h.device.type, enabled=False):  # a pixel's deviation is not far above bf16's rounding
            return Likelihood(self.output(h), self.output_log_variance(h), hidden or [])

    def generative_information(self, z: Tensor) -> dict[int, Tensor]:
        """h_g of every layer with memory, by level. z: [N, Z] -> [N, H] each."""
        h, found = z, {}
        for level in reversed(range(len(self.decoder))):
            h, _ = self.decoder[level](h)
            if memory := self.memory_of(level):
                found[level] = h
                h = memory(h)
        return found

    def slot_means(self, level: int = 0) -> Tensor:
        """Each slot of a memory as an image (Figure 7: level 0, next to the data): [S, D].

        There h_g = 0 and h_m = slot; the layers below and the output layer compute as always.
        """
        memory = self.memory_of(level)
        if memory is None:
            where = "the layer next to the data" if level == 0 else f"layer {level + 1} from the data"
            raise InputError(f"slots: {where} has no memory; give it slots")
        h = memory.compose(torch.zeros_like(memory.M), memory.M)
        for below in reversed(range(level)):
            h, _ = self.decoder[below](h)
            if lower := self.memory_of(below):
                h = lower(h)
        return self.likelihood(h).mean


def sample_posterior(posterior: Posterior, noise: Tensor) -> Tensor:
    """z = mu + exp(log_var / 2) eps. noise: [..., B, Z] -> [..., B, Z]."""
    return torch.addcmul(posterior.mean, torch.exp(0.5 * posterior.log_variance), noise)


@torch.no_grad()
def collect_statistics(model: MemVAE, x: Tensor, generator: torch.Generator) -> None:
    """One pass over the whole (currently binarised) training set x: [N, D], one z each, sets every layer's statistics.

    The set is one batch, as in the authors' code: each layer's statistics are those of all images. Leaves the model
    in `collected`.
    """
    model.use_statistics("collected")
    h = x
    for layer in model.encoder:
        h = cast(DenseBatchNorm, layer).collect(h)
    noise = torch.randn(len(x), model.network.latent, generator=generator, device=x.device)

    def draw(h: Tensor, noise: Tensor) -> Tensor:
        return sample_posterior(model.posterior(h), noise)

    h = in_chunks(draw, h, noise)
    for level in reversed(range(len(model.decoder))):
        h = cast(DenseBatchNorm, model.decoder[level]).collect(h)
        if level and (memory := model.memory_of(level)):
            h = in_chunks(memory, h)
