"""`docs/results.md`: every table and figure with what the paper says, a verdict on each claim, and the provenance.

The page is made from files that other targets have written; only the claims are computed for it, by the analyses.
"""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.files import store
from memvae.files.store import Stored
from memvae.report import claims, html, provenance, render
from memvae.report.claims import Claim, Part
from memvae.report.layout import Files
from memvae.report.paper import read_paper
from memvae.report.table import Column, Section, Table, as_csv, markdown, number, plain
from memvae.report.view import View
from memvae.settings import registry
from memvae.settings.config import making
from memvae.settings.registry import Registered

CLAIMS = "claims"
ABLATION = (
    "Ours: the base with one setting changed at a time, and beside each model with memory a VAE of as many parameters. "
    "Nothing here is a claim of the paper."
)


def write(spec: Mapping[str, Any], inputs: Sequence[Path], paper: Path, output: Path) -> None:
    """Writes the page to `output`: Markdown, with the pictures and numbers that it shows in the folder of its name
    beside it, or, if `output` ends in `.html`, one file with all of them inside (memvae/report/html.py).

    spec: `targets.page`; inputs: HDF5 files of models and analyses, tables as `.md` and `.csv`, figures as `.png`.
    Raises InputError when an input is missing, damaged or foreign.
    """
    if missing := [path for path in inputs if not path.exists()]:
        raise InputError(f"{missing[0]}: not found; expected an input of the page; make it with {making(missing[0])}")
    printed = read_paper(paper)
    parts = [_Shown(part, render.view(part, printed)) for part in spec["parts"]]
    models = [path for path in inputs if path.suffix == ".h5" and path.parent.name == "models"]
    stored = Files(models, "model")
    runs = [file for part in parts for row in part.view.all_rows for file in stored.of(row, "model")]
    runs = list({file.run: file for file in runs}.values())
    origin = provenance.table(runs, [one for part in parts for one in part.view.files.stored])
    numbers = [
        {"claim": claim.title, "verdict": claim.verdict, "quantity": name, "value": value}
        for part in parts
        for claim in part.claims
        for name, value in claim.numbers.items()
    ]
    beside = {CLAIMS: numbers, "provenance": origin.records}
    for part in parts:
        beside |= {name: make(part.view) for name, make in part.functions("RECORDS").items()}
    texts = {path.stem: path.read_text() for path in inputs if path.suffix == ".md"}
    folder = output.with_suffix("")
    pictures = {path.stem for path in inputs if path.suffix == ".png"}
    text = _page(spec, parts, runs, texts, pictures, origin, folder.name)
    files = {path.name: path.read_bytes() for path in inputs if path.suffix in (".csv", ".png")}
    files |= {f"{name}.csv": as_csv(records).encode() for name, records in beside.items()}
    if output.suffix == ".html":
        text = html.page(text, {f"{folder.name}/{name}": content for name, content in files.items()})
    else:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    store.write_text(output, text)


class _Shown:
    """An analysis on the page: its view, its heading, its claims, and in a few sentences what its figures show."""

    def __init__(self, part: Mapping[str, Any], view: View):
        self.view = view
        self.analysis: Registered = registry.find(part["analysis"], part["module"])
        self.show = self.analysis.part("show")
        self.heading: Part = getattr(self.show, "PAGE", Part(self.analysis.name, ""))
        self.claims = self._judged() if view.has_files else []
        self.findings: list[str] = self.show.findings(view) if view.has_files and hasattr(self.show, "findings") else []

    def functions(self, name: str) -> Mapping[str, Any]:
        """TABLES, FIGURES or RECORDS of the analysis."""
        found: Mapping[str, Any] = getattr(self.show, name, {})
        return found

    def _judged(self) -> list[Claim]:
        """The claims for which there are files; without a verdict if another data set replaces the paper's."""
        found = [claim for judge in getattr(self.show, "CLAIMS", ()) if (claim := judge(self.view))]
        return [replace(claim, verdict=claims.NONE) for claim in found] if self.view.stands_in else found


def _page(
    spec: Mapping[str, Any],
    parts: Sequence[_Shown],
    runs: Sequence[Stored],
    texts: Mapping[str, str],
    pictures: Container[str],
    origin: Table,
    folder: str,
) -> str:
    lines = [
        "# Results",
        f"Written by `{spec['command']}`; do not edit. {_what_was_run(spec, parts, runs)}",
        "## The paper's claims at a glance",
        _claims_table([claim for part in parts for claim in part.claims], spec["scale"]),
        "±: one standard error, over test images and over seeds where a claim compares two models. With fewer than "
        "five seeds a model's spread over seeds is taken as at least that of "
        "[method.md](method.md#the-page-of-results), which also says how each verdict is reached. L_1 and L_K: the "
        "bound with one and with K samples. Sources: A the paper's appendix, R the authors' rebuttal at ICML, = "
        "computed from files that the authors published. The main text's numbers were not at hand. A verdict is about "
        f"the models of this scale. Numbers in full precision: [claims]({folder}/claims.csv), "
        f"[scorecard]({folder}/scorecard.csv), [all measurements]({folder}/measurements.csv); every table is a `.csv` "
        "too. What could explain the differences from the paper: [differences.md](differences.md).",
    ]
    if any(part.view.stands_in for part in parts):
        lines.append("Another data set stands for MNIST at this scale, so nothing is said about the paper's claims.")
    for part in parts:
        declared = part.analysis.declared
        figures = [name for name in declared.figures if name in pictures]
        if not (figures or part.claims or any(name in texts for name in declared.tables)):
            continue  # none of its models is run at this scale
        lines += [f"## {part.heading.title}", part.heading.text]
        lines += [f"**{plain(one.title)}: {one.verdict}.** {plain(one.text)}" for one in part.claims]
        lines += [plain(" ".join(part.findings))]
        lines += [f"![{part.heading.title}]({folder}/{name}.png)" for name in figures]
        lines += [_embedded(texts[name]) for name in declared.tables if name in texts and name not in declared.beside]
        if part.view.has_files:
            lines += [markdown(make(part.view)) for make in part.functions("ON_PAGE").values()]
    for one in spec["ablations"]:
        lines += [f"## Ablation: {plain(one['title'])}", ABLATION]
        lines += [f"![Ablation]({folder}/{name}.png)" for name in one["figures"]]
        lines += [_embedded(texts[name]) for name in one["tables"]]
    lines += ["## Scorecard", _embedded(texts["scorecard"]), *_not_run(spec)]
    lines += [
        "## Seeds and spread",
        _spread(spec),
        "## How it was made",
        *map(plain, origin.notes),
        *(f"**{section.title}**\n\n{markdown(section)}" for section in origin.sections),
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _what_was_run(spec: Mapping[str, Any], parts: Sequence[_Shown], runs: Sequence[Stored]) -> str:
    rows = {run: row for part in parts for row in part.view.all_rows for run in row.runs}
    lengths = dict.fromkeys(
        f"{rows[file.run].title} on {rows[file.run].dataset} {file.epochs:,} of "
        f"{file.spec['training']['full_epochs']:,} epochs"
        for file in runs
    )
    return plain(f"Scale {spec['scale']}: {spec['title']}. Trained: {'; '.join(lengths)}.")


def _claims_table(found: Sequence[Claim], scale: str) -> str:
    columns = [Column("title", "claim"), Column("verdict", f"verdict at scale={scale}")]
    columns += [Column("paper", "the authors"), Column("ours", "ours")]
    return markdown(Section("", columns, [vars(claim) for claim in found])) if found else ""


def _embedded(text: str) -> str:
    """A table's own page below a heading of this one: titles become bold lines."""
    return re.sub(r"^#+ (.*)$", r"**\1**", text.strip(), flags=re.MULTILINE)


def _not_run(spec: Mapping[str, Any]) -> list[str]:
    """The paper's models that this page leaves out; those with a row in the scorecard read `not run` there."""
    if not spec["not_run"]:
        return []
    records = [
        {"model": run, "why": why["reason"], "hours": number(why["hours"], 1)}
        for run, why in sorted(spec["not_run"].items())
    ]
    hours = "hours of one core to train it at its full length (estimate)"
    columns = [Column("model", "model"), Column("why", "why"), Column("hours", hours)]
    return [
        "**Models of the paper that this page leaves out**",
        markdown(Section("", columns, records)),
        "The estimate is meant to be right within a factor of two.",
    ]


def _spread(spec: Mapping[str, Any]) -> str:
    seeds = spec["seeds"]
    if len(seeds) > 1:
        return (
            f"Seeds {', '.join(map(str, seeds))}. Values of the tables are means over them, with their standard "
            "deviation. Table 4's first part and Figures 6 to 8 show the first seed, the learning curves all."
        )
    return (
        f"One seed ({seeds[0]}), so the tables have no spread over seeds, unless an analysis names its own seeds. For "
        "the verdicts a spread is assumed; [method.md](method.md#the-page-of-results) says how large, and from which "
        "measurements. Models of one seed share their draws of weights, binarisation and order where shapes agree. "
        "More seeds: `--config 'seeds=[0,1,2]'`."
    )
