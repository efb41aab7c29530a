"""The paper's claims about the memory's slots (Table 4, Figure 7)."""

from math import sqrt

import numpy as np

from memvae.analyses.slots.numbers import PAPER_MODEL, authors_row, labels, layer_title, layers, pairs, used
from memvae.files.store import Stored
from memvae.report.claims import FAILS, HOLDS, OPEN, PARTLY, Claim, judged
from memvae.report.statistics import rank_correlation
from memvae.report.table import number
from memvae.report.view import View

SMALL = 0.08  # preference value below which slot images are less meaningful (A)
CONCENTRATED = 0.75  # share of a slot's preference that two classes have, of the median slot, from which it is theirs
APART = 0.2  # by which the authors' pairs of classes correlate more than others where slots are shared as in their run


def similar_classes(view: View) -> Claim | None:
    """That slots respond to one class or to similar ones: which classes share slots, and how many a slot serves."""
    found = _files(view)
    entries = {entry.column: entry for entry in view.printed.of("table4") if entry.row == "correlation"}
    listed = {pair: entry.value for pair, entry in entries.items() if entry.tolerance is not None}
    if not found:
        return None
    classes = pairs(labels(found[0]))
    if not set(listed) & set(classes) or set(classes) <= set(listed):
        return None
    matrix = np.mean([file.array("layer0/correlation") for file in found], axis=0)
    values = {pair: float(matrix[places]) for pair, places in classes.items() if np.isfinite(matrix[places])}
    theirs, others = [pair for pair in listed if pair in values], [pair for pair in values if pair not in listed]
    shares = _concentration(found)
    largest = f"at most {number(entries['largest other pair'].value)}" if "largest other pair" in entries else "smaller"
    title = "Slots respond to one class or to similar classes"
    paper = f"authors' pairs {np.mean(list(listed.values())):.2f}, others {largest} (=)"
    if not theirs or not others or shares is None:
        why = "no slot is in use" if shares is None else "classes prefer all slots alike"
        return Claim(title, paper, why, OPEN, f"Nothing can be said of shared slots: {why}.")
    one, two = shares
    similar, other = (float(np.mean([values[pair] for pair in chosen])) for chosen in (theirs, others))
    strongest = sorted(values, key=lambda pair: -values[pair])[: len(theirs)]
    shared = len(set(strongest) & set(theirs))
    signs = (two >= CONCENTRATED, similar - other > APART, shared > len(theirs) / 2)
    verdict = HOLDS if all(signs) else PARTLY if any(signs) else FAILS
    text = (
        f"Of its preference, summed over classes, the median slot in use gives {100 * one:.0f} % to one class and "
        f"{100 * two:.0f} % to two. Correlation between two classes' preferences, in brackets the authors': "
        f"{', '.join(f'{pair} {values[pair]:.2f} ({listed[pair]:.2f})' for pair in theirs)}. These pairs have "
        f"{similar:.2f} on average, all others {number(other)} (the authors': {largest}). Our strongest pairs: "
        f"{', '.join(f'{pair} {values[pair]:.2f}' for pair in strongest)}. {_spread_over_slots(view, found)}"
    )
    return Claim(
        title,
        paper,
        f"two classes have {100 * two:.0f} % of a slot; authors' pairs {similar:.2f}, others {number(other)}; {shared} "
        f"of our {len(theirs)} strongest are theirs",
        verdict,
        text,
        {"authors_pairs": similar, "other_pairs": other, "shared_of_strongest": shared, "one_class": one, "two": two},
    )


def meaningless_slots(view: View) -> Claim | None:
    """That less meaningful slot images have small preferences (Figure 7)."""
    found = _files(view)
    if not found:
        return None
    by_seed = [_preference_and_meaning(file) for file in found]
    value, meaning = (np.concatenate(parts) for parts in zip(*by_seed, strict=True))
    rank = float(np.mean([rank_correlation(*one) for one in by_seed]))
    error = float(np.mean([1 / sqrt(max(one.size - 1, 1)) for one, _ in by_seed])) / sqrt(len(by_seed))
    groups = {f"from {SMALL} on": meaning[value >= SMALL], f"below {SMALL}": meaning[value < SMALL]}
    found_in = {name: part for name, part in groups.items() if part.size}
    means = " and ".join(f"{part.mean():z.2f} of {part.size} slots {name}" for name, part in found_in.items())
    text = (
        "Meaning, ours: how much of a class's mean image is in a slot's image (slope of its pixels on that image's) "
        "beyond the average of the other classes; 0 for a flat image or one that resembles all classes alike. Over "
        f"the {value.size} slots in Figure 7, each for the class that prefers it most: {means} (preference value); "
        f"rank correlation of value and meaning {rank:+.2f} ± {error:.2f} (by chance)."
    )
    return Claim(
        "Less meaningful slot images have small preferences",
        f"Figure 7, by eye: below {SMALL} or so (A)",
        f"rank correlation {rank:+.2f} ± {error:.2f}; meaning {means}",
        judged(rank, error) if value.size > len(found) else OPEN,
        text,
        {"rank_correlation": rank, "standard_error": error, "slots": value.size},
    )


def _files(view: View) -> list[Stored]:
    """Of the row that the paper's claims are about; none where it was not run or has no memory next to the data."""
    row = view.row(PAPER_MODEL)
    return [file for file in view.of(row) if file.has("layer0/images")] if row and authors_row(row) else []


def _concentration(found: list[Stored]) -> tuple[float, float] | None:
    """Medians over slots in use of the share of a slot's preference that one class and that two classes have; None
    where no slot is in use."""
    shares = []
    for file in found:
        preferences = file.array("layer0/preferences")[:, used(file, "layer0") > 0]  # [classes, used]
        shares.append(-np.sort(-preferences / preferences.sum(axis=0), axis=0))
    ordered = np.concatenate(shares, axis=1)
    if not ordered.size:
        return None
    return float(np.median(ordered[0])), float(np.median(ordered[:2].sum(axis=0)))


def _spread_over_slots(view: View, found: list[Stored]) -> str:
    """Perplexities and slots in use, beside the authors'."""
    ours = np.mean([file.array("layer0/perplexity") for file in found], axis=0)
    printed = [view.printed.value("table4", "perplexity", label) for label in labels(found[0])]
    text = f"A class spreads over {ours.min():.1f} to {ours.max():.1f} slots (perplexity)"
    if all(value is not None for value in printed):
        theirs = np.array(printed, dtype=np.float64)
        rank = rank_correlation(ours, theirs)
        text += (
            f", the authors' over {theirs.min():.1f} to {theirs.max():.1f}; rank correlation over classes {rank:.2f}"
        )
    for layer in layers(found[0]):
        count = number(float(np.mean([(used(file, layer) > 0).sum() for file in found])), 0)
        paper = number(view.printed.value("slots", layer, "used"), 0)
        text += f"; slots in use, {layer_title(layer)}: {count} of {found[0].array(f'{layer}/norms').size}"
        text += f" (the authors': {paper})" if paper else ""
    return text + "."


def _preference_and_meaning(file: Stored) -> tuple[np.ndarray, np.ndarray]:
    """Of every slot in Figure 7: its largest preference value and the meaning of its image for that class; [slots]."""
    preferences = file.array("layer0/preferences")  # [classes, S]
    slots = np.unique(file.array("layer0/top"))
    best = preferences[:, slots].argmax(axis=0)
    images, means = (
        values - values.mean(axis=-1, keepdims=True)
        for values in (file.array("layer0/images")[slots].astype(np.float64), file.array("class_means"))
    )
    energy = (means**2).sum(axis=1)  # [classes]; 0: a flat mean image, which no slot resembles
    slopes = images @ means.T / np.where(energy > 0, energy, 1)  # [slots, classes]
    own = slopes[np.arange(slots.size), best]
    others = (slopes.sum(axis=1) - own) / max(len(means) - 1, 1)
    return preferences[best, slots], own - others
