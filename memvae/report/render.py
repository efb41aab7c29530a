"""One table as `.csv` (full precision), `.md` and `.tex` (booktabs). The same numbers give the same bytes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from memvae.files.store import write_text
from memvae.report.paper import NOT_RUN

ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    character: "\\" + character for character in "&%$#_{}"
}

Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Section:
    """A part of a table as it is read: rounded text."""

    title: str
    records: Records  # column -> text
    long: bool = False  # may run over pages


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    cells: Records  # of the .csv, unrounded; None is an empty cell
    sections: Sequence[Section]
    notes: Sequence[str]  # whole sentences; the first names the scale below the paper's


def number(value: float | None, decimals: int = 2, sign: bool = False) -> str:
    """A rounded number, thousands separated; empty for None. Never a negative zero."""
    if value is None:
        return ""
    rounded = round(value, decimals) + 0.0
    return f"{rounded:{'+' if sign else ''},.{decimals}f}"


def write(table: Table, output: Path | str) -> None:
    """Writes `output` and its siblings `.csv`, `.md`, `.tex`."""
    output = Path(output)
    write_text(output.with_suffix(".csv"), as_csv(table))
    write_text(output.with_suffix(".md"), as_markdown(table))
    write_text(output.with_suffix(".tex"), as_latex(table))


def as_csv(table: Table) -> str:
    return records_csv(table.cells)


def records_csv(records: Records) -> str:
    """In full precision; None is an empty cell."""
    return _frame(records).to_csv(index=False, lineterminator="\n")


def as_markdown(table: Table) -> str:
    parts = [f"# {table.title}", *table.notes]
    for section in table.sections:
        text = markdown(section.records)
        parts += [f"## {section.title}", text] if section.title else [text]
    return "\n\n".join(parts) + "\n"


def markdown(records: Records) -> str:
    """A table without title; columns of numbers are aligned right."""
    frame = _frame(records).fillna("")
    align = ["right" if right else "left" for right in _right(frame)]
    return frame.to_markdown(index=False, disable_numparse=True, colalign=align)


def as_latex(table: Table) -> str:
    """One floating table per section (`longtable` for long ones), for `\\usepackage{booktabs,longtable}`."""
    parts = [f"% {table.title}; needs \\usepackage{{booktabs,longtable}}"]
    for place, section in enumerate(table.sections, start=1):
        title = f"{table.title}: {section.title}." if section.title else f"{table.title}."
        frame = _frame(section.records).fillna("")
        styler = frame.style.hide(axis="index").format(_escape).format_index(_escape, axis=1)
        parts.append(
            styler.to_latex(
                hrules=True,
                column_format="".join("r" if right else "l" for right in _right(frame)),
                caption=_escape(" ".join([title, *table.notes])),
                label=f"tab:{table.name}-{place}",
                environment="longtable" if section.long else None,
                position=None if section.long else "t",
                position_float=None if section.long else "centering",
            )
        )
    return "\n".join(parts)


def _frame(records: Records) -> pd.DataFrame:
    """Cells as they are: without a common type for a column, 3 stays 3 beside an empty cell."""
    return pd.DataFrame(list(records), dtype=object)


def _right(frame: pd.DataFrame) -> list[bool]:
    """Per column whether it holds numbers (and empty cells, and `not run`) alone."""

    def numeric(cell: str) -> bool:
        return cell in ("", NOT_RUN) or bool(re.match(r"[-+]?[\d.,]+( |$)", cell))

    columns = [[str(cell) for cell in frame.iloc[:, place]] for place in range(frame.shape[1])]
    return [any(cells) and all(map(numeric, cells)) and place > 0 for place, cells in enumerate(columns)]


def _escape(text: object) -> str:
    return "".join(ESCAPES.get(character, character) for character in str(text))
