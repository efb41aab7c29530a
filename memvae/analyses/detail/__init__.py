"""What images and their likelihood lose when the memory is disabled: Figure 6 in numbers."""

from collections.abc import Mapping
from typing import Any

from memvae.analyses import Analysis, Work
from memvae.settings.rules import OneOf, Real, Whole
from memvae.settings.spec import Network

CONDITIONS = 3  # with the memory, without one, without any


def work(network: Network, settings: Mapping[str, Any], train_images: int, test_images: int) -> Work:
    images = min(settings["images"] or test_images, test_images)
    draws = images * settings["samples"] + settings["bound_draws"] * test_images + settings["draws"]
    return Work(decoder_rows=CONDITIONS * draws)


ANALYSIS = Analysis(
    version=1,
    settings={
        "draws": Whole(2, note="draws of z from the prior, whose images are compared"),
        "cutoff": Real(
            0, 0.5, open_below=True, open_above=True, note="cycles per pixel; higher frequencies are local detail"
        ),
        "images": Whole(note="test images with an L_K; 0: all"),
        "samples": Whole(1, note="K of the log-likelihood of each condition"),
        "bound_draws": Whole(1, note="draws of z per image for L_1"),
        "precision": OneOf(("float32", "bf16"), note="precision of the decoder's matrix products"),
    },
    memory=True,
    tables={"detail": "Local detail without memory"},
    work=work,
)
