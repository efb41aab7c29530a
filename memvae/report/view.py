"""The input for showing an analysis: its rows with their files, its numbers, and the authors' numbers."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from memvae.errors import InputError
from memvae.files.store import Stored
from memvae.report.layout import Files
from memvae.report.paper import Entry, Paper, model_key, run_key
from memvae.report.statistics import Measured
from memvae.report.table import NOT_RUN, Record
from memvae.settings.config import Row

PAPER_DATASETS = {"mnist": "MNIST", "ocr_letters": "OCR-letters", "frey_faces": "Frey faces"}

Pairs = list[tuple[Row, list[Stored]]]


class View:
    """The rows of one analysis at one scale.

    kind: of its files, as `analysis/slots`; layout: of a plan: scale, what to print below, rows; measure: the
    analysis' own, from the view to its numbers; about: what else the configuration says of the rows.
    """

    def __init__(
        self,
        kind: str,
        layout: Mapping[str, Any],
        files: Files,
        printed: Paper,
        measure: Callable[["View"], Iterable[Measured]],
        about: Mapping[str, Any] | None = None,
    ):
        self.kind, self.files, self.printed, self._measure, self.about = kind, files, printed, measure, about or {}
        self.scale, self.note = layout["scale"], layout["note"]  # the note is empty at the paper's scale
        self.all_rows = tuple(Row(**{**row, "runs": tuple(row["runs"])}) for row in layout["rows"])

    @cached_property
    def rows(self) -> Pairs:
        """The rows to show with their files: those that have files, and those that were not run at this scale.

        Raises InputError when nothing is left to show, and when a file belongs to no row (it would be left out
        silently).
        """
        if self.kind in self.files.of_all:
            return [(row, []) for row in self.all_rows]
        known = {run for row in self.all_rows for run in row.runs}
        for (_, run), file in self.files.by_run.items():
            if run not in known:
                raise InputError(f"{file.path}: its run {run} is in no row; expected one of {', '.join(sorted(known))}")
        rows = [(row, self.files.of(row, self.kind)) for row in self.all_rows]
        shown = [(row, files) for row, files in rows if files or not row.runs]
        if not shown:
            raise InputError(f"rows: no {self.kind} file among the inputs; expected at least one")
        return shown

    @cached_property
    def made(self) -> Pairs:
        """The rows that have files. Raises InputError when there is none."""
        made = [(row, found) for row, found in self.rows if found]
        if not made:
            raise InputError(f"{self.kind}: no row has a file at scale {self.scale}; nothing to draw")
        return made

    @cached_property
    def by_dataset(self) -> dict[str, Pairs]:
        """The rows of `made` by the title of their data set."""
        found: dict[str, Pairs] = {}
        for row, files in self.made:
            found.setdefault(row.dataset, []).append((row, files))
        return found

    @cached_property
    def done(self) -> list[Stored]:
        """All files, in the order of the rows."""
        return [file for _, found in self.rows for file in found]

    @property
    def has_files(self) -> bool:
        """Whether anything was run for this analysis at this scale."""
        return bool(self.files.of_all) or any(found for _, found in self.rows)

    @cached_property
    def numbers(self) -> list[Measured]:
        """All numbers of the analysis; of the rows that have files."""
        return list(self._measure(self)) if self.has_files else []

    @cached_property
    def _found(self) -> dict[tuple[Row, str, str], Measured]:
        return {(one.row, one.quantity, one.condition): one for one in self.numbers}

    def number(self, row: Row | None, quantity: str, condition: str = "") -> Measured | None:
        """One number of a row; None where the row was not run or has no such number."""
        return self._found.get((row, quantity, condition)) if row else None

    def row(self, model: str, dataset: str = "mnist", k: int = 1) -> Row | None:
        """The row of a model that has files. dataset: the paper's."""
        wanted = (dataset, model, k)
        made = (row for row, found in self.rows if found)
        return next((row for row in made if (row.paper_dataset, row.model, row.k) == wanted), None)

    def of(self, row: Row | None) -> list[Stored]:
        """The files of a row, one per seed."""
        return next((found for other, found in self.rows if other == row), [])

    def entry(self, table: str, row: Row | None, column: str) -> Entry | None:
        """The authors' number for a row, with its source."""
        keys = (run_key(row), model_key(row)) if row else ()
        return next((entry for entry in self.printed.of(table) if entry.row in keys and entry.column == column), None)

    def record(self, row: Row, measured: Measured | None, quantity: str = "", n: str = "images") -> dict[str, Any]:
        """The cells of a table about one number: value (under `quantity` or its own name), errors, the authors' number.

        n: what it is a mean over. A row that was not run has `not run` in place of the value.
        """
        name = quantity or (measured.quantity if measured else "value")
        if measured is None:
            return {name: NOT_RUN}
        theirs = self.theirs(row, *measured.paper) if measured.paper else None
        return {
            name: measured.mean,
            "standard_error": measured.error,
            "sd": measured.sd,
            "seeds": measured.seeds,
            "paper": theirs,
            "difference": None if theirs is None else measured.mean - theirs,
            n: measured.n,
        }

    def theirs(self, row: Row, table: str, name: str, column: str) -> float | None:
        """The authors' number; None if they have none, or if another data set replaces the paper's."""
        return None if self.replaced(row) else self.printed.value(table, name, column)

    def facts(self, row: Row, found: list[Stored], samples: int | None = None) -> dict[str, Any]:
        """The cells of every .csv that say what its numbers come from. samples: K, or draws of z."""
        return {
            "scale": self.scale,
            "data": row.dataset,
            "epochs": found[0].epochs if found else None,
            "samples": samples,
            "runs": " ".join(file.run for file in found),
        }

    def data(self, files: Iterable[Stored] | None = None) -> str:
        """Data sets and epochs, as in `MNIST (40 epochs), OCR-letters (200 epochs)`."""
        chosen = self.done if files is None else files
        titles = {run: row.dataset for row in self.all_rows for run in row.runs}
        return ", ".join(dict.fromkeys(f"{titles[file.run]} ({file.epochs:,} epochs)" for file in chosen))

    def notes(self, *sentences: str) -> list[str]:
        """The scale's note first, where there is one, then the sentences that are not empty."""
        rows = [one.row for one in self.numbers if one.paper and self.replaced(one.row)]
        replaced = {paper_title(row.paper_dataset): row.dataset for row in rows}
        theirs = [
            f"The paper's numbers are for {paper}, and do not stand beside ours for {ours}."
            for paper, ours in replaced.items()
        ]
        return [one for one in (f"{self.note}." if self.note else "", *sentences, *theirs) if one]

    def figure_note(self, files: list[Stored], words: str) -> str:
        """What a figure says of itself: the scale's note, where there is one; data, epochs, and some more words."""
        return f"{self.note + '. ' if self.note else ''}Data: {self.data(files)}; {words}."

    @property
    def stands_in(self) -> bool:
        """Whether another data set replaces MNIST: then nothing can be said about the paper's claims."""
        return any(self.replaced(row) for row in self.all_rows if row.paper_dataset == "mnist")

    @staticmethod
    def replaced(row: Row) -> bool:
        """Whether another data set replaces the paper's in this row."""
        return bool(row.runs) and not row.runs[0].startswith(f"{row.paper_dataset}-")


def paper_title(dataset: str) -> str:
    """The title of a data set of the paper; of a user's own its key."""
    return PAPER_DATASETS.get(dataset, dataset)


def record_of(row: Row, key: Callable[[Row], str], **cells: Any) -> Record:
    """The first cells of a table's record: which row it is."""
    return {"row": key(row), "model": row.title, **cells}
