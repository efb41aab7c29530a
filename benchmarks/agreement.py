"""`python -m benchmarks.agreement MODEL DATA`: what moves a model's log-likelihood without training it again.

The choices that an evaluation makes once (which draw binarises the test images, which draw the statistics were
collected with, which draws of z, how many) are made several times, with other seeds, on one trained model.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from memvae import compute
from memvae.data import dataset
from memvae.data.prepare import TEST_BINARISATION_SEED, binarised
from memvae.evaluation import models
from memvae.evaluation.likelihood import bound_parts, log_likelihood
from memvae.model.network import MemVAE, collect_statistics
from memvae.random import keyed
from memvae.training.loop import binarised as binarised_anew

BOUND_DRAWS = 10
SAMPLES = [50, 500, 5000, 50000]
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="e.g. results/long/models/mnist-vae-k1-s0.h5")
    parser.add_argument("data", type=Path, help="e.g. data/mnist.h5")
    parser.add_argument("--draws", type=int, default=5, help="how often each choice is made (default 5)")
    parser.add_argument("--images", type=int, default=50, help="test images of the rows over K (default 50)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    compute.set_up()
    model, data = models.load(arguments.model, CPU).model, dataset.load(arguments.data)
    table = pd.concat([choices(model, data, arguments.draws), samples(model, data, arguments.images)])
    arguments.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.output / f"agreement_{arguments.model.stem}.csv", index=False)
    print(table.to_markdown(index=False, floatfmt=".4f"))


def choices(model: MemVAE, data: dataset.Dataset, draws: int) -> pd.DataFrame:
    """Mean and standard deviation over draws of L_1 (nats, all test images) for each choice made anew."""
    published = torch.from_numpy(data.test_binary)
    images = (data.pixels("test") * 255).round()
    train = torch.from_numpy(data.pixels("train"))
    kept = {name: value.clone() for name, value in model.state_dict().items()}

    def bound(x: Tensor, seed: int = 0) -> float:
        return float(bound_parts(model, x, BOUND_DRAWS, (seed, "agreement")).bound.mean())

    def binarisation(seed: int) -> float:
        return bound(torch.from_numpy(binarised(images, 255, TEST_BINARISATION_SEED + seed).astype(np.float32)))

    def statistics(seed: int) -> float:
        generator = keyed(seed, "agreement statistics")
        collect_statistics(model, binarised_anew(train, generator).float(), generator)
        value = bound(published)
        model.load_state_dict(kept)
        return value

    made: dict[str, Callable[[int], float]] = {
        "draws of z": lambda seed: bound(published, seed),
        "binarisation of the test images": binarisation,
        "draws behind the collected statistics": statistics,
    }
    rows = []
    for what, value in made.items():
        values = np.array([value(seed) for seed in range(1, draws + 1)])
        rows.append({"what": what, "K": 1, "images": len(published), "nats": values.mean(), "sd": values.std(ddof=1)})
    as_published = {"what": "as published", "K": 1, "images": len(published), "nats": bound(published)}
    return pd.DataFrame([as_published, *rows])


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
