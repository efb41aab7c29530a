"""How a job computes: device, threads, precision of matrix products, compilation. It never depends on `--cores`."""

import fcntl
import itertools
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import torch

from memvae.errors import InputError
from memvae.progress import say
from memvae.settings.config import threads
from memvae.settings.work import PAYS_BACK


@dataclass(frozen=True)
class Mode:
    """How the products and steps of a job are computed: results differ by rounding between modes."""

    precision: str  # float32 | bf16
    compiled: bool
    threads: int = 1

    def __str__(self) -> str:
        threads = f", {self.threads} threads" if self.threads > 1 else ""
        return f"{self.precision} products, {'compiled' if self.compiled else 'eager'}{threads}"


_HELD: list[TextIO] = []  # locks that end with this process
_FAILED: list[str] = []  # why compiling failed in this process
PLAIN = Mode("float32", compiled=False)
SWITCHED_OFF = "torch's compiler is switched off (TORCHDYNAMO_DISABLE or TORCH_COMPILE_DISABLE)"


def set_up() -> torch.device:
    """Sets threads and denormal handling; the device is the environment variable MEMVAE_DEVICE, or what there is.

    Raises InputError when a device is asked for that is not there, or MEMVAE_THREADS is no number.
    """
    torch.set_num_threads(threads())
    torch.set_flush_denormal(True)  # Adam's fading moments become denormal numbers, which are slow
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False  # sums inside a product are float32
    wanted = os.environ.get("MEMVAE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if wanted not in ("cpu", "cuda"):
        raise InputError(f"MEMVAE_DEVICE: found {wanted!r}, expected cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("MEMVAE_DEVICE: found cuda, but torch sees no GPU here; set it to cpu or leave it out")
    if wanted == "cuda" and torch.cuda.device_count() > 1:  # a scheduler shows a job its own GPU alone
        torch.cuda.set_device(_take_gpu(torch.cuda.device_count()))
    return torch.device(wanted)


def mode(precision: str, device: torch.device, seconds: float) -> Mode:
    """The mode of a piece of work that takes `seconds` on one core when it is not compiled.

    bf16 becomes float32 where the processor has no instructions for it. MEMVAE_COMPILE=always or never overrides the
    choice by length. Raises InputError for another value of it.
    """
    if precision == "bf16" and not has_bf16(device):
        say("precision: this processor has no bf16 instructions; products are in float32")
        precision = "float32"
    wanted = os.environ.get("MEMVAE_COMPILE") or "auto"
    if wanted not in ("auto", "always", "never"):
        raise InputError(f"MEMVAE_COMPILE: found {wanted!r}, expected auto, always or never")
    long = wanted == "always" or (wanted == "auto" and seconds >= PAYS_BACK)
    return Mode(precision, long and _can_compile(device.type), threads())


def products(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """In this context matrix products round factors and results to bf16, where that is the precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled at its first call and again for every new shape of its arguments.

    Where that fails, as with a cache that a kill left damaged, it is compiled once more in an empty cache, else it runs
    uncompiled; the log says so, and `ran` returns it. Compilation fails before anything is computed.
    """
    chosen = [_compiled(function)]

    def call(*arguments: Any) -> Any:
        if _FAILED:
            return function(*arguments)
        try:
            return chosen[0](*arguments)
        except InputError:
            raise
        except Exception as error:  # of a compiler, a linker, a loader: each raises its own
            say(f"compiling failed ({_first_line(error)}); once more, in an empty cache")
        torch._dynamo.reset()
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="memvae-compiled-", dir=_folder_to_compile_in())
        chosen[0] = _compiled(function)
        try:
            return chosen[0](*arguments)
        except Exception as error:
            _FAILED.append(_first_line(error))
            say(f"compiling does not work here, going on without ({_FAILED[0]})")
        return function(*arguments)

    return call


def ran(mode: Mode) -> Mode:
    """The mode in which work ran that was planned in `mode`: the same, or uncompiled where compilation failed."""
    return replace(mode, compiled=mode.compiled and not _FAILED)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    if hasattr(dynamo, "trace_autograd_ops"):  # an older torch has it not, and compiles for a GPU alone
        dynamo.trace_autograd_ops = True  # the gradient inside the compiled step
    inductor.compile_threads = 1  # its helper processes would take other jobs' cores
    cache_folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or tempfile.gettempdir()
    if re.search(r"\s", cache_folder):  # the linker's words end there
        folder = _folder_to_compile_in()
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / f"memvae-compiled-{os.getuid()}")
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    return torch.compile(function, fullgraph=True, dynamic=False)


def _folder_to_compile_in() -> Path:
    """A folder for temporary files whose name has no space."""
    folders = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path.home())
    return next(path for path in folders if not re.search(r"\s", str(path)) and os.access(path, os.W_OK))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:150]}"


def _take_gpu(count: int) -> int:
    """The GPU with the fewest of this user's jobs on it, which counts this process until it ends."""
    folder = Path(tempfile.gettempdir()) / f"memvae-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for place in itertools.count():
        for gpu in range(count):
            file = open(folder / f"{gpu}-{place}", "w")  # noqa: SIM115 (held to the end)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            _HELD.append(file)
            return gpu
    raise AssertionError("the places are endless")


def compiling_fails(kind: str) -> str:
    """Why a function that takes a gradient cannot be compiled for this kind of device; empty when it can.

    Tried, since much can be missing: a compiler, Python's headers, a newer torch. Takes seconds.
    """

    def square(x: torch.Tensor) -> torch.Tensor:
        return (x * x).sum() + (x.sum() if torch.compiler.is_compiling() else 0)  # slope 3 where really compiled, or 2

    def slope(x: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(square(x), x)[0]

    try:
        x = torch.ones(3, device=kind, requires_grad=True)
        found = torch.autograd.grad(_compiled(square)(x), x)[0] if kind == "cuda" else _compiled(slope)(x)
    except Exception as error:  # no compiler, no headers of Python, an older torch: each raises its own
        return SWITCHED_OFF if "no compiled frames" in str(error) else _first_line(error)
    return "" if found[0] == 3 else SWITCHED_OFF


@cache
def _can_compile(kind: str) -> bool:
    """Whether work can be compiled; says why not, once."""
    if reason := compiling_fails(kind):
        say(f"compiling does not work here, going on without ({reason})")
    return not reason


def has_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for products in bf16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # of an older torch
    return any(able.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))
