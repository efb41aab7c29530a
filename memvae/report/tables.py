"""The tables `results/tables/<name>`: from analysis files and the paper's numbers to `.csv`, `.md` and `.tex`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from memvae.analyses.detail import table as detail_table
from memvae.analyses.likelihood import table as likelihood_table
from memvae.analyses.slots import tables as slot_tables
from memvae.errors import InputError
from memvae.report import measures, render
from memvae.report.layout import Files, Layout
from memvae.report.origin import PAPER_DATASETS, comparable, facts, facts_columns, notes
from memvae.report.paper import NOT_RUN, Paper, model_key, read_paper
from memvae.report.render import Section, Table, number

CLASSIFIERS = {"crammer_singer": "Crammer-Singer (the authors')", "linear_svc": "LinearSVC"}


def write(name: str, layout: Mapping[str, Any], inputs: Sequence[Path], paper: Path, output: Path) -> None:
    """Writes the table `name` to `output` and its siblings: `.csv`, `.md` and `.tex`.

    `layout` is what `Layout.from_dict` reads, `paper` is `config/paper.yaml`.
    Raises InputError on an unknown name, a wrong layout, or a missing, damaged or foreign input.
    """
    render.write(build(name, Layout.from_dict(layout), inputs, paper), output)


def build(name: str, layout: Layout, inputs: Sequence[Path], paper: Path) -> Table:
    """The table in memory."""
    builders: dict[str, tuple[str, Callable[[Layout, Files, Paper], Table]]] = {
        "table3": ("analysis/parameters", table3),
        "table4": ("analysis/slots", slot_tables.table4),
        "slots": ("analysis/slots", slot_tables.slots),
        "likelihood": ("analysis/likelihood", likelihood_table.build),
        "detail": ("analysis/detail", detail_table.build),
        "probing": ("analysis/probing", probing),
        "imputation": ("analysis/imputation", imputation),
    }
    if name not in builders:
        raise InputError(f"table: found {name!r}, expected one of {', '.join(builders)}")
    kind, builder = builders[name]
    return builder(layout, Files(inputs, kind), read_paper(paper))


def table3(layout: Layout, files: Files, printed: Paper) -> Table:
    """Trainable parameters beside the paper's (printed in thousands)."""
    counts = parameter_counts(files)
    titles = {row.model: row.title for row in layout.rows}
    names = {entry.row: entry.note for entry in printed.of("table3")}
    cells, rounded = [], []
    for key in dict.fromkeys([*counts, *names]):
        dataset, model = key.rsplit("-", 1)
        ours, theirs = counts.get(key), printed.value("table3", key, "parameters")
        data, title = PAPER_DATASETS.get(dataset, dataset), titles.get(model, model)
        difference = ours - theirs if ours is not None and theirs is not None else None
        cells.append(
            {
                "row": key,
                "model": title,
                "paper_name": names.get(key, ""),
                "parameters": NOT_RUN if ours is None else ours,
                "paper": None if theirs is None else int(theirs),
                "difference": None if difference is None else int(difference),
                "scale": layout.scale,
                "data": data,
            }
        )
        rounded.append(
            {
                "data": data,
                "model": title,
                "name in the paper": names.get(key, ""),
                "parameters": NOT_RUN if ours is None else number(ours, 0),
                "paper": "" if theirs is None else f"{theirs / 1000:,.0f}K",
            }
        )
    said = notes(
        layout,
        "Counted on the models themselves, with the dense biases before batch norm, gamma and beta, and without the "
        "batch-norm statistics; the counts depend on neither data nor training.",
    )
    return Table("table3", "Table 3. Trainable parameters", cells, [Section("", rounded)], said)


def parameter_counts(files: Files) -> dict[str, int]:
    """`<dataset>-<model>` -> trainable parameters. Raises InputError when the file of counts is not there."""
    if files.parameters is None:
        raise InputError("table3: no analysis/parameters file among the inputs, expected one")
    rows, counts = files.parameters.attributes["rows"], files.parameters.arrays["counts"]
    return {f"{row['dataset']}-{row['model']}": int(count) for row, count in zip(rows, counts, strict=True)}


def probing(layout: Layout, files: Files, printed: Paper) -> Table:
    """Accuracy of linear classifiers on the recognition model's last features, %."""
    cells, rounded = [], []
    rows = files.rows(layout, "analysis/probing")
    for row, found in rows:
        for classifier, title in CLASSIFIERS.items():
            theirs = printed.value("probing", model_key(row), "accuracy") if classifier == "crammer_singer" else None
            over_seeds, error, images = measures.accuracy(found, classifier) if found else (None, None, None)
            difference = comparable(row, found, theirs, over_seeds.mean) if over_seeds else None
            cells.append(
                {
                    "row": model_key(row),
                    "model": row.title,
                    "classifier": classifier,
                    "accuracy": over_seeds.mean if over_seeds else NOT_RUN,
                    "standard_error": error,
                    "sd": over_seeds.sd if over_seeds else None,
                    "seeds": over_seeds.seeds if over_seeds else None,
                    "paper": theirs,
                    "difference": difference,
                    **facts_columns(layout, row, found, samples=None, images=images),
                }
            )
            rounded.append(
                {
                    "model": row.title,
                    "classifier": title,
                    "accuracy, %": number(over_seeds.mean) if over_seeds else NOT_RUN,
                    "standard error": number(error),
                    "sd over seeds": number(over_seeds.sd) if over_seeds else "",
                    "seeds": str(over_seeds.seeds) if over_seeds else "",
                    "paper": number(theirs),
                }
            )
    done = [file for _, found in rows for file in found]
    count = f" on {done[0].array('labels').size:,} test images" if done else ""
    chosen = [f"{row.title} C = {file.attribute('chosen_c'):g}" for row, found in rows for file in found]
    said = notes(
        layout,
        f"LinearSVC, chosen on training images: {', '.join(chosen)}." if chosen else "",
        f"Features: last deterministic layer of the recognition model, real-valued inputs; accuracy in %{count}, "
        "with its binomial standard error.",
        f"Data: {facts(done)}." if done else "",
    )
    return Table("probing", "Linear classifiers on the features", cells, [Section("", rounded)], said)


def imputation(layout: Layout, files: Files, printed: Paper) -> Table:
    """Error over missing pixels and share of recovered digits, for every noise and model."""
    rows = files.rows(layout, "analysis/imputation")
    done = [file for _, found in rows for file in found]
    cells, rounded = [], []
    for noise in list(dict.fromkeys(name for file in done for name in file.attribute("noises"))) or ["left_half"]:
        line: dict[str, str] = {"missing": noise_title(noise)}
        for row, found in rows:
            error = measures.imputation_error(found, noise) if found else None
            share, share_error, images = measures.recovered(found, noise) if found else (None, None, None)
            cells.append(
                {
                    "noise": noise,
                    "row": model_key(row),
                    "model": row.title,
                    "error": error.mean if error else NOT_RUN,
                    "error_sd": error.sd if error else None,
                    "recovered": share.mean if share else NOT_RUN,
                    "recovered_standard_error": share_error,
                    "recovered_sd": share.sd if share else None,
                    "seeds": error.seeds if error else None,
                    "iterations": found[0].array(f"{noise}/error").size if found else None,
                    "classifier_accuracy": 100 * found[0].attribute("classifier_accuracy") if found else None,
                    **facts_columns(layout, row, found, samples=1 if found else None, images=images),
                }
            )
            line[f"{row.title}: error"] = _with_sd(error, 4)
            line[f"{row.title}: recovered, %"] = _with_sd(share, 1)
        rounded.append(line)
    count = f" ({done[0].setting('iterations')}, one z each)" if done else ""
    said = notes(layout, f"Error: squared error per missing pixel, pixels in [0, 1], after the last iteration{count}.")
    if done:
        judge, images = 100 * done[0].attribute("classifier_accuracy"), done[0].array("labels").size
        said += [
            f"Recovered: share of the {images:,} completed test images in which a classifier, trained on clean images, "
            f"sees the right digit (standard error at most {number(50 / images**0.5, 1)} %). On clean test images its "
            f"accuracy is {number(judge)} %.",
            f"Data: {facts(done)}. In brackets the standard deviation over seeds, where there are several.",
        ]
    return Table("imputation", "Missing pixels imputed", cells, [Section("", rounded)], said)


def noise_title(noise: str) -> str:
    """`square_12` -> `square 12 x 12`, `drop_0.6` -> `60 % of the pixels`, `left_half` -> `left half`."""
    kind, _, level = noise.partition("_")
    if kind == "square":
        return f"square {level} x {level}"
    if kind == "drop":
        return f"{100 * float(level):.0f} % of the pixels"
    return noise.replace("_", " ")


def _with_sd(value: measures.Spread | None, decimals: int) -> str:
    if value is None:
        return NOT_RUN
    return number(value.mean, decimals) + ("" if value.sd is None else f" ({number(value.sd, decimals)})")
