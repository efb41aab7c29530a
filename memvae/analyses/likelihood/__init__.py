"""The log-likelihood of test images, the parts of the bound, and the gain of memory."""

from collections.abc import Mapping
from typing import Any

from memvae.analyses import Analysis, Work
from memvae.settings.rules import MapOf, OneOf, Whole
from memvae.settings.spec import Network


def work(network: Network, settings: Mapping[str, Any], train_images: int, test_images: int) -> Work:
    images, samples = settings["images"] or test_images, max(settings["samples"], settings["more_samples"])
    return Work(decoder_rows=images * samples + settings["bound_draws"] * (test_images + settings["train_images"]))


ANALYSIS = Analysis(
    version=3,
    settings={
        "samples": Whole(1, note="K of the reported log-likelihood"),
        "more_samples": MapOf(Whole(), note="a second, larger K for each data set; 0 or left out: none"),
        "images": Whole(note="test images with an L_K; 0: all"),
        "bound_draws": Whole(1, note="draws of z per image for L_1 and its parts"),
        "train_images": Whole(1, note="training images for the gap between training and test"),
        "precision": OneOf(("float32", "bf16"), note="precision of the decoder's matrix products"),
    },
    tables={"likelihood": "Log-likelihood"},
    extended=("likelihood",),
    paper=("likelihood",),
    work=work,
)
