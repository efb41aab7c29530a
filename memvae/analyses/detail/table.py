"""The table `detail`: what images and their likelihood lose when the memory is disabled (Figure 6 in numbers)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from memvae.report import measures
from memvae.report.layout import Files, Layout, RunFile
from memvae.report.measures import Estimate
from memvae.report.origin import facts, facts_columns, notes
from memvae.report.paper import NOT_RUN, Paper, model_key
from memvae.report.render import Section, Table, number
from memvae.settings.config import Row

CONDITIONS = {
    "data": "test images",
    "full": "full memory",
    "first": "first layer disabled",
    "both": "both layers disabled",
}
MEMORY = ("full", "first", "both")
DISABLED = ("first", "both")


def build(layout: Layout, files: Files, printed: Paper) -> Table:
    """Energy by spatial frequency and log-likelihood, with the memory and with it disabled."""
    rows = files.rows(layout, "analysis/detail")
    cells: list[dict[str, Any]] = []
    energies: list[dict[str, str]] = []
    likelihoods: list[dict[str, str]] = []
    long: list[Section] = []
    for row, found in rows:
        if not found:
            cells.append({"row": model_key(row), "model": row.title, "energy_high": NOT_RUN})
            cells[-1] |= facts_columns(layout, row, found)
            energies.append({"model": row.title, "images": NOT_RUN})
            continue
        for condition, title in CONDITIONS.items():
            results = estimates(found, condition)
            cells.append(_cells(layout, row, found, condition, results))
            head = {"model": row.title, "images": title}
            energies.append(head | _energy_text(results))
            if condition in MEMORY:
                likelihoods.append(head | _likelihood_text(results, found))
        bands = _bands(found)
        cells += [
            {"row": model_key(row), "model": row.title, "kind": "band", **band, **facts_columns(layout, row, found)}
            for band in bands
        ]
        long.append(Section(f"{row.title}, by frequency", [_band_text(band) for band in bands], long=True))
    done = [file for _, found in rows for file in found]
    sections = [Section("energy of the images", energies)]
    if done:
        sections += [Section("log-likelihood of the test images", likelihoods), *long]
    return Table("detail", "Local detail with and without the memory", cells, sections, _notes(layout, done))


def estimates(files: list[RunFile], condition: str) -> dict[str, Estimate]:
    """The numbers of a row's files for `data`, `full`, `first` or `both`; what does not exist for it is left out."""
    seeds = files[:1] if condition == "data" else files  # every seed has the same test images
    high, low = f"high/{condition}", f"low/{condition}"
    found = {
        "energy_high": _pooled(seeds, lambda high: high, high),
        "energy_low": _pooled(seeds, lambda low: low, low),
        "share_high": _pooled(seeds, lambda high, low: 100 * high / (high + low), high, low),
    }
    if condition in DISABLED:
        for band in ("low", "high"):
            arrays = f"cross_{band}/{condition}", f"{band}/full", f"{band}/{condition}"
            found[f"kept_{band}"] = _pooled(seeds, lambda a, b: 100 * b / a, *arrays[1:])
            found[f"coherence_{band}"] = _pooled(seeds, _coherence, *arrays)
            found[f"chance_{band}"] = _pooled(seeds, _coherence, f"chance_{band}/{condition}", *arrays[1:])
        found["change"] = _paired(files, f"log_likelihood/{condition}", "log_likelihood/full")
        found["bound_change"] = _paired(files, f"bound/{condition}", "bound/full")
    if condition in MEMORY:
        found |= {name: _paired(files, f"{name}/{condition}") for name in ("log_likelihood", "bound", "log_px")}
    return found


def jackknife(statistic: Callable[..., Any], *values: np.ndarray) -> tuple[float, float]:
    """A function of the means of several numbers per image, and its standard error: leaving out one image at a time.

    values: [N] each. The standard error is nan for a single image.
    """
    count = values[0].size
    value = float(statistic(*(one.mean() for one in values)))
    if count < 2:
        return value, float("nan")
    without = statistic(*((one.sum() - one) / (count - 1) for one in values))  # [N]
    return value, float(np.sqrt((count - 1) * without.var()))


def _coherence(cross: Any, one: Any, other: Any) -> Any:
    """Of two sets of images in a band, from their shared energy and that of each."""
    return cross / np.sqrt(one * other)


def _pooled(files: list[RunFile], statistic: Callable[..., Any], *arrays: str) -> Estimate:
    """Every seed has draws of its own: their errors are independent."""
    found = [jackknife(statistic, *(file.array(name) for name in arrays)) for file in files]
    error = np.sqrt(sum(error**2 for _, error in found)) / len(found)
    return Estimate(measures.spread(value for value, _ in found), float(error))


def _paired(files: list[RunFile], array: str, minus: str = "") -> Estimate:
    """Of the same test images in every seed, perhaps minus another array image by image."""
    measures.same(files, "samples")
    measures.same(files, "images")
    values = np.stack([file.array(array) - (file.array(minus) if minus else 0.0) for file in files])  # [seeds, N]
    return measures.estimate(values)


def _cells(
    layout: Layout, row: Row, found: list[RunFile], condition: str, results: dict[str, Estimate]
) -> dict[str, Any]:
    cells: dict[str, Any] = {
        "row": model_key(row),
        "model": row.title,
        "kind": "all",
        "condition": condition,
        "seeds": results["energy_high"].spread.seeds,
    }
    for name, result in results.items():
        cells |= {
            name: result.spread.mean,
            f"{name}_standard_error": result.standard_error,
            f"{name}_sd": result.spread.sd,
        }
    cells |= {"cutoff": measures.same(found, "cutoff"), "draws": measures.same(found, "draws")}
    cells["bound_images"] = found[0].array("bound/full").size
    images = found[0].array("log_likelihood/full").size
    return {**cells, **facts_columns(layout, row, found, measures.same(found, "samples"), images)}


def _energy_text(results: dict[str, Estimate]) -> dict[str, str]:
    share = results["share_high"]
    return {
        "energy above": number(results["energy_high"].spread.mean, 5),
        "standard error": number(results["energy_high"].standard_error, 5),
        "energy below": number(results["energy_low"].spread.mean, 5),
        "above, % of full": _value(results.get("kept_high"), 1),
        "below, % of full": _value(results.get("kept_low"), 1),
        "share above, %": number(share.spread.mean, 1),
        "its standard error": number(share.standard_error, 1),
        "its sd over seeds": number(share.spread.sd, 1),
        **{f"coherence {place}": _with_chance(results, band) for place, band in (("above", "high"), ("below", "low"))},
    }


def _likelihood_text(results: dict[str, Estimate], found: list[RunFile]) -> dict[str, str]:
    value, change = results["log_likelihood"], results.get("change")
    return {
        "log-likelihood": _value(value),
        "standard error": number(value.standard_error),
        "sd over seeds": number(value.spread.sd),
        "change": number(change.spread.mean, sign=True) if change else "",
        "its standard error": number(change.standard_error) if change else "",
        "its sd over seeds": number(change.spread.sd) if change else "",
        "test images": number(found[0].array("log_likelihood/full").size, 0),
        "bound L1": _value(results["bound"]),
        "reconstruction": _value(results["log_px"]),
        "test images of the bound": number(found[0].array("bound/full").size, 0),
    }


def _bands(found: list[RunFile]) -> list[dict[str, Any]]:
    """One record per band of frequencies, means over seeds."""
    spectra = [f"spectrum/{name}" for name in CONDITIONS]
    arrays = ["frequency", *spectra, *(f"coherence/{name}" for name in DISABLED)]
    means = [np.mean([file.array(array) for file in found], axis=0) for array in arrays]  # [R] each
    names = [array.replace("/", "_") for array in arrays]
    return [dict(zip(names, map(float, band), strict=True)) for band in zip(*means, strict=True)]


def _band_text(band: dict[str, float]) -> dict[str, str]:
    return {
        "frequency": number(band["frequency"], 3),
        "period, pixels": number(1 / band["frequency"], 1),
        **{title: number(band[f"spectrum_{name}"], 6) for name, title in CONDITIONS.items()},
        **{f"coherence, {CONDITIONS[name]}": number(band[f"coherence_{name}"], 3) for name in DISABLED},
    }


def _with_chance(results: dict[str, Estimate], band: str) -> str:
    """A band's coherence, in brackets that of unrelated draws; empty for the test images and the full memory."""
    if f"coherence_{band}" not in results:
        return ""
    return f"{_value(results[f'coherence_{band}'], 3)} ({_value(results[f'chance_{band}'], 2)})"


def _value(result: Estimate | None, decimals: int = 2) -> str:
    return number(result.spread.mean, decimals) if result else ""


def _notes(layout: Layout, done: list[RunFile]) -> list[str]:
    if not done:
        return notes(layout)
    cutoff, draws = done[0].setting("cutoff"), done[0].setting("draws")
    samples = done[0].setting("samples")
    return notes(
        layout,
        "Ours: the paper judges Figure 6 by eye and prints no number.",
        f"Images: {done[0].array('high/data').size:,} real-valued test images, and the decoder's means for {draws:,} "
        "draws of z from the prior, the same with the memory and with the memory information of the layer next to the "
        "data, or of both layers, set to ones.",
        "Energy: mean over images of an image's variance (pixels in [0, 1]) in spatial frequencies above or below "
        f"{cutoff:g} cycles per pixel (a period of {1 / cutoff:g} pixels), without zero frequency, and as a "
        "part of that with the full memory; share: of the energy above in all of it.",
        "Coherence: correlation of the images with those of the full memory for the same z, above or below that "
        "frequency, 1 where the pattern stays; in brackets that with the image of another z, the value of chance: all "
        "digits have ink in the middle.",
        f"Log-likelihood: nats per image, K = {samples:,}; change: from full memory, image by image. The recognition "
        "model, trained with the memory, proposes z throughout, so with it disabled L_K is further below log p(x).",
        "Standard errors are over draws or test images.",
        f"Data: {facts(done)}.",
    )
