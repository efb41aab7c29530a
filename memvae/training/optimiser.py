"""Adam as Lasagne writes it, the clipping before it, and the learning-rate schedule."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from memvae.config import Training


class LasagneAdam:
    """step = lr sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps), after clipping.

    eps is added to the *uncorrected* sqrt(v). torch's Adam adds it to the corrected one; it is the same method with
    eps / sqrt(1 - beta2^t) at step t, which is how this is computed. The gradient is rescaled to a total norm of at
    most `clip_norm`, then each element is clipped to +-`clip_element`.
    """

    def __init__(self, model: nn.Module, training: Training):
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters = list(model.parameters())
        self.training = training
        self.steps = 0
        self.adam = torch.optim.Adam(self.parameters, betas=(training.beta1, training.beta2), fused=True)
        for parameter in self.parameters:  # so that moments exist, and can be loaded, before the first step
            self.adam.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    def step(self, learning_rate: float) -> None:
        """Clips the gradients of the parameters and takes one step."""
        torch.nn.utils.clip_grad_norm_(self.parameters, self.training.clip_norm)
        torch.nn.utils.clip_grad_value_(self.parameters, self.training.clip_element)
        self.steps += 1
        group = self.adam.param_groups[0]
        group["lr"] = learning_rate
        group["eps"] = self.training.epsilon / (1 - self.training.beta2**self.steps) ** 0.5
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def moments(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """First and second moments by parameter name."""
        states = [self.adam.state[parameter] for parameter in self.parameters]
        first = {name: state["exp_avg"] for name, state in zip(self.names, states, strict=True)}
        second = {name: state["exp_avg_sq"] for name, state in zip(self.names, states, strict=True)}
        return first, second

    def load(self, steps: int, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
        """Takes up the state of an earlier process."""
        self.steps = steps
        for name, parameter in zip(self.names, self.parameters, strict=True):
            state = self.adam.state[parameter]
            state["step"].fill_(steps)
            state["exp_avg"].copy_(first[name])
            state["exp_avg_sq"].copy_(second[name])


def learning_rate(training: Training, epoch: int) -> float:
    """The rate of an epoch, counted from 1: constant, then times `decay` after every epoch.

    With fewer epochs than the data set's own number the schedule is compressed: the same share of constant epochs,
    then the same overall decay. Differs: the paper has no shortened schedule.
    """
    decaying = training.full_epochs - training.constant_epochs
    if training.epochs == training.full_epochs:
        constant, decay = training.constant_epochs, training.decay
    else:
        constant = round(training.epochs * training.constant_epochs / training.full_epochs)
        decay = training.decay ** (decaying / max(training.epochs - constant, 1))
    return training.learning_rate * decay ** max(0, epoch - constant)
