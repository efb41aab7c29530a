"""The accuracy of linear classifiers on the features, and whether memory lowers it."""

from collections.abc import Iterator

import numpy as np

from memvae.files.store import Stored
from memvae.report import statistics
from memvae.report.claims import Claim, Part, equivalent, printed_difference
from memvae.report.paper import model_key
from memvae.report.statistics import Measured
from memvae.report.table import Column, Section, Table
from memvae.report.view import View, record_of

CLASSIFIERS = {"crammer_singer": "Crammer-Singer (the authors')", "linear_svc": "LinearSVC"}
SEED_SD = 0.1  # percentage points: the least spread over seeds of one model's accuracy, a guess
MARGIN = 0.2  # percentage points, the scorecard's tolerance

PAGE = Part("Linear classifiers on the features", "Trained on the last deterministic layer of the recognition model.")
COLUMNS = (
    Column("model", "model"),
    Column("title", "classifier"),
    Column("accuracy", "accuracy, %"),
    Column("standard_error", "standard error"),
    Column("sd", "sd over seeds"),
    Column("seeds", "seeds"),
    Column("paper", "paper"),
)


def measure(view: View) -> Iterator[Measured]:
    """The accuracy of each classifier on the test images, %, with its binomial standard error."""
    for row, found in view.made:
        for classifier in CLASSIFIERS:
            paper = ("probing", model_key(row), "accuracy") if classifier == "crammer_singer" else None
            yield statistics.share(row, found, "accuracy", _right(classifier), classifier, paper)


def probing(view: View) -> Table:
    """The table `probing`."""
    records = [
        {
            **record_of(row, model_key, classifier=classifier, title=title),
            **view.record(row, view.number(row, "accuracy", classifier), "accuracy"),
            **view.facts(row, found),
        }
        for row, found in view.rows
        for classifier, title in CLASSIFIERS.items()
    ]
    chosen = [f"{row.title} C = {file.attribute('chosen_c'):g}" for row, found in view.rows for file in found]
    images = f" on {view.done[0].array('labels').size:,} test images" if view.done else ""
    notes = view.notes(
        f"LinearSVC's C, chosen on training images: {', '.join(chosen)}." if chosen else "",
        "Features: the last deterministic layer of the recognition model, for real-valued images. "
        f"Accuracy in %{images}, with its binomial standard error.",
        f"Data: {view.data()}." if view.done else "",
    )
    return Table("probing", "Linear classifiers on the features", records, [Section("", COLUMNS, records)], notes)


def features_no_worse(view: View) -> Claim | None:
    """That MEM-VAE's features classify no worse than VAE's."""
    rows = view.row("mem_vae"), view.row("vae")
    ours, theirs = (view.number(row, "accuracy", "crammer_singer") for row in rows)
    if ours is None or theirs is None:
        return None
    gain = statistics.difference(ours, theirs, _right("crammer_singer"), factor=100)
    error = statistics.joined(gain.error, statistics.seed_error(gain, SEED_SD))
    chance = statistics.chance_of_training(gain, f"{SEED_SD} % of images (a guess)")
    text = (
        f"The authors' linear classifier is right on {ours.mean:.2f} % of test images with MEM-VAE's features and on "
        f"{theirs.mean:.2f} % with VAE's: {gain.mean:+.2f} points. The standard error is {gain.error or 0:.2f} over "
        f"images and {error:.2f} with {chance}. Worse by less than {MARGIN} points counts as no worse."
    )
    return Claim(
        "MEM-VAE's features classify no worse than VAE's",
        printed_difference((view.entry("probing", row, "accuracy") for row in rows), "points"),
        f"{gain.mean:+.2f} ± {error:.2f} percentage points",
        equivalent(-gain.mean, error, MARGIN),
        text,
        {"difference": gain.mean, "standard_error_images": gain.error or 0.0, "standard_error": error},
    )


def _right(classifier: str) -> statistics.Values:
    """Whether the classifier is right on each test image: bool [N]."""

    def values(file: Stored) -> np.ndarray:
        return file.array(f"{classifier}/predicted") == file.array("labels")

    return values


TABLES = {"probing": probing}
CLAIMS = (features_no_worse,)
