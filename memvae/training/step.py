"""Training steps: on a CPU one by one, eager or compiled; on a GPU many as one graph. The function is the same."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from memvae.model import device as compute
from memvae.model.layers import Memory
from memvae.model.network import MemVAE
from memvae.settings.spec import Training
from memvae.training.objective import draw_noise, objective
from memvae.training.optimiser import LasagneAdam

WARM_UP = 3  # steps before a capture: libraries allocate their workspaces in them
GRAPH = 100  # steps of a graph: one launch in place of some ten thousand
ALIGNED = 64  # numbers: every parameter starts at a multiple of 256 bytes, as torch places a tensor of its own
DRAWS = 2**24  # numbers of noise of a graph at most: 64 MiB, so that a graph of K = 50 has fewer steps


def gradients(
    model: MemVAE, training: Training, x: Tensor, noise: Tensor, second_noise: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """The bound of a batch (mean L_K, nats, a scalar) and the loss's gradient for each of `model.parameters()`.

    x: [B, D], of any type; noise, second_noise: [K, B, Z]. Products of matrices in `training.precision`, all else in
    the weights' own.
    """
    loss, bound = loss_of(model, training, x, noise, second_noise)
    return bound, list(torch.autograd.grad(loss, list(model.parameters())))


def loss_of(
    model: MemVAE, training: Training, x: Tensor, noise: Tensor, second_noise: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The loss that a step lowers, and its bound, without a gradient: scalars, nats. Arguments as of `gradients`."""
    with compute.products(training.precision, x.device):
        result = objective(model, x.to(noise.dtype), noise, training.reconstruction_weight, second_noise)
    return result.loss, result.bound.detach()


class Step:
    """Takes optimisation steps: objective, gradient, clipping and Adam, in place. Nothing in it waits for a GPU."""

    def __init__(self, model: MemVAE, training: Training, compiled: bool = False):
        self.model, self.training, self.compiled = model, training, compiled
        self.optimiser = LasagneAdam(model, training)
        self._take: Callable[..., Tensor] = compute.compiled(self._plain) if compiled else self._plain
        self._graphs: Graphs | None = None

    def __call__(self, x: Tensor, noise: Tensor, learning_rate: float, second_noise: Tensor | None = None) -> Tensor:
        """One step on the batch x: [B, D] with eps: [K, B, Z]. Returns its bound, a scalar on the device."""
        self.optimiser.advance(learning_rate)
        return self._take(x, noise) if second_noise is None else self._take(x, noise, second_noise)

    def many(self, x: Tensor, batches: Tensor, learning_rate: float, generator: torch.Generator) -> Tensor:
        """A step for each batch. x: [N, D], all images; batches: [n, B], their rows. Draws the noise.

        Returns the sum of the bounds, float64, a scalar on the device.
        """
        if x.is_cuda:
            self._graphs = self._graphs or Graphs(self, x, batches.shape[1])
            return self._graphs.run(x, batches, learning_rate, generator)
        total = torch.zeros((), dtype=torch.float64)
        second_draw = self.training.reconstruction_draw == "second"
        for rows in batches:
            size = (self.training.samples, len(rows), self.model.network.latent)
            noise = draw_noise(*size, generator)
            second = draw_noise(*size, generator) if second_draw else None
            total += self(x[rows], noise, learning_rate, second)
        return total

    def finite(self) -> Tensor:
        """Whether every weight is finite, a scalar on the device."""
        weights = [self._graphs.weights] if self._graphs else self.optimiser.parameters
        return torch.stack([tensor.isfinite().all() for tensor in weights]).all()

    def _plain(self, x: Tensor, noise: Tensor, second_noise: Tensor | None = None) -> Tensor:
        bound, found = gradients(self.model, self.training, x, noise, second_noise)
        self.optimiser.update(found)
        return bound


class Graphs:
    """The steps of one training on a GPU, up to `GRAPH` in one CUDA graph. The graph reads what changes from places of
    its own, which are filled before it runs: images, rows, noise and rates.

    Compiled are the loss, with its gradient, and the optimiser's pass, each by itself. Parameters, moments and
    gradients become views of one tensor each, so that a pass over all of them is one kernel in place of 40. With bf16
    products the graph reads a bf16 copy of their weights, which the optimiser's pass writes: the same numbers as if
    each product rounded its own.
    """

    def __init__(self, step: Step, x: Tensor, batch_size: int):
        self.step, training = step, step.training
        each = 1 + (training.reconstruction_draw == "second")
        draws = (each, training.samples, batch_size, step.model.network.latent)
        self.length = max(1, min(GRAPH, DRAWS // torch.Size(draws).numel()))
        self.images = torch.empty_like(x)
        self.rows = torch.zeros(self.length, batch_size, dtype=torch.int64, device=x.device)
        self.noise = torch.zeros(self.length, *draws, device=x.device)
        self.rates = torch.zeros(self.length, 4, device=x.device)  # 16 bytes apart: aligned, as compiled code expects
        self.total = torch.zeros((), dtype=torch.float64, device=x.device)
        optimiser = step.optimiser
        size = sum(map(_place, optimiser.parameters))
        self.weights, self.first, self.second, self.gradient = (torch.zeros(size, device=x.device) for _ in range(4))
        self.low, self.low_gradient = (torch.zeros(size, device=x.device, dtype=torch.bfloat16) for _ in range(2))
        for flat, tensors in ((self.first, optimiser.first), (self.second, optimiser.second)):
            for n, view in enumerate(_views(flat, optimiser.parameters)):
                tensors[n] = view.copy_(tensors[n])
        for view, parameter in zip(_views(self.weights, optimiser.parameters), optimiser.parameters, strict=True):
            parameter.data = view.copy_(parameter.data)
        rounded = {id(parameter) for parameter in _rounded(step.model)} if training.precision == "bf16" else set()
        flats = (self.low, self.gradient, self.low_gradient)
        views = zip(*(_views(flat, optimiser.parameters) for flat in flats), strict=True)
        self._rounded: list[tuple[Tensor, Tensor]] = []  # parameters and their bf16 copies
        self._gradients: list[Tensor] = []
        for parameter, (low, gradient, low_gradient) in zip(optimiser.parameters, views, strict=True):
            if id(parameter) in rounded:
                self._rounded.append((parameter, low))
            self._gradients.append(low_gradient if id(parameter) in rounded else gradient)
        wrap: Callable[..., Callable[..., Any]] = compute.compiled if step.compiled else lambda function: function
        self._loss = wrap(lambda x, *noise: loss_of(step.model, training, x, *noise))
        self._move = wrap(optimiser.move)
        self._captured: dict[int, Callable[[], None]] = {}

    def run(self, x: Tensor, batches: Tensor, learning_rate: float, generator: torch.Generator) -> Tensor:
        """As `Step.many`."""
        self.images.copy_(x)
        self.low.copy_(self.weights)
        self.total.zero_()
        rates = [self.step.optimiser.next_rate(learning_rate) for _ in batches]
        rates_there = torch.tensor(rates, dtype=self.rates.dtype, device=x.device)
        for start in range(0, len(batches), self.length):
            count = min(self.length, len(batches) - start)
            self.rows[:count].copy_(batches[start : start + count])
            self.rates[:count, 0].copy_(rates_there[start : start + count])
            self.noise[:count].normal_(generator=generator)
            if count not in self._captured:
                self._captured[count] = self._capture(count)
            self._captured[count]()
        return self.total.clone()

    def take(self, n: int) -> None:
        """Step n of a graph: what is captured."""
        loss, bound = self._loss(self.images[self.rows[n]], *self.noise[n])
        found = torch.autograd.grad(loss, self.step.optimiser.parameters)
        for kind in (torch.float32, torch.bfloat16):
            pairs = [(at, value) for at, value in zip(self._gradients, found, strict=True) if at.dtype == kind]
            if pairs:
                torch._foreach_copy_([at for at, _ in pairs], [value for _, value in pairs])
        with torch.no_grad():
            flats = (self.weights, self.low, self.gradient, self.low_gradient, self.first, self.second)
            self._move(*flats, self.rates[n, 0])
        self.total += bound

    def _capture(self, count: int) -> Callable[[], None]:
        """`count` steps as a CUDA graph. The warm-up leaves no trace."""
        changed = [self.weights, self.low, self.first, self.second, self.total]
        before = [tensor.clone() for tensor in changed]
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        with self.reading_copies():
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self.take(0)
            torch.cuda.current_stream().wait_stream(side)
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)
            with torch.cuda.graph(graph):
                for n in range(count):
                    self.take(n)
        return graph.replay

    @contextmanager
    def reading_copies(self) -> Iterator[None]:
        """Within it the model computes with the bf16 copies of its weights."""
        own = [parameter.data for parameter, _ in self._rounded]
        for parameter, low in self._rounded:
            parameter.data = low
        try:
            yield
        finally:
            for (parameter, _), data in zip(self._rounded, own, strict=True):
                parameter.data = data


def _rounded(model: MemVAE) -> list[Tensor]:
    """The parameters that are factors of products in bf16, or added inside them."""
    gaussian = model.network.likelihood == "gaussian"
    return [
        parameter
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Memory) and not (gaussian and name.startswith("output"))
        for parameter in module.parameters(recurse=False)
    ]


def _place(tensor: Tensor) -> int:
    """Numbers that a tensor takes up, with what aligns the next."""
    return -(-tensor.numel() // ALIGNED) * ALIGNED


def _views(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A view of each tensor's shape, one after the other in `flat`, each aligned."""
    starts = accumulate(map(_place, like), initial=0)
    return [flat[at : at + tensor.numel()].view(tensor.shape) for at, tensor in zip(starts, like, strict=False)]
