"""Lasagne's Adam, clipping, and the learning-rate schedule, against their formulas."""

from dataclasses import replace

import numpy as np
import pytest
import reference
import torch
import untrained
from torch import nn

from memvae.training.optimiser import LasagneAdam, learning_rate

pytestmark = pytest.mark.usefixtures("double")
UNCLIPPED = replace(untrained.MNIST, clip_norm=1e9, clip_element=1e9)
FREY = replace(untrained.MNIST, epochs=1000, full_epochs=1000, batch_size=10)


def module(*shapes: tuple[int, ...]) -> nn.Module:
    draw = np.random.default_rng(0)
    return nn.ParameterList([nn.Parameter(torch.from_numpy(draw.normal(size=shape))) for shape in shapes])


def run(optimiser: LasagneAdam, gradients: list[list[np.ndarray]], rates: list[float]) -> list[list[np.ndarray]]:
    """The parameters after every step."""
    trace = []
    for step, rate in zip(gradients, rates, strict=True):
        optimiser.advance(rate)
        optimiser.update([torch.from_numpy(gradient.copy()) for gradient in step])
        trace.append([parameter.detach().numpy().copy() for parameter in optimiser.parameters])
    return trace


def random_gradients(steps: int, *shapes: tuple[int, ...], scale: float = 1.0) -> list[list[np.ndarray]]:
    draw = np.random.default_rng(1)
    return [[draw.normal(size=shape) * scale for shape in shapes] for _ in range(steps)]


# ---- Adam ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6])  # of the gradients: eps = 1e-4 is nothing, some, nearly all of it
def test_adam_equals_lasagnes_formula(scale):
    steps, shape = 400, (4, 3)
    rates = [1e-3 * 0.998**i for i in range(steps)]
    gradients = random_gradients(steps, shape, scale=scale)
    model = module(shape)
    start = model[0].detach().numpy().copy()
    found = run(LasagneAdam(model, UNCLIPPED), gradients, rates)
    expected = reference.adam(start, [step[0] for step in gradients], rates)
    for mine, other in zip(found, expected, strict=True):
        # the largest step is 1e-3; float64 leaves 1e-13 of it at each of 400
        np.testing.assert_allclose(mine[0] - start, other - start, rtol=1e-9, atol=1e-15)


def test_epsilon_is_added_to_the_uncorrected_root():
    """The first step of a small gradient g: sqrt(v) is sqrt(0.001) |g|, not |g|."""
    g, model = 1e-3, module((1,))
    start = model[0].item()
    run(LasagneAdam(model, UNCLIPPED), [[np.array([g])]], [1e-3])
    root = 0.001**0.5
    assert model[0].item() - start == pytest.approx(-1e-3 * root * g / (root * g + 1e-4), rel=1e-9)
    corrected = -1e-3 * g / (g + 1e-4)
    assert abs(model[0].item() - start) < 0.3 * abs(corrected)


def test_the_form_that_is_compiled_equals_torchs_kernel(monkeypatch):
    """The compiler is told the formula; without it torch's fused Adam computes the same."""
    shapes = ((4, 3), (5,))
    gradients, rates = random_gradients(30, *shapes, scale=3.0), [1e-3] * 30
    fused = run(LasagneAdam(module(*shapes), untrained.MNIST), gradients, rates)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    written = run(LasagneAdam(module(*shapes), untrained.MNIST), gradients, rates)
    for mine, other in zip(fused[-1], written[-1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-14)


def test_a_loaded_optimiser_continues_as_if_it_had_not_stopped():
    shapes = ((4, 3), (5,))
    gradients, rates = random_gradients(20, *shapes), [1e-3] * 20
    whole = run(LasagneAdam(module(*shapes), untrained.MNIST), gradients, rates)
    model = module(*shapes)
    first = LasagneAdam(model, untrained.MNIST)
    run(first, gradients[:8], rates[:8])
    moments = [{name: value.clone() for name, value in part.items()} for part in first.moments()]
    second = LasagneAdam(model, untrained.MNIST)
    second.load(first.steps, *moments)
    rest = run(second, gradients[8:], rates[8:])
    for mine, other in zip(rest, whole[8:], strict=True):
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_array_equal(a, b)


# ---- clipping --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "gradient",
    [
        [30.0, 0.1, -40.0],  # norm 50: rescaled to [3, 0.01, -4], then [1, 0.01, -1]
        [3.0, -0.2, 0.5],  # norm below 5: elements alone
        [0.3, -0.2, 0.5],  # neither
        [2.9, 2.9, 2.9, 0.9],  # norm just above 5
    ],
)
def test_gradient_is_clipped_by_norm_and_then_by_element(gradient):
    """Seen in the first moment, which is 0.1 g after one step. torch adds 1e-6 to the norm: a relative 2e-7."""
    gradients = [np.array(gradient[:2]), np.array(gradient[2:])]  # the norm is that of all parameters together
    optimiser = LasagneAdam(module(*(g.shape for g in gradients)), untrained.MNIST)
    run(optimiser, [gradients], [1e-3])
    found = [moment.numpy() / 0.1 for moment in optimiser.moments()[0].values()]
    for mine, other in zip(found, reference.clip_gradients(gradients), strict=True):
        np.testing.assert_allclose(mine, other, rtol=3e-7)


def test_adam_with_clipping_equals_the_reference_over_many_steps():
    shape, steps = (30,), 100
    gradients, rates = random_gradients(steps, shape, scale=3.0), [1e-3] * steps
    model = module(shape)
    start = model[0].detach().numpy().copy()
    clipped = [reference.clip_gradients(step)[0] for step in gradients]
    found = run(LasagneAdam(model, untrained.MNIST), gradients, rates)
    expected = reference.adam(start, clipped, rates)[-1]
    np.testing.assert_allclose(found[-1][0], expected, rtol=0, atol=2e-8)  # 2e-7 of 100 steps of 1e-3


# ---- schedule --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("epoch", "rate"), [(1, 1e-3), (1000, 1e-3), (1500, 3.7e-4), (2000, 1.35e-4), (3000, 1.8e-5)])
def test_learning_rates_quoted_from_the_authors(epoch, rate):
    assert learning_rate(untrained.MNIST, epoch) == pytest.approx(rate, rel=0.02)  # they are quoted with two digits


def test_learning_rate_falls_by_0_998_after_every_epoch_from_1000_on():
    rates = np.array([learning_rate(untrained.MNIST, epoch) for epoch in range(1, 3001)])
    expected = [reference.learning_rate(epoch, 3000) for epoch in range(1, 3001)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert rates[1000] == pytest.approx(0.998e-3) and len(set(rates[:1000])) == 1


@pytest.mark.parametrize("epochs", [3, 24, 40, 60, 200, 300, 1500])
def test_a_shorter_run_gets_the_schedule_compressed(epochs):
    """Constant for the first third, then down by the same overall factor, evenly."""
    training = replace(untrained.MNIST, epochs=epochs)
    rates = np.array([learning_rate(training, epoch) for epoch in range(1, epochs + 1)])
    np.testing.assert_allclose(rates, [reference.learning_rate(e, epochs) for e in range(1, epochs + 1)], rtol=1e-12)
    assert rates[-1] == pytest.approx(learning_rate(untrained.MNIST, 3000), rel=1e-9)
    assert (rates == 1e-3).sum() == round(epochs / 3)
    ratios = rates[round(epochs / 3) :][1:] / rates[round(epochs / 3) :][:-1]
    np.testing.assert_allclose(ratios, ratios[0] if len(ratios) else 1, rtol=1e-9)


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_shortest_runs_have_a_learning_rate(epochs):
    for epoch in range(1, epochs + 1):
        assert 1.8e-5 <= learning_rate(replace(untrained.MNIST, epochs=epochs), epoch) <= 1e-3


@pytest.mark.parametrize("epochs", [1, 10, 100, 1000])
def test_frey_faces_run_at_a_constant_rate(epochs):
    training = replace(FREY, epochs=epochs)
    assert {learning_rate(training, epoch) for epoch in range(1, epochs + 1)} == {1e-3}
