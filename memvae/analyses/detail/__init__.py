"""What images and their likelihood lose when the memory is disabled: Figure 6 in numbers."""

from collections.abc import Mapping
from typing import Any

from memvae.analyses import Analysis, Work
from memvae.settings.spec import Network

CONDITIONS = 3  # with the memory, without one, without any


def work(network: Network, settings: Mapping[str, Any], train_images: int, test_images: int) -> Work:
    images = min(settings["images"] or test_images, test_images)
    draws = images * settings["samples"] + settings["bound_draws"] * test_images + settings["draws"]
    return Work(decoder_rows=CONDITIONS * draws)


ANALYSIS = Analysis(version=1, memory=True, tables={"detail": "Local detail without memory"}, work=work)
