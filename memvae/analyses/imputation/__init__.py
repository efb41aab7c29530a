"""How well missing pixels are inferred (Figure 8)."""

from collections.abc import Mapping, Sequence
from typing import Any

from memvae.analyses import Analysis, Work
from memvae.settings.rules import Flag, ListOf, OneOf, Real, Whole
from memvae.settings.spec import Network


def work(network: Network, settings: Mapping[str, Any], train_images: int, test_images: int) -> Work:
    noises = len(settings["squares"]) + len(settings["drops"]) + bool(settings["left_half"])
    return Work(network_rows=noises * settings["iterations"] * test_images)


def refused(settings: Mapping[str, Any], networks: Sequence[Network]) -> str:
    if not settings["left_half"]:
        return "left_half: found false, expected true, for Figure 8 shows missing left halves"
    return "" if len(networks) > 1 else "models: found one, expected two or more, for Figure 8 compares the first two"


ANALYSIS = Analysis(
    version=2,
    settings={
        "iterations": Whole(1, note="rounds in which the missing pixels are filled in"),
        "batch_size": Whole(2, note="batch norm uses each batch's own statistics"),
        "shown": Whole(1, 64, note="images that Figure 8 shows"),
        "precision": OneOf(("float32", "bf16"), note="of products"),
        "squares": ListOf(Whole(2), note="side of the missing centred square, pixels"),
        "drops": ListOf(Real(0.001, 1), note="probability that a pixel is missing"),
        "left_half": Flag(note="the left half is missing; Figure 8 needs it"),
    },
    needs=("data", "classifier"),
    labels=True,
    tables={"imputation": "Missing pixels"},
    figures={"fig8": "Figure 8: missing halves"},
    work=work,
    refused=refused,
)
