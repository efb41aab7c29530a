"""Every variant that the benchmarks time computes the same bound, gradient and steps. No test asserts a time."""

import importlib
from dataclasses import replace
from functools import partial

import numpy as np
import project
import pytest
import torch

from benchmarks import likelihood
from benchmarks.problem import Disagreement, Problem, check, make, model_of
from benchmarks.products import forward, step_flops
from benchmarks.steps import RUNS
from benchmarks.variants_torch import Ours, Plain, PlainVAE, load
from memvae.settings import config


def small(run: str) -> Problem:
    network = config.load().spec(run).network
    slots = (7, 5) if network.has_memory else (0, 0)
    return make(run, replace(network, slots=slots, hidden=(50, 40), latent=10, image=(12, 10)))


def optional(module: str, name: str):
    """A variant whose package may be missing; the test is skipped then, with the way to install it."""
    try:
        return getattr(importlib.import_module(f"benchmarks.{module}"), name)
    except ImportError as error:
        pytest.skip(f"{error}; pip install -e '.[bench]'")


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("build", [partial(Plain, dtype=torch.float64), Plain, Ours])
def test_plain_pytorch_and_ours_agree_with_float64(run, build):
    """Tolerances and their reasons stand in variants_torch: 1e-6 float64, 5e-3 float32."""
    problem = small(run)
    check(problem, build(problem))


@pytest.mark.parametrize("run", RUNS)
def test_bf16_agrees_with_float64(run):
    """Within 2e-1 for each tensor of the gradient, in the network of the paper: sums are too short in a small one."""
    problem = make(run)
    check(problem, Ours(problem, "bf16"))


@pytest.mark.parametrize("run", RUNS)
def test_jax_agrees_with_float64(run):
    problem = small(run)
    check(problem, optional("variants_jax", "Jax")(problem))


def test_pythae_agrees_with_the_bound_of_analytic_kl():
    """Bound and gradient: its loss has the KL term in closed form, and its trainer does not clip."""
    problem = small("mnist-vae-k1-s0")
    check(problem, optional("variants_pythae", "Pythae")(problem))


@pytest.mark.slow
@project.needs_compiler
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("run", RUNS)
def test_compiled_steps_agree_with_float64(run, precision):
    problem = make(run)
    check(problem, Ours(problem, precision, compiled=True))


@pytest.mark.parametrize("changed", ["reconstruction_weight", "epsilon", "clip_norm", "beta2"])
def test_a_variant_that_computes_something_else_is_refused(changed):
    problem = small("mnist-mem_vae-k5-s0")
    other = replace(problem.training, **{changed: 0.5})
    with pytest.raises(Disagreement, match="not timed"):
        check(problem, Plain(replace(problem, training=other)))


def test_an_epoch_changes_the_weights():
    problem = small("mnist-mem_vae-k1-s0")
    for variant in (Plain(problem), Ours(problem)):
        variant.epoch()
        assert all((variant.weights()[name] != value).any() for name, value in problem.weights.items()), variant.name


@pytest.mark.parametrize(("run", "mflop"), [("mnist-vae-k1-s0", 782), ("mnist-mem_vae-k1-s0", 842)])
def test_flops_of_a_step_as_counted_by_hand(run, mflop):
    """VAE: forward 2 x 1,434,000 products a row; three times that, less the input gradient of the first layer."""
    spec = config.load().spec(run)
    assert round(step_flops(spec.network, 100, 1) / 1e6) == mflop
    assert forward(spec.network, 100, 1)[0] == (100, 784, 500)


def test_naive_likelihood_is_ours():
    """With the same draws; float32 sums over 120 pixels of up to 14 nats leave 1e-4."""
    problem = small("mnist-mem_vae-k1-s0")
    model = likelihood.trained(problem)
    naive = PlainVAE(problem.network).eval()
    load(naive, {name: value.numpy() for name, value in model.state_dict().items()})
    x = torch.from_numpy(problem.x[:2])
    found = likelihood.naive_log_likelihood(naive, x, 1500, likelihood.KEY)
    np.testing.assert_allclose(found, likelihood.ours(model, x, samples=1500), atol=1e-3)


def test_model_has_the_weights_of_the_problem():
    problem = small("mnist-vae-k1-s0")
    for name, value in model_of(problem, torch.float64).named_parameters():
        assert (value.detach().numpy() == problem.weights[name]).all()


# ---- the benchmark of a GPU, with the CPU in its place ---------------------------------------------------------------
