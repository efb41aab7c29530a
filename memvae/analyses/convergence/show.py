"""How far the estimate of the log-likelihood with K samples is from that with the most samples."""

from collections.abc import Iterator
from math import exp, lgamma, sqrt
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from memvae.files.store import Stored
from memvae.report import statistics, style
from memvae.report.canvas import panels
from memvae.report.claims import Part
from memvae.report.paper import run_key
from memvae.report.statistics import Measured
from memvae.report.table import NOT_RUN, Column, Section, Table
from memvae.report.view import View, record_of

PAGE = Part(
    "Log-likelihood against K",
    "L_K is a lower bound in expectation, and rises with K. What the last steps still add says how much is missing.",
)
COLUMNS = (
    Column("data", "data"),
    Column("model", "model"),
    Column("k", "K"),
    Column("log_likelihood", "log-likelihood"),
    Column("standard_error", "standard error"),
    Column("missing", "below the largest K", 3),
    Column("missing_standard_error", "its standard error", 3),
    Column("sd_of_estimate", "sd of one estimate", 3),
)


def measure(view: View) -> Iterator[Measured]:
    """L_K for every K, how far it is below that of the largest K, and the noise of one estimate; nats per image."""
    for row, found in view.made:
        for setting in ("samples", "images", "more_samples"):
            statistics.same_setting(found, setting)
        for place, k in enumerate(_counts(found[0])):
            condition = f"K = {k}"
            yield statistics.per_image(row, found, "log_likelihood", "nats", _of("log_likelihood", place), condition)
            yield statistics.per_image(row, found, "missing", "nats", _missing(place), condition)
            if groups := _counts(found[0])[-1] // k - 1:  # of one group there is no deviation
                sd = _sd(place, groups + 1)
                yield statistics.per_image(row, found, "sd_of_estimate", "nats", sd, condition)


def table(view: View) -> Table:
    """The table `likelihood_by_k`: a row per model and K."""
    records: list[dict[str, Any]] = []
    for row, found in view.rows:
        if not found:
            records.append({**record_of(row, run_key), "log_likelihood": NOT_RUN, **view.facts(row, found)})
        for k in _counts(found[0]) if found else []:
            condition = f"K = {k}"
            record: dict[str, Any] = {
                **record_of(row, run_key),
                "k": k,
                "images": found[0].array("log_likelihood").shape[0],
            }
            for name in ("log_likelihood", "missing", "sd_of_estimate"):
                one = view.number(row, name, condition)
                error = "standard_error" if name == "log_likelihood" else f"{name}_standard_error"
                record |= {name: one.mean if one else None, error: one.error if one else None}
            records.append(record | view.facts(row, found, k))
    notes = view.notes(
        "Means over test images, nats. L_K of smaller K are means over all groups of K among the samples of the "
        "largest; sd: of a single estimate of an image, from those groups.",
        f"Data: {view.data()}; the first {view.done[0].array('log_likelihood').shape[0]:,} test images, so the values "
        "are not those of all."
        if view.done
        else "",
    )
    return Table(
        "likelihood_by_k", "Log-likelihood against K", records, [Section("", COLUMNS, records, long=True)], notes
    )


def findings(view: View) -> list[str]:
    """What the last step of K still adds, of each data set for the model that gains most."""
    sentences = []
    for title, made in view.by_dataset.items():
        *_, before, largest = (1, *_counts(made[0][1][0]))  # with K = 1 alone nothing is added
        steps = {row: view.number(row, "missing", f"K = {before}") for row, _ in made}
        row, most = max(((row, one) for row, one in steps.items() if one), key=lambda pair: pair[1].mean)
        sentences.append(
            f"{title}: from K = {before:,} to {largest:,} the estimate rises by at most {most.mean:.3f} ± "
            f"{most.error or 0:.3f} nats ({row.title})."
        )
    return sentences


def figure(view: View) -> Figure:
    """One panel per data set: what is missing to the L_K of the largest K, against K, both on logarithmic axes."""
    models = list(dict.fromkeys(row.model for row, _ in view.made))
    said = "the bound L_K, with standard errors over images, paired"
    trained = sorted({row.k for row, _ in view.made})
    labels = {
        row: style.text(row.title) + (f", trained with K = {row.k}" if len(trained) > 1 else "") for row, _ in view.made
    }
    entries: dict[str, Any] = {}
    beside = (4 if len(view.by_dataset) > 1 else 2) - (len(trained) > 1)  # entries of the legend
    legend = 0.15 * -(-len(set(labels.values())) // beside) + 0.08  # inches
    canvas, placed = panels(list(view.by_dataset), 1.9, 0.36 + legend, view.figure_note(view.done, said))
    for title, axes in placed.items():
        made = [(row, _counts(found[0])) for row, found in view.by_dataset[title]]
        for row, counts in made:
            points = [(k, view.number(row, "missing", f"K = {k}")) for k in counts[:-1]]
            shown = [(k, one.mean, one.error or 0.0) for k, one in points if one and one.mean > 0]
            if shown:
                k, missing, error = (np.array(values) for values in zip(*shown, strict=True))
                below = np.minimum(error, 0.9 * missing)  # a bar that reaches 0 has no end on a logarithmic axis
                look: Any = style.look(models.index(row.model), trained.index(row.k))
                drawn = axes.errorbar(k, missing, (below, error), label=labels[row], elinewidth=0.6, **look)
                entries.setdefault(labels[row], drawn)
        largest = max(counts[-1] for _, counts in made)
        axes.set(xlabel="K", xscale="log", yscale="log", ylabel=f"nats below K = {largest:,}")
    place = (0.5, (canvas.below + 0.02) / canvas.size[1])
    options: Any = {"frameon": False, "borderpad": 0, "labelspacing": 0.3, "ncols": beside}
    canvas.figure.legend(entries.values(), entries.keys(), loc="lower center", bbox_to_anchor=place, **options)
    return canvas.figure


def _counts(file: Stored) -> list[int]:
    return [int(k) for k in file.array("k")]


def _of(array: str, place: int) -> statistics.Values:
    return lambda file: file.array(array)[:, place]


def _sd(place: int, groups: int) -> statistics.Values:
    """The deviation of one estimate, without the bias that it has for few groups (of normal values)."""
    bias = sqrt(2 / (groups - 1)) * exp(lgamma(groups / 2) - lgamma((groups - 1) / 2))
    return lambda file: file.array("sd_of_estimate")[:, place] / bias


def _missing(place: int) -> statistics.Values:
    return lambda file: file.array("log_likelihood")[:, -1] - file.array("log_likelihood")[:, place]


TABLES = {"likelihood_by_k": table}
FIGURES = {"convergence": figure}
