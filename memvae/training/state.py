"""The training state on disk, from which a killed job continues, and the lock that stops a second process."""

import fcntl
import os
import platform
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from memvae.errors import InputError, Unreadable
from memvae.files import store
from memvae.progress import say
from memvae.settings.spec import RunSpec
from memvae.training.step import Step

JOB_NUMBERS = ("SLURM_JOB_ID", "PBS_JOBID", "JOB_ID", "LSB_JOBID")  # of Slurm, PBS, SGE, LSF


@dataclass
class Curves:
    """Learning curves, as written to the model file (docs/files.md)."""

    epoch: list[int] = field(default_factory=list)
    train_bound: list[float] = field(default_factory=list)
    test_epoch: list[int] = field(default_factory=list)
    test_bound: list[float] = field(default_factory=list)
    train_bound_collected: list[float] = field(default_factory=list)
    validation_bound: list[float] = field(default_factory=list)  # at test_epoch; without a validation split not written

    def arrays(self) -> dict[str, np.ndarray]:
        whole = ("epoch", "test_epoch")
        return {
            f"curves/{name}": np.array(values, dtype=np.int64 if name in whole else np.float64)
            for name, values in vars(self).items()
            if values or name != "validation_bound"
        }

    @property
    def kept(self) -> int:
        """The epoch with the best validation bound, the first of equal ones."""
        return self.test_epoch[int(np.argmax(self.validation_bound))]


def path_of(model: Path) -> Path:
    """`results/models/<run>.h5` -> `results/models/<run>.state.h5`."""
    return model.with_suffix(".state.h5")


@dataclass(frozen=True)
class Progressed:
    """Where a training stands: whole epochs done, the curves so far, and the modes it was computed in.

    best: weights and statistics of the epoch `curves.kept`; empty without a validation split.
    """

    epochs: int
    curves: Curves
    computed: str
    best: dict[str, torch.Tensor] = field(default_factory=dict)


@contextmanager
def lock(state: Path) -> Iterator[Callable[[], None]]:
    """Keeps every other process out of a state, by `<state>.lock`; gives a check to call before each writing.

    The lock itself ends with its process, however that ends. The file also names who holds it: on a file system whose
    locks do not reach from one node to another a second process can come in, puts its own name there, and the check of
    the first then stops it. Raises InputError when another process holds the lock or, from the check, has come in, and
    when the lock cannot be written.
    """
    name = state.with_name(state.name + ".lock")
    job = next((os.environ[name] for name in JOB_NUMBERS if name in os.environ), "none")
    mine = f"process {os.getpid()} on {platform.node()}, job {job}, {uuid.uuid4().hex[:8]}"

    def holder() -> str:
        return store.read_bytes(name, "a lock").decode(errors="replace") if name.exists() else ""

    def check() -> None:
        if (found := holder()) != mine:
            raise InputError(
                f"{name}: found the name of {found or 'no process'}, expected this one, {mine}; this training "
                f"ends, so that never two write {state}; the same command continues"
            )

    with store.written(name):
        name.parent.mkdir(parents=True, exist_ok=True)
        file = open(name, "ab", buffering=0)  # noqa: SIM115 (closed below; unbuffered: on a full disk closing succeeds)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{name}: another process is training into {state} ({holder()}); expected none; wait for it or stop it"
            ) from None
        except OSError as error:
            say(f"{name}: no locks here ({error.strerror}); a second process is noticed at the next state")
        with store.written(name):
            file.truncate(0)
            file.write(mine.encode())
        yield check
        if holder() == mine:  # after a failure it stays, and says who it was
            file.truncate(0)


def save(
    path: Path, spec: RunSpec, data_sha256: str, step: Step, generator: torch.Generator, progressed: Progressed
) -> None:
    """Writes all that the rest of the training depends on."""
    first, second = step.optimiser.moments()
    arrays = {f"weights/{name}": array(value) for name, value in step.model.state_dict().items()}
    arrays |= {f"adam/first/{name}": array(value) for name, value in first.items()}
    arrays |= {f"adam/second/{name}": array(value) for name, value in second.items()}
    arrays |= {f"best/{name}": array(value) for name, value in progressed.best.items()}
    arrays |= {"generator": generator.get_state().numpy(), **progressed.curves.arrays()}
    attributes = {
        "spec": spec.to_json(),
        "data_sha256": data_sha256,
        "epoch": progressed.epochs,
        "step": step.optimiser.steps,
        "computed": progressed.computed,
        **store.provenance(generator.device.type),
    }
    store.write(path, "state", arrays, attributes, compress=False)


def resume(
    path: Path, spec: RunSpec, data_sha256: str, step: Step, generator: torch.Generator, mode: str
) -> Progressed:
    """Continues from the state at `path`, if there is one of this specification and data. mode: of the steps to come.

    A state of other settings, or one that cannot be read, is renamed to `<state>.aside-<n>`, and the log says so.
    """
    fresh = Progressed(0, Curves(), mode)
    if not path.exists():
        return fresh
    try:
        stored = store.read(path, "state")
    except Unreadable:
        raise  # it may be whole
    except InputError as error:
        _set_aside(path, str(error))
        return fresh
    wanted = {"spec": spec, "data_sha256": data_sha256, "device": generator.device.type}
    found = stored.attributes | {"spec": _spec(stored)}
    if different := [key for key, value in wanted.items() if found.get(key) != value]:
        _set_aside(path, f"it belongs to another {' and '.join(different)}")
        return fresh
    step.model.load_state_dict({name: torch.from_numpy(value) for name, value in stored.group("weights").items()})
    moments = [
        {name: torch.from_numpy(value) for name, value in stored.group(f"adam/{which}").items()}
        for which in ("first", "second")
    ]
    step.optimiser.load(int(stored.attributes["step"]), *moments)
    generator.set_state(torch.from_numpy(stored.arrays["generator"]))
    epochs, computed = int(stored.attributes["epoch"]), str(stored.attributes["computed"])
    say(f"{spec.run}: continues after epoch {epochs} from {path.name}")
    if epochs < spec.training.epochs and not computed.endswith(mode):
        say(f"{spec.run}: until now {computed}, from now on {mode}: the weights differ by rounding")
        computed = f"{computed}; from epoch {epochs + 1} {mode}"
    curves = Curves(**{name: values.tolist() for name, values in stored.group("curves").items()})
    return Progressed(epochs, curves, computed, {k: torch.from_numpy(v) for k, v in stored.group("best").items()})


def array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor of any device as a numpy array."""
    return tensor.detach().cpu().numpy()


def _spec(stored: store.Stored) -> RunSpec | None:
    """The specification of a state; None where it is none that this version knows."""
    try:
        return RunSpec.from_mapping(stored.attributes.get("spec"), str(stored.path))
    except InputError:
        return None


def _set_aside(path: Path, why: str) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    path.rename(aside)
    say(f"{path}: set aside as {aside.name} ({why}); training starts at epoch 1")
