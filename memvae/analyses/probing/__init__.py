"""How well linear classifiers read classes from the recognition model's features."""

from collections.abc import Mapping
from typing import Any

from memvae.analyses import Analysis, Work
from memvae.settings.rules import ListOf, Real, Whole
from memvae.settings.spec import Network


def work(network: Network, settings: Mapping[str, Any], train_images: int, test_images: int) -> Work:
    return Work(seconds=settings["steps"] * 2.5e-4 + 1.2e-3 * train_images)


ANALYSIS = Analysis(
    version=1,
    settings={
        "steps": Whole(1, note="steps of the authors' classifier"),
        "svc_c": ListOf(Real(0, open_below=True), 1, note="values of LinearSVC's C; one is chosen on training images"),
        "svc_images": Whole(3, note="training images for the choice of C"),
    },
    labels=True,
    tables={"probing": "Classifiers on the features"},
    paper=("probing",),
    work=work,
)
