"""From raw files to a trained model: a data set, a run, the classifier."""

import platform
from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.files import store
from memvae.progress import say
from memvae.settings import targets
from memvae.stages import shared
from memvae.stages.shared import Arguments


def download(arguments: Arguments) -> None:
    """fetch one raw file of a data set, or all of them"""
    from memvae.data.download import data_folder, fetch

    if arguments.spec:
        files, folder = {arguments.file: shared.parsed(arguments.spec, "--spec")}, data_folder()
    else:
        files = shared.dataset(arguments).get("files", {})
        folder = data_folder(shared.config(arguments).data_folder)
    if arguments.file and arguments.file not in files:
        raise InputError(f"{arguments.dataset}: found the file {arguments.file!r}, expected one of {', '.join(files)}")
    for name in [arguments.file] if arguments.file else files:
        fetch(arguments.dataset, name, files[name], Path(targets.raw_file(arguments.dataset, name)), folder, say)


def prepare(arguments: Arguments) -> None:
    """turn a data set's raw files into data/<dataset>.h5"""
    from memvae.data.prepare import prepare as prepared

    entry = shared.parsed(arguments.spec, "--spec") if arguments.spec else shared.dataset(arguments)
    raw = Path(targets.raw_file(arguments.dataset, ""))
    arrays, attributes = prepared(arguments.dataset, entry, raw)
    output = arguments.output or targets.data_file(arguments.dataset)
    shared.write(arguments, output, "dataset", arrays, attributes, [entry["file"]] if "file" in entry else [])


def train(arguments: Arguments) -> None:
    """train one run, or continue it"""
    from memvae.data import dataset
    from memvae.model import device as compute
    from memvae.model import trained as models
    from memvae.training import loop, state

    spec = shared.spec(arguments)
    output = Path(arguments.output or targets.model_file(shared.config(arguments), spec.run))
    data = dataset.load(arguments.data or targets.data_file(spec.dataset))
    device = compute.set_up()
    material = loop.TrainingData(data.pixels("train"), data.test_binary, data.sha256)
    trained = loop.train(spec, material, state.path_of(output), device)
    models.save(output, trained, spec, data.sha256, device)
    facts = {"device": _device_name(device), "epochs_earlier": trained.earlier}
    store.write_run_json(output, arguments.started, [data.path], [output], **facts)


def classifier(arguments: Arguments) -> None:
    """train the digit classifier that judges completed images"""
    import torch

    from memvae.analyses.imputation.classifier import train_classifier
    from memvae.data import dataset
    from memvae.model import device as compute
    from memvae.training.state import array

    settings = shared.settings(arguments, "classifier", arguments.dataset)
    data = dataset.load(arguments.data or targets.data_file(arguments.dataset))
    device = compute.set_up()
    x, labels = torch.from_numpy(data.pixels("train")).to(device), torch.from_numpy(data.labels("train")).to(device)
    model = train_classifier(x, labels, data.image, settings["epochs"], seed=0)
    predicted = model.predict(torch.from_numpy(data.pixels("test")).to(device))
    accuracy = float((predicted == data.labels("test")).mean())
    say(f"classifier: test accuracy {accuracy:.4f}")
    attributes = {
        "settings": settings,
        "test_accuracy": accuracy,
        "image": list(data.image),
        "classes": data.classes,
        "data_sha256": data.sha256,
        **store.provenance(device.type),
    }
    output = arguments.output or targets.classifier_file(shared.config(arguments), arguments.dataset)
    arrays = {f"weights/{name}": array(value) for name, value in model.state_dict().items()}
    shared.write(arguments, output, "classifier", arrays, attributes, [data.path])


def _device_name(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
