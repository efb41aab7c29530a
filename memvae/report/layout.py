"""Which rows a table or figure has, and which input file belongs to which row."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memvae.errors import InputError
from memvae.files import store
from memvae.settings.config import Row


@dataclass(frozen=True)
class Layout:
    """What the workflow says about a table or figure: the scale, what to print below it, the rows in order."""

    scale: str
    note: str  # empty at the paper's scale
    rows: tuple[Row, ...]

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> "Layout":
        """As a plan has it. Raises TypeError or KeyError for anything else."""
        rows = tuple(Row(**{**row, "runs": tuple(row["runs"])}) for row in raw["rows"])
        return Layout(raw["scale"], raw["note"], rows)


@dataclass(frozen=True)
class RunFile:
    """One input file that came from a run; a missing array or attribute is refused by its name."""

    stored: store.Stored

    @property
    def path(self) -> Path:
        return self.stored.path

    @property
    def spec(self) -> dict[str, Any]:
        return self.attribute("spec")

    @property
    def run(self) -> str:
        return self.spec["run"]

    @property
    def seed(self) -> int:
        return self.spec["seed"]

    @property
    def epochs(self) -> int:
        return int(self.attribute("epoch"))

    @property
    def image(self) -> tuple[int, int]:
        """Rows and columns of an image, in pixels."""
        rows, columns = self.spec["network"]["image"]
        return rows, columns

    @property
    def images(self) -> int | None:
        """Number of test images of an analysis whose arrays do not show it; None where the file does not say."""
        return self.stored.attributes.get("images")

    @property
    def has_memory(self) -> bool:
        return any(self.spec["network"]["slots"])

    @property
    def settings(self) -> dict[str, Any]:
        return self.attribute("settings")

    def attribute(self, name: str) -> Any:
        return _found(self.stored.attributes, name, self.path, "attribute")

    def setting(self, name: str) -> Any:
        return _found(self.settings, name, self.path, "entry in `settings`")

    def array(self, name: str) -> np.ndarray:
        return _found(self.stored.arrays, name, self.path, "array")

    def has(self, array: str) -> bool:
        return array in self.stored.arrays


class Files:
    """Input files by kind (`analysis/slots`, `model`, ...) and by the run in their `spec` attribute."""

    def __init__(self, inputs: Iterable[Path | str], kind: str):
        """Reads all inputs (`kind` may be a prefix, as `analysis`). Of a model the weights, 6 MB, are not kept.

        Raises InputError on a missing, damaged or foreign file, or two files of one run.
        """
        self._by_run: dict[tuple[str, str], RunFile] = {}
        self.of_all: dict[str, store.Stored] = {}  # kind -> a file about all networks, which belongs to no run
        for path in inputs:
            stored = store.read(path, kind).without("weights")
            found = str(stored.attributes["format"]).removeprefix("memvae/")
            if "spec" not in stored.attributes:
                self.of_all[found] = stored
                continue
            file = RunFile(stored)
            if (found, file.run) in self._by_run:
                first = self._by_run[found, file.run].path
                raise InputError(
                    f"{path}: a second {found} file of {file.run}; the first is {first}; name each run once"
                )
            self._by_run[found, file.run] = file

    @property
    def stored(self) -> list[store.Stored]:
        """Every file as it was read, in the order of the inputs; those that belong to no run first."""
        return [*self.of_all.values(), *(file.stored for file in self._by_run.values())]

    def of(self, row: Row, kind: str) -> list[RunFile]:
        """The files of a row, one per seed; none when this analysis was not made for the row.

        Raises InputError when some seeds have a file and others have none.
        """
        found = [self._by_run[kind, run] for run in row.runs if (kind, run) in self._by_run]
        if found and len(found) < len(row.runs):
            missing = next(run for run in row.runs if (kind, run) not in self._by_run)
            raise InputError(
                f"{missing}: no {kind} file among the inputs, but there is {found[0].path}; expected every seed"
            )
        return found

    def rows(self, layout: Layout, kind: str) -> list[tuple[Row, list[RunFile]]]:
        """The rows to show, each with its files: those that have files, and those without runs at this scale.

        Raises InputError when nothing is left to show, and when a file belongs to no row (it would be left out
        silently).
        """
        if kind in self.of_all:
            return [(row, []) for row in layout.rows]
        known = {run for row in layout.rows for run in row.runs}
        for (_, run), file in self._by_run.items():
            if run not in known:
                raise InputError(f"{file.path}: its run {run} is in no row; expected one of {', '.join(sorted(known))}")
        rows = [(row, self.of(row, kind)) for row in layout.rows]
        shown = [(row, files) for row, files in rows if files or not row.runs]
        if not shown:
            raise InputError(f"rows: no {kind} file among the inputs; expected at least one")
        return shown


def _found(mapping: Mapping[str, Any], name: str, path: Path, what: str) -> Any:
    if name not in mapping:
        raise InputError(f"{path}: has no {what} {name!r}; it was made by another version: delete it and make it again")
    return mapping[name]
