"""The log-likelihood table, the gain of memory over every model without it, and the claims that rest on them."""

from collections.abc import Callable, Iterator
from math import sqrt

import numpy as np

from memvae.errors import InputError
from memvae.files.store import Stored
from memvae.report import statistics
from memvae.report.claims import FAILS, HOLDS, OPEN, PARTLY, Claim, Part, equivalent, judged, printed_difference
from memvae.report.paper import run_key
from memvae.report.statistics import Measured
from memvae.report.table import Column, Section, Table
from memvae.report.view import View, record_of
from memvae.settings.config import Row

SEED_SD = 0.15  # nats, least spread over seeds of one model: 0.11 to 0.16 measured over three (docs/performance.md)
GAP_SEED_SD = 0.1  # nats, the same of train minus test of L_1: 0.06 to 0.10 measured
OVERFITTING = 0.25  # of memory's gain on test images: a larger extra gap between training and test is overfitting
LONG = 40  # rows of a section that fit a page

PAGE = Part(
    "Log-likelihood",
    "The importance-weighted bound L_K of test images, in nats; higher is better. The paper: memory raises it, also "
    "over a VAE with wider layers and as many parameters (the rebuttal's model), and does not overfit. VIS-MEM-VAE, "
    "the simpler model that Table 4 and Figure 7 show, lies between in the authors' numbers.",
)
HEAD = (Column("data", "data"), Column("model", "model"), Column("k", "K in training"))
VALUES = (
    *HEAD,
    Column("log_likelihood", "log-likelihood"),
    Column("standard_error", "standard error"),
    Column("sd", "sd over seeds"),
    Column("seeds", "seeds"),
    Column("log_likelihood_more", "with more samples"),
    Column("samples_more", "K of those"),
    Column("paper", "paper"),
    Column("difference", "difference", sign=True),
    Column("images", "images with L_K"),
)
PARTS = (
    *HEAD,
    Column("bound", "bound L1"),
    Column("log_px", "reconstruction"),
    Column("kl", "KL"),
    Column("train_minus_test", "train minus test", sign=True),
    Column("bound_sd", "sd of bound over seeds"),
    Column("bound_images", "test images"),
)
GAINS = (
    *HEAD,
    Column("log_likelihood", "gain", sign=True),
    Column("standard_error", "standard error", 3),
    Column("in_errors", "gain / standard error", 1),
    Column("sd", "sd over seeds"),
    Column("paper", "paper", sign=True),
)


def of_all_images(file: Stored) -> np.ndarray:
    """[N]: values whose mean is L_K of all N test images, and whose standard error is that of this mean.

    Where only the first n have an L_K: the mean of L_1 over all, and by how much L_K is above L_1 over those n. The
    first images of MNIST are easier than the others, by about 1 nat, for every model. With d = L_K - L_1 and m its mean
    over the n, the values are L_1 + m, and for the n more by (d - m) N / n. With n = N they are L_K.
    """
    measured, bound = file.array("test/log_likelihood"), file.array("test/bound")
    above = measured - bound[: measured.size]
    values = bound + above.mean()
    values[: measured.size] += (above - above.mean()) * (bound.size / measured.size)
    return values


LOG_LIKELIHOOD: statistics.Values = of_all_images


def measure(view: View) -> Iterator[Measured]:
    """L_K, L_1 and its parts, train minus test of L_1, and the gain over every model without memory; nats per image."""
    for row, found in view.made:
        paper = ("likelihood", run_key(row), "log_likelihood")
        yield statistics.per_image(row, found, "log_likelihood", "nats", LOG_LIKELIHOOD, paper=paper)
        if found[0].has("test/log_likelihood_more"):
            more = f"K = {statistics.same_setting(found, 'more_samples')}"
            yield statistics.per_image(
                row, found, "log_likelihood", "nats", statistics.array("test/log_likelihood_more"), more
            )
        for split in ("test", "train"):
            for part in ("bound", "log_px", "kl"):
                yield statistics.per_image(row, found, part, "nats", statistics.array(f"{split}/{part}"), split)
        yield statistics.plain(row, found, "train_minus_test", "nats", _train_minus_test)
        for base, _ in _bases(view, row, found):
            yield _gain(view, row, base, "log_likelihood", LOG_LIKELIHOOD)


def likelihood(view: View) -> Table:
    """The table `likelihood` (and `likelihood_extended`, with the main text's models)."""
    shown = [row for row, _ in view.rows]
    if missing := [row for row in view.all_rows if row not in shown]:
        raise InputError(f"{missing[0].runs[0]}: found no file of likelihoods, expected one for every run of the table")
    values = [_values(view, row, found) for row, found in view.rows]
    gains = [_gain_record(view, row, base) for row, found in view.rows if found for base, _ in _bases(view, row, found)]
    measured = [record for record in values if record["bound"] is not None]
    sections = [
        Section(title, columns, records, long=len(records) > LONG)
        for title, columns, records in (
            ("log-likelihood", VALUES, values),
            ("the one-sample bound and its parts", PARTS, measured),
            ("gain of memory, over the same test images", GAINS, gains),
        )
        if records
    ]
    spans = dict.fromkeys(f"{one['data']} K = {one['samples']:,} on {one['images']:,} test images" for one in measured)
    compared = any(one["paper"] is not None for one in values)
    notes = view.notes(
        "Nats per image, higher is better. Standard errors are over test images."
        + (" Difference: ours minus the paper's." if compared else ""),
        "Where not all test images have an L_K, the log-likelihood is an estimate for all of them: their mean L_1, and "
        "by how much L_K is above L_1 on the first images. Its standard error contains that."
        if any(one["images"] != one["bound_images"] for one in measured)
        else "",
        "The standard error of a gain is that of the choice of test images. Training again with another seed changes a "
        "value by 0.1 to 0.3 nats more."
        if gains
        else "",
        f"Data: {view.data()}. Samples: {', '.join(spans)}." if measured else "",
        "The paper's values: K = 5,000 on all test images." if compared else "",
    )
    return Table("likelihood", "Test log-likelihood", [*values, *gains], sections, notes)


def _values(view: View, row: Row, found: list[Stored]) -> dict[str, object]:
    """The cells of a row of models."""
    samples = statistics.same_setting(found, "samples") if found else None
    more = statistics.same_setting(found, "more_samples") if found else None
    parts = {name: view.number(row, name, "test") for name in ("bound", "log_px", "kl")}
    extra = view.number(row, "log_likelihood", f"K = {more}")
    gap = view.number(row, "train_minus_test")
    return {
        **record_of(row, run_key, kind="value", k=row.k),
        **view.record(row, view.number(row, "log_likelihood"), "log_likelihood"),
        "paper": view.theirs(row, "likelihood", run_key(row), "log_likelihood"),
        "images": found[0].array("test/log_likelihood").size if found else None,
        "log_likelihood_more": extra.mean if extra else None,
        "sd_more": extra.sd if extra else None,
        "samples_more": more if extra else None,
        **{name: part.mean if part else None for name, part in parts.items()},
        "bound_sd": parts["bound"].sd if parts["bound"] else None,
        "bound_images": parts["bound"].n if parts["bound"] else None,
        "train_minus_test": gap.mean if gap else None,
        "train_minus_test_sd": gap.sd if gap else None,
        **view.facts(row, found, samples),
    }


def _gain_record(view: View, row: Row, base: Row) -> dict[str, object]:
    """The cells of a gain of memory."""
    gain = view.number(row, "log_likelihood", f"minus {base.model}")
    assert gain is not None  # of `measure`
    values = [view.theirs(one, "likelihood", run_key(one), "log_likelihood") for one in (row, base)]
    theirs = None if values[0] is None or values[1] is None else round(values[0] - values[1], 2)
    return {
        **record_of(row, lambda one: f"{run_key(one)} minus {run_key(base)}", kind="gain", k=row.k),
        "model": f"{row.title} minus {base.title}",
        **view.record(row, gain, "log_likelihood"),
        "in_errors": gain.mean / gain.error if gain.error else None,
        "paper": theirs,
        "difference": None if theirs is None else gain.mean - theirs,
        **view.facts(row, list(gain.files), statistics.same_setting(gain.files, "samples")),
    }


# ---- claims ----------------------------------------------------------------------------------------------------------
def memory_gains(model: str, base: str, title: str, dataset: str = "mnist") -> Callable[[View], Claim | None]:
    """The claim that `model` has a higher log-likelihood than `base`."""

    def claim(view: View) -> Claim | None:
        rows = view.row(model, dataset), view.row(base, dataset)
        if rows[0] is None or rows[1] is None:
            return None
        gain = _gain(view, rows[0], rows[1], "log_likelihood", LOG_LIKELIHOOD)
        error = statistics.joined(gain.error, statistics.seed_error(gain, SEED_SD))
        ours, theirs = (view.number(row, "log_likelihood") for row in rows)
        assert ours is not None and theirs is not None
        images = gain.error or 0.0
        measured = gain.files[0].array("test/log_likelihood").size
        some = f" (L_1 of all, L_K of the first {measured:,})" if measured != gain.n else ""
        text = (
            f"{rows[0].title} reaches {ours.mean:.2f} nats and {rows[1].title} {theirs.mean:.2f} on the same "
            f"{gain.n:,} test images{some}: {gain.mean:+.2f}. The standard error is {images:.2f} over images and "
            f"{error:.2f} with {statistics.chance_of_training(gain, f'{SEED_SD} nats')}."
        )
        if (gain.mean / 2) ** 2 > images**2:
            most = sqrt(((gain.mean / 2) ** 2 - images**2) * gain.seeds / 2)
            text += f" The sign is clear unless a model's spread over seeds is above {most:.2f} nats."
        return Claim(
            title,
            printed_difference((view.entry("likelihood", row, "log_likelihood") for row in rows), "nats"),
            f"{gain.mean:+.2f} ± {error:.2f} nats",
            judged(gain.mean, error),
            text,
            {"difference": gain.mean, "standard_error_images": images, "standard_error": error},
        )

    return claim


def between(view: View) -> Claim | None:
    """That VIS-MEM-VAE lies between VAE and MEM-VAE."""
    lower, upper = memory_gains("vis_mem_vae", "vae", "")(view), memory_gains("mem_vae", "vis_mem_vae", "")(view)
    if lower is None or upper is None:
        return None
    verdicts = {lower.verdict, upper.verdict}
    verdict = HOLDS if verdicts == {HOLDS} else FAILS if FAILS in verdicts else PARTLY if HOLDS in verdicts else OPEN
    names = {"above_vae": lower, "below_mem_vae": upper}
    return Claim(
        "VIS-MEM-VAE lies between VAE and MEM-VAE",
        f"above VAE by {lower.paper}, below MEM-VAE by {upper.paper}",
        f"above VAE by {lower.ours}, below MEM-VAE by {upper.ours}",
        verdict,
        f"{lower.text} {upper.text}",
        {f"{place}_{key}": value for place, claim in names.items() for key, value in claim.numbers.items()},
    )


def no_overfitting(title: str, dataset: str = "mnist") -> Callable[[View], Claim | None]:
    """The claim that memory does not make the model overfit more: train minus test bound, MEM-VAE against VAE."""

    def claim(view: View) -> Claim | None:
        rows = view.row("mem_vae", dataset), view.row("vae", dataset)
        if rows[0] is None or rows[1] is None:
            return None
        train, test = (
            _gain(view, rows[0], rows[1], "bound", statistics.array(f"{split}/bound"), split)
            for split in ("train", "test")
        )
        by_seed = tuple(a - b for a, b in zip(train.values, test.values, strict=True))
        extra = Measured(rows[0], train.files, "extra gap", "", "nats", by_seed, (None,) * len(by_seed), None)
        images = statistics.joined(train.error, test.error)
        error = statistics.joined(images, statistics.seed_error(extra, GAP_SEED_SD))
        gaps = [view.number(row, "train_minus_test") for row in rows]
        assert gaps[0] is not None and gaps[1] is not None
        gain, margin = test.mean, OVERFITTING * test.mean
        allowed = (
            f"an extra gap of up to a quarter of that ({margin:.2f}) counts as no overfitting (a bound of ours: the "
            "paper gives no number)"
            if gain > 0
            else "without a gain there is nothing to compare a larger gap with"
        )
        text = (
            f"On training images L_1 is {gaps[0].mean:.2f} nats higher than on test images for {rows[0].title} and "
            f"{gaps[1].mean:.2f} for {rows[1].title}: {extra.mean:+.2f} more with memory. The standard error is "
            f"{images:.2f} over images and {error:.2f} with "
            f"{statistics.chance_of_training(extra, f'{GAP_SEED_SD} nats')}. On test images memory gains {gain:+.2f} "
            f"nats of L_1; {allowed}."
        )
        return Claim(
            title,
            "not observed (A, no number)",
            f"train minus test {gaps[0].mean:.2f} with, {gaps[1].mean:.2f} without: {extra.mean:+.2f} ± {error:.2f} "
            "nats",
            OPEN if gain <= 0 else equivalent(extra.mean, error, margin),
            text,
            {
                "with_memory": gaps[0].mean,
                "without": gaps[1].mean,
                "extra": extra.mean,
                "standard_error_images": images,
                "standard_error": error,
            },
        )

    return claim


def _bases(view: View, row: Row, found: list[Stored]) -> list[tuple[Row, list[Stored]]]:
    """Of a model with memory: the models without, of the same data set and K."""
    if not found[0].has_memory:
        return []
    same = [pair for pair in view.rows if (pair[0].paper_dataset, pair[0].k) == (row.paper_dataset, row.k)]
    return [(base, files) for base, files in same if files and not files[0].has_memory]


def _gain(view: View, row: Row, base: Row, quantity: str, values: statistics.Values, condition: str = "") -> Measured:
    """A number of one row minus another's, image by image. Raises InputError where K or data differ."""
    ours, theirs = (statistics.per_image(one, view.of(one), quantity, "nats", values, condition) for one in (row, base))
    statistics.same_setting([*ours.files, *theirs.files], "samples")
    return statistics.difference(ours, theirs, values)


def _train_minus_test(file: Stored) -> float:
    return float(file.array("train/bound").mean() - file.array("test/bound").mean())


TABLES = {"likelihood": likelihood}
CLAIMS = (
    memory_gains("mem_vae", "vae", "Memory raises the log-likelihood"),
    memory_gains("mem_vae", "large_vae", "Memory gains more than wider layers with as many parameters"),
    between,
    memory_gains("mem_vae", "vae", "Memory raises the log-likelihood of OCR-letters", "ocr_letters"),
    no_overfitting("Memory does not overfit"),
    no_overfitting("Memory does not overfit on OCR-letters", "ocr_letters"),
)
