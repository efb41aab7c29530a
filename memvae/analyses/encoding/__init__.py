"""What the memory encodes: classes in its preferences, and the log-likelihood due to each layer's read-out."""

from collections.abc import Mapping
from typing import Any

from memvae.analyses import Analysis, Work
from memvae.settings.rules import OneOf, Whole
from memvae.settings.spec import Network

READ_OUTS = ("ones", "zeros", "mean")  # what replaces h_m


def conditions(network: Network) -> int:
    """How many log-likelihoods are computed: with the memory as it is, and with each read-out in each place."""
    memories = sum(map(bool, network.slots))
    return 1 + len(READ_OUTS) * (memories + (memories > 1))


def work(network: Network, settings: Mapping[str, Any], train_images: int, test_images: int) -> Work:
    images = min(settings["images"] or test_images, test_images)
    rows = images * settings["samples"] + settings["bound_draws"] * test_images
    return Work(decoder_rows=conditions(network) * rows, network_rows=train_images + test_images)


ANALYSIS = Analysis(
    version=1,
    settings={
        "images": Whole(note="test images with an L_K; 0: all"),
        "samples": Whole(1, note="K of the log-likelihood of each replaced read-out"),
        "bound_draws": Whole(1, note="draws of z per image for L_1"),
        "precision": OneOf(("float32", "bf16"), note="precision of the decoder's matrix products"),
    },
    memory=True,
    labels=True,
    tables={"encoding": "What the memory encodes"},
    figures={
        "preferences": "Preferences by class, every slot",
        "class_graph": "Similarity of classes",
        "atlas": "Every slot as an image",
    },
    work=work,
)
