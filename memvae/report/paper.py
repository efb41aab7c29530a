"""The numbers printed in the paper: `config/paper.yaml`, read strictly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from memvae.config import Row
from memvae.errors import InputError

TABLES = ("table3", "likelihood", "probing", "table4", "slots")
REQUIRED = ("table", "row", "column", "value", "tolerance", "source")


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


@dataclass(frozen=True)
class Paper:
    """All entries, in the file's order."""

    entries: tuple[Entry, ...]

    def value(self, table: str, row: str, column: str) -> float | None:
        """The paper's number, None where it prints none."""
        return next((e.value for e in self.entries if (e.table, e.row, e.column) == (table, row, column)), None)

    def of(self, table: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.table == table]


def read_paper(path: Path | str) -> Paper:
    """Raises InputError with the entry and key at the first unknown, missing, doubled or wrongly typed one."""
    try:
        raw = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: not found; it comes with the project: restore it") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: found no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(raw, dict) or set(raw) != {"sources", "entries"}:
        raise InputError(f"{path}: expected the two keys sources and entries")
    if not isinstance(raw["sources"], dict) or not isinstance(raw["entries"], list):
        raise InputError(f"{path}: expected a mapping of sources and a list of entries")
    entries = tuple(_entry(item, raw["sources"], f"{path}: entries[{n}]") for n, item in enumerate(raw["entries"]))
    keys = [(entry.table, entry.row, entry.column) for entry in entries]
    if doubled := [key for key in keys if keys.count(key) > 1]:
        raise InputError(f"{path}: found {' '.join(doubled[0])} twice, expected once")
    return Paper(entries)


def model_key(row: Row) -> str:
    """Key of a row in Table 3 and in the probing table."""
    return f"{row.paper_dataset}-{row.model}"


def run_key(row: Row) -> str:
    """Key of a row among the likelihoods."""
    return f"{row.paper_dataset}-{row.model}-k{row.k}"


def _entry(raw: Any, sources: dict[str, Any], where: str) -> Entry:
    if not isinstance(raw, dict):
        raise InputError(f"{where}: found {raw!r}, expected a mapping")
    if unknown := sorted(set(raw) - {*REQUIRED, "note"}):
        raise InputError(f"{where}: found the unknown key {unknown[0]!r}, expected one of {', '.join(REQUIRED)}, note")
    if missing := [key for key in REQUIRED if key not in raw]:
        raise InputError(f"{where}: the key {missing[0]!r} is missing")
    for key in ("table", "row", "column", "source", "note"):
        if not isinstance(raw.get(key, ""), str):
            raise InputError(f"{where}.{key}: found {raw[key]!r}, expected text (in quotes)")
    for key, allowed in (("table", TABLES), ("source", tuple(sources))):
        if raw[key] not in allowed:
            raise InputError(f"{where}.{key}: found {raw[key]!r}, expected one of {', '.join(allowed)}")
    if not _is_number(raw["value"]):
        raise InputError(f"{where}.value: found {raw['value']!r}, expected a number")
    tolerance = raw["tolerance"]
    if tolerance is not None and not (_is_number(tolerance) and tolerance > 0):
        raise InputError(f"{where}.tolerance: found {tolerance!r}, expected a positive number, or null for not judged")
    return Entry(**{**raw, "value": float(raw["value"]), "tolerance": None if tolerance is None else float(tolerance)})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
