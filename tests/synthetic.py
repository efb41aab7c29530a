"""Small files of every kind that tables and figures read, as `docs/files.md` describes them."""

from pathlib import Path
from typing import Any

import numpy as np

from memvae.files import store
from memvae.report import render

CLASSES, SLOTS, IMAGES, SHOWN = 10, (7, 4), 40, 64
SIDE = (8, 6)  # rows, columns
PIXELS = SIDE[0] * SIDE[1]
Arrays = dict[str, np.ndarray]
TITLES = {"vae": "VAE", "large_vae": "large VAE", "mem_vae": "MEM-VAE", "vis_mem_vae": "VIS-MEM-VAE"}
DATASETS = {"mnist": "MNIST", "ocr_letters": "OCR-letters", "frey_faces": "Frey faces", "digits": "digits 8x8"}
DATASETS["silhouettes"] = "silhouettes"  # a user's own


def layout(*rows: dict[str, Any], scale: str = "paper", note: str = "") -> dict[str, Any]:
    if scale != "paper" and not note:
        note = f"scale={scale}: a short test; not the paper's schedule"
    return {"scale": scale, "note": note, "rows": list(rows)}


def draw(
    kind: str, name: str, parts: dict[str, tuple[dict[str, Any], list[Path]]], paper: Path | None, output: Path
) -> list[Path]:
    """Draws a target. parts: analysis -> its layout and its files."""
    listed = [
        {"analysis": analysis, "module": "", "layout": rows, "inputs": [str(file) for file in files]}
        for analysis, (rows, files) in parts.items()
    ]
    return render.write({"kind": kind, "name": name, "parts": listed}, paper, output)


def row(model: str, k: int = 1, seeds: int = 1, dataset: str = "mnist", here: str | None = None) -> dict[str, Any]:
    """A row of a layout; `here` stands for `dataset`; without seeds it is not run."""
    here = here or dataset
    runs = [f"{here}-{model}-k{k}-s{seed}" for seed in range(seeds)]
    titles = {"title": TITLES[model], "dataset": DATASETS[here]}
    return {"paper_dataset": dataset, "model": model, "k": k, **titles, "runs": runs}


def spec(run: str, epochs: int = 12) -> dict[str, Any]:
    dataset, model, k, seed = run.split("-")
    slots = [0, 0] if model.endswith("vae") and "mem" not in model else list(SLOTS)
    return {
        "run": run,
        "dataset": dataset,
        "seed": int(seed[1:]),
        "network": {"image": list(SIDE), "hidden": [5, 5], "latent": 3, "slots": slots},
        "training": {"samples": int(k[1:]), "epochs": epochs, "full_epochs": 3000},
        "version": 1,
    }


def write(folder: Path, run: str, kind: str, arrays: Arrays, settings: Any = None, **more: Any) -> Path:
    """One file of a run; returns its path."""
    attributes = {
        "spec": spec(run),
        "epoch": 12,
        "data_sha256": "d" * 64,
        "settings": settings or {},
        "code_version": "1",
    } | more
    path = folder / run / f"{kind.split('/')[-1]}.h5"
    store.write(path, kind, arrays, attributes)
    return path


def parameters(folder: Path, counts: dict[str, int]) -> Path:
    """`counts`: `<dataset>-<model>` -> parameters."""
    rows = [dict(zip(("dataset", "model"), key.rsplit("-", 1), strict=True)) for key in counts]
    path = folder / "parameters.h5"
    store.write(path, "analysis/parameters", {"counts": np.array(list(counts.values()))}, {"rows": rows})
    return path


def likelihood(
    folder: Path,
    run: str,
    log_likelihood: Any,
    more: Any = None,
    bound: Any = None,
    samples: int = 5000,
    **attributes: Any,
) -> Path:
    test = np.asarray(bound if bound is not None else np.asarray(log_likelihood) - 4.0, dtype=np.float64)
    arrays = {
        "test/log_likelihood": np.asarray(log_likelihood, dtype=np.float64),
        "test/bound": test,
        "test/log_px": test + 25.0,
        "test/kl": np.full_like(test, 25.0),
        "train/bound": np.full(6, test.mean() + 1.5),
        "train/log_px": np.full(6, test.mean() + 26.5),
        "train/kl": np.full(6, 25.0),
    }
    if more is not None:
        arrays["test/log_likelihood_more"] = np.asarray(more, dtype=np.float64)
    settings = {"samples": samples, "more_samples": 100000 if more is not None else 0, "bound_draws": 10}
    return write(folder, run, "analysis/likelihood", arrays, settings, **attributes)


def probing(folder: Path, run: str, right: int, right_svc: int, images: int = IMAGES) -> Path:
    """The first `right` of `images` predictions are right."""
    labels = np.arange(images) % CLASSES
    wrong = (labels + 1) % CLASSES
    arrays = {
        "labels": labels,
        "crammer_singer/predicted": np.where(np.arange(images) < right, labels, wrong),
        "crammer_singer/weights": np.zeros((5, CLASSES), dtype=np.float32),
        "linear_svc/predicted": np.where(np.arange(images) < right_svc, labels, wrong),
        "linear_svc/c": np.array([0.01, 0.1]),
        "linear_svc/validation_accuracy": np.array([0.9, 0.8]),
    }
    return write(folder, run, "analysis/probing", arrays, {"steps": 10}, chosen_c=0.01)


def slots(
    folder: Path,
    run: str,
    preferences: dict[str, np.ndarray] | None = None,
    seed: int = 0,
    images: np.ndarray | None = None,
    class_means: np.ndarray | None = None,
    tested: int = IMAGES,
    classes: int = CLASSES,
    top: int = 3,
) -> Path:
    """`preferences`: layer -> [classes, S], rows that sum to 1; random ones without it, and so for the images.

    tested: number of test images; of `classes` classes, the later ones have more.
    """
    draw = np.random.default_rng(seed)
    if preferences is None:
        preferences = {f"layer{n}": draw.dirichlet(np.full(s, 0.3), size=classes) for n, s in enumerate(SLOTS)}
    classes = len(next(iter(preferences.values())))
    arrays: dict[str, np.ndarray] = {"classes": np.arange(classes), "class_sizes": np.arange(classes) + 1}
    for layer, values in preferences.items():
        order = np.argsort(-values, axis=1, kind="stable")[:, :top]
        log = np.log(np.maximum(values, 1e-300))
        arrays |= {
            f"{layer}/preferences": values,
            f"{layer}/mean_preference": values.mean(axis=0),
            f"{layer}/top": order,
            f"{layer}/top_values": np.take_along_axis(values, order, axis=1),
            f"{layer}/perplexity": np.exp(-(values * log).sum(axis=1)),
            f"{layer}/correlation": _correlation(values),
            f"{layer}/norms": np.arange(values.shape[1]) + 0.5,
        }
    if "layer0" in preferences:
        count = preferences["layer0"].shape[1]
        arrays["layer0/images"] = draw.random((count, PIXELS), dtype=np.float32) if images is None else images
    arrays["class_means"] = draw.random((classes, PIXELS), dtype=np.float32) if class_means is None else class_means
    return write(folder, run, "analysis/slots", arrays, {"top": top}, images=tested)


def _correlation(values: np.ndarray) -> np.ndarray:
    if values.shape[1] < 2:
        return np.full((len(values), len(values)), np.nan)
    with np.errstate(invalid="ignore"):  # nan for a class without preference
        return np.atleast_2d(np.corrcoef(values))


def generation(folder: Path, run: str, draws: int = 20) -> Path:
    draw = np.random.default_rng(1)
    arrays = {"z": np.zeros((draws, 3), np.float32), "images": draw.random((3, draws, PIXELS), dtype=np.float32)}
    return write(folder, run, "analysis/generation", arrays, {"draws": draws})


def detail(folder: Path, run: str, scale: float = 1.0, samples: int = 50) -> Path:
    """Each image has energies 1, 3 below and 1, 2 above; disabled ones half above, of which half is shared.

    `scale` multiplies energies above of all but the test images. Log-likelihoods fall by 2 and by 5 nats on average.
    """
    low, high = np.array([1.0, 3.0]), np.array([1.0, 2.0])
    arrays: Arrays = {"frequency": np.array([0.125, 0.25]), "low/data": low, "high/data": high}
    for name, part, loss in (("full", 1.0, 0.0), ("first", 0.5, 2.0), ("both", 0.5, 5.0)):
        arrays |= {
            f"low/{name}": low,
            f"high/{name}": high * part * scale,
            f"log_likelihood/{name}": np.array([-80.0, -90.0]) - loss * np.array([0.5, 1.5]),
            f"bound/{name}": np.array([-85.0, -95.0, -90.0]) - loss,
            f"log_px/{name}": np.array([-60.0, -70.0, -65.0]) - loss,
        }
        if part < 1:
            arrays |= {f"cross_low/{name}": low, f"cross_high/{name}": high * scale / 4}
            arrays |= {f"chance_low/{name}": low / 2, f"chance_high/{name}": high * 0.0}
            arrays[f"coherence/{name}"] = np.array([1.0, 0.3])
    for name in ("data", "full", "first", "both"):
        arrays[f"spectrum/{name}"] = np.array([arrays[f"low/{name}"].mean(), arrays[f"high/{name}"].mean()])
    settings = {"draws": 2, "images": 2, "samples": samples, "bound_draws": 10, "cutoff": 0.125}
    return write(folder, run, "analysis/detail", arrays, settings)


def imputation(
    folder: Path, run: str, recovered: np.ndarray, last_error: float = 0.1, noises: Any = ("square_6", "left_half")
) -> Path:
    """The same `recovered` bool [N] and last error for every noise."""
    draw = np.random.default_rng(2)
    shown = min(SHOWN, recovered.size)
    arrays: dict[str, np.ndarray] = {
        "labels": np.arange(recovered.size) % CLASSES,
        "truth": draw.random((shown, PIXELS), dtype=np.float32),
    }
    for noise in noises:
        arrays |= {
            f"{noise}/error": np.array([0.3, 0.2, last_error]),
            f"{noise}/recovered": recovered,
            f"{noise}/perturbed": draw.random((shown, PIXELS), dtype=np.float32),
            f"{noise}/completed": draw.random((shown, PIXELS), dtype=np.float32),
        }
    return write(
        folder, run, "analysis/imputation", arrays, {"iterations": 3}, noises=list(noises), classifier_accuracy=0.9912,
        classifier_sha256="c" * 64,
    )  # fmt: skip


def model(folder: Path, run: str, level: float = -90.0, epochs: int = 40, every: int = 4) -> Path:
    """Learning curves that rise to `level` (train 1 nat above)."""
    epoch = np.arange(1, epochs + 1)
    test_epoch = epoch[every - 1 :: every]
    arrays = {
        "weights/output.bias": np.zeros(PIXELS, np.float32),
        "curves/epoch": epoch,
        "curves/train_bound": level + 1 - 60 / epoch,
        "curves/test_epoch": test_epoch,
        "curves/test_bound": level - 50 / test_epoch,
        "curves/train_bound_collected": level + 1 - 50 / test_epoch,
    }
    return write(folder, run, "model", arrays, computed="float32 products, eager", packages={}, device="cpu")
