"""The numbers, the table, the figure and the verdict."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from memvae.report import statistics, style
from memvae.report.canvas import Canvas
from memvae.report.claims import Claim, Part, judged
from memvae.report.paper import model_key
from memvae.report.statistics import Measured
from memvae.report.table import Column, Section, Table
from memvae.report.view import View, record_of

PAGE = Part("Distances of posteriors", "Ours, not the paper's: how far apart the codes of test images lie.")
CONDITIONS = ("within", "between")  # classes


def measure(view: View) -> Iterator[Measured]:
    """Mean distances over the test images, in units of the latent space."""
    for row, found in view.made:
        for condition in CONDITIONS:
            yield statistics.per_image(
                row, found, "distance", "latent units", lambda file, name=condition: file.array(name), condition
            )


def distances(view: View) -> Table:
    """A line per model and kind of pair."""
    records = [
        {
            **record_of(row, model_key, pairs=f"{condition} classes"),
            **view.record(row, view.number(row, "distance", condition), "distance"),
            **view.facts(row, found),
        }
        for row, found in view.rows
        for condition in CONDITIONS
    ]
    columns = [Column("model", "model"), Column("pairs", "pairs"), Column("distance", "distance")]
    columns += [Column("standard_error", "standard error", 3), Column("images", "test images")]
    notes = view.notes("Between the means of q(z|x); Euclidean.", f"Data: {view.data()}.")
    return Table("distances", "Distances of posteriors", records, [Section("", columns, records)], notes)


def distance_histogram(view: View) -> Figure:
    """Of the first model's first seed: the distances of all images, within and between classes."""
    row, found = view.made[0]
    canvas = Canvas(style.COLUMN, 2.2, view.figure_note(found[:1], f"{row.title}, seed {found[0].seed}"))
    axes = canvas.axes(0.4, 0.4, style.COLUMN - 0.5, 1.7)
    for condition, colour in zip(CONDITIONS, style.COLOURS, strict=False):
        axes.hist(found[0].array(condition), bins=40, histtype="step", color=colour, label=f"{condition} classes")
    axes.set(xlabel="mean distance of an image's posterior", ylabel="test images")
    axes.legend(frameon=False)
    return canvas.figure


def memory_keeps_classes_apart(view: View) -> Claim | None:
    """That with memory the classes lie as far apart, relative to their own width, as without."""
    ratios = {}
    for model in ("mem_vae", "vae"):
        within, between = (view.number(view.row(model), "distance", condition) for condition in CONDITIONS)
        if within is None or between is None:
            return None
        ratios[model] = between.mean / within.mean
    difference = ratios["mem_vae"] - ratios["vae"]
    return Claim(
        "With memory the classes lie further apart",
        "not claimed",
        f"between / within: {ratios['mem_vae']:.2f} with, {ratios['vae']:.2f} without",
        judged(difference, 0.1),
        f"The ratio of the two distances is {difference:+.2f} higher with memory; 0.1 is taken as its error.",
        ratios,
    )


TABLES = {"distances": distances}
FIGURES = {"distance_histogram": distance_histogram}
CLAIMS = (memory_keeps_classes_apart,)
