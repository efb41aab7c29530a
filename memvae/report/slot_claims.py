"""What the paper claims of the memory's slots (Table 4, Figure 7), as in memvae/report/claims.py."""

from itertools import combinations

import numpy as np

from memvae.report import measures
from memvae.report.claims import FAILS, HOLDS, OPEN, PARTLY, Claim, Material
from memvae.report.layout import RunFile
from memvae.report.render import number
from memvae.report.slot_tables import PAPER_MODEL

SMALL = 0.08  # preference value below which the paper's slot images are meaningless (read off its Figure 7)
RANK_LIMIT = 0.31  # Spearman's rank correlation of thirty independent pairs that chance exceeds in 5 % of cases


def similar_classes(material: Material) -> Claim | None:
    """That slots respond to one class or to similar ones: which classes share their preferences."""
    found = material.of("slots", PAPER_MODEL)
    entries = [entry for entry in material.printed.of("table4") if entry.row == "correlation"]
    listed = {entry.column: entry.value for entry in entries if entry.tolerance is not None}
    if not found:
        return None
    classes = [str(label) for label in found[0].array("classes")]
    matrix = np.mean([file.array("layer0/correlation") for file in found], axis=0)
    values = {f"{classes[a]}-{classes[b]}": float(matrix[a, b]) for a, b in combinations(range(len(classes)), 2)}
    theirs = [pair for pair in listed if pair in values]
    others = [value for pair, value in values.items() if pair not in listed]
    if not theirs or not others:
        return None
    strongest = sorted(values, key=lambda pair: -values[pair])[: len(theirs)]
    shared = len(set(strongest) & set(theirs))
    similar, other = float(np.mean([values[pair] for pair in theirs])), float(np.mean(others))
    apart = similar - other
    verdict = HOLDS if apart > 0.2 and shared > len(theirs) / 2 else PARTLY if apart > 0.1 else FAILS
    pairs = ", ".join(f"{pair} {values[pair]:.2f} ({listed[pair]:.2f})" for pair in theirs)
    text = (
        f"Correlation between two classes' preferences, in brackets the authors': {pairs}. These pairs, of similar "
        f"shape, have {similar:.2f} on average and all others {other:.2f} (the authors' at most 0.01). Our strongest "
        f"pairs: {', '.join(f'{pair} {values[pair]:.2f}' for pair in strongest)}. "
        f"{_spread_over_slots(material, found)}"
    )
    return Claim(
        "Slots respond to one class or to similar classes",
        f"similar pairs {np.mean(list(listed.values())):.2f}, others at most 0.01",
        f"similar pairs {similar:.2f}, others {other:.2f}; {shared} of the {len(theirs)} strongest pairs are the "
        "authors'",
        verdict,
        text,
    )


def meaningless_slots(material: Material) -> Claim | None:
    """That slot images without meaning belong to small preferences (Figure 7)."""
    found = material.of("slots", PAPER_MODEL)
    if not found:
        return None
    top = np.concatenate([file.array("layer0/top_values").ravel() for file in found])  # [seeds * classes * 3]
    likeness = np.concatenate([_likeness(file).ravel() for file in found])
    rank = _rank_correlation(top, likeness)
    groups = {"from": likeness[top >= SMALL], "below": likeness[top < SMALL]}
    ours = " and ".join(
        f"{values.mean():.2f} for the {values.size} {name} {SMALL}" for name, values in groups.items() if values.size
    )
    if not all(values.size for values in groups.values()):
        verdict = OPEN
    elif groups["from"].mean() < groups["below"].mean():
        verdict = FAILS
    else:
        verdict = HOLDS if rank > RANK_LIMIT else OPEN
    text = (
        "Likeness is the correlation, over pixels, of a slot's image with the mean test image of the class that "
        f"prefers it (0 for a flat image); it is ours, the paper shows the images alone. It is {ours} (preference "
        f"values). The rank correlation of value and likeness is {rank:.2f}; for thirty independent images chance "
        f"would exceed {RANK_LIMIT} once in twenty, and ours are not independent, since classes share slots."
    )
    return Claim(
        "Meaningless slot images have small preferences", "by eye: below about 0.08", f"likeness {ours}", verdict, text
    )


def _spread_over_slots(material: Material, found: list[RunFile]) -> str:
    """Perplexities and slots in use, beside the authors'."""
    ours = np.mean([file.array("layer0/perplexity") for file in found], axis=0)
    printed = [material.printed.value("table4", "perplexity", str(label)) for label in found[0].array("classes")]
    text = f"A class spreads over {ours.min():.1f} to {ours.max():.1f} slots (perplexity)"
    if all(value is not None for value in printed):
        theirs = np.array(printed, dtype=np.float64)
        rank = _rank_correlation(ours, theirs)
        text += (
            f", the authors' over {theirs.min():.1f} to {theirs.max():.1f}; rank correlation over classes {rank:.2f}"
        )
    for layer in measures.layers(found[0]):
        used = np.mean([(measures.used(file, layer) > 0).sum() for file in found])
        paper = number(material.printed.value("slots", layer, "used"), 0)
        text += f"; slots in use in {layer}: {number(float(used), 0)} of {found[0].array(f'{layer}/norms').size}"
        text += f" (the authors': {paper})" if paper else ""
    return text + "."


def _likeness(file: RunFile) -> np.ndarray:
    """Correlation over pixels of the images in Figure 7 with the mean image of their class: [classes, 3]."""
    images, means = file.array("layer0/images")[file.array("layer0/top")], file.array("class_means")
    images, means = (values - values.mean(axis=-1, keepdims=True) for values in (images, means))
    size = np.linalg.norm(images, axis=-1) * np.linalg.norm(means, axis=-1)[:, None]  # [classes, 3]
    return np.divide(np.einsum("ctd,cd->ct", images, means), size, out=np.zeros(size.shape), where=size > 1e-6)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, for values without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return 1 - 6 * float(((ranks[0] - ranks[1]) ** 2).sum()) / (a.size * (a.size**2 - 1))
