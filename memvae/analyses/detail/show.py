"""What images and their likelihood lose when the memory is disabled (Figure 6 in numbers)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from memvae.analyses.generation.show import condition_titles
from memvae.files.store import Stored
from memvae.report import statistics
from memvae.report.claims import FAILS, HOLDS, PARTLY, Claim, Part
from memvae.report.paper import model_key
from memvae.report.statistics import Measured
from memvae.report.table import NOT_RUN, Column, Section, Table, number
from memvae.report.view import View, record_of
from memvae.settings.config import Row

DATA, FULL = "data", "full"  # the test images, and the memory as it is; every other condition disables memory
BANDS = ("low", "high")  # of frequencies
LOST = tuple(f"{name}_{band}" for name in ("kept", "coherence", "chance") for band in BANDS)
PATTERN = 0.5  # share of the way from chance to 1 that coherence keeps where the pattern stays
DETAIL = 10.0  # percentage points of energy that detail loses more than the rest where it is lost

PAGE = Part(
    "Local detail with and without the memory",
    "The appendix shows images (Figure 6); energies and likelihoods are our way to put numbers on them.",
)
ENERGY = (
    Column("model", "model"),
    Column("title", "images"),
    Column("energy_high", "energy above", 5),
    Column("energy_high_standard_error", "standard error", 5),
    Column("energy_low", "energy below", 5),
    Column("kept_high", "above, % of full", 1),
    Column("kept_low", "below, % of full", 1),
    Column("share_high", "share above, %", 1),
    Column("share_high_standard_error", "its standard error", 1),
    Column("share_high_sd", "its sd over seeds", 1),
    Column("coherence_above", "coherence above"),
    Column("coherence_below", "coherence below"),
)
LIKELIHOOD = (
    Column("model", "model"),
    Column("title", "images"),
    Column("log_likelihood", "log-likelihood"),
    Column("log_likelihood_standard_error", "standard error"),
    Column("log_likelihood_sd", "sd over seeds"),
    Column("change", "change", sign=True),
    Column("change_standard_error", "its standard error"),
    Column("change_sd", "its sd over seeds"),
    Column("images", "test images"),
    Column("bound", "bound L1"),
    Column("log_px", "reconstruction"),
    Column("bound_images", "test images of the bound"),
)


def measure(view: View) -> Iterator[Measured]:
    """Energies, shares and coherences of the images, log-likelihoods and their changes, by condition."""
    for row, found in view.made:
        for setting in ("samples", "images", "draws", "cutoff"):
            statistics.same_setting(found, setting)
        yield from _images(row, found[:1], DATA)  # every seed has the same test images
        for condition in condition_titles(found[0]):
            yield from _images(row, found, condition)
            for name in ("log_likelihood", "bound", "log_px"):
                yield statistics.per_image(row, found, name, "nats", statistics.array(f"{name}/{condition}"), condition)
            if condition != FULL:
                for name, change in (("log_likelihood", "change"), ("bound", "bound_change")):
                    values = statistics.array(f"{name}/{condition}", f"{name}/full")
                    yield statistics.per_image(row, found, change, "nats", values, condition)


def _images(row: Row, seeds: list[Stored], condition: str) -> Iterator[Measured]:
    """What is measured on images; every seed has draws of its own, so their errors are independent.

    A ratio to no energy does not exist and is left out: that of images without any variance.
    """
    high, low = f"high/{condition}", f"low/{condition}"
    n = seeds[0].array(high).size

    def pooled(quantity: str, unit: str, statistic: Callable[..., Any], *arrays: str) -> Iterator[Measured]:
        def value(file: Stored) -> tuple[float, float | None]:
            return jackknife(statistic, *(file.array(name) for name in arrays))

        found = statistics.independent(row, seeds, quantity, unit, value, condition, n)
        if np.isfinite(found.values).all():
            yield found

    yield from pooled("energy_high", "variance of a pixel", lambda one: one, high)
    yield from pooled("energy_low", "variance of a pixel", lambda one: one, low)
    yield from pooled("share_high", "%", lambda one, other: 100 * one / (one + other), high, low)
    if condition not in (DATA, FULL):
        for band in BANDS:
            cross, full, ours = f"cross_{band}/{condition}", f"{band}/full", f"{band}/{condition}"
            yield from pooled(f"kept_{band}", "%", lambda a, b: 100 * b / a, full, ours)
            yield from pooled(f"coherence_{band}", "", _coherence, cross, full, ours)
            yield from pooled(f"chance_{band}", "", _coherence, f"chance_{band}/{condition}", full, ours)


def detail(view: View) -> Table:
    """Energy by spatial frequency and log-likelihood, with the memory and with it disabled."""
    records: list[dict[str, Any]] = []
    long: list[Section] = []
    bands: list[dict[str, Any]] = []
    for row, found in view.rows:
        if not found:
            records.append({**record_of(row, model_key), "energy_high": NOT_RUN})
            records[-1] |= view.facts(row, found)
            continue
        titles = {DATA: "test images", **condition_titles(found[0])}
        records += [_record(view, row, found, condition, title) for condition, title in titles.items()]
        columns, of_row = _bands(found, titles)
        bands += [{**record_of(row, model_key, kind="band"), **band, **view.facts(row, found)} for band in of_row]
        long.append(Section(f"{row.title}, by frequency", columns, of_row, long=True))
    sections = [Section("energy of the images", ENERGY, records)]
    if view.done:
        with_memory = [record for record in records if record.get("condition", DATA) != DATA]
        sections += [Section("log-likelihood of the test images", LIKELIHOOD, with_memory), *long]
    shown = ("title", "coherence_above", "coherence_below", "period")
    cells = [{key: value for key, value in one.items() if key not in shown} for one in (*records, *bands)]
    return Table("detail", "Local detail with and without the memory", cells, sections, _notes(view))


def _record(view: View, row: Row, found: list[Stored], condition: str, title: str) -> dict[str, Any]:
    """All numbers of a condition."""
    record: dict[str, Any] = {**record_of(row, model_key, kind="all", condition=condition)}
    record |= {"title": title, "seeds": 1 if condition == DATA else len(found)}
    measured = {one.quantity: one for one in view.numbers if one.row == row and one.condition == condition}
    for name, one in measured.items():
        record |= {name: one.mean, f"{name}_standard_error": one.error, f"{name}_sd": one.sd}
    for place, band in (("above", "high"), ("below", "low")):
        pair = [record.get(f"{name}_{band}") for name in ("coherence", "chance")]
        record[f"coherence_{place}"] = f"{number(pair[0], 3)} ({number(pair[1])})" if None not in pair else ""
    record |= {name: found[0].setting(name) for name in ("cutoff", "draws")}
    record |= {"bound_images": found[0].array("bound/full").size}
    record |= {"images": found[0].array("log_likelihood/full").size}
    return record | view.facts(row, found, found[0].setting("samples"))


def _bands(found: list[Stored], titles: Mapping[str, str]) -> tuple[list[Column], list[dict[str, Any]]]:
    """The columns of a row's spectra, and one record per band of frequencies, means over seeds."""
    disabled = [name for name in titles if name not in (DATA, FULL)]
    arrays = ["frequency", *(f"spectrum/{name}" for name in titles), *(f"coherence/{name}" for name in disabled)]
    means = [np.mean([file.array(array) for file in found], axis=0) for array in arrays]  # [R] each
    names = [array.replace("/", "_") for array in arrays]
    bands = [dict(zip(names, map(float, band), strict=True)) for band in zip(*means, strict=True)]
    columns = [
        Column("frequency", "frequency", 3),
        Column("period", "period, pixels", 1),
        *(Column(f"spectrum_{name}", title, 6) for name, title in titles.items()),
        *(Column(f"coherence_{name}", f"coherence, {titles[name]}", 3) for name in disabled),
    ]
    return columns, [{**band, "period": 1 / band["frequency"]} for band in bands]


def _notes(view: View) -> list[str]:
    if not view.done:
        return view.notes()
    file = view.done[0]
    cutoff, draws, samples = (file.setting(name) for name in ("cutoff", "draws", "samples"))
    return view.notes(
        "Ours: the paper judges Figure 6 by eye and prints no number.",
        f"Images: {file.array('high/data').size:,} real-valued test images, and the decoder's means for {draws:,} "
        "draws of z from the prior: the same draws with the memory, and with the memory information of the layer next "
        "to the data, or of every layer, set to ones.",
        "Energy: mean over images of an image's variance (pixels in [0, 1]) in spatial frequencies above or below "
        f"{cutoff:g} cycles per pixel (a period of {1 / cutoff:g} pixels), without zero frequency, and as a part of "
        "that with the full memory. Share: of the energy above in all of it.",
        "Coherence: correlation of the images with those of the full memory for the same z, above or below that "
        "frequency; 1 where the pattern stays. In brackets that with the image of another z, the value of chance: all "
        "images have ink in the middle.",
        f"Log-likelihood: nats per image, K = {samples:,}. Change: from full memory, image by image. The recognition "
        "model, trained with the memory, proposes z throughout, so with it disabled L_K is further below log p(x).",
        "Standard errors are over draws or test images.",
        f"Data: {view.data()}.",
    )


# ---- the claim -------------------------------------------------------------------------------------------------------
def local_detail(view: View) -> Claim | None:
    """That without the memory the main pattern stays and local detail is lost (Figure 6).

    Nothing is said where a number or its error does not exist.
    """
    row = view.row("mem_vae")
    if row is None:
        return None
    measured = {name: one for name in (*LOST, "change") if (one := view.number(row, name, "both"))}
    errors = {name: one.error for name, one in measured.items() if one.error is not None}
    n = {name: one.mean for name, one in measured.items()}
    if len(n) <= len(LOST) or not {"kept_low", "kept_high"} <= set(errors):
        return None
    lost = n["kept_low"] - n["kept_high"]
    error = statistics.joined(errors["kept_low"], errors["kept_high"])
    stays = n["coherence_low"] - n["chance_low"] > PATTERN * (1 - n["chance_low"])
    fades = lost - 2 * error > DETAIL
    of_change = f" (standard error {errors['change']:.1f})" if "change" in errors else ""
    period = 1 / view.of(row)[0].setting("cutoff")
    kept = f"{n['kept_high']:.0f} % of the energy of detail and {n['kept_low']:.0f} % of the rest"
    coherence = (
        f"{n['coherence_high']:.2f} in detail (chance {n['chance_high']:.2f}) and {n['coherence_low']:.2f} in the rest "
        f"({n['chance_low']:.2f})"
    )
    text = (
        f"Detail: spatial periods below {period:g} pixels. With the memory of every layer disabled, "
        f"images drawn from the prior keep {kept} (difference {lost:.0f} ± {error:.1f} points). Their coherence with "
        f"the images of the same draws with the memory is {coherence}. The log-likelihood of test images changes by "
        f"{n['change']:+.1f} nats{of_change}. A part of that is the recognition model's, which was "
        "trained with the memory."
    )
    if not fades and n["coherence_high"] < n["coherence_low"]:
        text += " So detail is changed more than the pattern, but it does not lose more of its energy."
    return Claim(
        "Without the memory the main pattern stays and local detail is lost, in some sense",
        "Figure 6, by eye (A)",
        f"{kept} kept; coherence {coherence}",
        HOLDS if stays and fades else PARTLY if stays or fades else FAILS,
        text,
        {name: n[name] for name in ("kept_high", "kept_low", "coherence_high", "coherence_low", "change")},
    )


def jackknife(statistic: Callable[..., Any], *values: np.ndarray) -> tuple[float, float | None]:
    """A function of the means of several numbers per image, and its standard error: leaving out one image at a time.

    values: [N] each. A value that does not exist (0 / 0) is nan. The error is None for a single image, and where the
    function does not exist without one of them.
    """
    count = values[0].size
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(*(np.float64(one.mean()) for one in values)))
        if count < 2:
            return value, None
        without = statistic(*((one.sum() - one) / (count - 1) for one in values))  # [N]
        error = float(np.sqrt((count - 1) * without.var()))
    return value, error if np.isfinite(error) else None


def _coherence(cross: Any, one: Any, other: Any) -> Any:
    """Of two sets of images in a band, from their shared energy and that of each."""
    return cross / np.sqrt(one * other)


TABLES = {"detail": detail}
CLAIMS = (local_detail,)
