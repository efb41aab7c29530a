"""How well missing pixels are inferred (Figure 8)."""

from collections.abc import Mapping
from typing import Any

from memvae.analyses import Analysis, Work
from memvae.settings.spec import Network


def work(network: Network, settings: Mapping[str, Any], train_images: int, test_images: int) -> Work:
    noises = len(settings["squares"]) + len(settings["drops"]) + bool(settings["left_half"])
    return Work(network_rows=noises * settings["iterations"] * test_images)


ANALYSIS = Analysis(
    version=2,
    needs=("data", "classifier"),
    labels=True,
    tables={"imputation": "Missing pixels"},
    figures={"fig8": "Figure 8: missing halves"},
    work=work,
)
