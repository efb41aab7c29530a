"""Adam in Lasagne's form, gradient clipping, and the learning-rate schedule."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from memvae.settings.spec import Training

LATE = 1e9  # a step at which torch's Adam corrects no bias any more: Lasagne's form puts that into the rate


class LasagneAdam:
    """p <- p - rate m / (sqrt(v) + eps), rate = lr sqrt(1 - beta2^t) / (1 - beta1^t), after clipping.

    eps is added to the *uncorrected* sqrt(v); torch's Adam adds it to the corrected one. The gradient is rescaled to a
    total norm of at most `clip_norm`, then each element is clipped to +-`clip_element`.
    """

    def __init__(self, model: nn.Module, training: Training):
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters: list[Tensor] = list(model.parameters())
        self.training = training
        self.steps = 0
        self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.rate = self.parameters[0].new_zeros(())  # a tensor: its value changes at every step, the step's code not
        self._late = [parameter.new_full((), LATE) for parameter in self.parameters]

    def advance(self, learning_rate: float) -> None:
        """Counts a step and sets its rate."""
        self.rate.fill_(self.next_rate(learning_rate))

    def next_rate(self, learning_rate: float) -> float:
        """Counts a step; returns its rate with Adam's correction of both moments."""
        self.steps += 1
        beta1, beta2 = self.training.beta1, self.training.beta2
        return float(learning_rate * (1 - beta2**self.steps) ** 0.5 / (1 - beta1**self.steps))

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor]) -> None:
        """Clips the gradients, one per parameter, and moves the parameters at the rate set last."""
        gradients = self._clipped(gradients)
        if torch.compiler.is_compiling():  # becomes one pass over the memory, with the clipping
            for p, g, m, v in zip(self.parameters, gradients, self.first, self.second, strict=True):
                self._adam(p, g, m, v, self.rate)
            return
        # The same by torch's kernel: 1.1 ms for MEM-VAE, written out as above 4 ms. Called directly, since
        # `torch.optim` imports a compiler at its first step, 2 s of a job's start.
        torch._fused_adam_(
            self.parameters,
            gradients,
            self.first,
            self.second,
            [],
            self._late,
            lr=self.rate,
            beta1=self.training.beta1,
            beta2=self.training.beta2,
            weight_decay=0.0,
            eps=self.training.epsilon,
            amsgrad=False,
            maximize=False,
        )

    def move(
        self,
        weights: Tensor,
        low: Tensor,
        gradient: Tensor,
        low_gradient: Tensor,
        first: Tensor,
        second: Tensor,
        rate: Tensor,
    ) -> None:
        """The same for all parameters as one tensor each: how a GPU takes it. weights, first and second change in
        place; the gradient is the sum of a float32 and a bf16 one; low becomes the weights in bf16."""
        (clipped,) = self._clipped([gradient + low_gradient])
        self._adam(weights, clipped, first, second, rate)
        low.copy_(weights)

    def _adam(self, p: Tensor, g: Tensor, m: Tensor, v: Tensor, rate: Tensor) -> None:
        beta1, beta2 = self.training.beta1, self.training.beta2
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        p.sub_(rate * m / (v.sqrt() + self.training.epsilon))

    def moments(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """First and second moments by parameter name."""
        first, second = (dict(zip(self.names, moments, strict=True)) for moments in (self.first, self.second))
        return first, second

    @torch.no_grad()
    def load(self, steps: int, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
        """Takes up the state of an earlier process."""
        self.steps = steps
        for name, moment_1, moment_2 in zip(self.names, self.first, self.second, strict=True):
            moment_1.copy_(first[name])
            moment_2.copy_(second[name])

    def _clipped(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        norm = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]).norm()
        factor = (self.training.clip_norm / (norm + 1e-6)).clamp(max=1)  # 1e-6: as torch's clip_grad_norm_
        limit = self.training.clip_element
        return [(gradient * factor).clamp_(-limit, limit) for gradient in gradients]


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
