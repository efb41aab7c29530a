"""Every variant that the benchmarks time computes the same bound, gradient and steps. No test asserts a time."""

import importlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import project
import pytest
import torch

from benchmarks import gpu, growth, likelihood
from benchmarks.measure import summarise, take_turns
from benchmarks.problem import Disagreement, Problem, check, make, model_of
from benchmarks.products import forward, products, step_flops
from benchmarks.steps import RUNS
from benchmarks.variants_torch import Ours, Plain, PlainVAE, load
from memvae import load_model
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
@pytest.mark.parametrize(("run", "precision"), [*((run, "bf16") for run in RUNS), (RUNS[-1], "float32")])
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


def test_products_have_the_shapes_of_the_step():
    products(small("mnist-mem_vae-k5-s0").network, 3, 5, torch.bfloat16)()


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


def test_calls_take_turns_and_ratios_are_paired():
    order = []
    seconds = take_turns({name: partial(order.append, name) for name in "ab"}, rounds=2)
    assert order == ["a", "b", "a", "b", "a", "b"]  # the first pair warms up
    assert [len(found) for found in seconds.values()] == [2, 2]
    first, second = summarise("w", "m", 1, {"a": [2.0, 6.0, 8.0], "b": [1.0, 2.0, 8.0]})
    assert (first.ratio_to_plain, second.ratio_to_plain, second.median_ms) == (1.0, 2.0, 2000.0)


def test_fitted_order_is_the_exponent_of_the_upper_half():
    sizes = (0, 1, 2, 4, 8)
    assert growth._order(sizes, [9.0, 9.0, 9.0, 16.0, 64.0]) == pytest.approx(2)
    assert growth._order((2, 4), [None, None]) is None


# ---- the benchmark of a GPU, with the CPU in its place ---------------------------------------------------------------
def gpu_command(*words) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmarks", "gpu", *map(str, words)]
    environment = project.environment(MEMVAE_DEVICE="cpu", MEMVAE_COMPILE="never")
    return subprocess.run(command, capture_output=True, text=True, cwd=project.ROOT, env=environment)


@pytest.fixture(scope="module")
def borrowed(tmp_path_factory):
    """Three small trainings of digits, the second too long for the time, and what came out of them."""
    folder = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, "-m", "memvae", "prepare", "digits", "--output", str(folder / "digits.h5")]
    subprocess.run(command, check=True, capture_output=True, cwd=project.ROOT, env=project.environment())
    specs = []
    for seed, epochs in ((0, 3), (1, 100_000), (2, 3)):
        spec = config.load().spec("digits-mem_vae-k1-s0")
        network = replace(spec.network, hidden=(20, 10), latent=4, slots=(5, 3))
        training = replace(spec.training, epochs=epochs, full_epochs=epochs, constant_epochs=1, curve_every=1)
        spec = replace(spec, run=f"digits-mem_vae-k1-s{seed}", seed=seed, network=network, training=training)
        specs.append(folder / f"{seed}.json")
        specs[-1].write_text(spec.to_json())
    done = gpu_command("--small", "--minutes", 0.7, "--data", folder, "--output", folder / "out", "--runs", *specs)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.release
@pytest.mark.xdist_group("borrowed")
def test_the_benchmark_of_a_gpu_checks_times_trains_and_packs(borrowed):
    report = json.loads((borrowed / "out/report.json").read_text())
    assert report["device"] == "cpu" and report["small"]
    assert {(row["model"], row["k"], row["precision"]) for row in report["agree"]} == set(
        itertools.product(gpu.MODELS, (1, 5), ("float32", "bf16"))
    )
    assert all(row["agrees"] for row in report["agree"]) and report["steps"]
    assert all(row["largest_difference_nats"] < 0.5 for row in report["likelihood"])
    runs = report["train"]["runs"]
    assert [(row["epochs"], row["code"]) for row in runs[::2]] == [(3, 0), (3, 0)]
    assert 0 < runs[1]["epochs"] < 100_000 and runs[1]["code"] == 143
    gpu.join(borrowed / "out", borrowed / "back")
    names = {path.name for path in (borrowed / "back").iterdir()}
    assert {"report.json", "digits-mem_vae-k1-s0.h5", "digits-mem_vae-k1-s1.state.h5"} <= names
    assert load_model(borrowed / "back/digits-mem_vae-k1-s2.h5").network.slots == (5, 3)


@pytest.mark.release
@pytest.mark.xdist_group("borrowed")
def test_a_missing_or_damaged_part_is_refused(borrowed, tmp_path):
    part = borrowed / "out/gpu.tar.00"
    for content in (part.read_bytes()[:-1], None):
        shutil.copy(borrowed / "out/gpu.json", tmp_path)
        (tmp_path / part.name).unlink(missing_ok=True)
        if content is not None:
            (tmp_path / part.name).write_bytes(content)
        with pytest.raises(ValueError, match="missing or damaged"):
            gpu.join(tmp_path, tmp_path / "out")


def test_the_benchmark_of_a_gpu_notices_a_wrong_gradient(monkeypatch):
    """So that `agree` can fail."""
    right = gpu.gradients

    def wrong(model, training, x, noise):
        bound, found = right(model, training, x, noise)
        return bound, found if noise.dtype == torch.float64 else [value * 1.2 for value in found]

    monkeypatch.setattr(gpu, "gradients", wrong)
    assert not any(row["agrees"] for row in gpu.agree(torch.device("cpu"), small=True))


@pytest.mark.parametrize("rate", [5.0, 50.0])
def test_time_left_follows_from_the_rate_since_the_last_change(rate, tmp_path):
    seen = [(0.0, 5), *((float(t), int(rate * t)) for t in range(10, 61, 2))]
    job = gpu.Job(config.load().spec("mnist-vae-k1-s0"), tmp_path, tmp_path, {}, seen=seen)
    assert job.left(50.0) is None  # too short a while
    assert job.left(10.0) == pytest.approx((3000 - 60 * rate) / rate)


@pytest.mark.parametrize("model", gpu.MODELS)
def test_the_benchmark_of_a_gpu_has_the_papers_models(model):
    """Written out there, since the machine with the card may have no PyYAML."""
    spec = config.load().spec(f"mnist-{model}-k1-s0")
    assert gpu._networks(small=False)[model] == spec.network
    assert replace(gpu.TRAINING, precision=spec.training.precision) == spec.training


def test_a_multi_process_service_that_does_not_work_is_ended_and_not_used(monkeypatch, tmp_path):
    control = tmp_path / "nvidia-cuda-mps-control"
    control.write_text('#!/bin/sh\necho "$1 $CUDA_MPS_PIPE_DIRECTORY" >> "$0.log"\ntest -n "$1" || cat >> "$0.log"\n')
    control.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    environment = project.environment(CUDA_VISIBLE_DEVICES="", PATH=os.environ["PATH"])
    before = dict(environment)
    with gpu._side_by_side(tmp_path / "out", environment) as service:
        assert service == "does not work here" and environment == before
    pipe = tmp_path / "out/mps-pipe"
    assert (tmp_path / "nvidia-cuda-mps-control.log").read_text() == f"-d {pipe}\n {pipe}\nquit\n"
