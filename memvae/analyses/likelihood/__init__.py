"""The log-likelihood of test images, the parts of the bound, and what memory gains."""

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
        "more_samples": MapOf(Whole(), note="a larger K by data set; 0 or left out: none"),
        "images": Whole(note="test images with K = samples; 0: all"),
        "bound_draws": Whole(1, note="draws of z per image for L_1 and its parts"),
        "train_images": Whole(1, note="training images for train minus test"),
        "precision": OneOf(("float32", "bf16"), note="of the decoder's products"),
    },
    tables={"likelihood": "Log-likelihood"},
    extended=("likelihood",),
    paper=("likelihood",),
    work=work,
)
