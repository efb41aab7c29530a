"""Model files: a trained network with its statistics and its provenance."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from memvae.errors import InputError
from memvae.files import store
from memvae.model.network import MemVAE
from memvae.settings.config import PUBLISHED
from memvae.settings.spec import RunSpec
from memvae.training.loop import Trained
from memvae.training.state import array


@dataclass(frozen=True)
class LoadedModel:
    """model: on its device, in `collected`; provenance: the attributes that every analysis of it carries on."""

    model: MemVAE
    spec: RunSpec
    provenance: dict[str, Any]


def save(path: Path, trained: Trained, spec: RunSpec, data_sha256: str, device: torch.device) -> None:
    """Writes the model file of a finished training."""
    arrays = {f"weights/{name}": array(value) for name, value in trained.model.state_dict().items()}
    attributes = {
        "spec": spec.to_json(),
        "epoch": spec.training.epochs,
        "data_sha256": data_sha256,
        "computed": trained.computed,
        **({"epoch_kept": trained.curves.kept} if trained.curves.validation_bound else {}),
        **store.provenance(device.type),
    }
    store.write(path, "model", {**arrays, **trained.curves.arrays()}, attributes)


def load(path: Path, device: torch.device) -> LoadedModel:
    """Reads a model file; raises InputError when it is damaged or its weights do not fit its specification."""
    stored = store.read(path, "model")
    if stored.attributes.get("weights_left_out"):
        raise InputError(f"{path}: found the curves of a model without its weights, expected both; train the run again")
    spec = RunSpec.from_json(json.dumps(stored.attributes["spec"]), f"{path}: spec")
    model = MemVAE(spec.network)
    try:
        model.load_state_dict({name: torch.from_numpy(value) for name, value in stored.group("weights").items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: its weights do not fit its spec ({reason}); delete it and train again") from None
    optional = [key for key in ("epoch_kept",) if key in stored.attributes]
    kept = {key: stored.attributes[key] for key in ("spec", "epoch", "data_sha256", *optional)}
    provenance = {**kept, "model_sha256": stored.attributes["sha256"], **store.provenance(device.type)}
    model.requires_grad_(False)
    return LoadedModel(model.use_statistics("collected").to(device), spec, provenance)


def published(name: str) -> Path:
    """The file of a published model, such as `ocr_letters-vae`. Raises InputError where there is none."""
    path = PUBLISHED / f"{name}.h5"
    if path.exists():
        return path
    known = ", ".join(sorted(file.stem for file in PUBLISHED.glob("*.h5")))
    raise InputError(
        f"{name}: found no published model, expected one of {known}, or the path of a model file"
        if known
        else f"{name}: found no folder {PUBLISHED}, expected the published models; they are in the project's "
        "repository, in models/"
    )
