"""The numbers of tables and scorecard, from arrays: means, spreads over seeds, standard errors over images.

Files of one row are its seeds. A spread is the standard deviation over seeds (divided by n - 1), None with one seed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from memvae.errors import InputError
from memvae.report.layout import RunFile

USED_ABOVE = 0.01  # a slot is in use when some class prefers it by more than this (computed so from the authors' file)


@dataclass(frozen=True)
class Spread:
    """A number of one row: its mean and standard deviation over seeds."""

    mean: float
    sd: float | None
    seeds: int


@dataclass(frozen=True)
class Estimate:
    """A number of one row, over seeds; `standard_error` is over images or draws, of the mean over seeds."""

    spread: Spread
    standard_error: float


@dataclass(frozen=True)
class Likelihood:
    """Nats per image. `standard_error` is over test images, of the mean over seeds."""

    log_likelihood: Spread
    standard_error: float
    images: int
    samples: int  # K
    more: Spread | None  # with more_samples
    more_samples: int | None
    bound: Spread  # L_1 on all test images
    bound_images: int
    log_px: Spread
    kl: Spread
    train_minus_test: Spread  # of L_1


@dataclass(frozen=True)
class Gap:
    """Log-likelihood of one row minus another's, nats per image, over the same test images."""

    difference: Spread
    standard_error: float  # of the per-image differences: smaller than that of either row
    images: int

    @property
    def standard_errors(self) -> float | None:
        """The difference as a multiple of its standard error; None where that is 0 or undefined."""
        return self.difference.mean / self.standard_error if self.standard_error > 0 else None


def spread(values: Iterable[float]) -> Spread:
    array = np.asarray(list(values), dtype=np.float64)
    return Spread(float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else None, array.size)


def estimate(values: np.ndarray) -> Estimate:
    """Of the same images in every seed: [seeds, N]."""
    return Estimate(spread(values.mean(axis=1)), standard_error(values.mean(axis=0)))


def likelihood(files: list[RunFile]) -> Likelihood:
    """The likelihood table's numbers of one row."""
    per_image = log_likelihoods(files)  # [seeds, N1]
    more = "test/log_likelihood_more"
    return Likelihood(
        log_likelihood=spread(per_image.mean(axis=1)),
        standard_error=standard_error(per_image.mean(axis=0)),
        images=per_image.shape[1],
        samples=same(files, "samples"),
        more=_means(files, more) if files[0].has(more) else None,
        more_samples=same(files, "more_samples") if files[0].has(more) else None,
        bound=_means(files, "test/bound"),
        bound_images=files[0].array("test/bound").size,
        log_px=_means(files, "test/log_px"),
        kl=_means(files, "test/kl"),
        train_minus_test=spread(file.array("train/bound").mean() - file.array("test/bound").mean() for file in files),
    )


def gap(files: list[RunFile], baseline: list[RunFile]) -> Gap:
    """Paired over images: of both rows the images that both have (each holds the first ones of the test set).

    Raises InputError when the two were computed on different data or with different K.
    """
    same([*files, *baseline], "samples")
    for file in (*files, *baseline):
        if file.attribute("data_sha256") != files[0].attribute("data_sha256"):
            raise InputError(f"{file.path}: computed on other data than {files[0].path}; delete one and make it again")
    ours, theirs = log_likelihoods(files), log_likelihoods(baseline)
    images = min(ours.shape[1], theirs.shape[1])
    paired = ours[:, :images].mean(axis=0) - theirs[:, :images].mean(axis=0)
    seeds = {file.seed: place for place, file in enumerate(baseline)}
    by_seed = [
        ours[place, :images].mean() - theirs[seeds[file.seed], :images].mean()
        for place, file in enumerate(files)
        if file.seed in seeds
    ]
    sd = spread(by_seed).sd if by_seed else None
    return Gap(Spread(float(paired.mean()), sd, len(by_seed)), standard_error(paired), images)


def log_likelihoods(files: list[RunFile]) -> np.ndarray:
    """L_K of every seed and test image, nats: [seeds, N1]. Raises InputError when seeds differ in their images."""
    arrays = [file.array("test/log_likelihood") for file in files]
    for file, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape or not array.size:
            raise InputError(
                f"{file.path}: log_likelihood has shape {array.shape}, expected {arrays[0].shape}, not empty"
            )
    return np.stack(arrays)


def accuracy(files: list[RunFile], classifier: str) -> tuple[Spread, float, int]:
    """Accuracy of a probe (`crammer_singer` or `linear_svc`) in %, its binomial standard error in %, test images."""
    shares = [float((file.array(f"{classifier}/predicted") == file.array("labels")).mean()) for file in files]
    over_seeds = spread(100 * share for share in shares)
    images = files[0].array("labels").size
    return over_seeds, _binomial_error(over_seeds.mean, images), images


def imputation_error(files: list[RunFile], noise: str) -> Spread:
    """Squared error per missing pixel after the last iteration."""
    return spread(float(file.array(f"{noise}/error")[-1]) for file in files)


def recovered(files: list[RunFile], noise: str) -> tuple[Spread, float, int]:
    """Share of completed images in which the classifier sees the right digit, %; its standard error, %; images."""
    shares = spread(100 * float(file.array(f"{noise}/recovered").mean()) for file in files)
    images = files[0].array(f"{noise}/recovered").size
    return shares, _binomial_error(shares.mean, images), images


def layers(file: RunFile) -> list[str]:
    """Decoder layers with memory, the one next to the data first."""
    names = sorted({name.split("/")[0] for name in file.stored.arrays if name.endswith("/preferences")})
    if not names:
        raise InputError(f"{file.path}: has no preferences of any layer; delete it and make it again")
    return names


def top_values(files: list[RunFile], layer: str, place: int) -> list[Spread]:
    """Per class the largest (`place` 0), second largest, ... preference value. Slots themselves are never averaged."""
    values = np.stack([file.array(f"{layer}/top_values")[:, place] for file in files])  # [seeds, classes]
    return [spread(column) for column in values.T]


def used(file: RunFile, layer: str) -> np.ndarray:
    """Number of classes that prefer each slot by more than 0.01: [S]."""
    return (file.array(f"{layer}/preferences") > USED_ABOVE).sum(axis=0)


def same(files: list[RunFile], setting: str) -> int:
    """A setting that all seeds must share. Raises InputError when they do not."""
    value = files[0].setting(setting)
    for file in files:
        if file.setting(setting) != value:
            raise InputError(
                f"{file.path}: settings.{setting} is {file.setting(setting)}, expected {value} as in its other seeds"
            )
    return value


def standard_error(values: np.ndarray) -> float:
    """Of the mean of independent values; nan for a single one."""
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")


def _means(files: list[RunFile], array: str) -> Spread:
    return spread(float(file.array(array).mean()) for file in files)


def _binomial_error(percent: float, images: int) -> float:
    share = percent / 100
    return 100 * float(np.sqrt(share * (1 - share) / images))
