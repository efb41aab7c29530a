"""An independent classifier that judges completed images (ours; the paper judged by eye).

A small convolutional network, trained on clean, real-valued training images; it never sees the output of a model in
training.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memvae.data.dataset import Dataset
from memvae.files import store
from memvae.progress import Progress, say
from memvae.random import keyed

BATCH = 100
LEARNING_RATE = 2e-3  # at the start; down to 0 along a half cosine
ROWS = 1000  # images at a time in prediction


def compute(
    data: Dataset, settings: Mapping[str, Any], device: torch.device
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A trained classifier as the arrays and attributes of its file, with its accuracy on the clean test images."""
    x, test = (torch.from_numpy(data.pixels(split)).to(device) for split in ("train", "test"))
    model = train_classifier(
        x, torch.from_numpy(data.labels("train")).to(device), data.image, settings["epochs"], seed=0
    )
    accuracy = float((model.predict(test) == data.labels("test")).mean())
    say(f"classifier: test accuracy {accuracy:.4f}")
    attributes = {
        "settings": settings,
        "test_accuracy": accuracy,
        "image": list(data.image),
        "classes": data.classes,
        "data_sha256": data.sha256,
        **store.provenance(device.type),
    }
    return {f"weights/{name}": value.detach().cpu().numpy() for name, value in model.state_dict().items()}, attributes


class Classifier(nn.Module):
    """conv 16 - pool - conv 32 - pool - dense 128 - classes; relu; dropout 0.3. x: [N, D] -> logits [N, classes]."""

    def __init__(self, image: tuple[int, int], classes: int):
        super().__init__()
        self.image = image
        self.first = nn.Conv2d(1, 16, 5, padding=2)
        self.second = nn.Conv2d(16, 32, 5, padding=2)
        self.dense = nn.Linear(32 * (image[0] // 4) * (image[1] // 4), 128)
        self.output = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = x.view(-1, 1, *self.image)
        h = F.max_pool2d(torch.relu(self.first(h)), 2)
        h = F.max_pool2d(torch.relu(self.second(h)), 2)
        h = torch.relu(self.dense(h.flatten(1)))
        return self.output(F.dropout(h, 0.3, self.training))

    @torch.no_grad()
    def predict(self, x: Tensor) -> np.ndarray:
        """The class of each image: x [N, D] -> int64 [N]."""
        self.eval()
        return torch.cat([self(rows).argmax(1) for rows in x.split(ROWS)]).cpu().numpy()


def train_classifier(x: Tensor, labels: Tensor, image: tuple[int, int], epochs: int, seed: int) -> Classifier:
    """A classifier trained on x: [N, D] in [0, 1] with labels: int64 [N], by Adam and cross-entropy."""
    torch.manual_seed(keyed(seed, "classifier").initial_seed())  # nn's own initialisation and dropout have no generator
    generator = keyed(seed, "classifier order")
    model = Classifier(image, int(labels.max()) + 1).to(x.device)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    size = min(BATCH, len(x))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * (len(x) // size))
    progress = Progress("classifier epoch", epochs)
    for _ in range(epochs):
        model.train()
        order = torch.randperm(len(x), generator=generator)
        for rows in order[: len(x) - len(x) % size].split(size):
            loss = F.cross_entropy(model(x[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        progress.step(f"loss {loss.item():.4f}", always=True)
    return model


@dataclass(frozen=True)
class LoadedClassifier:
    """The classifier with its accuracy on clean test images and the checksum of its file."""

    model: Classifier
    test_accuracy: float
    sha256: str

    @property
    def attributes(self) -> dict[str, float | str]:
        """What an analysis that is judged by it says of it in its file."""
        return {"classifier_accuracy": self.test_accuracy, "classifier_sha256": self.sha256}


def load_classifier(path: Path, device: torch.device) -> LoadedClassifier:
    """Reads a classifier file. Raises InputError when it is missing or damaged."""
    stored = store.read(path, "classifier")
    rows, columns = stored.attributes["image"]
    model = Classifier((rows, columns), stored.attributes["classes"])
    model.load_state_dict({name: torch.from_numpy(value) for name, value in stored.group("weights").items()})
    return LoadedClassifier(model.to(device), stored.attributes["test_accuracy"], stored.attributes["sha256"])
