"""The command line: one subcommand per stage, which is also a rule of the workflow.

The only place that parses arguments, reads and writes files, prints and exits. Expected failures are one line and exit
code 2. A stage imports what it needs and nothing else.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memvae import config as configuration
from memvae import store, targets
from memvae.errors import InputError
from memvae.progress import say

Arguments = argparse.Namespace


def main() -> None:
    arguments = _parser().parse_args()
    try:
        arguments.stage(arguments)
    except InputError as error:
        say(f"memvae {arguments.command}: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        say(f"memvae {arguments.command}: interrupted; the same command continues")
        sys.exit(130)


# ---- data ------------------------------------------------------------------------------------------------------------
def download(arguments: Arguments) -> None:
    """fetch one raw file of a data set, or all of them"""
    from memvae.data.download import data_folder, fetch

    config = _config(arguments)
    files = _dataset(config, arguments.dataset).get("files", {})
    wanted = {arguments.file: files[arguments.file]} if arguments.file in files else files
    if arguments.file and arguments.file not in files:
        raise InputError(f"{arguments.dataset}: found the file {arguments.file!r}, expected one of {', '.join(files)}")
    for name, entry in wanted.items():
        destination = Path(targets.raw_file(arguments.dataset, name))
        fetch(arguments.dataset, name, entry, destination, data_folder(config.data_folder), say)


def prepare(arguments: Arguments) -> None:
    """turn a data set's raw files into data/<dataset>.h5"""
    from memvae.data.prepare import prepare as prepared

    entry = json.loads(arguments.spec) if arguments.spec else _dataset(_config(arguments), arguments.dataset)
    raw = Path(targets.raw_file(arguments.dataset, ""))
    arrays, attributes = prepared(arguments.dataset, entry, raw)
    output = arguments.output or targets.data_file(arguments.dataset)
    _write(arguments, output, "dataset", arrays, attributes)


# ---- training --------------------------------------------------------------------------------------------------------
def train(arguments: Arguments) -> None:
    """train one run, or continue it"""
    from memvae import compute
    from memvae.data import dataset
    from memvae.evaluation import models
    from memvae.training import loop, state

    spec = _spec(arguments)
    output = Path(arguments.output or targets.model_file(_config(arguments), spec.run))
    data = dataset.load(arguments.data or targets.data_file(spec.dataset))
    device = compute.set_up()
    material = loop.TrainingData(data.pixels("train"), data.test_binary, data.sha256)
    trained = loop.train(spec, material, state.path_of(output), device)
    models.save(output, trained, spec, data.sha256, device)
    store.write_run_json(output, arguments.started, device=_device_name(device))


def classifier(arguments: Arguments) -> None:
    """train the digit classifier that judges completed images"""
    import torch

    from memvae import compute
    from memvae.data import dataset
    from memvae.evaluation.classifier import train_classifier
    from memvae.training.state import array

    settings = _settings(arguments, "classifier", arguments.dataset)
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
    output = arguments.output or targets.classifier_file(_config(arguments), arguments.dataset)
    arrays = {f"weights/{name}": array(value) for name, value in model.state_dict().items()}
    _write(arguments, output, "classifier", arrays, attributes)


# ---- evaluation ------------------------------------------------------------------------------------------------------
def parameters(arguments: Arguments) -> None:
    """count the trainable parameters of the paper's networks"""
    import numpy as np

    from memvae.evaluation.parameters import count_parameters

    rows = json.loads(arguments.spec) if arguments.spec else targets.parameter_rows(_config(arguments))
    networks = [configuration.network_from(row["network"]) for row in rows]
    counts = np.array([count_parameters(network) for network in networks], dtype=np.int64)
    output = arguments.output or targets.parameters_file(_config(arguments))
    _write(arguments, output, "analysis/parameters", {"counts": counts}, {"rows": rows, **store.provenance()})


def likelihood(arguments: Arguments) -> None:
    """estimate the log-likelihood of the test images, and the parts of the bound"""
    import torch

    from memvae.evaluation.likelihood import bound_parts, log_likelihood
    from memvae.training.loop import binarised

    with _analysis(arguments) as work:
        settings, seed, model = work.settings, work.loaded.spec.seed, work.loaded.model
        test = work.tensor(work.data.test_binary)
        images = settings["images"] or len(test)
        samples = [k for k in (settings["samples"], settings["more_samples"]) if k]
        values = log_likelihood(model, test[:images], samples, seed, f"{work.loaded.spec.run} image")
        names = ("test/log_likelihood", "test/log_likelihood_more")
        work.arrays |= dict(zip(names, values, strict=False))
        train = torch.from_numpy(work.data.pixels("train")[: settings["train_images"]])
        if work.loaded.spec.training.binarise == "each_epoch":
            train = binarised(train, work.keyed("train images"))
        for split, x in (("test", test), ("train", train.to(work.device))):
            parts = bound_parts(model, x, settings["bound_draws"], seed)
            work.arrays |= {f"{split}/{name}": value for name, value in vars(parts).items()}


def generation(arguments: Arguments) -> None:
    """generate images with the memory as it is and disabled"""
    from memvae.evaluation.generation import generate

    with _analysis(arguments) as work:
        work.arrays |= generate(work.loaded.model, work.settings["draws"], work.loaded.spec.seed, work.device)


def slots(arguments: Arguments) -> None:
    """average preference values of the slots by class, and the slots as images"""
    from memvae.evaluation.slots import slots as responses

    with _analysis(arguments) as work:
        x, labels = work.tensor(work.data.pixels("test")), work.data.labels("test")
        work.arrays |= responses(work.loaded.model, x, labels, work.settings["top"], work.loaded.spec.seed)


def imputation(arguments: Arguments) -> None:
    """complete images with missing pixels, and let the classifier read them"""
    from memvae.data import corruption
    from memvae.evaluation.classifier import load_classifier
    from memvae.evaluation.imputation import impute

    with _analysis(arguments) as work:
        settings, spec = work.settings, work.loaded.spec
        path = arguments.classifier or targets.classifier_file(_config(arguments), spec.dataset)
        judge = load_classifier(Path(path), work.device)
        x, labels = work.tensor(work.data.pixels("test")), work.data.labels("test")
        shown = settings["shown"]
        work.arrays |= {"labels": labels, "truth": work.data.pixels("test")[:shown]}
        noises = corruption.noises(settings)
        for noise in noises:
            missing = work.tensor(corruption.missing(noise, len(x), work.data.image, spec.seed))
            start = work.tensor(corruption.starting_values(noise, len(x), work.data.image, spec.seed))
            key = (spec.seed, f"{spec.run} {noise.name}")
            completed, error = impute(
                work.loaded.model, x, missing, start, settings["iterations"], settings["batch_size"], key
            )
            work.arrays |= {
                f"{noise.name}/error": error,
                f"{noise.name}/recovered": judge.model.predict(completed) == labels,
                f"{noise.name}/perturbed": start.where(missing, x)[:shown].cpu().numpy(),
                f"{noise.name}/completed": completed[:shown].cpu().numpy(),
            }
        work.attributes |= {
            "noises": [noise.name for noise in noises],
            "classifier_accuracy": judge.test_accuracy,
            "classifier_sha256": judge.sha256,
        }


def probing(arguments: Arguments) -> None:
    """linear SVMs on the features of the recognition model"""
    import numpy as np
    import torch

    from memvae.evaluation.probing import crammer_singer, features, linear_svc

    with _analysis(arguments) as work:
        settings, seed = work.settings, work.loaded.spec.seed
        train_labels, labels = work.data.labels("train"), work.data.labels("test")
        h = features(work.loaded.model, work.tensor(work.data.pixels("train"))).cpu()
        test_h = features(work.loaded.model, work.tensor(work.data.pixels("test"))).cpu()
        weights = crammer_singer(h, torch.from_numpy(train_labels), settings["steps"])
        svc = linear_svc(
            h.numpy(), train_labels, test_h.numpy(), settings["svc_c"], settings["svc_images"], seed
        )
        work.arrays |= {
            "labels": labels,
            "crammer_singer/weights": weights.numpy(),
            "crammer_singer/predicted": (test_h @ weights).argmax(1).numpy(),
            "linear_svc/predicted": svc.predicted,
            "linear_svc/c": np.array(settings["svc_c"]),
            "linear_svc/validation_accuracy": svc.validation_accuracy,
        }
        work.attributes["chosen_c"] = svc.chosen_c


# ---- report ----------------------------------------------------------------------------------------------------------
def table(arguments: Arguments) -> None:
    """render a table as csv, md and tex"""
    from memvae.report import tables

    output = _report_output(arguments, f"tables/{arguments.name}.csv")
    layout, inputs = _layout(arguments, arguments.name)
    tables.write(arguments.name.removesuffix("_extended"), layout, inputs, Path(arguments.paper), output)


def figure(arguments: Arguments) -> None:
    """render a figure as png and pdf"""
    from memvae.report import figures

    output = Path(arguments.output or f"{_config(arguments).figures}/{arguments.name}.png")
    layout, inputs = _layout(arguments, arguments.name)
    figures.write(arguments.name, layout, inputs, output)


def scorecard(arguments: Arguments) -> None:
    """put every number that the paper prints beside ours"""
    from memvae.report import scorecard as card

    output = _report_output(arguments, f"{arguments.name}.csv")
    layout, inputs = _layout(arguments, arguments.name)
    card.write(layout, inputs, Path(arguments.paper), output)


def cost(arguments: Arguments) -> None:
    """say which jobs a target still needs here, and roughly how long they take"""
    from memvae import cost as costs

    say(costs.describe_target(_config(arguments), arguments.target, _overrides(arguments)))


# ---- what the stages share -------------------------------------------------------------------------------------------
class _analysis:
    """One analysis of one model: loads what it needs, and writes `arrays` and `attributes` when the block ends well."""

    def __init__(self, arguments: Arguments):
        from memvae import compute
        from memvae.data import dataset
        from memvae.evaluation import models

        self.arguments, self.name = arguments, arguments.command
        self.device = compute.set_up()
        path = arguments.model or targets.model_file(_config(arguments), arguments.run)
        self.loaded = models.load(Path(path), self.device)
        name = self.loaded.spec.dataset
        self.data = dataset.load(arguments.data or targets.data_file(name))
        if self.data.sha256 != self.loaded.provenance["data_sha256"]:
            raise InputError(
                f"{self.data.path}: found sha256 {self.data.sha256[:12]}, expected "
                f"{self.loaded.provenance['data_sha256'][:12]}, on which {path} was trained; train again or restore the data"
            )
        self.settings = _settings(arguments, self.name, name)
        self.arrays: dict[str, Any] = {}
        self.attributes: dict[str, Any] = {"settings": self.settings, **self.loaded.provenance}

    def tensor(self, values: Any) -> Any:
        import torch

        return torch.from_numpy(values).to(self.device)

    def keyed(self, purpose: str) -> Any:
        from memvae.random import keyed

        return keyed(self.loaded.spec.seed, purpose)

    def __enter__(self) -> "_analysis":
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            run = self.loaded.spec.run
            output = self.arguments.output or targets.analysis_file(_config(self.arguments), run, self.name)
            _write(self.arguments, output, f"analysis/{self.name}", self.arrays, self.attributes)


def _write(arguments: Arguments, output: str | Path, kind: str, arrays: Any, attributes: Any) -> None:
    store.write(output, kind, arrays, attributes)
    store.write_run_json(output, arguments.started)
    say(f"{arguments.command}: wrote {output}")


def _config(arguments: Arguments) -> configuration.Config:
    return configuration.load(Path(arguments.config), _overrides(arguments), arguments.configfile)


def _overrides(arguments: Arguments) -> dict[str, Any]:
    return {"scale": arguments.scale} if arguments.scale else {}


def _dataset(config: configuration.Config, name: str) -> dict[str, Any]:
    if name not in config.datasets:
        raise InputError(f"dataset: found {name!r}, expected one of {', '.join(config.datasets)}")
    return config.datasets[name]


def _spec(arguments: Arguments) -> configuration.RunSpec:
    if not arguments.spec:
        return _config(arguments).spec(arguments.run)
    spec = configuration.RunSpec.from_json(arguments.spec)
    if spec.run != arguments.run:
        raise InputError(f"--spec: found the run {spec.run!r}, expected {arguments.run!r}")
    return spec


def _settings(arguments: Arguments, analysis: str, dataset: str) -> dict[str, Any]:
    if arguments.settings:
        return json.loads(arguments.settings)
    return targets.settings(_config(arguments), analysis, dataset)


def _layout(arguments: Arguments, target: str) -> tuple[dict[str, Any], list[Path]]:
    if arguments.layout:
        return json.loads(arguments.layout), [Path(path) for path in arguments.inputs]
    config = _config(arguments)
    return targets.layout(config, target), [Path(path) for path in targets.inputs(config, target)]


def _report_output(arguments: Arguments, name: str) -> Path:
    return Path(arguments.output or f"{_config(arguments).results}/{name}")


def _device_name(device: Any) -> str:
    import platform

    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="memvae", description="Reproduction of `Learning to Generate with Memory` (ICML 2016), stage by stage."
    )
    parser.add_argument("--version", action="version", version=store.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="STAGE")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", default=str(configuration.CONFIG), help="the configuration (default: %(default)s)")
    common.add_argument("--configfile", type=Path, help="a second YAML file, merged over the first")
    common.add_argument("--scale", help="paper, quick, demo or one of your own (default: the configuration's)")
    common.set_defaults(started=time.time())

    def stage(function: Callable[[Arguments], None], *options: str, **positional: str) -> None:
        text = (function.__doc__ or "").strip()
        command = commands.add_parser(function.__name__, help=text, description=text, parents=[common])
        for name, description in positional.items():
            command.add_argument(name, help=description)
        for option in options:
            command.add_argument(f"--{option}", help=OPTIONS[option], nargs="+" if option == "inputs" else None)
        command.set_defaults(stage=function)

    run = "e.g. mnist-mem_vae-k1-s0"
    stage(download, "file", dataset="e.g. mnist")
    stage(prepare, "spec", "output", dataset="e.g. mnist")
    stage(train, "spec", "data", "output", run=run)
    stage(classifier, "settings", "data", "output", dataset="e.g. mnist")
    stage(parameters, "spec", "output")
    for analysis in (likelihood, generation, slots, probing):
        stage(analysis, "settings", "model", "data", "output", run=run)
    stage(imputation, "settings", "model", "data", "classifier", "output", run=run)
    stage(table, "layout", "inputs", "paper", "output", name=", ".join((*targets.TABLES, targets.EXTENDED)))
    stage(figure, "layout", "inputs", "output", name=", ".join(targets.FIGURES))
    stage(scorecard, "layout", "inputs", "paper", "output", name="scorecard or scorecard_extended")
    stage(cost, target="e.g. figures/fig7.png")
    commands.choices["table"].set_defaults(paper=targets.PAPER_VALUES)
    commands.choices["scorecard"].set_defaults(paper=targets.PAPER_VALUES)
    return parser


OPTIONS = {
    "file": "one raw file of the data set (default: all)",
    "spec": "the resolved specification as JSON (default: from the configuration)",
    "settings": "the analysis' settings as JSON (default: from the configuration)",
    "layout": "rows and scale as JSON (default: from the configuration)",
    "inputs": "the HDF5 files to draw from, with --layout",
    "data": "the data set's HDF5 file (default: data/<dataset>.h5)",
    "model": "the model file (default: <results>/models/<run>.h5)",
    "classifier": "the classifier file (default: <results>/classifiers/<dataset>.h5)",
    "paper": "the paper's printed numbers (default: config/paper.yaml)",
    "output": "the file to write (default: where the workflow has it)",
}

if __name__ == "__main__":
    main()
