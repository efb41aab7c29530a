"""`docs/results.md`: every table and figure beside what the paper says, a verdict on each claim, where all comes from.

Put together from files that other targets have written; only the claims are computed here (memvae/report/claims.py).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from memvae.analyses.slots import claims as slot_claims
from memvae.errors import InputError
from memvae.files import store
from memvae.report import claims, html, provenance, render
from memvae.report.claims import Claim, Material
from memvae.report.layout import Files, Layout
from memvae.report.paper import read_paper
from memvae.report.render import Section, Table, markdown, number
from memvae.settings.config import making

POINTS = 6  # epochs of a learning curve that the page prints

Judge = Callable[[Material], Claim | None]


@dataclass(frozen=True)
class Part:
    """One heading of the page: what it is about, its figures, tables and claims."""

    title: str
    text: str
    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    claims: tuple[Judge, ...] = ()


def _gain(model: str, base: str, title: str, dataset: str = "mnist") -> Judge:
    return lambda material: claims.memory_gain(material, model, base, title, dataset)


def _no_overfitting(title: str, dataset: str) -> Judge:
    return lambda material: claims.no_overfitting(material, title, dataset)


PARTS = (
    Part(
        "Parameters (Table 3)",
        "Counted on the networks themselves; independent of training. The paper prints thousands.",
        tables=("table3",),
    ),
    Part(
        "Log-likelihood",
        "The importance-weighted bound L_K of test images, nats, higher is better. The paper: memory raises it, also "
        "over a VAE with wider layers and as many parameters (the rebuttal's model), and does not overfit. "
        "VIS-MEM-VAE, the simpler model that Table 4 and Figure 7 show, lies between in the authors' numbers.",
        tables=("likelihood",),
        claims=(
            _gain("mem_vae", "vae", "Memory raises the log-likelihood"),
            _gain("mem_vae", "large_vae", "Memory gains more than wider layers with as many parameters"),
            claims.between,
            _gain("mem_vae", "vae", "Memory raises the log-likelihood of OCR-letters", "ocr_letters"),
            _no_overfitting("Memory does not overfit", "mnist"),
            _no_overfitting("Memory does not overfit on OCR-letters", "ocr_letters"),
        ),
    ),
    Part(
        "Learning curves",
        "The bound with the K of the training, on test images and on as many training images, statistics collected "
        "anew for every point.",
        figures=("training",),
        tables=("training",),
    ),
    Part(
        "Generation with the memory disabled (Figure 6)",
        "What is read from memory is replaced by ones, in the layer next to the data or in both. The appendix shows "
        "images; energies and likelihoods are our way to put numbers on them.",
        figures=("fig6",),
        tables=("detail",),
        claims=(claims.local_detail,),
    ),
    Part(
        "What the slots stand for (Table 4, Figure 7)",
        "Average preference values of VIS-MEM-VAE by class, and the preferred slots as images. The appendix: most of "
        "the selected slots respond to one class or similar classes, such as 4, 7 and 9, their images are blurry "
        "sketches, and a few less meaningful images have small values. Slots are shown as they are, never chosen or "
        "scaled to look better.",
        figures=("fig7",),
        tables=("table4",),
        claims=(slot_claims.similar_classes, slot_claims.meaningless_slots),
    ),
    Part(
        "Missing pixels imputed (Figure 8)",
        "The appendix compares VAE and MEM-VAE by eye: fewer meaningless images, clearer digits, more accurate "
        "inference. Here an independent classifier reads every completed test image.",
        figures=("fig8",),
        tables=("imputation",),
        claims=(claims.imputation,),
    ),
    Part(
        "Linear classifiers on the features",
        "Trained on the last deterministic layer of the recognition model.",
        tables=("probing",),
        claims=(claims.probing,),
    ),
)


def write(spec: Mapping[str, Any], inputs: Sequence[Path], paper: Path, output: Path) -> None:
    """Writes the page to `output`: Markdown, with the pictures and numbers that it shows in the folder of its name
    beside it, or, if `output` ends in `.html`, one file with all of them inside (memvae/report/html.py).

    spec: `targets.page`; inputs: HDF5 files of models and analyses, tables as `.md` and `.csv`, figures as `.png`.
    Raises InputError when an input is missing, damaged or foreign.
    """
    by_kind = {kind: [path for path in inputs if path.suffix == kind] for kind in (".h5", ".md", ".csv", ".png")}
    if missing := [path for path in inputs if not path.exists()]:
        raise InputError(f"{missing[0]}: not found; expected an input of the page; make it with {making(missing[0])}")
    models = Files([path for path in by_kind[".h5"] if path.parent.name == "models"], "model")
    analyses = Files([path for path in by_kind[".h5"] if path.parent.name != "models"], "analysis")
    material = Material(Layout.from_dict(spec["layout"]), analyses, read_paper(paper))
    judged = {part.title: _judged(part, material) for part in PARTS}
    origin = provenance.table(models, analyses, material.layout)
    numbers = [
        {"claim": claim.title, "verdict": claim.verdict, "quantity": name, "value": value}
        for found in judged.values()
        for claim in found
        for name, value in claim.numbers.items()
    ]
    curves = _curves(models, material.layout)
    own = {"claims": numbers, "curves": curves, "provenance": origin.cells}
    texts = {path.stem: path.read_text() for path in by_kind[".md"]} | {"training": markdown(_curve_rows(curves))}
    folder = output.with_suffix("")
    text = _page(spec, material, judged, models, texts, origin, folder.name)
    files = {path.name: path.read_bytes() for path in (*by_kind[".csv"], *by_kind[".png"])}
    files |= {f"{name}.csv": render.records_csv(records).encode() for name, records in own.items()}
    if output.suffix == ".html":
        text = html.page(text, {f"{folder.name}/{name}": content for name, content in files.items()})
    else:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    store.write_text(output, text)


def _judged(part: Part, material: Material) -> list[Claim]:
    """The claims of a part that there are files for; without verdict where another data set stands for the paper's."""
    found = [claim for judge in part.claims if (claim := judge(material))]
    return [replace(claim, verdict=claims.NONE) for claim in found] if material.stands_in else found


def _page(
    spec: Mapping[str, Any],
    material: Material,
    judged: Mapping[str, list[Claim]],
    models: Files,
    texts: Mapping[str, str],
    origin: Table,
    folder: str,
) -> str:
    lines = [
        "# Results",
        f"Written by `{spec['command']}`; do not edit. {_what_was_run(spec, models, material.layout)}",
        "## The paper's claims at a glance",
        _claims_table([claim for found in judged.values() for claim in found], spec["layout"]["scale"]),
        "±: one standard error. Of log-likelihoods, overfitting, probing and recovered digits it is over test images "
        "and over seeds; with fewer than five seeds a model's spread over seeds is taken as at least "
        f"{claims.SEED_SD} nats ({claims.GAP_SEED_SD} of train minus test), {claims.PROBING_SEED_SD} points of "
        f"accuracy or {claims.RECOVERED_SEED_SD:g} point of recovered digits. The other rows are about the models that "
        "were run, their ± about images, draws or chance alone. L_1 and L_K: bound with one and with K samples. Train "
        "minus test: of L_1. Coherence: correlation with the images of the full memory. Sources: A the paper's "
        "appendix, R the authors' rebuttal at ICML, = computed from files that the authors published; the main text's "
        "numbers were not at hand. A verdict is about the models of this scale; how each is reached stands in "
        "[method.md](method.md#the-page-of-results). Numbers in full precision: "
        f"[claims]({folder}/claims.csv), [scorecard]({folder}/scorecard.csv), [learning curves]({folder}/curves.csv); "
        "every table is a `.csv` too. What could explain the differences from the paper: "
        "[agreement.md](agreement.md).",
    ]
    if material.stands_in:
        lines.append("Another data set stands for MNIST here, so nothing is said about the paper's claims.")
    for part in PARTS:
        lines += [f"## {part.title}", part.text]
        for claim in judged[part.title]:
            lines.append(f"**{claim.title}: {claim.verdict}.** {claim.text}")
        lines += [f"![{part.title}]({folder}/{name}.png)" for name in part.figures]
        lines += [_embedded(texts[name]) for name in part.tables if name in texts]
    lines += ["## Scorecard", _embedded(texts["scorecard"]), *_not_run(spec)]
    lines += [
        "## Seeds and spread",
        _spread(spec),
        "## How it was made",
        *origin.notes,
        *map(_section, origin.sections),
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _what_was_run(spec: Mapping[str, Any], models: Files, layout: Layout) -> str:
    rows = [(row, models.of(row, "model")) for row in layout.rows]
    lengths = dict.fromkeys(
        f"{row.title} on {row.dataset} {found[0].epochs:,} of {found[0].spec['training']['full_epochs']:,} epochs"
        for row, found in rows
        if found
    )
    return f"Scale `{spec['layout']['scale']}`: {spec['title']}. Trained: {'; '.join(lengths)}."


def _claims_table(found: Sequence[Claim], scale: str) -> str:
    return markdown(
        [
            {"claim": c.title, f"verdict at scale={scale}": f"**{c.verdict}**", "the authors": c.paper, "here": c.ours}
            for c in found
        ]
    )


def _embedded(text: str) -> str:
    """A table's own page below a heading of this one: titles become bold lines."""
    return re.sub(r"^#+ (.*)$", r"**\1**", text.strip(), flags=re.MULTILINE)


def _section(section: Section) -> str:
    return f"**{section.title}**\n\n{markdown(section.records)}"


def _curves(models: Files, layout: Layout) -> list[dict[str, Any]]:
    """Every point of every run's learning curve, nats per image."""
    return [
        {"run": file.run, "epoch": int(epoch), "test_bound": float(test), "train_bound": float(train)}
        for row in layout.rows
        for file in models.of(row, "model")
        for epoch, test, train in zip(
            *(file.array(f"curves/{name}") for name in ("test_epoch", "test_bound", "train_bound_collected")),
            strict=True,
        )
    ]


def _curve_rows(curves: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Some points of every curve, about equally spaced in the logarithm of the epoch."""
    rows = []
    for run, points in groupby(curves, key=itemgetter("run")):
        every = list(points)
        last = len(every) - 1
        places = sorted({round(last ** (n / (POINTS - 1))) for n in range(1, POINTS)} | {last})
        texts = [
            f"{every[at]['epoch']:,}: {every[at]['test_bound']:.2f} "
            f"({every[at]['train_bound'] - every[at]['test_bound']:+.2f})"
            for at in places
        ]
        rows.append({"run": run, "epoch: test bound (training minus test), nats": "; ".join(texts)})
    return rows


def _not_run(spec: Mapping[str, Any]) -> list[str]:
    """The paper's models that this page leaves out; those with a row in the scorecard read `not run` there."""
    if not spec["not_run"]:
        return []
    rows = [
        {
            "model": run,
            "why": why["reason"],
            "hours of one core to train it at its full length (estimate)": number(why["hours"], 1),
        }
        for run, why in sorted(spec["not_run"].items())
    ]
    return [
        "**Models of the paper that this page leaves out**",
        markdown(rows),
        "The estimate is meant to be right within a factor of two.",
    ]


def _spread(spec: Mapping[str, Any]) -> str:
    seeds = spec["seeds"]
    if len(seeds) > 1:
        return (
            f"Seeds {', '.join(map(str, seeds))}. Values of the tables are means over them, with their standard "
            "deviation; Table 4's first part and Figures 6 to 8 show the first seed, the learning curves all."
        )
    return (
        f"One seed ({seeds[0]}), so the tables have no spread over seeds. For the verdicts a log-likelihood is taken "
        f"to vary by {claims.SEED_SD} nats from seed to seed, whatever the model, data set and length: measured were "
        "0.11 to 0.16 nats, over three seeds of VAE and of MEM-VAE on MNIST, 30 epochs, by `python -m "
        "benchmarks.precision` ([how](performance.md#what-bf16-products-change)). Models of one seed share their "
        "draws of weights, binarisation and order where shapes agree. More seeds: `--config 'seeds=[0,1,2]'`."
    )
