"""How the estimate of the log-likelihood grows with its number of samples K."""

from collections.abc import Mapping
from typing import Any

from memvae.analyses import Analysis, Work
from memvae.settings.rules import MapOf, Whole
from memvae.settings.spec import Network


def work(network: Network, settings: Mapping[str, Any], train_images: int, test_images: int) -> Work:
    images = min(settings["images"], test_images)
    return Work(decoder_rows=images * max(settings["samples"], settings["more_samples"]))


ANALYSIS = Analysis(
    version=1,
    settings={
        "samples": Whole(2, note="the largest K"),
        "more_samples": MapOf(Whole(), note="a larger K for each data set; 0 or left out: none"),
        "images": Whole(2, note="test images"),
    },
    tables={"likelihood_by_k": "Log-likelihood against K"},
    figures={"convergence": "Log-likelihood against K"},
    extended=("likelihood_by_k", "convergence"),
    work=work,
)
