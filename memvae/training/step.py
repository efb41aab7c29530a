"""One training step: eager, compiled as a whole, or on a GPU replayed as a graph. The same function in all three."""

from collections.abc import Callable

import torch
from torch import Tensor

from memvae.model import device as compute
from memvae.model.network import MemVAE
from memvae.settings.spec import Training
from memvae.training.objective import objective
from memvae.training.optimiser import LasagneAdam

WARM_UP = 3  # steps before a capture: libraries allocate their workspaces in them


def gradients(
    model: MemVAE, training: Training, x: Tensor, noise: Tensor, second_noise: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """The bound of a batch (mean L_K, nats, a scalar) and the loss's gradient for each of `model.parameters()`.

    x: [B, D], of any type; noise, second_noise: [K, B, Z]. Products of matrices in `training.precision`, all else in
    the weights' own.
    """
    with compute.products(training.precision, x.device):
        result = objective(model, x.to(noise.dtype), noise, training.reconstruction_weight, second_noise)
    return result.bound.detach(), list(torch.autograd.grad(result.loss, list(model.parameters())))


class Step:
    """Takes optimisation steps: objective, gradient, clipping and Adam, in place. Nothing in it waits for a GPU."""

    def __init__(self, model: MemVAE, training: Training, compiled: bool = False):
        self.model, self.training = model, training
        self.optimiser = LasagneAdam(model, training)
        self._take: Callable[..., Tensor] = compute.compiled(self._plain) if compiled else self._plain
        self._captured = False

    def __call__(self, x: Tensor, noise: Tensor, learning_rate: float, second_noise: Tensor | None = None) -> Tensor:
        """One step on the batch x: [B, D] with eps: [K, B, Z]. Returns its bound, a scalar on the device.

        On a GPU every batch must have the shape of the first, and the scalar is overwritten by the next step.
        """
        inputs = [x, noise] if second_noise is None else [x, noise, second_noise]
        if x.is_cuda and not self._captured:
            self._take, self._captured = self._capture(inputs), True
        self.optimiser.advance(learning_rate)
        return self._take(*inputs)

    def _plain(self, x: Tensor, noise: Tensor, second_noise: Tensor | None = None) -> Tensor:
        bound, found = gradients(self.model, self.training, x, noise, second_noise)
        self.optimiser.update(found)
        return bound

    def _capture(self, inputs: list[Tensor]) -> Callable[..., Tensor]:
        """The step as a CUDA graph: one launch in place of some hundred. The warm-up leaves no trace."""
        optimiser, held = self.optimiser, [tensor.clone() for tensor in inputs]
        changed = [*optimiser.parameters, *optimiser.first, *optimiser.second]
        before = [tensor.detach().clone() for tensor in changed]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._take(*held)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            bound = self._take(*held)
        with torch.no_grad():
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)

        def replay(*batch: Tensor) -> Tensor:
            for place, value in zip(held, batch, strict=True):
                place.copy_(value)
            graph.replay()
            return bound

        return replay
