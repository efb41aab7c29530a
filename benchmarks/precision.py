"""`python -m benchmarks.precision`: what bf16 products change, in training and in evaluation.

Trains VAE and MEM-VAE on MNIST for 30 epochs with three seeds in either precision (benchmarks/precision.yaml, about an
hour of one core), through the workflow, and measures on models of seed 0 what the evaluation's own precision does.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from memvae.analyses.imputation.compute import impute
from memvae.analyses.likelihood.compute import log_likelihood
from memvae.data import dataset
from memvae.files import store
from memvae.model import device as compute
from memvae.model import trained as models
from memvae.model.network import MemVAE
from memvae.random import keyed

CONFIG = "benchmarks/precision.yaml"
PRECISIONS, MODELS, SEEDS = ("float32", "bf16"), ("vae", "mem_vae"), (0, 1, 2)
GAIN = "mem_vae - vae"
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100, help="test images of the evaluation's bias (default 100)")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    compute.set_up()
    for precision in PRECISIONS:
        scale = f"precision_{precision}"
        wanted = [f"results/{scale}/evaluation/{run}/likelihood.h5" for run in _runs()]
        command = [sys.executable, "-m", "snakemake", "--cores", str(arguments.cores), *wanted]
        subprocess.run([*command, "--configfile", CONFIG, "--config", f"scale={scale}"], check=True)
    for name, table in (("training", training()), ("evaluation", evaluation(arguments.images))):
        arguments.output.mkdir(parents=True, exist_ok=True)
        table.to_csv(arguments.output / f"precision_{name}.csv", index=False)
        print(table.to_markdown(index=False, floatfmt=".4f"), "\n")


def training() -> pd.DataFrame:
    """Of models trained in either precision, by seed, nats: log-likelihood, with the difference and its error, and how
    much higher the one-sample bound is on training images than on test images; last, memory's gain over VAE.

    The evaluation is the same for both: bf16 with rescoring, on the same images and draws. The standard error of a
    difference is over images, paired: it leaves out what differs from one training to another.
    """
    rows = []
    for model in (*MODELS, GAIN):
        for seed in SEEDS:
            found = {precision: _likelihood(precision, model, seed) for precision in PRECISIONS}
            difference = found["bf16"][0] - found["float32"][0]
            rows.append(
                {
                    "model": model,
                    "seed": seed,
                    **{precision: values.mean() for precision, (values, _) in found.items()},
                    "bf16 - float32": difference.mean(),
                    "standard error": difference.std(ddof=1) / len(difference) ** 0.5,
                    **{f"train minus test, {precision}": gap for precision, (_, gap) in found.items()},
                }
            )
        part = pd.DataFrame([row for row in rows if row["model"] == model]).drop(columns=["model", "seed"])
        rows += [{"model": model, "seed": name, **getattr(part, name)().to_dict()} for name in ("mean", "std")]
    return pd.DataFrame(rows)


def evaluation(images: int) -> pd.DataFrame:
    """Bias of an evaluation in reduced precision: L_5000 against float64, per image; imputation against float32."""
    rows = []
    for model in MODELS:
        path = Path(f"results/precision_bf16/models/mnist-{model}-k1-s0.h5")
        loaded = models.load(path, CPU)
        data = dataset.load("data/mnist.h5")
        x, key = torch.from_numpy(data.test_binary[:images]), (0, "precision")
        exact = _in_float64(loaded.model, x, key)
        for precision in PRECISIONS:
            (values,) = log_likelihood(loaded.model, x, [5000], key, compute.Mode(precision, True))
            off = values - exact
            rows.append(
                {
                    "what": "L_5000 - float64, nats",
                    "model": model,
                    "precision": precision,
                    "mean": off.mean(),
                    "standard deviation": off.std(),
                    "worst": np.abs(off).max(),
                }
            )
        pixels = torch.from_numpy(data.pixels("test"))
        missing = (torch.arange(pixels.shape[1]) % 28 < 14).expand_as(pixels)
        start = torch.rand(pixels.shape, generator=keyed(0, "precision start"))
        for precision in PRECISIONS:
            mode = compute.Mode(precision, True)
            _, error = impute(loaded.model, pixels, missing, start, 100, 1000, (0, "left half"), mode)
            rows.append({"what": "imputation error", "model": model, "precision": precision, "mean": error[-1]})
    return pd.DataFrame(rows)


def _in_float64(model: MemVAE, x: torch.Tensor, key: tuple[int | str, ...]) -> np.ndarray:
    """L_5000 with everything in float64, from the same draws (drawn in float32, then widened)."""
    double = MemVAE(model.network).double()
    double.load_state_dict(model.state_dict())
    return log_likelihood(double.use_statistics("collected"), x.double(), [5000], key)[0]


def _runs() -> list[str]:
    return [f"mnist-{model}-k1-s{seed}" for model in MODELS for seed in SEEDS]


def _likelihood(precision: str, model: str, seed: int) -> tuple[np.ndarray, float]:
    """Log-likelihood of each test image, and train minus test of the one-sample bound; of GAIN the difference."""
    if model == GAIN:
        (theirs, their_gap), (ours, our_gap) = (_likelihood(precision, one, seed) for one in MODELS)
        return ours - theirs, our_gap - their_gap
    path = f"results/precision_{precision}/evaluation/mnist-{model}-k1-s{seed}/likelihood.h5"
    arrays = store.read(path, "analysis/likelihood").arrays
    return arrays["test/log_likelihood"], float(arrays["train/bound"].mean() - arrays["test/bound"].mean())


if __name__ == "__main__":
    main()
