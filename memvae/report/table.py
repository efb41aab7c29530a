"""One table as `.csv` (full precision), `.md` and `.tex` (booktabs). The same numbers give the same bytes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from memvae.files.store import write_text

NOT_RUN = "not run"
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    character: "\\" + character for character in "&%$#_{}"
}
MARKDOWN = re.compile(r"([\\`*\[\]<>|$]|(?<!\w)_|_(?!\w))")  # within a word _ is no markup

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column as it is read: the key of its value in a record, its heading, how numbers are rounded."""

    key: str
    heading: str
    decimals: int | None = None  # None: the value as it is
    sign: bool = False

    def text(self, record: Record) -> str:
        value = record.get(self.key)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str) or value is None:
            return value or ""
        decimals = self.decimals if self.decimals is not None else 0 if isinstance(value, int) else 2
        return number(value, decimals, self.sign)


@dataclass(frozen=True)
class Section:
    """A part of a table as it is read: some records, in some columns."""

    title: str
    columns: Sequence[Column]
    records: Sequence[Record]
    long: bool = False  # may run over pages

    def lines(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rounded text; a column in which no record has anything is left out, unless all are empty."""
        texts = [[column.text(record) for column in self.columns] for record in self.records]
        kept = [place for place in range(len(self.columns)) if any(line[place] for line in texts)] or [0]
        return [self.columns[place].heading for place in kept], [[line[place] for place in kept] for line in texts]


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    records: Sequence[Record]  # the rows of the .csv, unrounded; None is an empty cell
    sections: Sequence[Section]
    notes: Sequence[str]  # whole sentences; the first names the scale below the paper's


def number(value: float | None, decimals: int = 2, sign: bool = False) -> str:
    """A rounded number, thousands separated; empty for None and for what is no number. Never a negative zero."""
    if value is None or value != value:
        return ""
    rounded = round(value, decimals) + 0.0
    return f"{rounded:{'+' if sign else ''},.{decimals}f}"


def plain(text: str) -> str:
    """Text of the user's for Markdown, where nothing in it is markup."""
    return MARKDOWN.sub(r"\\\1", text)


def write(table: Table, output: Path | str, formats: Sequence[str] = ("csv", "md", "tex")) -> None:
    """Writes the table beside `output` in each of the formats."""
    writers = {"csv": lambda: as_csv(table.records), "md": lambda: as_markdown(table), "tex": lambda: as_latex(table)}
    for ending in formats:
        write_text(Path(output).with_suffix(f".{ending}"), writers[ending]())


def as_csv(records: Sequence[Record]) -> str:
    """In full precision; None and what is no number are empty cells."""
    # cells as they are: without a common type for a column, 3 stays 3 beside an empty cell
    return pd.DataFrame(list(records), dtype=object).to_csv(index=False, lineterminator="\n")


def as_markdown(table: Table) -> str:
    parts = [f"# {table.title}", *map(plain, table.notes)]
    for section in table.sections:
        parts += [f"## {plain(section.title)}", markdown(section)] if section.title else [markdown(section)]
    return "\n\n".join(parts) + "\n"


def markdown(section: Section) -> str:
    """A section without its title; columns of numbers are aligned right."""
    headings, lines = section.lines()
    right = _right(lines, len(headings))
    rule = [" ---: " if one else " --- " for one in right]
    texts = ["| " + " | ".join(map(plain, line)) + " |" for line in (headings, *lines)]
    return "\n".join([texts[0], "|" + "|".join(rule) + "|", *texts[1:]])


def as_latex(table: Table) -> str:
    """One floating table per section (`longtable` for long ones), for `\\usepackage{booktabs,longtable}`."""
    parts = [f"% {table.title}; needs \\usepackage{{booktabs,longtable}}"]
    for place, section in enumerate(table.sections, start=1):
        title = f"{table.title}: {section.title}." if section.title else f"{table.title}."
        headings, lines = section.lines()
        frame = pd.DataFrame(lines, dtype=object)
        frame.columns = pd.Index([_latex(heading) for heading in headings])
        # pandas joins columns of one name: numbered while it formats, named in its header
        numbered = frame.set_axis(range(len(headings)), axis=1)
        styler = numbered.style.hide(axis="index").format(_latex)
        styler = styler.format_index(lambda at, names=list(frame.columns): names[at], axis=1)
        parts.append(
            styler.to_latex(
                hrules=True,
                column_format="".join("r" if right else "l" for right in _right(lines, len(headings))),
                caption=_latex(" ".join([title, *table.notes])),
                label=f"tab:{table.name}-{place}",
                environment="longtable" if section.long else None,
                position=None if section.long else "t",
                position_float=None if section.long else "centering",
            )
        )
    return "\n".join(parts)


def _right(lines: Sequence[Sequence[str]], columns: int) -> list[bool]:
    """Per column whether it holds numbers (and empty cells, and `not run`) alone."""

    def numeric(cell: str) -> bool:
        return cell in ("", NOT_RUN) or bool(re.match(r"[-+]?[\d.,]+( |$)", cell))

    cells = [[line[place] for line in lines] for place in range(columns)]
    return [any(column) and all(map(numeric, column)) and place > 0 for place, column in enumerate(cells)]


def _latex(text: object) -> str:
    return "".join(LATEX.get(character, character) for character in str(text))
