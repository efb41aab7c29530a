"""The paper's claims, one function each: what we measured, and whether that bears the claim out.

A verdict weighs a difference against its standard error over images together with the spread over seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np

from memvae.config import Row
from memvae.report import detail_table, measures
from memvae.report.layout import Files, Layout, RunFile
from memvae.report.measures import Spread, spread
from memvae.report.paper import Paper, run_key
from memvae.report.slot_tables import PAPER_MODEL
from memvae.report.tables import noise_title

PATTERN = 0.5  # coherence from which a pattern counts as kept (our choice)
HOLDS, PARTLY, OPEN, FAILS = "holds", "holds in part", "not settled", "does not hold"
SEED_SD = (
    0.15  # nats, of a log-likelihood over seeds, where one seed was run: 0.12 to 0.16 at 30 epochs (performance.md)
)
PROBE_SEED_SD = 0.1  # %, of the probing accuracy over seeds, a guess where one seed was run
RECOVERED_SEED_SD = (
    1.0  # %, of recovered left halves, likewise: two runs of a seed that differed in rounding differed by 2
)


@dataclass(frozen=True)
class Claim:
    """One claim: in words, the paper's evidence, ours, a verdict, and what to make of it."""

    title: str
    paper: str
    ours: str
    verdict: str
    text: str


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

    def log_likelihood(self, model: str, dataset: str = "mnist") -> float | None:
        """The paper's number."""
        row = self.row(model, dataset)
        return self.printed.value("likelihood", run_key(row), "log_likelihood") if row else None


def judged(difference: float, error: float) -> str:
    """`holds` above two standard errors, `does not hold` below minus two."""
    return HOLDS if difference > 2 * error else FAILS if difference < -2 * error else OPEN


# ---- log-likelihood --------------------------------------------------------------------------------------------------
def memory_gain(material: Material, model: str, base: str, claim: str, dataset: str = "mnist") -> Claim | None:
    """That `model` has a higher log-likelihood than `base`."""
    ours, theirs = material.of("likelihood", model, dataset), material.of("likelihood", base, dataset)
    if not ours or not theirs:
        return None
    gap = measures.gap(ours, theirs)
    error = hypot(gap.standard_error, _seed_error(gap.difference, SEED_SD))
    printed = [material.log_likelihood(name, dataset) for name in (model, base)]
    paper = "" if None in printed else f"{printed[0] - printed[1]:+.2f} nats"  # type: ignore[operator]
    titles = [files[0].spec["model_title"] for files in (ours, theirs)]
    levels = [measures.log_likelihoods(files).mean() for files in (ours, theirs)]
    text = (
        f"{titles[0]} reaches {levels[0]:.2f} nats and {titles[1]} {levels[1]:.2f} on the same {gap.images:,} test "
        f"images: {gap.difference.mean:+.2f}, with a standard error of {gap.standard_error:.2f} over images and "
        f"{error:.2f} with {_seeds(gap.difference, f'{SEED_SD} nats')}."
    )
    return Claim(
        claim,
        paper or "no number",
        f"{gap.difference.mean:+.2f} ± {error:.2f} nats",
        judged(gap.difference.mean, error),
        text,
    )


def between(material: Material) -> Claim | None:
    """That VIS-MEM-VAE lies between VAE and MEM-VAE."""
    steps = [memory_gain(material, *pair, "") for pair in ((PAPER_MODEL, "vae"), ("mem_vae", PAPER_MODEL))]
    lower, upper = steps
    if lower is None or upper is None:
        return None
    verdicts = {lower.verdict, upper.verdict}
    verdict = HOLDS if verdicts == {HOLDS} else FAILS if FAILS in verdicts else PARTLY if HOLDS in verdicts else OPEN
    return Claim(
        "VIS-MEM-VAE lies between VAE and MEM-VAE",
        f"{lower.paper} above VAE, {upper.paper.removeprefix('+')} below MEM-VAE",
        f"{lower.ours} above VAE, {upper.ours.removeprefix('+')} below MEM-VAE",
        verdict,
        f"{lower.text} {upper.text}",
    )


def no_overfitting(material: Material) -> Claim | None:
    """That memory does not make the model overfit more: train minus test bound, MEM-VAE against VAE."""
    ours, theirs = material.of("likelihood", "mem_vae"), material.of("likelihood", "vae")
    if not ours or not theirs:
        return None
    results = [measures.likelihood(files).train_minus_test for files in (ours, theirs)]
    pairs = list(zip(ours, theirs, strict=False))
    images = [
        np.mean([a.array(f"{split}/bound") - b.array(f"{split}/bound") for a, b in pairs], axis=0)
        for split in ("train", "test")
    ]
    error = sqrt(sum(values.var(ddof=1) / values.size for values in images))
    extra = results[0].mean - results[1].mean
    gain = float(images[1].mean())
    verdict = HOLDS if extra <= 2 * error else PARTLY if extra < 0.25 * gain else FAILS
    text = (
        f"On training images L_1 is {results[0].mean:.2f} nats higher than on test images for MEM-VAE and "
        f"{results[1].mean:.2f} for VAE: {extra:+.2f} more with memory (standard error {error:.2f} over images), "
        f"while on test images memory gains {gain:+.2f} of L_1. "
        + (
            "No more overfitting than without memory is visible."
            if verdict == HOLDS
            else "Memory does overfit a little more, but far less than it gains."
            if verdict == PARTLY
            else "A good part of what memory gains on training images does not carry over."
        )
    )
    return Claim(
        "Memory does not overfit",
        "no number",
        f"train minus test {results[0].mean:.2f} with, {results[1].mean:.2f} without: {extra:+.2f} ± {error:.2f} nats",
        verdict,
        text,
    )


# ---- images ---------------------------------------------------------------------------------------------------------
def local_detail(material: Material) -> Claim | None:
    """That without the memory the main pattern stays and local detail is lost (Figure 6)."""
    found = material.of("detail", "mem_vae")
    if not found:
        return None
    estimates = detail_table.estimates(found, "both")
    numbers = {name: result.spread.mean for name, result in estimates.items()}
    change = estimates["change"]
    pattern_stays = numbers["coherence_low"] > PATTERN
    detail_lost = numbers["coherence_high"] < numbers["coherence_low"] and numbers["kept_high"] < numbers["kept_low"]
    verdict = HOLDS if pattern_stays and detail_lost else PARTLY if pattern_stays or detail_lost else FAILS
    period = 1 / found[0].setting("cutoff")
    kept = f"{numbers['kept_high']:.0f} % of the energy in detail and {numbers['kept_low']:.0f} % of the rest"
    coherence = f"{numbers['coherence_high']:.2f} in detail and {numbers['coherence_low']:.2f} in the rest"
    text = (
        f"Detail: spatial periods below {period:g} pixels. With both memories disabled, the images drawn from the "
        f"prior keep {kept}, compared with the same draws with the memory; their coherence with those is {coherence} "
        f"(1: the same pattern, 0: another). The log-likelihood of test images changes by {change.spread.mean:+.1f} "
        f"nats (standard error {change.standard_error:.1f}). Disabling the layer next to the data alone is the row "
        "between in the table."
    )
    return Claim(
        "Without the memory the main pattern stays and local detail is lost",
        "by eye, Figure 6",
        f"kept: {kept}; coherence {coherence}",
        verdict,
        text,
    )


# ---- features and missing pixels -------------------------------------------------------------------------------------
def imputation(material: Material) -> Claim | None:
    """That MEM-VAE completes missing pixels better than VAE."""
    ours, theirs = material.of("imputation", "mem_vae"), material.of("imputation", "vae")
    noises = [
        noise for noise in (ours[0].attribute("noises") if ours else []) if theirs and theirs[0].has(f"{noise}/error")
    ]
    if not noises:
        return None
    shown = "left_half" if "left_half" in noises else noises[-1]
    errors = {n: [measures.imputation_error(files, n).mean for files in (ours, theirs)] for n in noises}
    shares = {n: _paired(ours, theirs, _recovered(n), RECOVERED_SEED_SD) for n in noises}
    lower = sum(a < b for a, b in errors.values())
    more = [n for n in noises if shares[n].verdict == HOLDS]
    fewer = [n for n in noises if shares[n].verdict == FAILS]
    shown_share = shares[shown]
    difference = f"{shown_share.difference.mean:+.1f} ± {shown_share.error:.1f} %"
    text = (
        f"With the {noise_title(shown)} missing, the judge reads {shown_share.levels[0]:.1f} % of MEM-VAE's "
        f"completions and {shown_share.levels[1]:.1f} % of VAE's as the right digit: {difference} "
        f"({_seeds(shown_share.difference, f'{RECOVERED_SEED_SD} %')}); error per missing pixel "
        f"{errors[shown][0]:.4f} and {errors[shown][1]:.4f}. Of {len(noises)} kinds of noise MEM-VAE has the lower "
        f"error in {lower}; it recovers significantly more digits in {len(more)}, fewer in {len(fewer)}."
    )
    return Claim(
        "MEM-VAE infers missing pixels better than VAE",
        "by eye, Figure 8",
        f"left half: {difference} of digits; lower error in {lower} of {len(noises)} noises",
        shown_share.verdict,
        text,
    )


def probing(material: Material) -> Claim | None:
    """That MEM-VAE's features classify better than VAE's."""
    ours, theirs = material.of("probing", "mem_vae"), material.of("probing", "vae")
    if not ours or not theirs:
        return None
    pair = _paired(
        ours, theirs, lambda file: file.array("crammer_singer/predicted") == file.array("labels"), PROBE_SEED_SD
    )
    printed = [material.printed.value("probing", f"mnist-{model}", "accuracy") for model in ("mem_vae", "vae")]
    paper = "" if None in printed else f"{printed[0] - printed[1]:+.2f} %"  # type: ignore[operator]
    difference = f"{pair.difference.mean:+.2f} ± {pair.error:.2f} %"
    text = (
        f"The authors' linear classifier is right on {pair.levels[0]:.2f} % of test images from MEM-VAE's features "
        f"and on {pair.levels[1]:.2f} % from VAE's: {difference} ({_seeds(pair.difference, f'{PROBE_SEED_SD} %')}). "
        "The paper's own difference is of the size of one such error."
    )
    return Claim(
        "MEM-VAE's features classify at least as well as VAE's",
        paper or "no number",
        difference,
        HOLDS if pair.difference.mean >= 0 else judged(pair.difference.mean, pair.error),
        text,
    )


# ---- what the claims share -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Paired:
    """Two shares of the same images, %: ours minus theirs, its error, and both."""

    difference: Spread
    error: float
    levels: tuple[float, float]

    @property
    def verdict(self) -> str:
        return judged(self.difference.mean, self.error)


def _paired(
    ours: list[RunFile], theirs: list[RunFile], right: Callable[[RunFile], np.ndarray], seed_sd: float
) -> _Paired:
    """`right`: bool [N] of one file. Files are paired by their place: one per seed, in the same order."""
    shares = [np.stack([100.0 * right(file) for file in files]) for files in (ours, theirs)]  # [seeds, N]
    seeds = min(map(len, shares))
    difference = spread((shares[0][:seeds] - shares[1][:seeds]).mean(axis=1))
    images = shares[0].mean(axis=0) - shares[1].mean(axis=0)
    error = hypot(float(images.std(ddof=1)) / sqrt(images.size), _seed_error(difference, seed_sd))
    return _Paired(difference, error, (float(shares[0].mean()), float(shares[1].mean())))


def _recovered(noise: str) -> Callable[[RunFile], np.ndarray]:
    return lambda file: file.array(f"{noise}/recovered")


def _seed_error(difference: Spread, seed_sd: float) -> float:
    """Of a difference of two runs' numbers, from its own spread or, with one seed, from that of a single run."""
    sd = difference.sd if difference.sd is not None else sqrt(2) * seed_sd
    return sd / sqrt(difference.seeds)


def _seeds(difference: Spread, seed_sd: str) -> str:
    """How the spread over seeds came in."""
    if difference.sd is None:
        return f"the chance of training, taken as {seed_sd} for each model since one seed was run"
    return f"the spread over {difference.seeds} seeds"
