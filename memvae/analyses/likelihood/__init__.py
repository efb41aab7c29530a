"""The log-likelihood of test images, the parts of the bound, and what memory gains."""

from collections.abc import Mapping
from typing import Any

from memvae.analyses import Analysis, Work
from memvae.settings.spec import Network


def work(network: Network, settings: Mapping[str, Any], train_images: int, test_images: int) -> Work:
    images, samples = settings["images"] or test_images, max(settings["samples"], settings["more_samples"])
    return Work(decoder_rows=images * samples + settings["bound_draws"] * (test_images + settings["train_images"]))


ANALYSIS = Analysis(
    version=3,
    tables={"likelihood": "Log-likelihood"},
    extended={"likelihood_extended": "Log-likelihood, main text too"},
    paper=("likelihood",),
    work=work,
)
