"""What every model generates, and whether it copies its training images."""

from collections.abc import Mapping
from typing import Any

from memvae.analyses import Analysis, Work
from memvae.settings.rules import Whole
from memvae.settings.spec import Network
from memvae.settings.work import FLOPS

SHOWN = 64  # means and draws in the figure


def work(network: Network, settings: Mapping[str, Any], train_images: int, test_images: int) -> Work:
    compared = 3 * settings["samples"] + 2 * (settings["images"] or test_images)  # means, draws, copies; test images
    return Work(
        decoder_rows=settings["samples"], seconds=2.0 * compared * train_images * network.pixels / FLOPS
    )  # of the distances


ANALYSIS = Analysis(
    version=1,
    settings={
        "samples": Whole(SHOWN, note="draws of z from the prior, whose images are compared with training images"),
        "images": Whole(note="test images that are compared with the training images; 0: all"),
    },
    tables={"sample_distances": "Distance of samples to the training images"},
    figures={"samples": "Samples, nearest training images, interpolations"},
    extended=("sample_distances", "samples"),
    work=work,
)
