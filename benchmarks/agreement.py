"""`python -m benchmarks.agreement DATA MODEL [MODEL]`: what moves a model's log-likelihood without training it again.

The choices that an evaluation makes once (which draw binarises the test images, which draw the statistics were
collected with, which draws of z, how many) are made several times, with other seeds, on trained models.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from memvae.analyses.likelihood.compute import bound_parts, log_likelihood
from memvae.data import dataset
from memvae.data.prepare import TEST_BINARISATION_SEED, binarised
from memvae.model import device as compute
from memvae.model import trained as models
from memvae.model.network import MemVAE, collect_statistics
from memvae.random import keyed
from memvae.training.loop import binarised as binarised_anew

BOUND_DRAWS = 10
SAMPLES = [50, 500, 5000, 50000]
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="e.g. data/mnist.h5")
    parser.add_argument("models", type=Path, nargs="+", help="e.g. results/long/models/mnist-vae-k1-s0.h5")
    parser.add_argument("--draws", type=int, default=5, help="how often each choice is made (default 5)")
    parser.add_argument("--images", type=int, default=50, help="test images of the rows over K (default 50; 0: none)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    compute.set_up()
    data = dataset.load(arguments.data)
    made, parts = [], []
    for path in arguments.models:
        loaded = models.load(path, CPU)
        head = {"run": loaded.spec.run, "epochs": loaded.spec.training.epochs}
        made.append(choices(loaded.model, data, arguments.draws, loaded.spec.seed).assign(**head))
        if arguments.images:
            parts.append(samples(loaded.model, data, arguments.images).assign(**head))
    table = pd.concat([summary(made), *parts])
    arguments.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.output / "agreement.csv", index=False)
    print(table.to_markdown(index=False, floatfmt=".4f"))


def choices(model: MemVAE, data: dataset.Dataset, draws: int, seed: int) -> pd.DataFrame:
    """L_1 (nats, mean over all test images) with each choice made `draws` times anew: columns what, draw, nats.

    seed: of the model's training, from which its evaluation draws too.
    """
    published = torch.from_numpy(data.test_binary)
    images = (data.pixels("test") * data.maximum).round()
    train = torch.from_numpy(data.pixels("train"))
    kept = {name: value.clone() for name, value in model.state_dict().items()}

    def bound(x: Tensor, draw: int = 0) -> float:
        key = (seed + draw, "bound of test images")  # the likelihood analysis' own where draw is 0
        return float(bound_parts(model, x, BOUND_DRAWS, key).bound.mean())

    def binarisation(draw: int) -> float:
        return bound(
            torch.from_numpy(binarised(images, data.maximum, TEST_BINARISATION_SEED + draw).astype(np.float32))
        )

    def statistics(draw: int) -> float:
        generator = keyed(draw, "agreement statistics")
        collect_statistics(model, binarised_anew(train, generator).float(), generator)
        value = bound(published)
        model.load_state_dict(kept)
        return value

    made: dict[str, Callable[[int], float]] = {
        "draws of z": lambda draw: bound(published, draw),
        "binarisation of the test images": binarisation,
        "draws behind the collected statistics": statistics,
    }
    rows = [
        {"what": what, "draw": draw, "nats": value(draw)}
        for what, value in made.items()
        for draw in range(1, draws + 1)
    ]
    return pd.DataFrame([{"what": "as evaluated", "draw": 0, "nats": bound(published)}, *rows])


def summary(made: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean and standard deviation over draws, for each model and for the second minus the first, draw by draw."""
    if len(made) == 2:
        first, second = made
        runs = {"run": f"{second['run'][0]} minus {first['run'][0]}", "nats": second["nats"] - first["nats"]}
        made = [*made, second.assign(**runs)]
    grouped = pd.concat(made).groupby(["run", "epochs", "what"], sort=False)["nats"]
    return grouped.agg(nats="mean", sd="std", draws="size").reset_index().assign(K=1)


def samples(model: MemVAE, data: dataset.Dataset, images: int) -> pd.DataFrame:
    """Mean L_K of the first test images for growing K, all from the same draws."""
    x = torch.from_numpy(data.test_binary[:images])
    found = log_likelihood(model, x, SAMPLES, (0, "agreement"), compute.Mode("bf16", True))
    return pd.DataFrame(
        {"what": "K of the estimate", "K": k, "images": images, "nats": values.mean()}
        for k, values in zip(SAMPLES, found, strict=True)
    )


if __name__ == "__main__":
    main()
