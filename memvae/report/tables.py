"""The tables `results/tables/<name>`: from analysis files and the paper's numbers to `.csv`, `.md` and `.tex`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from memvae.config import Row
from memvae.errors import InputError
from memvae.report import layout as layouts
from memvae.report import measures, render, slot_tables
from memvae.report.layout import Files, Layout, RunFile
from memvae.report.paper import Paper, model_key, read_paper, run_key
from memvae.report.render import NOT_RUN, Section, Table, number
from memvae.report.slot_tables import comparable, facts_columns, notes

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
        "likelihood": ("analysis/likelihood", likelihood),
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
        data, title = layouts.PAPER_DATASETS.get(dataset, dataset), titles.get(model, model)
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
    """`<dataset>-<model>` -> trainable parameters. Raises InputError when the file of counts is not among the inputs."""
    if files.parameters is None:
        raise InputError("table3: no analysis/parameters file among the inputs, expected one")
    rows, counts = files.parameters.attributes["rows"], files.parameters.arrays["counts"]
    return {f"{row['dataset']}-{row['model']}": int(count) for row, count in zip(rows, counts, strict=True)}


def likelihood(layout: Layout, files: Files, printed: Paper) -> Table:
    """Test log-likelihood of every row, the parts of L_1, and the differences between models, nats per image."""
    rows = files.rows(layout, "analysis/likelihood", every=True)
    results = [(row, found, measures.likelihood(found) if found else None) for row, found in rows]
    with_more = any(result and result.more for _, _, result in results)
    cells, values, parts = [], [], []
    for row, found, result in results:
        theirs = printed.value("likelihood", run_key(row), "log_likelihood")
        cells.append(_likelihood_cells(layout, row, found, result, theirs))
        head = {"data": row.dataset, "model": row.title, "K in training": str(row.k)}
        if result is None:
            values.append({**head, "log-likelihood": NOT_RUN, "paper": number(theirs)})
            continue
        difference = comparable(row, found, theirs, result.log_likelihood.mean)
        more = f"{number(result.more.mean)} (K = {result.more_samples:,})" if result.more else ""
        values.append(
            {
                **head,
                "log-likelihood": number(result.log_likelihood.mean),
                "standard error": number(result.standard_error),
                "sd over seeds": number(result.log_likelihood.sd),
                "seeds": str(result.log_likelihood.seeds),
                **({"more samples": more} if with_more else {}),
                "paper": number(theirs),
                "difference": number(difference, sign=True),
            }
        )
        parts.append(
            {
                **head,
                "bound L1": number(result.bound.mean),
                "reconstruction": number(result.log_px.mean),
                "KL": number(result.kl.mean),
                "train minus test": number(result.train_minus_test.mean, sign=True),
                "sd of bound over seeds": number(result.bound.sd),
                "test images": number(result.bound_images, 0),
            }
        )
    gap_cells, gap_rows = _gaps(layout, rows, printed)
    sections = [Section("log-likelihood", values)]
    if parts:
        sections.append(Section("the one-sample bound and its parts", parts))
    if gap_rows:
        sections.append(Section("gain of memory, over the same test images", gap_rows))
    done = [(found, result) for _, found, result in results if result]
    spans = dict.fromkeys(f"{f[0].data} K = {r.samples:,} on {r.images:,} test images" for f, r in done)
    said = notes(
        layout,
        "Nats per image, higher is better; standard errors are over test images.",
        f"Data: {layouts.facts(file for found, _ in done for file in found)}. Samples: {', '.join(spans)}." if done else "",
        "The paper's values: K = 5,000 on all test images.",
    )
    return Table("likelihood", "Test log-likelihood", [*cells, *gap_cells], sections, said)


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
    images = f" on {done[0].array('labels').size:,} test images" if done else ""
    said = notes(
        layout,
        f"Features: last deterministic layer of the recognition model, real-valued inputs; accuracy in %{images}, "
        "with its binomial standard error.",
        f"Data: {layouts.facts(done)}." if done else "",
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
    said = notes(layout, "Error: squared error per missing pixel, pixels in [0, 1], after the last iteration.")
    if done:
        judge, images = 100 * done[0].attribute("classifier_accuracy"), done[0].array("labels").size
        said += [
            f"Recovered: share of {images:,} completed test images in which a classifier trained on clean images sees the "
            f"right digit; standard error at most {number(50 / images**0.5, 1)}. It sees it in {number(judge)} % of the "
            "clean test images.",
            f"Data: {layouts.facts(done)}. In brackets the standard deviation over seeds, where there are several.",
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


def _likelihood_cells(
    layout: Layout, row: Row, found: list[RunFile], result: measures.Likelihood | None, theirs: float | None
) -> dict[str, Any]:
    return {
        "row": run_key(row),
        "model": row.title,
        "k": row.k,
        "log_likelihood": result.log_likelihood.mean if result else NOT_RUN,
        "standard_error": result.standard_error if result else None,
        "sd": result.log_likelihood.sd if result else None,
        "seeds": result.log_likelihood.seeds if result else None,
        "paper": theirs,
        "difference": comparable(row, found, theirs, result.log_likelihood.mean) if result else None,
        "log_likelihood_more": result.more.mean if result and result.more else None,
        "sd_more": result.more.sd if result and result.more else None,
        "samples_more": result.more_samples if result else None,
        "bound": result.bound.mean if result else None,
        "bound_sd": result.bound.sd if result else None,
        "log_px": result.log_px.mean if result else None,
        "kl": result.kl.mean if result else None,
        "train_minus_test": result.train_minus_test.mean if result else None,
        "train_minus_test_sd": result.train_minus_test.sd if result else None,
        "bound_images": result.bound_images if result else None,
        **facts_columns(
            layout, row, found, samples=result.samples if result else None, images=result.images if result else None
        ),
    }


def _gaps(
    layout: Layout, rows: list[tuple[Row, list[RunFile]]], printed: Paper
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Every model with memory minus every one without, of the same data set and K."""
    cells, rounded = [], []
    for row, found in rows:
        for base, base_found in rows:
            pair = found and base_found and found[0].has_memory and not base_found[0].has_memory
            if not pair or (row.paper_dataset, row.k) != (base.paper_dataset, base.k):
                continue
            result = measures.gap(found, base_found)
            values = [printed.value("likelihood", run_key(one), "log_likelihood") for one in (row, base)]
            theirs = values[0] - values[1] if values[0] is not None and values[1] is not None else None
            name = f"{row.title} minus {base.title}"
            cells.append(
                {
                    "row": f"{run_key(row)} minus {run_key(base)}",
                    "model": name,
                    "k": row.k,
                    "log_likelihood": result.difference.mean,
                    "standard_error": result.standard_error,
                    "sd": result.difference.sd,
                    "seeds": result.difference.seeds,
                    "paper": None if theirs is None else round(theirs, 2),
                    "difference": comparable(row, found, theirs, result.difference.mean),
                    **facts_columns(
                        layout, row, [*found, *base_found], measures.same(found, "samples"), result.images
                    ),
                }
            )
            rounded.append(
                {
                    "data": row.dataset,
                    "difference": name,
                    "K in training": str(row.k),
                    "gain": number(result.difference.mean, sign=True),
                    "standard error": number(result.standard_error, 3),
                    "gain / standard error": number(result.difference.mean / result.standard_error, 1),
                    "sd over seeds": number(result.difference.sd),
                    "paper": number(theirs, sign=True),
                }
            )
    return cells, rounded


def _with_sd(value: measures.Spread | None, decimals: int) -> str:
    if value is None:
        return NOT_RUN
    return number(value.mean, decimals) + ("" if value.sd is None else f" ({number(value.sd, decimals)})")
