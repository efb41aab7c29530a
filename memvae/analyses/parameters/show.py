"""Table 3: numbers of trainable parameters, ours and the paper's, which are printed in thousands."""

from collections.abc import Iterator
from typing import Any

from memvae.errors import InputError
from memvae.report.claims import Part
from memvae.report.statistics import Measured
from memvae.report.table import NOT_RUN, Column, Section, Table
from memvae.report.view import View, paper_title
from memvae.settings.config import Row

PAGE = Part(
    "Parameters (Table 3)",
    "Counted on the networks themselves; independent of training. The paper prints thousands.",
)
COLUMNS = (
    Column("data", "data"),
    Column("model", "model"),
    Column("paper_name", "name in the paper"),
    Column("parameters", "parameters"),
    Column("printed", "paper"),
)


def measure(view: View) -> Iterator[Measured]:
    """The count of each network."""
    stored = view.files.of_all.get("analysis/parameters")
    if stored is None:
        raise InputError("parameters: found no file of counts among the inputs, expected one")
    titles = {row.model: row.title for row in view.all_rows}
    for network, count in zip(stored.attributes["rows"], stored.arrays["counts"], strict=True):
        dataset, model = network["dataset"], network["model"]
        row = Row(dataset, model, 1, titles.get(model, model), paper_title(dataset), ())
        paper = ("table3", f"{dataset}-{model}", "parameters")
        yield Measured(row, (), "parameters", "", "parameters", (float(count),), (None,), None, None, paper)


def table3(view: View) -> Table:
    """The table `table3`: the networks that were counted, then those of the paper that were not."""
    counted = {f"{one.row.paper_dataset}-{one.row.model}": one for one in view.numbers}
    names = {entry.row: entry.note for entry in view.printed.of("table3")}
    records: list[dict[str, Any]] = []
    for key in dict.fromkeys([*counted, *names]):
        one, theirs = counted.get(key), view.printed.value("table3", key, "parameters")
        dataset, model = key.rsplit("-", 1)
        ours = int(one.mean) if one else None
        records.append(
            {
                "row": key,
                "model": one.row.title if one else model,
                "paper_name": names.get(key, ""),
                "parameters": NOT_RUN if ours is None else ours,
                "paper": None if theirs is None else int(theirs),
                "difference": None if ours is None or theirs is None else int(ours - theirs),
                "scale": view.scale,
                "data": one.row.dataset if one else paper_title(dataset),
            }
        )
    shown = [{**one, "printed": f"{one['paper'] / 1000:,.0f}K" if one["paper"] else ""} for one in records]
    notes = view.notes(
        "Counted on the models themselves, with the dense biases before batch norm, gamma and beta, and without the "
        "batch-norm statistics. The counts depend on neither data nor training."
    )
    return Table("table3", "Table 3. Trainable parameters", records, [Section("", COLUMNS, shown)], notes)


TABLES = {"table3": table3}
