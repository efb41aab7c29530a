"""The specification of one run: its network, its training, its seed.

A job gets it as JSON, so a machine that only trains needs neither YAML nor a schema. Standard library only.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.settings.rules import SEEDS, Fields, ListOf, OneOf, Real, Rule, Text, Whole, keys_in_source

# Raise a stage's number when its results change: older results are then computed again.
# The versions of the analyses are in their folders.
STAGES = {"prepare": 2, "train": 2, "classifier": 1, "table": 4, "figure": 4, "page": 4, "archive": 2}
OLD_KEYS = ("dataset_title", "model_title")  # keys of older specifications; a title is not part of a run

_LAYERS = Path(__file__).resolve().parents[1] / "model/layers.py"
POSITIVE = Whole(1)
RATE = Real(0, open_below=True)
NAME = Text("lower-case letters, digits and _", "[a-z0-9_]+")
PRECISION = OneOf(("float32", "bf16"))

NETWORK: dict[str, Rule] = {
    "image": ListOf(POSITIVE, 2, 2, note="rows and columns, in pixels"),
    "hidden": ListOf(POSITIVE, 1, 100, note="units of each hidden layer, the one next to the data first"),
    "latent": Whole(1, note="Z, the number of latent variables"),
    "slots": ListOf(Whole(), 1, 100, note="S, the number of slots, of each decoder layer; 0: no memory"),
    "attention": OneOf(keys_in_source(_LAYERS, "ATTENTIONS"), default="sigmoid", note="how slots are weighted"),
    "composition": OneOf(keys_in_source(_LAYERS, "COMPOSITIONS"), default="mlp", note="how h_g and h_m are combined"),
    "likelihood": OneOf(("bernoulli", "gaussian"), default="bernoulli"),
    "pseudo_inputs": Whole(
        default=0, note="N, the number of learned images whose posteriors form the prior; 0: prior N(0, I)"
    ),
}
OPTIMISER: dict[str, Rule] = {
    "learning_rate": Real(0, open_below=True, note="Adam's learning rate at the start"),
    "beta1": Real(0, 1, open_above=True, note="Adam's decay rate for the mean of the gradient"),
    "beta2": Real(0, 1, open_above=True, note="Adam's decay rate for the mean of the squared gradient"),
    "epsilon": Real(0, open_below=True, note="Adam's epsilon in Lasagne's form, added to the uncorrected sqrt(v)"),
    "decay": Real(0, 1, open_below=True, note="factor on the learning rate per epoch, after constant_epochs"),
    "clip_norm": Real(0, open_below=True, note="maximum norm of the whole gradient"),
    "clip_element": Real(
        0, open_below=True, note="maximum size of each element of the gradient, applied after clip_norm"
    ),
    "reconstruction_weight": Real(
        0, note="weight of the local reconstruction error, nats per hidden layer; models with memory only"
    ),
    "reconstruction_draw": OneOf(
        ("shared", "second"),
        note="which z the local reconstruction error uses: that of the objective, or a second draw",
    ),
    "curve_every": Whole(1, note="epochs between two points of the test curve"),
    "precision": OneOf(PRECISION.names, note="precision of matrix products"),
    "images": Whole(
        default=0, note="size of a random subset of the training images, chosen by the seed; steps as with all; 0: all"
    ),
    "validation": Real(
        0,
        1,
        open_above=True,
        default=0.0,
        note="share of the training images that is held out; the epoch with the best bound on them is kept",
    ),
}
TRAINING: dict[str, Rule] = {
    "samples": Whole(1, note="K of the bound"),
    "epochs": Whole(1, note="passes over the training images"),
    "full_epochs": Whole(1, note="the data set's number of epochs; with fewer the schedule is compressed"),
    "constant_epochs": Whole(note="epochs at the full learning rate, if trained for the data set's number of epochs"),
    "batch_size": Whole(2, note="images per step"),
    "binarise": OneOf(("each_epoch", "never")),
    **OPTIMISER,
}
RUN: dict[str, Rule] = {
    "run": Text("<dataset>-<model>-k<K>-s<seed>", r"[a-z0-9_]+-[a-z0-9_]+-k[0-9]+-s[0-9]+"),
    "dataset": NAME,
    "seed": Whole(0, SEEDS),
    "version": Whole(default=STAGES["train"]),
}


@dataclass(frozen=True)
class Network:
    """The shape of one model. Tuples run over the hidden layers, the one next to the data first."""

    image: tuple[int, int]  # rows, columns
    hidden: tuple[int, ...]  # units
    latent: int  # Z
    slots: tuple[int, ...]  # S of each decoder layer, 0: no memory
    attention: str = "sigmoid"
    composition: str = "mlp"
    likelihood: str = "bernoulli"
    pseudo_inputs: int = 0  # N of the prior's mixture, 0: N(0, I)

    def __post_init__(self) -> None:
        """Raises InputError for a value outside its rule (NETWORK), or slots that do not fit hidden."""
        _checked(self, NETWORK, "network")
        if len(self.slots) != len(self.hidden):
            raise InputError(
                f"network: slots has {len(self.slots)} entries and hidden {len(self.hidden)}; expected one per hidden "
                "layer, or one number for all"
            )

    @property
    def pixels(self) -> int:
        return self.image[0] * self.image[1]

    @property
    def has_memory(self) -> bool:
        return any(self.slots)

    def to_mapping(self) -> dict[str, Any]:
        """Its fields, without `pseudo_inputs` where there are none: as every network had it before that option."""
        raw = dataclasses.asdict(self)
        return raw if self.pseudo_inputs else {key: value for key, value in raw.items() if key != "pseudo_inputs"}


@dataclass(frozen=True)
class Training:
    """One training; TRAINING has the meaning of each number, `config/config.yaml` its source."""

    samples: int  # K of the bound
    epochs: int
    full_epochs: int
    constant_epochs: int
    batch_size: int
    binarise: str
    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    decay: float
    clip_norm: float
    clip_element: float
    reconstruction_weight: float
    reconstruction_draw: str
    curve_every: int
    precision: str
    images: int = 0
    validation: float = 0.0

    def __post_init__(self) -> None:
        """Raises InputError for a value outside its rule (TRAINING), or a schedule longer than the training."""
        _checked(self, TRAINING, "training")
        if self.constant_epochs > self.full_epochs:
            raise InputError(
                f"training: constant_epochs is {self.constant_epochs}, expected at most epochs ({self.full_epochs})"
            )
        if 0 < self.images < self.batch_size:
            raise InputError(f"training: images is {self.images}, expected 0 or a batch ({self.batch_size}) or more")


@dataclass(frozen=True)
class RunSpec:
    """All that decides the weights of one run (with the data and the mode: memvae/model/device.py)."""

    run: str
    dataset: str
    seed: int
    network: Network
    training: Training
    version: int = STAGES["train"]

    def __post_init__(self) -> None:
        """Raises InputError for a value outside its rule (RUN), or a training that does not fit the data."""
        _checked(self, RUN, "run")
        if self.network.likelihood == "gaussian" and self.training.binarise != "never":
            raise InputError(f"run: binarise is {self.training.binarise!r}, expected 'never' for Gaussian data")

    def to_json(self) -> str:
        """Without `training.images` and `validation` where they are 0: as every run had it before them."""
        raw = dataclasses.asdict(self) | {"network": self.network.to_mapping()}
        for option in ("images", "validation"):
            if not raw["training"][option]:
                del raw["training"][option]
        return json.dumps(raw, sort_keys=True)

    @staticmethod
    def from_json(text: str, source: str = "--spec") -> "RunSpec":
        """What `to_json` wrote. Raises InputError, beginning with `source`, for anything else."""
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{source}: found no JSON ({error}); expected a run's specification") from None
        return RunSpec.from_mapping(raw, source)

    @staticmethod
    def from_mapping(raw: Any, where: str) -> "RunSpec":
        """Raises InputError, beginning with `where`, for unknown, missing or contradicting keys and wrong values."""
        if isinstance(raw, dict):
            raw = {key: value for key, value in raw.items() if key not in OLD_KEYS}
        rules: dict[str, Rule] = {**RUN, "network": Fields(NETWORK), "training": Fields(TRAINING)}
        checked = Fields(rules).check(raw, where)
        try:
            parts = {"network": Network(**checked["network"]), "training": Training(**checked["training"])}
            return RunSpec(**{**checked, **parts})
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def network_of(raw: Any, where: str) -> Network:
    """A network from a mapping. Raises InputError, beginning with `where`."""
    return Network(**Fields(NETWORK).check(raw, where))


def _checked(instance: Any, rules: dict[str, Rule], where: str) -> None:
    """Every field by its rule; lists become tuples, whole floats whole numbers."""
    for name, rule in rules.items():
        value = rule.check(getattr(instance, name), f"{where}.{name}")
        object.__setattr__(instance, name, tuple(value) if isinstance(value, list) else value)
