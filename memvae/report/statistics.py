"""The statistics of all tables, figures and claims: means, errors over images, spreads over seeds, paired differences.

The files of one row are its seeds. A spread is the standard deviation over seeds (divided by n - 1); one seed has none.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np

from memvae.errors import InputError
from memvae.files.store import Stored
from memvae.settings.config import Row

ENOUGH = 5  # seeds whose spread is taken as it is; fewer can agree by luck


@dataclass(frozen=True)
class Measured:
    """One quantity of one row of a table, in every seed."""

    row: Row
    files: tuple[Stored, ...]  # empty: not measured on a training
    quantity: str
    condition: str
    unit: str
    values: tuple[float, ...]  # one per seed
    errors: tuple[float | None, ...]  # standard error over images or draws of each
    error: float | None  # standard error over images or draws of the mean over seeds
    n: int | None = None  # images or draws
    paper: tuple[str, str, str] | None = None  # table, row and column of the authors' number (config/paper.yaml)

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def sd(self) -> float | None:
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    @property
    def seeds(self) -> int:
        return len(self.values)


Values = Callable[[Stored], np.ndarray]  # [N]: one number per image or draw of a file
Paper = tuple[str, str, str] | None


def array(name: str, minus: str = "") -> Values:
    """The array of that name, or what it is more than another one, image by image."""
    return lambda file: file.array(name) - file.array(minus) if minus else file.array(name)


def per_image(
    row: Row,
    files: Sequence[Stored],
    quantity: str,
    unit: str,
    values: Values,
    condition: str = "",
    paper: Paper = None,
) -> Measured:
    """The mean over the same images in every seed. Raises InputError when seeds differ in the number of images."""
    stacked = stack(files, values)  # [seeds, N]
    errors = tuple(standard_error(one) for one in stacked)
    pooled = standard_error(stacked.mean(axis=0))
    means = tuple(map(float, stacked.mean(axis=1)))
    return Measured(row, tuple(files), quantity, condition, unit, means, errors, pooled, stacked.shape[1], paper)


def share(
    row: Row, files: Sequence[Stored], quantity: str, values: Values, condition: str = "", paper: Paper = None
) -> Measured:
    """The share of images for which `values` (bool [N]) is true, %, with its binomial standard error."""
    stacked = stack(files, values)
    n = stacked.shape[1]
    shares = tuple(float(100 * one) for one in stacked.mean(axis=1))
    errors = tuple(binomial_error(one, n) for one in shares)
    pooled = binomial_error(float(np.mean(shares)), n)
    return Measured(row, tuple(files), quantity, condition, "%", shares, errors, pooled, n, paper)


def plain(
    row: Row,
    files: Sequence[Stored],
    quantity: str,
    unit: str,
    value: Callable[[Stored], float],
    condition: str = "",
    n: int | None = None,
    paper: Paper = None,
) -> Measured:
    """A number without an error over images."""
    return of_values(row, files, quantity, unit, [float(value(file)) for file in files], condition, n, paper)


def of_values(
    row: Row,
    files: Sequence[Stored],
    quantity: str,
    unit: str,
    values: Sequence[float],
    condition: str = "",
    n: int | None = None,
    paper: Paper = None,
) -> Measured:
    """A number of each seed that was computed elsewhere, without an error over images."""
    return Measured(row, tuple(files), quantity, condition, unit, tuple(values), (None,) * len(values), None, n, paper)


def independent(
    row: Row,
    files: Sequence[Stored],
    quantity: str,
    unit: str,
    value: Callable[[Stored], tuple[float, float | None]],
    condition: str = "",
    n: int | None = None,
) -> Measured:
    """A number with an error of its own in every seed, of draws that the seeds do not share."""
    found = [value(file) for file in files]
    errors = tuple(error for _, error in found)
    known = [error for error in errors if error is not None]
    pooled = hypot(*known) / len(known) if len(known) == len(errors) else None
    return Measured(row, tuple(files), quantity, condition, unit, tuple(v for v, _ in found), errors, pooled, n)


def difference(one: Measured, other: Measured, values: Values, factor: float = 1.0) -> Measured:
    """`one` minus `other`, image by image and seed by seed, of the images that both have (each has the first ones).

    values: what both were measured by; factor: from its unit to theirs. The row is that of `one`.
    Raises InputError when the two were computed on different data.
    """
    same_data([*one.files, *other.files])
    ours, theirs = stack(one.files, values), stack(other.files, values)
    n = min(ours.shape[1], theirs.shape[1])
    places = {file.seed: place for place, file in enumerate(other.files)}
    paired = [(place, places[file.seed]) for place, file in enumerate(one.files) if file.seed in places]
    by_seed = [factor * (ours[a, :n].astype(float) - theirs[b, :n].astype(float)) for a, b in paired]  # [N] each
    over_images = factor * (ours[:, :n].mean(axis=0) - theirs[:, :n].mean(axis=0))
    mean = float(over_images.mean())
    values_by_seed = tuple(float(one_seed.mean()) for one_seed in by_seed) or (mean,)
    return Measured(
        one.row,
        (*one.files, *other.files),
        one.quantity,
        f"minus {other.row.model}" + (f" {one.condition}" if one.condition else ""),
        one.unit,
        values_by_seed,
        tuple(standard_error(one_seed) for one_seed in by_seed) or (standard_error(over_images),),
        standard_error(over_images),
        n,
    )


def stack(files: Sequence[Stored], values: Values) -> np.ndarray:
    """`values` of every seed: [seeds, N]. Raises InputError when seeds differ in their images, or have none."""
    arrays = [np.asarray(values(file)) for file in files]
    for file, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape or not array.size:
            raise InputError(
                f"{file.path}: found values of shape {array.shape}, expected {arrays[0].shape} as in {files[0].path}, "
                "not empty; delete one and make it again"
            )
    return np.stack(arrays)


def same_data(files: Sequence[Stored]) -> None:
    """Raises InputError when files were computed on different data."""
    for file in files:
        if file.attribute("data_sha256") != files[0].attribute("data_sha256"):
            raise InputError(f"{file.path}: computed on other data than {files[0].path}; delete one and make it again")


def same_setting(files: Sequence[Stored], setting: str) -> int:
    """A setting that all files must share. Raises InputError when they do not."""
    value = files[0].setting(setting)
    for file in files:
        if file.setting(setting) != value:
            raise InputError(
                f"{file.path}: settings.{setting} is {file.setting(setting)}, expected {value} as in {files[0].path}"
            )
    return value


def standard_error(values: np.ndarray) -> float | None:
    """Of the mean of independent values; None for a single one."""
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else None


def binomial_error(percent: float, images: int) -> float:
    """Standard error of a share, in %."""
    proportion = percent / 100
    return 100 * sqrt(proportion * (1 - proportion) / images)


def joined(*errors: float | None) -> float:
    """The root of the sum of squares of independent errors; one that does not exist counts as none."""
    return hypot(*(error or 0.0 for error in errors))


def seed_error(measured: Measured, least_sd: float, models: int = 2) -> float:
    """Standard error over seeds of a number that rests on so many models (a difference: two).

    With fewer than five seeds, which can agree by luck, a model's spread over seeds is taken as at least `least_sd`.
    """
    assumed = sqrt(models) * least_sd
    sd = assumed if measured.sd is None else max(measured.sd, assumed if measured.seeds < ENOUGH else 0.0)
    return sd / sqrt(measured.seeds)


def chance_of_training(measured: Measured, least_sd: str) -> str:
    """How the spread over seeds was taken into account, in words. least_sd: with its unit."""
    if measured.seeds >= ENOUGH:
        return f"the spread over {measured.seeds} seeds"
    seeds = "one seed was" if measured.seeds == 1 else f"{measured.seeds} seeds were"
    return f"the chance of training, taken as {least_sd} or more for each model since {seeds} run"


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; equal values share their average rank. 0 where one side has no order."""
    one, other = _ranked(a), _ranked(b)
    size = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / size if size else 0.0


def mantel(a: np.ndarray, b: np.ndarray, permutations: int = 10_000) -> tuple[float, float]:
    """Spearman's rank correlation of two symmetric matrices over their pairs of classes, and its one-sided p-value.

    a, b: [classes, classes], of which the diagonal is not used. The p-value is that of Mantel's test (1967): the share
    of random permutations of one side's classes, the same ones in every call, whose correlation is as large or larger.
    The order as it is counts as one of them, so that p is never 0. The pairs share classes, so a test that takes them
    as independent would be too sure.
    """
    first, second = np.triu_indices(len(a), 1)
    one, other = _ranked(a[first, second]), np.zeros(a.shape)
    other[first, second] = other[second, first] = _ranked(b[first, second])
    found, rng, larger = rank_correlation(a[first, second], b[first, second]), np.random.default_rng(0), 0
    least = one @ other[first, second] - 1e-9 * (one @ one)  # equal but for rounding
    for start in range(0, permutations, 1000):
        order = np.tile(np.arange(len(a)), (min(1000, permutations - start), 1))
        order = rng.permuted(order, axis=1)  # [permutations, classes]
        larger += int((other[order[:, first], order[:, second]] @ one >= least).sum())
    return found, (1 + larger) / (1 + permutations)


def _ranked(values: np.ndarray) -> np.ndarray:
    """Ranks minus their mean; equal values share their average rank."""
    ranks = np.array([((values < v).sum() + (values <= v).sum() - 1) / 2 for v in values])
    return ranks - ranks.mean()


def measurements(found: Iterable[Measured]) -> list[dict[str, object]]:
    """The rows of results/measurements.csv: one per quantity, condition and seed.

    Ablations share models with each other and with the likelihood table; a number that several have is one row.
    """
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for one in found:
        seeds: list[int | None] = [*(file.seed for file in one.files[: one.seeds])]
        for seed, value, error in zip(seeds or [None], one.values, one.errors, strict=True):
            cells: dict[str, object] = {
                "dataset": one.files[0].spec["dataset"] if one.files else one.row.paper_dataset,
                "model": one.row.model,
                "k": one.row.k,
                "seed": seed,
                "epochs": one.files[0].epochs if one.files else None,
                "quantity": one.quantity,
                "condition": one.condition,
            }
            number = {"value": value, "standard_error": error, "n": one.n, "unit": one.unit}
            rows.setdefault(tuple(cells.values()), cells | number)
    return list(rows.values())
