"""The paper's claims, one function each: what we measured, and whether that bears the claim out (docs/method.md).

A ± is one standard error: over test images, paired where two models see the same ones, and over seeds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import hypot, sqrt

import numpy as np

from memvae.analyses.detail import table as detail_table
from memvae.analyses.slots.tables import PAPER_MODEL
from memvae.report import measures
from memvae.report.layout import Files, Layout, RunFile
from memvae.report.measures import Spread
from memvae.report.origin import is_replaced
from memvae.report.paper import Entry, Paper, model_key, run_key
from memvae.report.tables import noise_title
from memvae.settings.config import Row

HOLDS, PARTLY, OPEN, FAILS, NONE = "holds", "holds in part", "not settled", "does not hold", "no verdict"
NOT_AVAILABLE = "main text, not available to us"

# Spread over seeds of one model's number, taken where fewer than `ENOUGH` seeds were run (several can agree by luck).
SEED_SD = 0.15  # nats, log-likelihood: 0.11 to 0.16 over three seeds at 30 epochs on MNIST (docs/performance.md)
GAP_SEED_SD = 0.1  # nats, train minus test of L_1: 0.06 to 0.10 over the same seeds
PROBING_SEED_SD = 0.1  # percentage points, a guess
RECOVERED_SEED_SD = 1.0  # percentage points, a guess: a difference of two models moved by 2 with rounding alone
ENOUGH = 5

OVERFITTING = 0.25  # of memory's gain on test images: a larger extra gap between training and test is overfitting
PROBING_MARGIN = 0.2  # percentage points, the scorecard's tolerance
PATTERN = 0.5  # share of the way from chance to 1 that coherence keeps where the pattern stays
DETAIL = 10.0  # percentage points of energy that detail loses more than the rest where it is lost


@dataclass(frozen=True)
class Claim:
    """One claim: in words, the paper's evidence, ours, a verdict, what to make of it; and the numbers behind it."""

    title: str
    paper: str
    ours: str
    verdict: str
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Material:
    """What claims are judged by: the rows, the analyses' files and the paper's numbers."""

    layout: Layout
    files: Files
    printed: Paper

    def row(self, model: str, dataset: str) -> Row | None:
        """The row of a model, K = 1, that was run."""
        rows = [row for row in self.layout.rows if (row.paper_dataset, row.model, row.k) == (dataset, model, 1)]
        return next((row for row in rows if row.runs), None)

    def of(self, analysis: str, model: str, dataset: str = "mnist") -> list[RunFile]:
        """The files of a model's analysis, one per seed; none where it was not run."""
        row = self.row(model, dataset)
        return self.files.of(row, f"analysis/{analysis}") if row else []

    def entry(self, table: str, model: str, column: str, dataset: str = "mnist") -> Entry | None:
        """The paper's number for a model, with its source."""
        row = self.row(model, dataset)
        keys = (run_key(row), model_key(row)) if row else ()
        return next((entry for entry in self.printed.of(table) if entry.row in keys and entry.column == column), None)

    @property
    def stands_in(self) -> bool:
        """Whether another data set stands for MNIST: then nothing can be said of the paper's claims."""
        return any(is_replaced(row) for row in self.layout.rows if row.paper_dataset == "mnist")


def judged(difference: float, error: float) -> str:
    """`holds` above two standard errors, `does not hold` below minus two."""
    return HOLDS if difference > 2 * error else FAILS if difference < -2 * error else OPEN


# ---- log-likelihood --------------------------------------------------------------------------------------------------
def memory_gain(material: Material, model: str, base: str, title: str, dataset: str = "mnist") -> Claim | None:
    """That `model` has a higher log-likelihood than `base`."""
    ours, theirs = material.of("likelihood", model, dataset), material.of("likelihood", base, dataset)
    if not ours or not theirs:
        return None
    gap = measures.gap(ours, theirs)
    difference = gap.difference.mean
    error = hypot(gap.standard_error, _seed_error(gap.difference, SEED_SD))
    titles = [files[0].spec["model_title"] for files in (ours, theirs)]
    levels = [float(measures.log_likelihoods(files).mean()) for files in (ours, theirs)]
    text = (
        f"{titles[0]} reaches {levels[0]:.2f} nats and {titles[1]} {levels[1]:.2f} on the same {gap.images:,} test "
        f"images: {difference:+.2f}, with a standard error of {gap.standard_error:.2f} over images and {error:.2f} "
        f"with {_chance_of_training(gap.difference, f'{SEED_SD} nats')}."
    )
    if (difference / 2) ** 2 > gap.standard_error**2:
        most = sqrt(((difference / 2) ** 2 - gap.standard_error**2) * gap.difference.seeds / 2)
        text += f" The sign is clear unless a model's spread over seeds is above {most:.2f} nats."
    return Claim(
        title,
        _difference([material.entry("likelihood", name, "log_likelihood", dataset) for name in (model, base)], "nats"),
        f"{difference:+.2f} ± {error:.2f} nats",
        judged(difference, error),
        text,
        {"difference": difference, "standard_error_images": gap.standard_error, "standard_error": error},
    )


def between(material: Material) -> Claim | None:
    """That VIS-MEM-VAE lies between VAE and MEM-VAE."""
    lower = memory_gain(material, PAPER_MODEL, "vae", "")
    upper = memory_gain(material, "mem_vae", PAPER_MODEL, "")
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


def no_overfitting(material: Material, title: str, dataset: str) -> Claim | None:
    """That memory does not make the model overfit more: train minus test bound, MEM-VAE against VAE."""
    ours, theirs = material.of("likelihood", "mem_vae", dataset), material.of("likelihood", "vae", dataset)
    if not ours or not theirs:
        return None
    with_memory, without = (measures.likelihood(files).train_minus_test for files in (ours, theirs))
    train, test = (
        np.stack([a.array(f"{split}/bound") - b.array(f"{split}/bound") for a, b in zip(ours, theirs, strict=True)])
        for split in ("train", "test")
    )  # [seeds, images] each
    extra = measures.spread(train.mean(axis=1) - test.mean(axis=1))
    images = hypot(*(measures.standard_error(values.mean(axis=0)) for values in (train, test)))
    error = hypot(images, _seed_error(extra, GAP_SEED_SD))
    gain = float(test.mean())
    margin = OVERFITTING * gain
    if gain > 0:
        allowed = (
            f"an extra gap of up to a quarter of that ({margin:.2f}) is taken as no overfitting (a bound of ours: the "
            "paper gives no number)"
        )
    else:
        allowed = "without a gain a larger gap has nothing to be set against"
    text = (
        f"On training images L_1 is {with_memory.mean:.2f} nats higher than on test images for MEM-VAE and "
        f"{without.mean:.2f} for VAE: {extra.mean:+.2f} more with memory, with a standard error of {images:.2f} over "
        f"images and {error:.2f} with {_chance_of_training(extra, f'{GAP_SEED_SD} nats')}. On test images memory gains "
        f"{gain:+.2f} nats of L_1; {allowed}."
    )
    return Claim(
        title,
        "not observed (A, no number)",
        f"train minus test {with_memory.mean:.2f} with, {without.mean:.2f} without: {extra.mean:+.2f} ± {error:.2f} "
        "nats",
        OPEN if gain <= 0 else _equivalent(extra.mean, error, margin),
        text,
        {
            "with_memory": with_memory.mean,
            "without": without.mean,
            "extra": extra.mean,
            "standard_error_images": images,
            "standard_error": error,
        },
    )


# ---- images ----------------------------------------------------------------------------------------------------------
def local_detail(material: Material) -> Claim | None:
    """That without the memory the main pattern stays and local detail is lost (Figure 6)."""
    found = material.of("detail", "mem_vae")
    if not found:
        return None
    estimates = detail_table.estimates(found, "both")
    n = {name: estimate.spread.mean for name, estimate in estimates.items()}
    pattern = (n["coherence_low"] - n["chance_low"]) / (1 - n["chance_low"])
    lost = n["kept_low"] - n["kept_high"]
    error = hypot(estimates["kept_low"].standard_error, estimates["kept_high"].standard_error)
    stays, fades = pattern > PATTERN, lost - 2 * error > DETAIL
    verdict = HOLDS if stays and fades else PARTLY if stays or fades else FAILS
    period = 1 / found[0].setting("cutoff")
    kept = f"{n['kept_high']:.0f} % of the energy of detail and {n['kept_low']:.0f} % of the rest"
    coherence = (
        f"{n['coherence_high']:.2f} in detail (chance {n['chance_high']:.2f}) and {n['coherence_low']:.2f} in the "
        f"rest ({n['chance_low']:.2f})"
    )
    text = (
        f"Detail: spatial periods below {period:g} pixels. With both memories disabled, images drawn from the prior "
        f"keep {kept} (difference {lost:.0f} ± {error:.1f} points); coherence with the same draws with the memory is "
        f"{coherence}. The log-likelihood of test images changes by {n['change']:+.1f} nats (standard error "
        f"{estimates['change'].standard_error:.1f}), of which a part is the recognition model's, trained with the "
        "memory."
    )
    if not fades and n["coherence_high"] < n["coherence_low"]:
        text += " So detail is changed more than the pattern, but it does not lose more of its energy."
    return Claim(
        "Without the memory the main pattern stays and local detail is lost, in some sense",
        "Figure 6, by eye (A)",
        f"{kept} kept; coherence {coherence}",
        verdict,
        text,
        {name: n[name] for name in ("kept_high", "kept_low", "coherence_high", "coherence_low", "change")},
    )


def imputation(material: Material) -> Claim | None:
    """That MEM-VAE completes missing pixels better than VAE: digits recovered in Figure 8's noise."""
    ours, theirs = material.of("imputation", "mem_vae"), material.of("imputation", "vae")
    if not ours or not theirs:
        return None
    noises = [noise for noise in ours[0].attribute("noises") if theirs[0].has(f"{noise}/error")]
    if "left_half" not in noises:
        return None
    shares = {noise: _paired(ours, theirs, _recovered(noise)) for noise in noises}
    half = shares["left_half"]
    error = hypot(half.standard_error, _seed_error(half.difference, RECOVERED_SEED_SD))
    errors = [measures.imputation_error(files, "left_half").mean for files in (ours, theirs)]
    found = f"{half.difference.mean:+.1f} ± {error:.1f} percentage points"
    points = [pair.difference.mean for noise, pair in shares.items() if noise != "left_half"]
    elsewhere = f"; other noises {min(points):+.1f} to {max(points):+.1f}" if points else ""
    others = ", ".join(
        f"{noise_title(noise)} {pair.difference.mean:+.1f} ({pair.standard_error:.1f})"
        for noise, pair in shares.items()
        if noise != "left_half"
    )
    text = (
        f"With the left half missing, the judge reads {half.levels[0]:.1f} % of MEM-VAE's completions and "
        f"{half.levels[1]:.1f} % of VAE's as the right digit: {half.difference.mean:+.1f} points, standard error "
        f"{half.standard_error:.1f} over images and {error:.1f} with "
        f"{_chance_of_training(half.difference, f'{RECOVERED_SEED_SD:g} % of digits (a guess)')}. Squared error per "
        f"missing pixel: {errors[0]:.4f} and {errors[1]:.4f}. "
        + (
            f"The other kinds, points of recovered digits and their standard error over images alone: {others}."
            if others
            else ""
        )
    )
    numbers = {f"{noise}_points": pair.difference.mean for noise, pair in shares.items()}
    numbers |= {f"{noise}_standard_error_images": pair.standard_error for noise, pair in shares.items()}
    return Claim(
        "MEM-VAE infers missing halves better than VAE",
        f"Figure 8, by eye (A); numbers: {NOT_AVAILABLE}",
        f"{found} of digits recovered{elsewhere}",
        judged(half.difference.mean, error),
        text,
        {**numbers, "standard_error": error},
    )


# ---- features --------------------------------------------------------------------------------------------------------
def probing(material: Material) -> Claim | None:
    """That MEM-VAE's features classify no worse than VAE's."""
    ours, theirs = material.of("probing", "mem_vae"), material.of("probing", "vae")
    if not ours or not theirs:
        return None
    pair = _paired(ours, theirs, lambda file: file.array("crammer_singer/predicted") == file.array("labels"))
    difference, error = pair.difference.mean, hypot(pair.standard_error, _seed_error(pair.difference, PROBING_SEED_SD))
    text = (
        f"The authors' linear classifier is right on {pair.levels[0]:.2f} % of test images from MEM-VAE's features "
        f"and on {pair.levels[1]:.2f} % from VAE's: {difference:+.2f} points, standard error "
        f"{pair.standard_error:.2f} over images and {error:.2f} with "
        f"{_chance_of_training(pair.difference, f'{PROBING_SEED_SD} % of images (a guess)')}. Worse by less than "
        f"{PROBING_MARGIN} points counts as no worse."
    )
    return Claim(
        "MEM-VAE's features classify no worse than VAE's",
        _difference([material.entry("probing", name, "accuracy") for name in ("mem_vae", "vae")], "points"),
        f"{difference:+.2f} ± {error:.2f} percentage points",
        _equivalent(-difference, error, PROBING_MARGIN),
        text,
        {"difference": difference, "standard_error_images": pair.standard_error, "standard_error": error},
    )


# ---- what the claims share -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Paired:
    """Two shares of the same images, %: ours minus theirs, its standard error over images, and both."""

    difference: Spread
    standard_error: float
    levels: tuple[float, float]


def _paired(ours: list[RunFile], theirs: list[RunFile], right: Callable[[RunFile], np.ndarray]) -> _Paired:
    """`right`: bool [N] of one file. Both rows have the same seeds, in the same order."""
    shares = [np.stack([100.0 * right(file) for file in files]) for files in (ours, theirs)]  # [seeds, N]
    found = measures.estimate(shares[0] - shares[1])
    return _Paired(found.spread, found.standard_error, (float(shares[0].mean()), float(shares[1].mean())))


def _recovered(noise: str) -> Callable[[RunFile], np.ndarray]:
    return lambda file: file.array(f"{noise}/recovered")


def _equivalent(excess: float, error: float, margin: float) -> str:
    """`holds` where an excess is below the margin beyond two standard errors, `does not hold` where it is above it."""
    return judged(margin - excess, error)


def _seed_error(difference: Spread, seed_sd: float) -> float:
    """Standard error over seeds of a difference of two models' numbers; `seed_sd`: the least spread of one model."""
    assumed = sqrt(2) * seed_sd
    sd = assumed if difference.sd is None else max(difference.sd, assumed if difference.seeds < ENOUGH else 0.0)
    return sd / sqrt(difference.seeds)


def _chance_of_training(difference: Spread, seed_sd: str) -> str:
    """How the spread over seeds came in."""
    if difference.seeds >= ENOUGH:
        return f"the spread over {difference.seeds} seeds"
    seeds = "one seed was" if difference.seeds == 1 else f"{difference.seeds} seeds were"
    return f"the chance of training, taken as {seed_sd} or more for each model since {seeds} run"


def _difference(entries: list[Entry | None], unit: str) -> str:
    """The paper's difference of two numbers, with their sources (A: appendix, R: rebuttal)."""
    first, second = entries
    if first is None or second is None:
        return NOT_AVAILABLE
    sources = ", ".join(sorted({first.source, second.source}))
    return f"{first.value - second.value:+.2f} {unit} ({sources})"
