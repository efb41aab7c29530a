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
        "iterations": Whole(1, note="how often the missing pixels are filled in"),
        "batch_size": Whole(2, note="images per batch; batch norm uses the statistics of the batch"),
        "shown": Whole(1, 64, note="images that Figure 8 shows"),
        "precision": OneOf(("float32", "bf16"), note="precision of matrix products"),
        "squares": ListOf(Whole(2), note="sides of the missing centred squares, pixels"),
        "drops": ListOf(Real(0.001, 1), note="probabilities that a pixel is missing"),
        "left_half": Flag(note="whether to include missing left halves; Figure 8 needs them"),
    },
    needs=("data", "classifier"),
    labels=True,
    tables={"imputation": "Missing pixels"},
    figures={"fig8": "Figure 8: missing halves"},
    work=work,
    refused=refused,
)
