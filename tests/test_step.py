"""The training step in its three forms: eager, compiled as a whole, in bf16; and what a GPU needs of it."""

import subprocess
import sys
import tempfile
from dataclasses import replace

import project
import pytest
import reference
import torch
from test_training import TRAINING, data, spec
from torch.utils._python_dispatch import TorchDispatchMode

from memvae.errors import InputError
from memvae.model import device as compute
from memvae.model.network import MemVAE
from memvae.random import keyed
from memvae.settings.spec import Network
from memvae.training import loop
from memvae.training import step as step_module
from memvae.training.objective import draw_noise
from memvae.training.step import Graphs, Step, gradients

NETWORK = Network(image=(8, 8), hidden=(32, 24), latent=6, slots=(8, 4))
CPU = torch.device("cpu")


def model(seed: int = 0) -> MemVAE:
    return reference.randomise(MemVAE(NETWORK), keyed(seed, "step")).float()


def batch(samples: int = 1, rows: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = keyed(3, "batch")
    return torch.rand(rows, NETWORK.pixels, generator=generator) < 0.3, draw_noise(samples, rows, 6, generator)


def relative(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Of the whole gradient: |found - expected| / |expected|."""
    return float(norm([a - b for a, b in zip(found, expected, strict=True)]) / norm(expected))


def norm(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for tensor in tensors]).norm()


# ---- the gradient in float32 and bf16 --------------------------------------------------------------------------------
def test_float32_gradient_equals_that_of_float64():
    x, noise = batch()
    training = replace(TRAINING, precision="float32")
    bound, found = gradients(model(), training, x, noise)
    exact_bound, exact = gradients(model().double(), training, x, noise.double())
    assert bound.item() == pytest.approx(exact_bound.item(), rel=1e-5)
    assert relative(found, exact) < 1e-4  # measured 3e-6; batch norm divides by small variances


def test_bf16_changes_products_alone_and_those_by_its_rounding():
    """8 bits of mantissa: a relative 2^-9 at each product, averaged over many."""
    x, noise = batch()
    exact_bound, exact = gradients(model(), replace(TRAINING, precision="float32"), x, noise)
    bound, found = gradients(model(), replace(TRAINING, precision="bf16"), x, noise)
    assert bound.dtype == torch.float32 and {g.dtype for g in found} == {torch.float32}
    assert 0 < abs(bound.item() - exact_bound.item()) < 0.01 * abs(exact_bound.item())
    assert 1e-5 < relative(found, exact) < 0.1


def test_hidden_layers_and_densities_stay_float32_with_bf16_products():
    x, noise = batch()
    with compute.products("bf16", CPU):
        network = model()
        posterior = network.encode(x.float())
        likelihood = network.decode(noise[0])
        tensors = [posterior.mean, posterior.log_variance, *posterior.normalised, *posterior.hidden, *likelihood.hidden]
        tensors += [likelihood.out, likelihood.log_density(x.float())]
        rounded = network.encoder[0].dense(x.float())
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert rounded.dtype == torch.bfloat16


# ---- compiled --------------------------------------------------------------------------------------------------------
@project.needs_compiler
@pytest.mark.parametrize("precision", ["float32", pytest.param("bf16", marks=pytest.mark.slow)])
def test_a_compiled_step_equals_the_eager_one(precision):
    """Twenty steps: weights and moments; float32 differs by rounding alone, bf16 also by where it rounds."""
    training = replace(TRAINING, precision=precision)
    steps = [Step(model(), training, compiled) for compiled in (False, True)]
    for n in range(20):
        x, noise = batch()
        bounds = [step(x, noise + 0.01 * n, 1e-3).item() for step in steps]
        assert bounds[1] == pytest.approx(bounds[0], rel=1e-4 if precision == "float32" else 1e-2)
    eager, compiled = (step.optimiser for step in steps)
    start = list(model().parameters())
    moved = [after - before for after, before in zip(eager.parameters, start, strict=True)]
    apart = [a - b for a, b in zip(eager.parameters, compiled.parameters, strict=True)]
    assert norm(apart) < (0.01 if precision == "float32" else 0.3) * norm(moved)
    assert eager.steps == compiled.steps == 20


@project.needs_compiler
@pytest.mark.slow
def test_a_compiled_run_resumes_as_if_it_had_never_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMVAE_COMPILE", "always")
    straight = loop.train(spec(), data(), tmp_path / "a.h5", CPU)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "learning_rate", stop_in_epoch_3)
        loop.train(spec(), data(), tmp_path / "b.h5", CPU, save_seconds=0)
    resumed = loop.train(spec(), data(), tmp_path / "b.h5", CPU)
    assert straight.computed == resumed.computed == "float32 products, compiled"
    assert straight.curves == resumed.curves
    a, b = straight.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def stop_in_epoch_3(training, epoch):
    if epoch == 3:
        raise KeyboardInterrupt
    return 1e-2


def test_a_run_continued_in_another_mode_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compute, "has_bf16", lambda device: True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "learning_rate", stop_in_epoch_3)
        loop.train(spec(precision="bf16"), data(), tmp_path / "a.h5", CPU, save_seconds=0)
    monkeypatch.setattr(compute, "has_bf16", lambda device: False)
    trained = loop.train(spec(precision="bf16"), data(), tmp_path / "a.h5", CPU)
    assert trained.computed == "bf16 products, eager; from epoch 3 float32 products, eager"
    assert "no bf16 instructions" in (said := capsys.readouterr().err) and "from now on float32" in said
    monkeypatch.setattr(compute, "has_bf16", lambda device: True)
    again = loop.train(spec(precision="bf16"), data(), tmp_path / "a.h5", CPU)  # finished: no step in yet another mode
    assert again.computed == trained.computed


def test_where_compiling_does_not_work_a_word_says_so_and_nothing_is_compiled(capsys, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("no compiler\nsecond line")

    compute._can_compile.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setenv("MEMVAE_COMPILE", "always")
    assert not compute.mode("float32", CPU, 1).compiled and not compute.mode("float32", CPU, 1).compiled
    compute._can_compile.cache_clear()
    said = capsys.readouterr().err
    assert said == "compiling does not work here, going on without (RuntimeError: no compiler)\n"  # once


# ---- what is compiled, and in which precision ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("seconds", "compiler", "wanted", "expected"),
    [
        (1e4, True, "", True),
        (10, True, "", False),  # the demo: compiling would take longer than the training
        (1e4, False, "", False),
        (10, True, "always", True),
        (1e4, True, "never", False),
        (1e4, False, "always", False),
    ],
)
def test_long_work_is_compiled_where_there_is_a_compiler(monkeypatch, seconds, compiler, wanted, expected):
    monkeypatch.setenv("MEMVAE_COMPILE", wanted)
    monkeypatch.setattr(compute, "_can_compile", lambda kind: compiler)
    assert compute.mode("float32", CPU, seconds) == compute.Mode("float32", expected)


def test_threads_are_one_unless_asked_for_and_then_said(monkeypatch):
    assert str(compute.mode("float32", CPU, 1)) == "float32 products, eager"
    monkeypatch.setenv("MEMVAE_THREADS", "2")
    assert str(compute.mode("float32", CPU, 1)) == "float32 products, eager, 2 threads"
    for wrong in ("0", "many", "-1"):
        monkeypatch.setenv("MEMVAE_THREADS", wrong)
        with pytest.raises(InputError, match=f"MEMVAE_THREADS: found '{wrong}', expected a number from 1"):
            compute.set_up()


# ---- a GPU's path, as far as a CPU shows it --------------------------------------------------------------------------
def test_jobs_spread_over_the_gpus_of_a_machine(monkeypatch, tmp_path):
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(compute, "_HELD", held := [])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for _ in range(4):
        assert compute.set_up() == torch.device("cuda")
    assert taken == [0, 1, 0, 1]
    held.pop(1).close()  # the job on the second GPU has ended
    compute.set_up()
    assert taken[-1] == 1
    for file in held:
        file.close()


class NoWaiting(TorchDispatchMode):
    """Counts what would make a GPU's host wait: reading a value, or a shape that depends on values."""

    def __init__(self):
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "is_nonzero", "equal"):
            self.waits.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("samples", [1, 5])
def test_an_epoch_waits_for_the_device_once(samples):
    """For the finite check and the epoch's bound, at its end."""
    tiny = spec(samples=samples)
    network = MemVAE(tiny.network).initialise(keyed(0, "weights"))
    step, x = Step(network, tiny.training), torch.from_numpy(data().train) > 0.5
    with NoWaiting() as mode:
        loop._train_epoch(step, x, tiny, 1, keyed(0, "training"))
    assert len(mode.waits) == 2, mode.waits


class Recording:
    """A CUDA graph on the CPU: what is taken while it records is not computed then, but at each replay."""

    def __init__(self, *ignored, **options):
        self.taken: list[int] = []

    def __enter__(self):
        return self

    def __exit__(self, *rest):
        return None

    def wait_stream(self, other):
        pass


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("samples, draw, reconstruction", [(1, "shared", 0.1), (3, "second", 0.1), (1, "shared", 0.0)])
def test_a_gpu_takes_the_same_steps_in_graphs(monkeypatch, samples, draw, reconstruction, precision):
    """CUDA's graph replaced by one that records; its warm-up must leave no trace, an incomplete graph is one too."""
    recording: list[Recording] = []

    class Graph(Recording):
        def replay(self):
            with graphs.reading_copies():  # a real graph has the places it recorded
                for n in self.taken:
                    take(n)

    class Capture(Recording):
        def __init__(self, graph):
            self.graph = graph

        def __enter__(self):
            recording.append(self.graph)

        def __exit__(self, *rest):
            recording.clear()

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    for name in ("stream", "Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, Recording)
    monkeypatch.setattr(step_module, "GRAPH", 4)
    changes = {"samples": samples, "reconstruction_draw": draw, "reconstruction_weight": reconstruction}
    training = replace(TRAINING, precision=precision, **changes)
    x = torch.rand(96, NETWORK.pixels, generator=keyed(1, "images")) < 0.3
    batches = torch.randperm(96, generator=keyed(2, "order"))[:90].view(9, 10)  # 4 + 4 + 1 steps
    plain, step = Step(model(), training), Step(model(), training)
    graphs = Graphs(step, x, 10)
    take = graphs.take
    monkeypatch.setattr(graphs, "take", lambda n: recording[0].taken.append(n) if recording else take(n))
    assert graphs.length == 4
    for epoch in range(2):
        found = graphs.run(x, batches, 1e-2, keyed(epoch, "noise"))
        generator = keyed(epoch, "noise")
        each = 2 if draw == "second" else 1
        expected = 0.0
        for start in range(0, 9, 4):
            noise = torch.zeros(min(4, 9 - start), each, samples, 10, 6).normal_(generator=generator)
            for rows, draws in zip(batches[start : start + 4], noise, strict=True):
                expected += plain(x[rows], draws[0], 1e-2, *draws[1:]).item()
        assert found.item() == pytest.approx(expected, rel=1e-5 if precision == "float32" else 1e-2)
    assert step.optimiser.steps == plain.optimiser.steps == 18
    for kind in ("parameters", "first", "second"):
        a, b = getattr(plain.optimiser, kind), getattr(step.optimiser, kind)
        assert norm([x - y for x, y in zip(a, b, strict=True)]) < (1e-4 if precision == "float32" else 3e-2) * norm(a)
    assert {parameter.dtype for parameter in step.optimiser.parameters} == {torch.float32}
    assert bool(graphs._rounded) == (precision == "bf16")
    first, _ = step.optimiser.moments()
    assert all(torch.equal(first[name], m) for name, m in zip(step.optimiser.names, step.optimiser.first, strict=True))
    assert {p.data_ptr() % 256 for p in step.optimiser.parameters} == {graphs.weights.data_ptr() % 256}
    assert step.model.state_dict().keys() == plain.model.state_dict().keys()


@project.needs_compiler
def test_a_damaged_cache_is_left_and_compiled_once_more(tmp_path) -> None:
    """As a kill leaves it while torch links: an empty library in place of the whole one."""
    code = (
        "import torch; from memvae.model import device as d; f = d.compiled(lambda x: torch.sin(x) * 2 + 1); "
        "print(float(f(torch.zeros(8))[0]), d.ran(d.Mode('float32', True)))"
    )
    environment = project.environment(TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "cache"), PYTHONPATH=str(project.ROOT))
    for damaged in (False, True):
        if damaged:
            libraries = list((tmp_path / "cache").rglob("*.so"))
            assert libraries
            for path in libraries:
                path.write_bytes(b"")
        result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-2000:]
        assert result.stdout.strip() == "1.0 float32 products, compiled"
    assert "once more, in an empty cache" in result.stderr


def test_a_compiler_that_is_switched_off_is_known() -> None:
    code = "from memvae.model import device as d; print(d.compiling_fails('cpu'))"
    for name in ("TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE"):
        environment = project.environment(PYTHONPATH=str(project.ROOT), **{name: "1"})
        result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert "switched off" in result.stdout, result.stderr[-1000:]


def test_what_cannot_be_compiled_runs_uncompiled_and_is_known(monkeypatch) -> None:
    def broken(function):
        def call(*arguments):
            raise RuntimeError("C++ compile error")

        return call

    monkeypatch.setattr(compute, "_compiled", broken)
    monkeypatch.setattr(compute, "_FAILED", [])
    assert compute.compiled(lambda x: x + 1)(1) == 2
    assert str(compute.ran(compute.Mode("bf16", True))) == "bf16 products, eager"
