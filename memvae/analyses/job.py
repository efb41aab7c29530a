"""The input of an analysis: a trained model, its data, the settings."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from memvae.data.dataset import Dataset
from memvae.model import device as computing
from memvae.model.network import MemVAE
from memvae.random import keyed
from memvae.settings.spec import RunSpec
from memvae.settings.work import decoding_seconds, passing_seconds


@dataclass
class Job:
    """One analysis of one model. `compute` of the analysis returns arrays, and may add to `attributes`."""

    model: MemVAE  # with collected statistics, without gradients
    spec: RunSpec
    data: Dataset
    settings: dict[str, Any]
    device: torch.device
    classifier: Path | None = None  # of the data set, where the analysis needs it
    attributes: dict[str, Any] = field(default_factory=dict)  # of the file, beside settings and provenance
    asked: computing.Mode | None = None  # of `mode`

    @property
    def seed(self) -> int:
        return self.spec.seed

    def tensor(self, array: np.ndarray) -> Tensor:
        """The array on the device."""
        return torch.from_numpy(array).to(self.device)

    def generator(self, purpose: str) -> Generator:
        """Random numbers for one purpose, keyed by the run's seed."""
        return keyed(self.seed, purpose)

    def mode(self, decoder_rows: float = 0, network_rows: float = 0) -> computing.Mode:
        """How the passes of so many rows are computed, with the precision of the settings."""
        network = self.spec.network
        seconds = decoding_seconds(network, decoder_rows) + passing_seconds(network, network_rows)
        self.asked = computing.mode(self.settings.get("precision", "float32"), self.device, seconds)
        return self.asked

    @property
    def computed(self) -> dict[str, str]:
        """The attribute `computed`: how the passes really ran; none where no mode was asked for."""
        return {"computed": str(computing.ran(self.asked))} if self.asked else {}
