"""What each setting of the memory gains: a table with intervals, gains along every axis, parameters and likelihood."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memvae.analyses.ablation.comparisons import Compared, compare
from memvae.analyses.likelihood.show import LOG_LIKELIHOOD, LONG, SEED_SD
from memvae.analyses.slots.numbers import layers, preferred
from memvae.report import statistics, style
from memvae.report.canvas import Canvas
from memvae.report.statistics import Measured
from memvae.report.table import Column, Section, Table, number
from memvae.report.view import View

Gains = Mapping[tuple[int, str], Compared]  # place of a row, what it is compared with -> difference

KINDS = {"base": "over the base", "equal": "over a VAE of as many parameters"}
LINE, LETTER = 0.145, 0.055  # inches: of one model in the figure of gains, and of a letter


def _gain_columns(kind: str, over: str) -> tuple[Column, ...]:
    return (
        Column(f"{kind}_gain", f"gain over {over}", sign=True),
        Column(f"{kind}_images", "se images", 3),
        Column(f"{kind}_sd", "sd seeds"),
        Column(f"{kind}_interval", "95 % interval"),
        Column(f"{kind}_p_shown", "p (Holm)"),
    )


COLUMNS = (
    Column("label", "setting"),
    Column("parameters", "parameters"),
    Column("log_likelihood", "log-likelihood"),
    Column("standard_error", "se images"),
    Column("sd", "sd seeds"),
    *_gain_columns("base", "base"),
    *_gain_columns("equal", "VAE"),
)
STOPPED = (
    Column("model", "model"),
    Column("epoch_kept", "epoch kept, by seed"),
    Column("log_likelihood", "log-likelihood"),
    *_gain_columns("last", "last epoch"),
)
PARTS = (
    Column("model", "model"),
    Column("test_bound", "L1 test"),
    Column("train_bound", "L1 training"),
    Column("train_minus_test", "training minus test", sign=True),
    Column("more_than_equal", "more than the VAE's", sign=True),
    Column("preferred", "slots that a class prefers, by layer"),
    Column("perplexity", "slots of a class (perplexity), by layer"),
)


def measure(view: View) -> Iterator[Measured]:
    """Log-likelihood and L_1 of test images, L_1 of training images, and their difference; nats per image."""
    for row, found in view.made:
        yield statistics.per_image(row, found, "log_likelihood", "nats", LOG_LIKELIHOOD)
        bounds = {split: [float(file.array(f"{split}/bound").mean()) for file in found] for split in ("test", "train")}
        for split, values in bounds.items():
            yield statistics.of_values(row, found, f"{split}_bound", "nats", values)
        gaps = [one - other for one, other in zip(bounds["train"], bounds["test"], strict=True)]
        yield statistics.of_values(row, found, "train_minus_test", "nats", gaps)


def gains(view: View) -> Gains:
    """Every model's gain over the base, and over the VAE with as many parameters, and of the best epoch of a validation
    split over the last; corrected together."""
    statistics.same_data(view.done)
    for setting in ("samples", "images"):
        statistics.same_setting(view.done, setting)
    stacks = [statistics.stack(found, LOG_LIKELIHOOD) for _, found in view.made]
    equal = view.about["equal"]
    shown = _shown(view)
    pairs = {(place, "base"): 0 for place in shown if place}
    pairs |= {(place, "equal"): equal[place] for place in shown if equal[place] is not None}
    pairs |= {(place, "last"): last for place, last in _last(view).items()}
    differences = [stacks[place] - stacks[other] for (place, _), other in pairs.items()]
    # a random subset of the images adds to the spread over seeds, so models of one size of it are of one kind
    images = [view.made[place][1][0].spec["training"].get("images", 0) for place, _ in pairs]
    kinds = [f"{kind} {number}" for (_, kind), number in zip(pairs, images, strict=True)]
    return dict(zip(pairs, compare(differences, 2**0.5 * SEED_SD, kinds), strict=True))


def sentence(found: Gains) -> str:
    """What memory gains at equal parameters, in words."""
    base = found.get((0, "equal"))
    if base is None:  # it has no memory
        return ""
    seeds = f"{len(base.by_seed)} seed{'s' if len(base.by_seed) > 1 else ''}"
    clear = "" if base.low > 0 or base.high < 0 else ", which contains 0"
    verb = "helps by" if base.mean >= 0 else "costs"
    gain = f"{abs(base.mean):.2f} ± {base.half:.2f} nats"
    return f"Memory {verb} {gain} at equal parameters ({seeds}; ± is the 95 % interval{clear})."


def ablation(view: View) -> Table:
    """The table `ablation`: a section for each axis, then training images and slots, then the VAEs beside them."""
    found = gains(view)
    records = [
        {"axis": axis, "label": label, **_record(view, place, found)}
        for axis, points in view.about["axes"]
        for label, place in points
    ]
    beside = sorted(set(view.about["equal"]) - {None})
    vaes = [{"axis": "VAEs", "label": view.made[place][0].title, **_record(view, place, found)} for place in beside]
    sections = [
        Section(axis, COLUMNS, [record for record in records if record["axis"] == axis])
        for axis, _ in view.about["axes"]
    ]
    models = {record["model_key"]: record for record in (*records, *vaes)}
    if stopped := [record for record in models.values() if "last_gain" in record]:
        sections.append(Section("the best epoch of a validation split, over the last epoch", STOPPED, stopped))
    sections.append(Section("bound on training images, and slots", PARTS, [*models.values()], long=len(models) > LONG))
    notes = view.notes(
        sentence(found),
        f"Nats per image, higher is better. Base: {view.made[0][0].title}. VAE: of as many parameters, with wider "
        "layers and all else as the model that it stands beside.",
        "Gains are over the same test images and seeds. se images: standard error over images; sd seeds: standard "
        "deviation over seeds. The interval covers both (a hierarchical bootstrap, docs/method.md). "
        f"p: of no difference, by Holm's method for the {len(found)} comparisons of this table.",
        "A class prefers a slot when its average preference is more than twice that of equal preference for all.",
        "Last epoch: of the same model, trained on the validation images too." if stopped else "",
        "L1 training: the first of the images that a model was trained on; a subset is drawn at random by the seed.",
        f"Data: {view.data()}.",
    )
    full = [
        {key: v for key, v in one.items() if not key.endswith(("_interval", "_shown"))} for one in (*records, *vaes)
    ]
    return Table("ablation", f"Ablation: {view.about['title']}", full, sections, notes)


def ablation_gains(view: View) -> Figure:
    """Along every axis the gain over the base and over the VAE: interval, a dot for each seed; the base: a diamond."""
    found, axes = gains(view), view.about["axes"]
    lines: list[tuple[str, int | None]] = []  # from the top: text, and the place of a model
    for axis, points in axes:
        lines += [(axis, None), *map(tuple, points)]
    left = min(3.0, 0.2 + LETTER * max(len(text) for text, _ in lines))
    height, between, foot, head = LINE * len(lines), 0.12, 0.36, 0.2
    width = (style.PAGE - left - between - 0.08) / 2
    words = "points: means; lines: 95 % intervals over images and seeds; small dots: single seeds; diamonds: the base. "
    canvas = Canvas(style.PAGE, foot + height + head, view.figure_note(view.done, words + sentence(found).rstrip(".")))
    panels = [canvas.axes(left + n * (width + between), foot, width, height) for n in range(2)]
    for panel, (kind, title) in zip(panels, KINDS.items(), strict=True):
        _forest(panel, lines, {place: one for (place, what), one in found.items() if what == kind})
        panel.set(title=title, xlabel="gain, nats per image")
    for line, (text, place) in enumerate(lines):
        bold = {"fontweight": "bold"} if place is None else {}
        panels[0].annotate(
            style.text(text),
            (0, -line),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=7,
            **bold,  # type: ignore[arg-type]
        )
    return canvas.figure


def ablation_parameters(view: View) -> Figure:
    """Parameters against log-likelihood of every model, with and without memory; hollow: not trained as the base."""
    words = "bars: standard deviation over seeds; hollow: not trained as the base"
    canvas = Canvas(style.COLUMN, 2.75, view.figure_note(view.done, words))
    axes = canvas.axes(0.62, 0.36, style.COLUMN - 0.7, 2.15)
    training = view.made[0][1][0].spec["training"]
    for memory, colour, marker, label in (
        (True, style.COLOURS[0], "o", "with memory"),
        (False, style.COLOURS[2], "s", "without"),
    ):
        for place, (row, files) in enumerate(view.made):
            if files[0].has_memory == memory:
                one = view.number(row, "log_likelihood")
                assert one is not None  # of `measure`
                same = files[0].spec["training"] == training
                axes.errorbar(
                    view.about["parameters"][place] / 1000,
                    one.mean,
                    one.sd or 0.0,
                    color=colour,
                    marker="D" if place == 0 else marker,
                    markersize=5.5 if place == 0 else 3.5,
                    markerfacecolor=colour if same else "white",
                    elinewidth=0.7,
                )
        axes.plot([], [], color=colour, marker=marker, linestyle="", label=label)
    axes.plot([], [], color=style.COLOURS[0], marker="D", linestyle="", markersize=5.5, label="base")
    axes.set(xlabel="parameters, thousands", ylabel="log-likelihood, nats per image")
    axes.grid(alpha=0.25, linewidth=0.4)
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0.2, columnspacing=1)
    return canvas.figure


def _shown(view: View) -> list[int]:
    """The places of the base and of the rows that stand on an axis, each once."""
    return list(dict.fromkeys([0, *(place for _, points in view.about["axes"] for _, place in points)]))


def _last(view: View) -> dict[int, int]:
    """Place of each model at the best epoch of a validation split -> of the same at the last, where it is there."""

    def settings(place: int) -> tuple[Any, ...]:  # but for what decides which epoch is kept
        spec = view.made[place][1][0].spec
        apart = ("validation", "curve_every")
        return spec["network"], {key: value for key, value in spec["training"].items() if key not in apart}

    split = [bool(files[0].spec["training"].get("validation")) for _, files in view.made]
    last = {place: settings(place) for place, one in enumerate(split) if not one}
    best = {place: settings(place) for place, one in enumerate(split) if one}
    pairs = ((place, next((n for n, other in last.items() if other == one), None)) for place, one in best.items())
    return {place: other for place, other in pairs if other is not None}


def _forest(axes: Axes, lines: Sequence[tuple[str, int | None]], found: Mapping[int | None, Compared]) -> None:
    """One line for each model from the top, at 0, -1, -2, ..."""
    axes.axvline(0, color="#888888", linewidth=0.7)
    for line, (_, place) in enumerate(lines):
        colour = style.COLOURS[1] if place == 0 else style.COLOURS[0]
        if one := found.get(place):
            axes.plot([one.low, one.high], [-line, -line], color=colour)
            axes.plot(one.by_seed, [-line] * len(one.by_seed), ".", color="#444444", markersize=2.2, zorder=3)
        if one or place == 0:
            axes.plot(one.mean if one else 0, -line, "D" if place == 0 else "o", color=colour, zorder=2)
    axes.set(ylim=(0.6 - len(lines), 0.6), yticks=[])
    axes.grid(axis="x", alpha=0.25, linewidth=0.4)


def _record(view: View, place: int, found: Gains) -> dict[str, Any]:
    """The cells of a model."""
    row, files = view.made[place]
    numbers = {name: view.number(row, name) for name in ("test_bound", "train_bound", "train_minus_test")}
    other = view.about["equal"][place]
    gap = numbers["train_minus_test"]
    theirs = view.number(view.made[other][0], "train_minus_test") if other is not None else None
    cells: dict[str, Any] = {
        "model": row.title,
        "model_key": f"{row.model}-k{row.k}",
        "parameters": view.about["parameters"][place],
        **view.record(row, view.number(row, "log_likelihood"), "log_likelihood"),
        "equal": view.made[other][0].model if other is not None else None,
    }
    for kind in (*KINDS, "last"):
        if one := found.get((place, kind)):
            interval = f"{number(one.low, 2, True)} to {number(one.high, 2, True)}"
            facts = {"gain": one.mean, "images": one.images, "sd": one.sd, "error": one.error, "interval": interval}
            facts |= {"low": one.low, "high": one.high, "p": one.p, "p_holm": one.p_holm}
            facts["p_shown"] = number(one.p_holm, 3) if one.p_holm >= 0.001 else "below 0.001"
            cells |= {f"{kind}_{name}": value for name, value in facts.items()}
    if "epoch_kept" in files[0].attributes:
        cells["epoch_kept"] = ", ".join(str(file.attribute("epoch_kept")) for file in files)
    cells |= {name: one.mean if one else None for name, one in numbers.items()}
    cells["more_than_equal"] = gap.mean - theirs.mean if gap and theirs else None
    return {**cells, **_slots(view, place), **view.facts(row, files, statistics.same_setting(files, "samples"))}


def _slots(view: View, place: int) -> dict[str, str]:
    """Slots that some class prefers, and the perplexity of a class's preferences: means over seeds, by layer."""
    files = view.files.of(view.made[place][0], "analysis/slots")
    if not files:
        return {}
    every = [[file.array(f"{layer}/preferences") for file in files] for layer in layers(files[0])]
    counts = [np.mean([preferred(values).sum() for values in seeds]) for seeds in every]
    widths = [np.mean([file.array(f"{layer}/perplexity").mean() for file in files]) for layer in layers(files[0])]
    return {
        "preferred": ", ".join(f"{one:.0f}" for one in counts),
        "perplexity": ", ".join(f"{one:.1f}" for one in widths),
    }


TABLES = {"ablation": ablation}
FIGURES = {"ablation_gains": ablation_gains, "ablation_parameters": ablation_parameters}
