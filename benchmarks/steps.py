"""Training steps side by side: every variant that agrees, and the products of the step alone, in turns."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from benchmarks.measure import Row, summarise, take_turns
from benchmarks.problem import BATCHES, Problem, Variant, check, make
from benchmarks.products import products, step_flops
from benchmarks.variants_torch import Ours, Plain
from memvae.progress import say

RUNS = ("mnist-vae-k1-s0", "mnist-mem_vae-k1-s0", "mnist-mem_vae-k5-s0")
PRODUCTS = {"float32": torch.float32, "bf16": torch.bfloat16}


def variants(problem: Problem) -> dict[str, Callable[[Problem], Variant]]:
    """Every variant that can compute this problem here; what is not installed is named and left out."""
    found: dict[str, Callable[[Problem], Variant]] = {"plain": Plain}
    if not problem.network.has_memory and problem.k == 1:
        try:
            from benchmarks.variants_pythae import Pythae

            found["pythae"] = Pythae
        except ImportError as error:
            say(f"pythae is left out ({error}); pip install -e '.[bench]'")
    try:
        from benchmarks.variants_jax import Jax

        found["jax"] = Jax
    except ImportError as error:
        say(f"JAX is left out ({error}); pip install -e '.[bench]'")
    for compiled in (False, True):
        for precision in PRODUCTS:
            if compiled or precision == "float32":
                found[f"ours-{precision}-{compiled}"] = partial(Ours, precision=precision, compiled=compiled)
    return found


def measure(rounds: int, runs: tuple[str, ...] = RUNS) -> list[Row]:
    """Rows for every run: plain PyTorch first, then the others, then the products, ms per step."""
    rows = []
    for run in runs:
        problem = make(run)
        timed: dict[str, Callable[[], object]] = {}
        floors = {}
        for build in variants(problem).values():
            variant = build(problem)
            errors = check(problem, variant)
            say(f"{run}, {variant.name}: agrees ({', '.join(f'{k} {v:.0e}' for k, v in errors.items())})")
            timed[variant.name] = variant.epoch
            floors[variant.name] = f"products {'bf16' if 'bf16' in variant.name else 'float32'}"
        for name, dtype in PRODUCTS.items():
            alone = products(problem.network, problem.batch, problem.k, dtype)
            timed[f"products {name}"] = partial(_repeat, alone)
        seconds = take_turns(timed, rounds)
        found = summarise("training step", problem.title, problem.k, seconds, BATCHES, floors)
        mflop = step_flops(problem.network, problem.batch, problem.k) / 1e6
        rows += [replace(row, gflop_per_s=mflop / row.median_ms) for row in found]
        torch._dynamo.reset()  # it keeps at most eight versions of one function
    return rows


def _repeat(call: Callable[[], None]) -> None:
    for _ in range(BATCHES):
        call()
