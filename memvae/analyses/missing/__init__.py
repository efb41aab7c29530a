"""Missing pixels inferred by the paper's plug-in chain and by chains that draw pixels, at equal and at higher cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from memvae.analyses import Analysis, Work
from memvae.settings.rules import Flag, ListOf, Real, Whole
from memvae.settings.spec import Network

PAPER, PSEUDO_GIBBS, METROPOLIS, LONG = "paper", "pseudo_gibbs", "metropolis", "metropolis_long"
CHAINS = {
    PAPER: "the paper's plug-in, batch statistics",
    "plug_in": "plug-in",
    PSEUDO_GIBBS: "pseudo-Gibbs",
    METROPOLIS: "Metropolis-within-Gibbs",
    LONG: "Metropolis-within-Gibbs, longer",
}
EXACT = (METROPOLIS, LONG)  # chains with an acceptance step
SAMPLED = (PSEUDO_GIBBS, *EXACT)  # chains that draw the missing pixels; the others put the decoder's mean there
ESTIMATES = ("last", "average")
COMPARED = ((PAPER, "last"), *((chain, "average") for chain in CHAINS))  # what is shown; the first is the paper's


def lengths(settings: Mapping[str, Any], chain: str) -> tuple[int, int]:
    """Iterations of a chain, and how many of them are burn-in."""
    times = settings["long"] if chain == LONG else 1
    return times * settings["iterations"], times * settings["burn_in"]


def work(network: Network, settings: Mapping[str, Any], train_images: int, test_images: int) -> Work:
    noises = len(settings["squares"]) + len(settings["drops"]) + bool(settings["left_half"])
    rows = noises * min(settings["images"], test_images)
    iterations = sum(lengths(settings, chain)[0] for chain in CHAINS)
    return Work(decoder_rows=rows * settings["samples"], network_rows=rows * iterations)


def refused(settings: Mapping[str, Any], networks: Sequence[Network]) -> str:
    if settings["burn_in"] < settings["iterations"]:
        return ""
    return f"burn_in: found {settings['burn_in']}, expected less than the {settings['iterations']} iterations"


ANALYSIS = Analysis(
    version=2,
    settings={
        "iterations": Whole(
            2, note="iterations of every chain but the long one; each is a pass through encoder and decoder"
        ),
        "burn_in": Whole(note="iterations at the start that averages leave out"),
        "long": Whole(1, note="factor on iterations and burn_in for the long Metropolis chain"),
        "images": Whole(2, note="test images, the first ones"),
        "samples": Whole(2, note="draws of z for the log-likelihood of the missing pixels"),
        "squares": ListOf(Whole(2), note="sides of the missing centred squares, pixels"),
        "drops": ListOf(Real(0.001, 1), note="probabilities that a pixel is missing"),
        "left_half": Flag(note="whether to include missing left halves"),
    },
    needs=("data", "classifier"),
    labels=True,
    tables={"missing": "Missing pixels, chains compared"},
    figures={"missing_by_iteration": "Missing pixels, error against iteration"},
    work=work,
    refused=refused,
)
