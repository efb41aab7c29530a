"""Draws the targets of the workflow: tables and figures from a plan (memvae/settings/targets.py) and its files."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from memvae.files.store import write_text
from memvae.report import scorecard, statistics, style, table
from memvae.report.layout import Files
from memvae.report.paper import Paper, read_paper
from memvae.report.view import View
from memvae.settings import registry, targets

NO_PAPER = Paper((), {}, {})


def write(target: Mapping[str, Any], paper: Path | None, output: Path) -> list[Path]:
    """Writes a table, a figure, a scorecard or the measurements to `output` and its siblings; returns their paths.

    target: an entry of `targets.drawn`; paper: config/paper.yaml, which figures do without.
    Raises InputError on a wrong plan or a missing, damaged or foreign input.
    """
    kind, name = target["kind"], target["name"]
    printed = read_paper(paper) if paper else NO_PAPER
    views = [view(part, printed) for part in target["parts"]]
    formats = {"figure": targets.FIGURE_FORMATS, "table": targets.TABLE_FORMATS, "scorecard": targets.SCORECARD_FORMATS}
    if kind == "figure":
        make = _show(target["parts"][0]).FIGURES[target.get("own", name)]
        with style.paper():
            style.save(make(views[0]), output)
    elif kind == "table":
        make = _show(target["parts"][0]).TABLES[target.get("own", name)]
        table.write(make(views[0]), output)
    elif kind == "scorecard":
        table.write(scorecard.build(views, printed), output, targets.SCORECARD_FORMATS)
    else:
        write_text(output, table.as_csv(measurements(views)))
    return [output.with_suffix(f".{ending}") for ending in formats.get(kind, ("csv",))]


def view(part: Mapping[str, Any], printed: Paper) -> View:
    """What the analysis of a part is shown from."""
    analysis = registry.find(part["analysis"], part["module"])
    kind = "model" if analysis.declared.of == "models" else f"analysis/{analysis.name}"
    reads = analysis.declared.reads
    files = Files(map(Path, part["inputs"]), "analysis" if reads else kind)
    kind = f"analysis/{reads[0]}" if reads else kind
    return View(kind, part["layout"], files, printed, analysis.part("show").measure, part.get("about", {}))


def measurements(views: Iterable[View]) -> list[dict[str, object]]:
    """The rows of results/measurements.csv."""
    return statistics.measurements(one for each in views for one in each.numbers)


def _show(part: Mapping[str, Any]) -> Any:
    return registry.find(part["analysis"], part["module"]).part("show")
