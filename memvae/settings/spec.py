"""What one run is: its network, its training, its seed. It travels as JSON, so that a machine which only trains needs
neither YAML nor a schema; the standard library alone is imported here.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from memvae.errors import InputError

# Raise a stage's number when its results change: what was computed before it is then computed again.
STAGES = {
    "prepare": 2,
    "train": 2,
    "classifier": 1,
    "parameters": 1,
    "likelihood": 3,
    "generation": 1,
    "detail": 1,
    "slots": 2,
    "imputation": 2,
    "probing": 1,
    "table": 3,
    "figure": 3,
    "page": 3,
    "archive": 1,
}


@dataclass(frozen=True)
class Network:
    """The shape of one model. Tuples run over the hidden layers, the one next to the data first."""

    image: tuple[int, int]  # rows, columns
    hidden: tuple[int, ...]  # units
    latent: int  # Z
    slots: tuple[int, ...]  # S of each decoder layer, 0: no memory
    attention: str = "sigmoid"  # sigmoid | softmax
    composition: str = "mlp"  # mlp | sum
    likelihood: str = "bernoulli"  # bernoulli | gaussian

    @property
    def pixels(self) -> int:
        return self.image[0] * self.image[1]

    @property
    def has_memory(self) -> bool:
        return any(self.slots)


@dataclass(frozen=True)
class Training:
    """SPEC of one training; the sources stand in `config/config.yaml`."""

    samples: int  # K of the bound
    epochs: int
    full_epochs: int  # the data set's own number; with fewer epochs the schedule is compressed
    constant_epochs: int  # of full_epochs, at the full learning rate
    batch_size: int
    binarise: str  # each_epoch | never
    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    decay: float
    clip_norm: float
    clip_element: float
    reconstruction_weight: float
    reconstruction_draw: str  # shared | second
    curve_every: int
    precision: str  # of matrix products: float32 | bf16


@dataclass(frozen=True)
class RunSpec:
    """All that decides the weights of one run (with the data and the mode: memvae/compute.py)."""

    run: str
    dataset: str
    dataset_title: str
    model_title: str
    seed: int
    network: Network
    training: Training
    version: int = STAGES["train"]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str, source: str = "--spec") -> "RunSpec":
        """What `to_json` wrote. Raises InputError, beginning with `source`, for anything else."""
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{source}: found no JSON ({error}); expected a run's specification") from None
        return RunSpec.from_mapping(raw, source)

    @staticmethod
    def from_mapping(raw: Any, where: str) -> "RunSpec":
        """Raises InputError, beginning with `where`, for unknown, missing or contradicting keys and wrong types."""
        spec: RunSpec = strict(RunSpec, raw, where)
        spec.check(where)
        return spec

    def check(self, where: str) -> None:
        """Raises InputError, beginning with `where`, for what a schema cannot say: relations between keys."""
        network, training = self.network, self.training
        if len(network.slots) != len(network.hidden):
            raise InputError(
                f"{where}: slots has {len(network.slots)} entries and hidden {len(network.hidden)}; "
                "expected one per hidden layer, or one number for all"
            )
        if training.samples < 1 or training.epochs < 1:
            raise InputError(f"{where}: found K = {training.samples}, epochs = {training.epochs}, expected at least 1")
        if training.constant_epochs > training.full_epochs:
            raise InputError(
                f"{where}: constant_epochs is {training.constant_epochs}, expected at most epochs "
                f"({training.full_epochs})"
            )
        if network.likelihood == "gaussian" and training.binarise != "never":
            raise InputError(f"{where}: binarise is {training.binarise!r}, expected 'never' for Gaussian data")


def strict(kind: type, raw: Any, where: str) -> Any:
    """A dataclass of this module from a mapping; every key known, present and of its type, or InputError names it."""
    if not isinstance(raw, dict):
        raise InputError(f"{where}: found {type(raw).__name__}, expected a mapping")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(raw) - set(fields)):
        raise InputError(f"{where}: found the unknown key {unknown[0]!r}, expected one of {', '.join(fields)}")
    values = {}
    for name, field in fields.items():
        if name not in raw:
            if field.default is dataclasses.MISSING:
                raise InputError(f"{where}: the key {name!r} is missing")
            continue
        values[name] = _typed(field.type, raw[name], f"{where}.{name}")
    return kind(**values)


def _typed(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return strict(kind, value, where)  # type: ignore[arg-type]
    if getattr(kind, "__origin__", None) is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: found {value!r}, expected a list of whole numbers")
        return tuple(_typed(int, item, where) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{where}: found {value!r}, expected {kind.__name__}")
    return value
