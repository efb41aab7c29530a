"""`python -m benchmarks gpu`: what a GPU computes, how fast, and the paper's trainings on a card borrowed for minutes.

Needs torch, numpy and h5py alone. Parts, in this order:

- agree: bound, gradients and three steps of every kind of model, on the device in float32 and bf16 against the CPU in
  float64.
- steps: ms a training step in CUDA graphs, eager and compiled.
- likelihood: ms an image of the 5,000-sample likelihood, and how far its values are from the CPU's.
- train: the given runs of scale=paper, or specifications as JSON files (then PyYAML is not needed), one process each,
  all at once; where NVIDIA's multi-process service is there, their kernels run side by side. The first are the most
  important. While one of them would not end in time, the last is stopped, with its state kept; one that would be late
  even alone is stopped too, and the next goes on in its place.
- pack: what came out as one archive in parts of 15 MiB, models first; `--join FOLDER` puts them together.
"""

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from memvae.analyses.likelihood.compute import log_likelihood
from memvae.model import device as computing
from memvae.model.network import MemVAE
from memvae.random import keyed
from memvae.settings.spec import Network, RunSpec, Training
from memvae.training.objective import draw_noise
from memvae.training.step import Step, gradients

PARTS = ("agree", "steps", "likelihood", "train", "pack")
PART_BYTES = 15 * 2**20
WATCHED = 2.0  # seconds between two looks at the trainings
STEADY = 15.0  # seconds over which a rate is taken, at least
MODELS: dict[str, dict[str, Any]] = {
    "vae": {"slots": (0, 0)},
    "mem_vae": {"slots": (70, 30)},
    "vis_mem_vae": {"slots": (70, 30), "attention": "softmax", "composition": "sum"},
}
TRAINING = Training(
    samples=1,
    epochs=3000,
    full_epochs=3000,
    constant_epochs=1000,
    batch_size=100,
    binarise="each_epoch",
    learning_rate=1e-3,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-4,
    decay=0.998,
    clip_norm=5.0,
    clip_element=1.0,
    reconstruction_weight=0.1,
    reconstruction_draw="shared",
    curve_every=10,
    precision="float32",
)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; all without it")
    parser.add_argument("--runs", nargs="+", default=[], help="names or JSON files, the most important first")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of prepared data sets")
    parser.add_argument("--minutes", type=float, default=10.0, help="for the trainings (default 10)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/gpu"), help="folder of what comes out")
    parser.add_argument("--small", action="store_true", help="small models and few steps: a test of the program itself")
    parser.add_argument("--join", type=Path, help="a folder of parts: unpacks them into --output, and nothing else")
    arguments = parser.parse_args(words)
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"found {sorted(unknown)[0]!r}, expected any of {', '.join(PARTS)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.join:
        join(arguments.join, arguments.output)
        return 0
    wanted = arguments.parts or PARTS
    device = computing.set_up()
    report: dict[str, Any] = {"device": _name(device), "torch": torch.__version__, "small": arguments.small}
    failed = False
    if "agree" in wanted:
        report["agree"] = agree(device, arguments.small)
        failed = any(not row["agrees"] for row in report["agree"])
    if "steps" in wanted and not failed:
        report["steps"] = steps(device, arguments.small)
    if "likelihood" in wanted and not failed:
        report["likelihood"] = evaluate(device, arguments.small)
    if "train" in wanted and not failed:
        report["train"] = train(
            [spec_of(word) for word in arguments.runs], arguments.data, arguments.output, 60 * arguments.minutes
        )
    (arguments.output / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    if "pack" in wanted:
        pack(arguments.output)
    return int(failed)


# ---- agreement and speed ---------------------------------------------------------------------------------------------
def agree(device: torch.device, small: bool) -> list[dict[str, Any]]:
    """A row per model, K and precision: relative differences to the CPU in float64."""
    rows = []
    for name, network in _networks(small).items():
        for samples in (1, 5):
            model = MemVAE(network).initialise(keyed(0, "weights"))
            x = torch.rand(100, network.pixels, generator=keyed(1, "images")) < 0.3
            noise = draw_noise(samples, 100, network.latent, keyed(2, "noise"))
            training = replace(TRAINING, samples=samples)
            exact = _three(_copy(model).double(), training, x, noise.double())
            for precision, limits in (("float32", (1e-5, 1e-3, 1e-2)), ("bf16", (2e-3, 0.1, 0.3))):
                there = replace(training, precision=precision)
                found = _three(_copy(model).to(device), there, x.to(device), noise.to(device))
                apart = [_relative(a, b) for a, b in zip(found, exact, strict=True)]
                row: dict[str, Any] = {"model": name, "k": samples, "precision": precision}
                row |= dict(zip(("bound", "gradient", "three_steps"), apart, strict=True))
                row["agrees"] = all(value < limit for value, limit in zip(apart, limits, strict=True))
                rows.append(row)
                _say(row)
    return rows


def steps(device: torch.device, small: bool) -> list[dict[str, Any]]:
    """A row per model, K and way of computing: milliseconds a step, the median of seven epochs of 100 steps."""
    rows = []
    compiles = _compiles(device, small)
    for (name, network), samples, compiled in product(_networks(small).items(), (1, 5), (False, True)):
        if compiled and not (compiles and name == "mem_vae"):
            continue
        training = replace(TRAINING, samples=samples, precision="bf16")
        step = Step(MemVAE(network).initialise(keyed(0, "weights")).to(device), training, compiled)
        x = torch.rand(10_000, network.pixels, generator=keyed(1, "images")).to(device) < 0.3
        batches = torch.arange(10_000, device=device).view(100, 100)[: 2 if small else 100]
        generator = keyed(2, "noise", device=device)
        times = []
        for _ in range(8):
            started = time.monotonic()
            step.many(x, batches, 1e-3, generator).item()
            times.append(time.monotonic() - started)
        first, *each = times
        each = sorted(seconds / len(batches) * 1e3 for seconds in each)
        row = {"model": name, "k": samples, "compiled": compiled, "ms_a_step": each[3]}
        row |= {"ms_fastest": each[0], "ms_slowest": each[-1], "s_first_epoch": first}
        rows.append(row)
        _say(row)
    return rows


def evaluate(device: torch.device, small: bool) -> list[dict[str, Any]]:
    """A row per model, precision and way of computing: L_K of images in ms each, against three of them on the CPU."""
    rows = []
    samples, images = (50, 4) if small else (5000, 200)
    compiles = _compiles(device, small)
    for name, network in _networks(small).items():
        model = MemVAE(network).initialise(keyed(0, "weights")).requires_grad_(False).use_statistics("collected")
        x = (torch.rand(images, network.pixels, generator=keyed(1, "images")) < 0.3).float()
        exact = log_likelihood(model, x[:3], [samples], (0, "benchmark"))[0]
        there = _copy(model).requires_grad_(False).use_statistics("collected").to(device)
        for precision, compiled in (("float32", False), ("bf16", False), ("bf16", True)):
            if compiled and not compiles:
                continue
            mode = computing.Mode(precision, compiled)
            log_likelihood(there, x[:3].to(device), [samples], (0, "benchmark"), mode)
            started = time.monotonic()
            values = log_likelihood(there, x.to(device), [samples], (0, "benchmark"), mode)[0]
            row: dict[str, Any] = {"model": name, "samples": samples, "precision": precision, "compiled": compiled}
            row["ms_an_image"] = (time.monotonic() - started) / images * 1e3
            row["largest_difference_nats"] = float(abs(values[:3] - exact).max())
            rows.append(row)
            _say(row)
    return rows


def _compiles(device: torch.device, small: bool) -> bool:
    return not small and not computing.compiling_fails(device.type)


def _networks(small: bool) -> dict[str, Network]:
    size: dict[str, Any] = {"image": (28, 28), "hidden": (500, 500), "latent": 100}
    if small:
        size = {"image": (6, 6), "hidden": (30, 20), "latent": 5}
    return {name: Network(**{**size, **changes}) for name, changes in MODELS.items()}


def _copy(model: MemVAE) -> MemVAE:
    copy = MemVAE(model.network)
    copy.load_state_dict(model.state_dict())
    return copy


def _three(model: MemVAE, training: Training, x: torch.Tensor, noise: torch.Tensor) -> list[torch.Tensor]:
    """The bound, the gradient, and how far three steps move the weights."""
    bound, found = gradients(model, training, x, noise)
    before = _flat(model.parameters())
    step = Step(model, training)
    for _ in range(3):
        step(x, noise, 1e-3)
    return [bound, _flat(found), _flat(model.parameters()) - before]


def _flat(tensors: Any) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    found, exact = found.cpu().double(), exact.cpu().double()
    return float((found - exact).norm() / exact.norm())


# ---- training --------------------------------------------------------------------------------------------------------
@dataclass
class Job:
    """One training in a process of its own; what is stopped continues from its state when it starts again."""

    spec: RunSpec
    data: Path
    output: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    seen: list[tuple[float, int]] = field(default_factory=list)  # (seconds, epochs done)
    given_up: bool = False

    def start(self) -> None:
        run = self.spec.run
        command = [sys.executable, "-m", "memvae", "train", run, "--spec", self.spec.to_json()]
        command += ["--data", str(self.data / f"{self.spec.dataset}.h5"), "--output", str(self.output / f"{run}.h5")]
        with (self.output / f"{run}.log").open("ab") as file:
            self.process = subprocess.Popen(command, stderr=file, stdout=file, env=self.environment)

    def stop(self) -> None:
        """Ends it after its epoch, with its state saved."""
        if self.process and self.running:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def look(self, now: float) -> None:
        text = (self.output / f"{self.spec.run}.log").read_text(errors="replace")
        if found := re.findall(r"epoch (\d+)/", text):
            self.seen.append((now, int(found[-1])))

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def ended(self) -> bool:
        """With its last epoch, or because it failed."""
        return self.process is not None and self.process.poll() not in (None, 128 + signal.SIGTERM)

    def left(self, since: float) -> float | None:
        """Seconds that it needs, from the rate since then; None before that is known."""
        points = [point for point in self.seen if point[0] >= since]
        if len(points) < 2 or points[-1][0] - points[0][0] < STEADY or points[-1][1] == points[0][1]:
            return None
        rate = (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])
        return (self.spec.training.epochs - points[-1][1]) / rate


def spec_of(word: str) -> RunSpec:
    """A run of scale=paper by its name, or the specification in a JSON file."""
    if word.endswith(".json"):
        return RunSpec.from_json(Path(word).read_text(), word)
    from memvae.settings import config

    return config.load(overrides={"scale": config.PAPER}).spec(word)


def train(specs: Sequence[RunSpec], data: Path, output: Path, seconds: float) -> dict[str, Any]:
    """Trains until all are done or the time is over. Returns what each reached, and the card's load."""
    started = time.monotonic()
    environment = {**os.environ, "MEMVAE_SAVE_SECONDS": "60"}
    loads: list[list[float]] = []
    with _side_by_side(output, environment) as service:
        jobs = [Job(spec, data, output, environment) for spec in specs]
        for job in jobs:
            job.start()
        changed = 0.0  # when the last of them began or ended: rates are taken since
        while not all(job.ended for job in jobs) and (now := time.monotonic() - started) < seconds:
            time.sleep(min(WATCHED, seconds - now))
            now = time.monotonic() - started
            running = [job for job in jobs if job.running]
            for job in running:
                job.look(now)
            loads.append(_load())
            waiting = [job for job in jobs if not job.running and not job.ended and not job.given_up]
            late = [job for job in running if now + (job.left(changed) or 0) > seconds]
            if not running and waiting:
                waiting[0].start()
            elif late and late[0] is not running[-1]:
                _say({"stops": running[-1].spec.run, "so that it ends in time": late[0].spec.run, "at": now})
                running[-1].stop()
            elif late and len(running) == 1 and waiting:
                _say({"gives up": late[0].spec.run, "late even alone; goes on with": waiting[0].spec.run, "at": now})
                late[0].given_up = True
                late[0].stop()
                waiting[0].start()
            else:
                continue
            changed = time.monotonic() - started
        for job in jobs:
            job.stop()
    rows: list[dict[str, Any]] = [
        {"run": job.spec.run, "epochs": job.seen[-1][1] if job.seen else 0, "of": job.spec.training.epochs}
        | {"code": job.process.poll() if job.process else None}
        | {"points": [(round(at, 1), done) for at, done in job.seen[:: max(len(job.seen) // 60, 1)]]}
        for job in jobs
    ]
    for row in rows:
        _say({**row, "points": row["points"][-1:]})
    return {"multi_process_service": service, "seconds": time.monotonic() - started, "runs": rows, "loads": loads}


@contextmanager
def _side_by_side(output: Path, environment: dict[str, str]) -> Iterator[str]:
    """NVIDIA's multi-process service of its own, for as long as the trainings run: kernels of several processes at a
    time. Without it the card gives each process turns. environment: of the trainings, which then find it."""
    control = shutil.which("nvidia-cuda-mps-control") if torch.cuda.is_available() else None
    if not control:
        yield "not there"
        return
    folders = {
        f"CUDA_MPS_{kind}_DIRECTORY": str((output / f"mps-{kind.lower()}").resolve()) for kind in ("PIPE", "LOG")
    }
    for folder in folders.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    own = environment | folders
    done = subprocess.run([control, "-d"], env=own, capture_output=True, text=True, timeout=20)
    try:
        probe = "import torch; torch.ones(3, device='cuda').sum().item()"
        works = not done.returncode and not subprocess.run([sys.executable, "-c", probe], env=own).returncode
        if works:
            environment |= folders
        _say({"multi_process_service": works, "said": (done.stdout + done.stderr).strip()[:300]})
        yield "used" if works else "does not work here"
    finally:
        subprocess.run([control], input=b"quit\n", env=own, capture_output=True, timeout=30)


def _load() -> list[float]:
    """Percent of the time in which a kernel ran, watts, MiB; empty without NVIDIA's tool."""
    if not shutil.which("nvidia-smi"):
        return []
    query = "--query-gpu=utilization.gpu,power.draw,memory.used"
    found = subprocess.run(["nvidia-smi", query, "--format=csv,noheader,nounits"], capture_output=True, text=True)
    return [float(value) for value in re.findall(r"[\d.]+", found.stdout)[:3]]


# ---- there and back --------------------------------------------------------------------------------------------------
def pack(output: Path) -> list[Path]:
    """Everything in `output` as parts `gpu.tar.00` ..., each with its checksum in `gpu.json`: the report, models and
    logs first, then states, so that parts which had to stay behind cost the least."""
    files = [path for path in output.iterdir() if path.is_file() and not path.name.startswith("gpu.")]
    files.sort(key=lambda path: (".state." in path.name, path.suffix == ".h5", path.name))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in files:
            archive.add(path, path.name)
    content, parts = buffer.getvalue(), []
    for n, start in enumerate(range(0, len(content), PART_BYTES)):
        parts.append(output / f"gpu.tar.{n:02}")
        parts[-1].write_bytes(content[start : start + PART_BYTES])
    sums = {part.name: hashlib.sha256(part.read_bytes()).hexdigest() for part in parts}
    (output / "gpu.json").write_text(json.dumps(sums, indent=1) + "\n")
    return parts


def join(folder: Path, output: Path) -> None:
    """Unpacks the parts in `folder`. Raises ValueError when one is missing or damaged."""
    content = b""
    for name, checksum in json.loads((folder / "gpu.json").read_text()).items():
        part = (folder / name).read_bytes() if (folder / name).exists() else b""
        if hashlib.sha256(part).hexdigest() != checksum:
            raise ValueError(f"{folder / name}: missing or damaged, expected the part that `pack` wrote")
        content += part
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(output, filter="data")


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _say(row: dict[str, Any]) -> None:
    print(json.dumps(row), flush=True)
