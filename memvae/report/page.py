"""`docs/results.md`: every table and figure beside what the paper says, a verdict on each claim, where all comes from.

Put together from files that other targets have written; only the claims are computed here (memvae/report/claims.py).
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memvae import store
from memvae.errors import InputError
from memvae.report import claims, render, slot_claims
from memvae.report.claims import Claim, Material
from memvae.report.layout import Files, Layout
from memvae.report.paper import read_paper
from memvae.report.render import Section, Table, markdown, number

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


PARTS = (
    Part(
        "Parameters (Table 3)",
        "Counted on the networks themselves; independent of training. What the paper prints is in thousands.",
        tables=("table3",),
    ),
    Part(
        "Log-likelihood",
        "The importance-weighted bound L_K of test images, nats, higher is better. The paper claims that memory "
        "raises it, and by more than the same number of parameters spent on wider layers does; that the simpler "
        "VIS-MEM-VAE lies between; and that memory does not overfit.",
        tables=("likelihood",),
        claims=(
            _gain("mem_vae", "vae", "Memory raises the log-likelihood (MNIST)"),
            _gain("mem_vae", "large_vae", "Memory gains more than wider layers with as many parameters"),
            claims.between,
            _gain("mem_vae", "vae", "Memory raises the log-likelihood (OCR-letters)", "ocr_letters"),
            claims.no_overfitting,
        ),
    ),
    Part(
        "Learning curves",
        "The bound with the K of the training, on test images and on as many training images, statistics collected "
        "anew for every point.",
        figures=("training",),
    ),
    Part(
        "Generation with the memory disabled (Figure 6)",
        "The paper shows that the main pattern stays and local detail is lost when what is read from memory is "
        "replaced by ones. It shows images; the energies and likelihoods are our way to put a number on it.",
        figures=("fig6",),
        tables=("detail",),
        claims=(claims.local_detail,),
    ),
    Part(
        "What the slots stand for (Table 4, Figure 7)",
        "Average preference values of VIS-MEM-VAE by class, and the preferred slots as images. The paper: most slots "
        "respond to one class or to a few similar ones, their images are blurry sketches of them, and the images "
        "that mean nothing belong to small values. Slots are shown as they are, never chosen or scaled to look "
        "better.",
        figures=("fig7",),
        tables=("table4",),
        claims=(slot_claims.similar_classes, slot_claims.meaningless_slots),
    ),
    Part(
        "Missing pixels imputed (Figure 8)",
        "The paper compares VAE and MEM-VAE by eye; here an independent classifier reads every completed test image.",
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
    """Writes the page to `output`, and the pictures and numbers that it shows into the folder of its name beside it.

    spec: `targets.page`; inputs: HDF5 files of models and analyses, tables as `.md` and `.csv`, figures as `.png`.
    Raises InputError when an input is missing, damaged or foreign.
    """
    by_kind = {kind: [path for path in inputs if path.suffix == kind] for kind in (".h5", ".md", ".csv", ".png")}
    if missing := [path for path in inputs if not path.exists()]:
        raise InputError(f"{missing[0]}: not found; expected an input of the page; make it with snakemake")
    models = Files([path for path in by_kind[".h5"] if path.parent.name == "models"], "model")
    analyses = Files([path for path in by_kind[".h5"] if path.parent.name != "models"], "analysis")
    material = Material(Layout.from_dict(spec["layout"]), analyses, read_paper(paper))
    origin = _origin(models, material.layout, by_kind[".h5"])
    folder = output.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*by_kind[".csv"], *by_kind[".png"]):
        shutil.copyfile(path, folder / path.name)
    store.write_text(folder / "provenance.csv", render.as_csv(origin))
    texts = {path.stem: path.read_text() for path in by_kind[".md"]}
    store.write_text(output, _page(spec, material, models, texts, origin, folder.name))


def _page(
    spec: Mapping[str, Any], material: Material, models: Files, texts: Mapping[str, str], origin: Table, folder: str
) -> str:
    judged = {part.title: [claim for judge in part.claims if (claim := judge(material))] for part in PARTS}
    lines = [
        "# Results",
        f"Written by `{spec['command']}`; do not edit. {_what_was_run(spec, models, material.layout)}",
        "A verdict weighs a difference against twice its standard error, which holds the choice of test images and "
        "the chance of training. The numbers on this page are in [the folder beside it](results) as `.csv`, in full "
        "precision.",
        "## The paper's claims at a glance",
        _claims_table([claim for found in judged.values() for claim in found]),
    ]
    for part in PARTS:
        lines += [f"## {part.title}", part.text]
        for claim in judged[part.title]:
            lines.append(f"**{claim.title}: {claim.verdict}.** {claim.text}")
        lines += [f"![{part.title}]({folder}/{name}.png)" for name in part.figures]
        lines += [_embedded(texts[name]) for name in part.tables if name in texts]
        if "training" in part.figures:
            lines.append(markdown(_curve_rows(models, material.layout)))
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
        f"{row.title} on {row.dataset}: {found[0].epochs:,} of the paper's "
        f"{found[0].spec['training']['full_epochs']:,} epochs"
        for row, found in rows
        if found
    )
    return f"Scale `{spec['layout']['scale']}`: {spec['title']}. {'; '.join(lengths)}."


def _claims_table(found: Sequence[Claim]) -> str:
    return markdown(
        [{"claim": c.title, "the paper": c.paper, "here": c.ours, "verdict": f"**{c.verdict}**"} for c in found]
    )


def _embedded(text: str) -> str:
    """A table's own page below a heading of this one: titles become bold lines."""
    return re.sub(r"^#+ (.*)$", r"**\1**", text.strip(), flags=re.MULTILINE)


def _section(section: Section) -> str:
    return f"**{section.title}**\n\n{markdown(section.records)}"


def _curve_rows(models: Files, layout: Layout) -> list[dict[str, str]]:
    """Test bound (and training minus test) of every run at some epochs, about equally spaced in log time."""
    rows = []
    for row in layout.rows:
        for file in models.of(row, "model"):
            epochs = file.array("curves/test_epoch")
            test, train = file.array("curves/test_bound"), file.array("curves/train_bound_collected")
            last = len(epochs) - 1
            places = sorted({round(last ** (n / (POINTS - 1))) for n in range(1, POINTS)} | {last})
            rows.append(
                {
                    "run": file.run,
                    "epoch: test bound (training minus test), nats": "; ".join(
                        f"{epochs[at]:,}: {test[at]:.2f} ({train[at] - test[at]:+.2f})" for at in places
                    ),
                }
            )
    return rows


def _not_run(spec: Mapping[str, Any]) -> list[str]:
    """Why rows of the scorecard read `not run`."""
    if not spec["not_run"]:
        return []
    rows = [
        {"run": run, "reason": why["reason"], "cost at the paper's length, hours of one core": number(why["hours"], 0)}
        for run, why in spec["not_run"].items()
    ]
    return ["**Rows that were not run, and why**", markdown(rows)]


def _spread(spec: Mapping[str, Any]) -> str:
    seeds = spec["seeds"]
    if len(seeds) > 1:
        return (
            f"Seeds {', '.join(map(str, seeds))}: every value is a mean, every spread the standard deviation over them."
        )
    return (
        f"One seed ({seeds[0]}), so the tables have no spread over seeds. For the verdicts above a log-likelihood is "
        f"taken to vary by {claims.SEED_SD} nats from seed to seed: over three seeds of 30 epochs the standard "
        "deviation was 0.14 (VAE) and 0.16 nats (MEM-VAE), measured by `python -m benchmarks.precision` "
        "([numbers](results/precision_training.csv), [how](performance.md)). Models of one seed share their draws of "
        "weights, binarisation and order where shapes agree. More seeds: `--config 'seeds=[0,1,2]'`."
    )


def _origin(models: Files, layout: Layout, inputs: Sequence[Path]) -> Table:
    """Every training with its seed, length, mode, code, checksums and time; what each kind of job took altogether."""
    cells: list[dict[str, Any]] = []
    for file in (file for row in layout.rows for file in models.of(row, "model")):
        record = _run_record(file.path)
        cells.append(
            {
                "run": file.run,
                "seed": file.seed,
                "epochs": file.epochs,
                "computed": file.attribute("computed"),
                "device": file.attribute("device"),
                "code_version": file.attribute("code_version"),
                "minutes": round(record["seconds"] / 60, 1) if record else None,
                "finished": record.get("finished", ""),
                "data_sha256": file.attribute("data_sha256"),
                "model_sha256": file.attribute("sha256"),
                "packages": json.dumps(file.attribute("packages"), sort_keys=True),
            }
        )
    trainings = [
        {
            **{key: str(cell[key]) for key in ("run", "seed", "epochs", "computed", "device", "code_version")},
            "minutes": number(cell["minutes"], 0),
            "finished": cell["finished"],
            "data, model (sha256)": f"{cell['data_sha256'][:8]}, {cell['model_sha256'][:8]}",
        }
        for cell in cells
    ]
    records = [(path.stem if path.parent.name != "models" else "training", _run_record(path)) for path in inputs]
    times = [
        {
            "files": kind,
            "number": str(len(minutes)),
            "minutes, all together": number(sum(minutes), 0),
            "the longest": number(max(minutes), 0),
        }
        for kind in dict.fromkeys(kind for kind, _ in records)
        if (minutes := [record["seconds"] / 60 for name, record in records if name == kind and record])
    ]
    packages = dict.fromkeys(" ".join(map(" ".join, json.loads(cell["packages"]).items())) for cell in cells)
    processors = dict.fromkeys(record["processor"] for _, record in records if "processor" in record)
    notes = [
        f"Packages: {'; '.join(packages)}." if packages else "",
        f"Processor: {'; '.join(processors)}." if processors else "",
        "Minutes are those of a job's process since its last start, one thread each, with other jobs beside it.",
    ]
    sections = [Section("Trainings", trainings), Section("Time by kind of job", times)]
    return Table("provenance", "Provenance", cells, sections, [note for note in notes if note])


def _run_record(path: Path) -> dict[str, Any]:
    """`<file>.run.json`, where there is one: it is no output of the workflow."""
    try:
        record: dict[str, Any] = json.loads(Path(f"{path}.run.json").read_text())
    except (OSError, ValueError):
        return {}
    return record
