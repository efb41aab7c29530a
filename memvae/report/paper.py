"""The authors' numbers and protocol: `config/paper.yaml`, read strictly; and the verdict on one of our numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from memvae.errors import InputError
from memvae.files.store import Stored, read_bytes
from memvae.report.table import NOT_RUN
from memvae.settings.config import Row
from memvae.settings.rules import Fields, ListOf, MapOf, Nothing, OneOf, Real, Rule, Text, Whole
from memvae.settings.spec import NETWORK, TRAINING

ALL_IMAGES = {"images": 0, "validation": 0}  # of a training: left out of a specification where it is so
ROUNDING = 1e-9  # relative: -85.67 + 0.15 is no exact binary number, and a tolerance includes its bounds
TABLES = ("table3", "likelihood", "probing", "table4", "slots")
SETTINGS = MapOf(Real())  # of an analysis
FILE: dict[str, Rule] = {
    "sources": MapOf(Text()),
    "protocol": MapOf(
        Fields(
            {
                "network": Fields(NETWORK, partial=True),
                "models": MapOf(Fields(NETWORK, partial=True)),
                "training": Fields(TRAINING, partial=True),
                "images": Whole(1),
                "settings": Fields({"likelihood": SETTINGS, "probing": SETTINGS}),
            }
        )
    ),
    "entries": ListOf(
        Fields(
            {
                "table": OneOf(TABLES),
                "row": Text(),
                "column": Text(),
                "value": Real(),
                "tolerance": Nothing(Real(0, open_below=True)),
                "source": Text(),
                "note": Text(default=""),
            }
        )
    ),
}


@dataclass(frozen=True)
class Entry:
    """One number of the paper, in the unit of the table it stands in."""

    table: str
    row: str  # <dataset>-<model> of Table 3 and probing, <dataset>-<model>-k<K> of the likelihoods, or a name
    column: str
    value: float
    tolerance: float | None  # None: shown, not judged
    source: str  # key of `sources`
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "tolerance"):  # in YAML some are whole
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))


@dataclass(frozen=True)
class Protocol:
    """How the authors trained and evaluated the models of one data set, named as in specifications and settings."""

    network: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]  # differences from `network`
    training: Mapping[str, Any]
    images: int  # test images
    settings: Mapping[str, Mapping[str, Any]]  # analysis -> settings


@dataclass(frozen=True)
class Paper:
    """All entries, in the file's order; the protocol of each data set; what the letters of the sources mean."""

    entries: tuple[Entry, ...]
    protocol: Mapping[str, Protocol]
    sources: Mapping[str, str]

    def value(self, table: str, row: str, column: str) -> float | None:
        """The paper's number, None where it prints none."""
        return next((e.value for e in self.entries if (e.table, e.row, e.column) == (table, row, column)), None)

    def of(self, table: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.table == table]


def verdict(entry: Entry, ours: float | None, departs: str) -> tuple[str, str]:
    """Verdict and note on one number; `ours` None: not run.

    `match` when ours is within the tolerance of the paper's (bounds included), `near` within twice, `off` beyond, in
    either direction: a mistake in an evaluation raises a number as easily as it lowers it. Nothing is judged without a
    tolerance, or when `departs` (of `departure`) names something.
    """
    if ours is None:
        return NOT_RUN, entry.note
    if entry.tolerance is None:
        return "not judged", entry.note
    if departs:
        return f"no verdict ({departs})", entry.note
    above = entry.table == "likelihood" and ours > entry.value
    by = f"above the paper's by {ours - entry.value:.2f}" if above else ""
    note = "; ".join(filter(None, (entry.note, by)))
    distance = abs(ours - entry.value) - ROUNDING * abs(entry.value)
    if distance <= entry.tolerance:
        return "match", note
    return ("near" if distance <= 2 * entry.tolerance else "off"), note


def departure(printed: Paper, table: str, row: Row, files: list[Stored], images: int | None) -> str:
    """The first thing in which a row's files are not as the authors' protocol says, as in `epochs 3, not 3,000`.

    Empty where nothing departs, and without files: the number depends on no training (Table 3). table: of the entry;
    images: test images that the number is over.
    """
    if not files:
        return ""
    protocol = printed.protocol.get(row.paper_dataset)
    if not protocol or row.model not in protocol.models:
        return f"no protocol of {model_key(row)}"
    for file in files:
        for expected, found in (
            ({"dataset": row.paper_dataset}, file.spec),
            ({**ALL_IMAGES, **protocol.training, "samples": row.k}, {**ALL_IMAGES, **file.spec["training"]}),
            ({**protocol.network, **protocol.models[row.model]}, file.spec["network"]),
            (protocol.settings.get(table, {}), file.settings),
            ({"images": protocol.images}, {"images": images}),
        ):
            for name, value in expected.items():
                if found.get(name) != value:
                    return f"{name} {_shown(found.get(name))}, not {_shown(value)}"
    return ""


def read_paper(path: Path | str) -> Paper:
    """Raises InputError with the entry and key at the first unknown, missing, doubled or wrongly typed one."""
    try:
        raw = yaml.safe_load(read_bytes(path, "the authors' numbers, which come with the project"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: found no YAML ({' '.join(str(error).split())})") from None
    checked = Fields(FILE).check(raw, str(path))
    entries = tuple(Entry(**entry) for entry in checked["entries"])
    keys = [(entry.table, entry.row, entry.column) for entry in entries]
    if doubled := [key for key in keys if keys.count(key) > 1]:
        raise InputError(f"{path}: found {' '.join(doubled[0])} twice, expected once")
    return Paper(entries, {name: Protocol(**one) for name, one in checked["protocol"].items()}, checked["sources"])


def model_key(row: Row) -> str:
    """Key of a row in Table 3 and in the probing table."""
    return f"{row.paper_dataset}-{row.model}"


def run_key(row: Row) -> str:
    """Key of a row among the likelihoods."""
    return f"{row.paper_dataset}-{row.model}-k{row.k}"


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
