"""Input files, sorted by their kind and by their run."""

from collections.abc import Iterable
from pathlib import Path

from memvae.errors import InputError
from memvae.files import store
from memvae.files.store import Stored
from memvae.settings.config import Row


class Files:
    """Input files by kind (`analysis/slots`, `model`, ...) and by the run in their `spec` attribute."""

    def __init__(self, inputs: Iterable[Path | str], kind: str):
        """Reads all inputs (`kind` may be a prefix, as `analysis`). Of a model the weights, 6 MB, are not kept.

        Raises InputError on a missing, damaged or foreign file, or two files of one run.
        """
        self.by_run: dict[tuple[str, str], Stored] = {}
        self.of_all: dict[str, Stored] = {}  # kind -> a file about all networks, which belongs to no run
        for path in inputs:
            file = store.read(path, kind).without("weights")
            found = str(file.attributes["format"]).removeprefix("memvae/")
            if "spec" not in file.attributes:
                self.of_all[found] = file
            elif (first := self.by_run.setdefault((found, file.run), file)) is not file:
                raise InputError(
                    f"{path}: a second {found} file of {file.run}; the first is {first.path}; name each run once"
                )

    @property
    def stored(self) -> list[Stored]:
        """Every file as it was read, in the order of the inputs; those that belong to no run first."""
        return [*self.of_all.values(), *self.by_run.values()]

    def of(self, row: Row, kind: str) -> list[Stored]:
        """The files of a row, one per seed; none when this analysis was not made for the row.

        Raises InputError when some seeds have a file and others have none.
        """
        found = [self.by_run[kind, run] for run in row.runs if (kind, run) in self.by_run]
        if found and len(found) < len(row.runs):
            missing = next(run for run in row.runs if (kind, run) not in self.by_run)
            raise InputError(
                f"{missing}: no {kind} file among the inputs, but there is {found[0].path}; expected every seed"
            )
        return found
