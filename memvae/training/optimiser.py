"""Adam as Lasagne writes it, the clipping before it, and the learning-rate schedule."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from memvae.config import Training


class LasagneAdam:
    """step = lr sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps), after clipping.

    eps is added to the *uncorrected* sqrt(v). torch's Adam adds it to the corrected one; it is the same method with
    eps / sqrt(1 - beta2^t) at step t, which is how this is computed. The gradient is rescaled to a total norm of at
    most `clip_norm`, then each element is clipped to +-`clip_element`.

    torch's fused kernel is called directly: `torch.optim` imports a compiler at its first step, 2 s of a job's start.
    """

    def __init__(self, model: nn.Module, training: Training):
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters: list[Tensor] = list(model.parameters())
        self.training = training
        self.steps = 0
        self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.counters = [torch.zeros((), device=parameter.device) for parameter in self.parameters]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Clips the gradients of the parameters, takes one step and clears them."""
        torch.nn.utils.clip_grad_norm_(self.parameters, self.training.clip_norm)
        torch.nn.utils.clip_grad_value_(self.parameters, self.training.clip_element)
        self.steps += 1
        for counter in self.counters:
            counter.add_(1)
        beta2 = self.training.beta2
        torch._fused_adam_(
            self.parameters,
            [cast(Tensor, parameter.grad) for parameter in self.parameters],
            self.first,
            self.second,
            [],
            self.counters,
            lr=learning_rate,
            beta1=self.training.beta1,
            beta2=beta2,
            weight_decay=0.0,
            eps=self.training.epsilon / (1 - beta2**self.steps) ** 0.5,
            amsgrad=False,
            maximize=False,
        )
        for parameter in self.parameters:
            parameter.grad = None

    def moments(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """First and second moments by parameter name."""
        first, second = (dict(zip(self.names, moments, strict=True)) for moments in (self.first, self.second))
        return first, second

    @torch.no_grad()
    def load(self, steps: int, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
        """Takes up the state of an earlier process."""
        self.steps = steps
        for name, moment_1, moment_2, counter in zip(self.names, self.first, self.second, self.counters, strict=True):
            moment_1.copy_(first[name])
            moment_2.copy_(second[name])
            counter.fill_(steps)


def learning_rate(training: Training, epoch: int) -> float:
    """The rate of an epoch, counted from 1: constant, then times `decay` after every epoch.

    With another number of epochs than the data set's own the schedule is compressed (or stretched): the same share of
    constant epochs, then the same overall decay. Differs: the paper has no shortened schedule.
    """
    decaying = training.full_epochs - training.constant_epochs
    if training.epochs == training.full_epochs:
        constant, decay = training.constant_epochs, training.decay
    else:
        constant = round(training.epochs * training.constant_epochs / training.full_epochs)
        decay = training.decay ** (decaying / max(training.epochs - constant, 1))
    return training.learning_rate * decay ** max(0, epoch - constant)
