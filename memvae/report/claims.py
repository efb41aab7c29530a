"""Claims of the paper: what we measured, and whether it supports the claim (docs/method.md).

A ± is one standard error: over test images, paired where two models see the same images, and over seeds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from memvae.report.paper import Entry

HOLDS, PARTLY, OPEN, FAILS, NONE = "holds", "holds in part", "not settled", "does not hold", "no verdict"
NOT_AVAILABLE = "main text, not available to us"


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
class Part:
    """The heading of an analysis on the page of results, and what it is about."""

    title: str
    text: str


def judged(difference: float, error: float) -> str:
    """`holds` above two standard errors, `does not hold` below minus two."""
    return HOLDS if difference > 2 * error else FAILS if difference < -2 * error else OPEN


def equivalent(excess: float, error: float, margin: float) -> str:
    """`holds` where an excess is below the margin beyond two standard errors, `does not hold` where it is above it."""
    return judged(margin - excess, error)


def printed_difference(entries: Iterable[Entry | None], unit: str) -> str:
    """The paper's difference of two numbers, with their sources (A: appendix, R: rebuttal)."""
    first, second = entries
    if first is None or second is None:
        return NOT_AVAILABLE
    sources = ", ".join(sorted({first.source, second.source}))
    return f"{first.value - second.value:+.2f} {unit} ({sources})"
