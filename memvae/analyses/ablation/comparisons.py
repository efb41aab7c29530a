"""Differences of two models over the same images and seeds: intervals, and p-values corrected for their number."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from scipy import stats

from memvae.report.statistics import standard_error

REPLICATES = 1000  # the bootstrap's own error of a standard error is then 2 %
LEVEL = 0.95  # of an interval
SHARED = 4  # a pooled spread has at most so many times a comparison's degrees of freedom (below)


@dataclass(frozen=True)
class Compared:
    """One difference. images, error: standard errors over images alone, and over seeds and images."""

    mean: float
    by_seed: tuple[float, ...]
    images: float
    sd: float | None  # over seeds
    error: float
    low: float  # of the interval
    high: float
    p: float  # of no difference, two-sided
    p_holm: float = 1.0  # corrected for the number of comparisons

    @property
    def half(self) -> float:
        """Half of the interval's length."""
        return (self.high - self.low) / 2


def compare(differences: Sequence[np.ndarray], assumed_sd: float, kinds: Sequence[str] = ()) -> list[Compared]:
    """Each difference with its interval. differences: [seeds, N] each, image by image and seed by seed; kinds: of each.

    The standard error is that of a hierarchical bootstrap in numpy: seeds are drawn with replacement, then images, the
    same for every seed, since all models see the same images (scipy.stats.bootstrap knows one level alone).
    Few seeds agree by luck, and resampling them is too narrow by (S - 1) / S. So the seeds' part is stretched to the
    spread over seeds of this comparison or of all of its kind together, whichever is larger; with one seed to
    `assumed_sd`. The interval is Student's, with Satterthwaite's degrees of freedom. Comparisons with one base share
    its spread: a pooled spread of differences whose two models vary alike has at most 4 (S - 1) degrees of freedom.
    p-values are corrected by Holm's method, which allows for any dependence.
    """
    kinds = kinds or ("",) * len(differences)
    variances: dict[str, list[float]] = {kind: [] for kind in kinds}
    for kind, one in zip(kinds, differences, strict=True):
        variances[kind].append(float(one.mean(axis=1).var(ddof=1)) if len(one) > 1 else assumed_sd**2)
    rng = np.random.default_rng(0)
    shares: dict[int, np.ndarray] = {}  # images -> how often each was drawn: [N, replicates], the same for all
    found = []
    for kind, one in zip(kinds, differences, strict=True):
        images = one.shape[1]
        if images not in shares:
            draws = (np.bincount(rng.integers(0, images, images), minlength=images) for _ in range(REPLICATES))
            shares[images] = np.stack([draw.astype(np.float32) for draw in draws], axis=1) / images
        found.append(
            _compared(one, shares[images], float(np.mean(variances[kind])), min(len(variances[kind]), SHARED), rng)
        )
    return [
        Compared(**{**vars(one), "p_holm": p}) for one, p in zip(found, holm([one.p for one in found]), strict=True)
    ]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): the chance of any false finding among them stays below the level."""
    corrected, largest = list(p), 0.0
    for rank, place in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = largest
    return corrected


def _compared(one: np.ndarray, shares: np.ndarray, pooled: float, together: int, rng: np.random.Generator) -> Compared:
    seeds = len(one)
    means, mean = one.mean(axis=1), float(one.mean())
    own = float(means.var(ddof=1)) if seeds > 1 else 0.0
    variance = max(own, pooled)  # over seeds
    drawn = rng.integers(0, seeds, (REPLICATES, seeds))
    by_images = (one - means[:, None]).astype(np.float32) @ shares  # [seeds, replicates]
    images_part = np.take_along_axis(by_images.T.astype(float), drawn, axis=1).mean(axis=1)
    if own > 0:
        seeds_part = (means[drawn].mean(axis=1) - mean) * sqrt(variance / own * seeds / (seeds - 1))
    else:
        seeds_part = rng.normal(0, sqrt(variance / seeds), REPLICATES)
    error = float((seeds_part + images_part).std())
    share = min(1.0, variance / seeds / error**2) if error else 0.0  # of the seeds in the variance of the mean
    freedom = (seeds - 1) * together / share**2 if seeds > 1 and share else inf
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, freedom)) if error else 1.0
    sd = sqrt(own) if seeds > 1 else None
    images = standard_error(one.mean(axis=0)) or 0.0
    return Compared(mean, tuple(map(float, means)), images, sd, error, mean - half, mean + half, p)
