"""How similar classes are in the memory's preferences, and the log-likelihood due to its read-out: numbers, table."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from memvae.analyses.encoding import READ_OUTS
from memvae.analyses.encoding.figures import FIGURES  # noqa: F401 (found here)
from memvae.analyses.slots.numbers import authors_row, labels, layer_title, layers, pairs
from memvae.files.store import Stored
from memvae.report import statistics
from memvae.report.claims import Part
from memvae.report.paper import model_key
from memvae.report.statistics import Measured
from memvae.report.table import NOT_RUN, Column, Section, Table
from memvae.report.view import View, record_of
from memvae.settings.config import Row

KEPT, PIXELS, AUTHORS = "kept", "pixels", "authors"
SPREAD = 1e-3  # of correlations: below it they have no order
STRONGEST = 6  # pairs of classes that are named; the authors' file has six above 0.01
NAMES = {PIXELS: "raw pixels", AUTHORS: "the authors' layer next to the data", "all": "every layer"}

PAGE = Part(
    "What the memory encodes",
    "Preferences of every slot by class, which classes they make alike, every slot as an image, and the log-likelihood "
    "that is lost when what is read from memory is replaced. The authors' code makes the first three, and the last is "
    "ours. The appendix claims nothing of them beyond Table 4.",
)
LIKELIHOOD = (
    Column("model", "model"),
    Column("layer", "replaced in"),
    Column("read_out", "read-out"),
    Column("log_likelihood", "log-likelihood"),
    Column("log_likelihood_standard_error", "standard error"),
    Column("change", "change", sign=True),
    Column("change_standard_error", "its standard error"),
    Column("change_sd", "its sd over seeds"),
    Column("bound", "bound L1"),
    Column("bound_change", "its change", sign=True),
    Column("bound_change_standard_error", "standard error of that"),
)
SIMILARITY = (
    Column("model", "model"),
    Column("one", "by"),
    Column("other", "and by"),
    Column("rank_correlation", "rank correlation"),
    Column("rank_correlation_sd", "sd over seeds"),
    Column("p", "p (largest of seeds)", 4),
    Column("pairs", "pairs"),
)
STRONGEST_PAIRS = (
    Column("model", "model"),
    Column("layer", "by"),
    Column("strongest", "most similar classes"),
    Column("smallest", "smallest correlation"),
)


def measure(view: View) -> Iterator[Measured]:
    """Correlations of classes, how two sides order them, log-likelihoods and their changes by replaced read-out."""
    for row, found in view.made:
        for setting in ("samples", "images", "bound_draws"):
            statistics.same_setting(found, setting)
        classes = pairs(labels(found[0]))
        for side in (PIXELS, *layers(found[0])):
            matrices = np.stack([file.array(f"{side}/correlation") for file in found])  # [seeds, classes, classes]
            for pair, (a, b) in classes.items():
                if np.isfinite(matrices[:, a, b]).all():
                    values = [float(value) for value in matrices[:, a, b]]
                    yield statistics.of_values(row, found, "class correlation", "", values, f"{side} {pair}")
        for one, other in _compared(view, row, found):
            tests = [statistics.mantel(_side(view, file, one), _side(view, file, other)) for file in found]
            condition = f"classes by {one} and {other}"
            for place, quantity in enumerate(("rank correlation", "p")):
                values = [test[place] for test in tests]
                yield statistics.of_values(row, found, quantity, "", values, condition, len(classes))
        for condition in _conditions(found[0]):
            for quantity in ("log_likelihood", "bound"):
                array, of = f"{quantity}/{condition}", f"memory {condition}"
                yield statistics.per_image(row, found, quantity, "nats", statistics.array(array), of)
                if condition != KEPT:
                    change = "change" if quantity == "log_likelihood" else "bound_change"
                    minus = statistics.array(array, f"{quantity}/{KEPT}")
                    yield statistics.per_image(row, found, change, "nats", minus, of)


def table(view: View) -> Table:
    """The table `encoding`: log-likelihoods by replaced read-out; how alike classes are, by which side."""
    likelihoods: list[dict[str, Any]] = []
    similarities: list[dict[str, Any]] = []
    strongest: list[dict[str, Any]] = []
    for row, found in view.rows:
        facts = view.facts(row, found, found[0].setting("samples") if found else None)
        if not found:
            likelihoods.append({**record_of(row, model_key, kind="likelihood"), "log_likelihood": NOT_RUN, **facts})
            continue
        for condition in _conditions(found[0]):
            record = _likelihood(view, row, condition) | facts
            likelihoods.append(record | {"images": found[0].array(f"log_likelihood/{KEPT}").size})
        similarities += [
            {**record_of(row, model_key, kind="similarity"), **record, **facts}
            for record in _similarities(view, row, found)
        ]
        sides = [*([AUTHORS] if _with_authors(view, row, found[0]) else []), *layers(found[0]), PIXELS]
        strongest += [
            {**record_of(row, model_key, layer=_name(side)), **_strongest(view, found, side)} for side in sides
        ]
    sections = [
        Section("log-likelihood with the read-out replaced", LIKELIHOOD, likelihoods),
        Section("order of the pairs of classes by similarity", SIMILARITY, similarities),
        Section("most similar classes", STRONGEST_PAIRS, strongest),
    ]
    sections = [section for section in sections if section.records]
    return Table("encoding", "What the memory encodes", [*likelihoods, *similarities], sections, _notes(view))


def findings(view: View) -> list[str]:
    """Of each model: whether classes that look alike share slots, and which layer's memory the likelihood needs."""
    sentences = []
    for row, found in view.made:
        alike = [
            f"{one['other']} and {one['one']} {one['rank_correlation']:+.2f} (p {one['p']:.4f})"
            for one in _similarities(view, row, found)
        ]
        lost = {
            one: view.number(row, "change", f"memory {one}") for one in _conditions(found[0]) if one.endswith("/ones")
        }
        words = [
            f"{_name(one.partition('/')[0])} {of.mean:+.1f} ± {of.error or 0:.1f}" for one, of in lost.items() if of
        ]
        if alike:
            sentences.append(f"{row.title}: rank correlations of the similarities of classes: {', '.join(alike)}.")
        sentences.append(
            f"{row.title}: with ones in place of the read-out the log-likelihood changes by (nats): {', '.join(words)}."
        )
    return sentences


def _similarities(view: View, row: Row, found: list[Stored]) -> list[dict[str, Any]]:
    """The cells of every two sides whose orders are compared; p: the largest of the seeds."""
    records = []
    for one, other in _compared(view, row, found):
        condition = f"classes by {one} and {other}"
        rank, p = (view.number(row, quantity, condition) for quantity in ("rank correlation", "p"))
        if rank and p:
            record = {"one": _name(one), "other": _name(other), "rank_correlation": rank.mean, "pairs": rank.n}
            records.append(record | {"rank_correlation_sd": rank.sd, "p": max(p.values)})
    return records


def _likelihood(view: View, row: Row, condition: str) -> dict[str, Any]:
    """The cells of a condition."""
    place, _, read_out = condition.partition("/")
    record: dict[str, Any] = {**record_of(row, model_key, kind="likelihood")}
    record |= {"layer": "" if place == KEPT else _name(place), "read_out": read_out or "as it is"}
    for quantity in ("log_likelihood", "change", "bound", "bound_change"):
        one = view.number(row, quantity, f"memory {condition}")
        record[quantity] = one.mean if one else None
        record |= {f"{quantity}_standard_error": one.error if one else None, f"{quantity}_sd": one.sd if one else None}
    return record


def _notes(view: View) -> list[str]:
    if not view.done:
        return view.notes()
    file = view.done[0]
    images, samples, draws = file.array(f"log_likelihood/{KEPT}").size, file.setting("samples"), "bound_draws"
    return view.notes(
        "Read-out: what is read from memory, h_m, is replaced by ones, by zeros or by its mean over the training "
        "images, in one layer or in every layer. Change: from the memory as it is, image by image, same draws. The "
        "recognition model stays as it is, trained with the memory, so a part of a change is due to it.",
        f"Log-likelihood: nats per image, K = {samples:,}, first {images:,} test images. L1: "
        f"{file.setting(draws)} draws of z for each of {file.array(f'bound/{KEPT}').size:,} test images.",
        "Similarity of two classes: the correlation of their average preferences over slots, or of their mean images "
        "over pixels, each image divided by its sum. Rank correlation: Spearman's over all pairs of classes; p: "
        "Mantel's test, one-sided, 10,000 random permutations of the classes of one side.",
        "Of the authors' similarities six pairs are known and the others are at most 0.01, so those share a rank."
        if any(_with_authors(view, row, found[0]) for row, found in view.made)
        else "",
        f"Data: {view.data()}.",
    )


# ---- classes ---------------------------------------------------------------------------------------------------------
def _compared(view: View, row: Row, found: list[Stored]) -> list[tuple[str, str]]:
    """The sides whose orders of the pairs of classes are compared.

    There is no order to compare with fewer than four classes, where a class prefers all slots alike and so has no
    correlation, or where all correlations are equal but for SPREAD, as those of a memory with one slot in use.
    """
    if len(labels(found[0])) < 4:
        return []
    sides = [*([AUTHORS] if _with_authors(view, row, found[0]) else []), PIXELS, *layers(found[0])]
    matrices = {side: [_side(view, file, side) for file in found] for side in sides}
    complete = [side for side in sides if all(_differ(matrix) for matrix in matrices[side])]
    wanted = {*((AUTHORS, side) for side in (PIXELS, "layer0")), *combinations(sides[sides.index(PIXELS) :], 2)}
    return [pair for pair in combinations(complete, 2) if pair in wanted]


def _differ(matrix: np.ndarray) -> bool:
    """Whether every two classes have a correlation, and these are not all equal."""
    between = matrix[~np.eye(len(matrix), dtype=bool)]
    return between.size > 0 and bool(np.isfinite(between).all() and np.ptp(between) > SPREAD)


def _with_authors(view: View, row: Row, file: Stored) -> bool:
    """Whether the authors' correlations, of the layer next to the data, can stand beside those of a row."""
    listed = {entry.column for entry in view.printed.of("table4") if entry.row == "correlation"}
    known = bool(listed & set(pairs(labels(file))))
    return known and authors_row(row) and not view.replaced(row) and "layer0" in layers(file)


def _side(view: View, file: Stored, side: str) -> np.ndarray:
    """How alike classes are by a layer's preferences, by pixels, or in the authors' file: [classes, classes].

    Of the authors' the pairs that are not named have the largest value that they may have.
    """
    if side != AUTHORS:
        return file.array(f"{side}/correlation")
    classes = labels(file)
    matrix = np.full((len(classes), len(classes)), view.printed.value("table4", "correlation", "largest other pair"))
    matrix = matrix.astype(np.float64)  # nan, where the file has no such number
    np.fill_diagonal(matrix, 1.0)
    for pair, (a, b) in pairs(classes).items():
        value = view.printed.value("table4", "correlation", pair)
        if value is not None:
            matrix[a, b] = matrix[b, a] = value
    return matrix


def _strongest(view: View, found: list[Stored], side: str) -> dict[str, Any]:
    """The most similar pairs of classes, and the smallest correlation of all; means over seeds."""
    matrix = np.mean([_side(view, file, side) for file in found], axis=0)
    values = {pair: float(matrix[at]) for pair, at in pairs(labels(found[0])).items() if np.isfinite(matrix[at])}
    chosen = sorted(values, key=lambda pair: -values[pair])[:STRONGEST]
    words = ", ".join(f"{pair} {values[pair]:.2f}" for pair in chosen)
    words = words if _differ(matrix) or not values else f"all alike, {max(values.values()):.2f}"
    return {"strongest": words, "smallest": None if side == AUTHORS else min(values.values(), default=None)}


def _name(side: str) -> str:
    return NAMES.get(side) or layer_title(side)


# ---- likelihoods -----------------------------------------------------------------------------------------------------
def _conditions(file: Stored) -> list[str]:
    """`kept`, then `<place>/<read-out>` for every layer with memory, and for all where there are several."""
    places = layers(file)
    places += ["all"] if len(places) > 1 else []
    return [KEPT, *(f"{place}/{read_out}" for place in places for read_out in READ_OUTS)]


TABLES = {"encoding": table}
