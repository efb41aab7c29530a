"""The stages: each reads the files of the stage before, calls the science, and writes its own file.

A stage is a subcommand of the command line and a rule of the workflow. It imports what it needs and nothing else.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memvae import config as configuration
from memvae import store, targets
from memvae.errors import InputError
from memvae.progress import say

Arguments = argparse.Namespace


# ---- data ------------------------------------------------------------------------------------------------------------
def download(arguments: Arguments) -> None:
    """fetch one raw file of a data set, or all of them"""
    from memvae.data.download import data_folder, fetch

    if arguments.spec:
        files, folder = {arguments.file: _json(arguments.spec, "--spec")}, data_folder()
    else:
        config = _config(arguments)
        files, folder = _dataset(config, arguments.dataset).get("files", {}), data_folder(config.data_folder)
    if arguments.file and arguments.file not in files:
        raise InputError(f"{arguments.dataset}: found the file {arguments.file!r}, expected one of {', '.join(files)}")
    for name in [arguments.file] if arguments.file else files:
        fetch(arguments.dataset, name, files[name], Path(targets.raw_file(arguments.dataset, name)), folder, say)


def prepare(arguments: Arguments) -> None:
    """turn a data set's raw files into data/<dataset>.h5"""
    from memvae.data.prepare import prepare as prepared

    entry = _json(arguments.spec, "--spec") if arguments.spec else _dataset(_config(arguments), arguments.dataset)
    raw = Path(targets.raw_file(arguments.dataset, ""))
    arrays, attributes = prepared(arguments.dataset, entry, raw)
    output = arguments.output or targets.data_file(arguments.dataset)
    _write(arguments, output, "dataset", arrays, attributes, [entry["file"]] if "file" in entry else [])


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
    store.write_run_json(output, arguments.started, [data.path], [output], device=_device_name(device))


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
    _write(arguments, output, "classifier", arrays, attributes, [data.path])


# ---- evaluation ------------------------------------------------------------------------------------------------------
def parameters(arguments: Arguments) -> None:
    """count the trainable parameters of the paper's networks"""
    import numpy as np

    from memvae.evaluation.parameters import count_parameters

    (rows,) = _told(arguments, targets.PARAMETERS, "rows")
    networks = [configuration.network_from(row["network"]) for row in rows]
    counts = np.array([count_parameters(network) for network in networks], dtype=np.int64)
    output = arguments.output or targets.parameters_file(_config(arguments))
    _write(arguments, output, "analysis/parameters", {"counts": counts}, {"rows": rows, **store.provenance()}, [])


def likelihood(arguments: Arguments) -> None:
    """estimate the log-likelihood of the test images, and the parts of the bound"""
    import torch

    from memvae import cost as costs
    from memvae.evaluation.likelihood import bound_parts, log_likelihood
    from memvae.training.loop import binarised

    with _Analysis(arguments) as work:
        settings, seed, model = work.settings, work.loaded.spec.seed, work.loaded.model
        test = work.tensor(work.data.test_binary)
        images = settings["images"] or len(test)
        samples = [k for k in (settings["samples"], settings["more_samples"]) if k]
        mode = work.mode(costs.decoding_seconds(work.loaded.spec.network, images * max(samples)))
        values = log_likelihood(model, test[:images], samples, (seed, "log-likelihood of test images"), mode)
        names = ("test/log_likelihood", "test/log_likelihood_more")
        work.arrays |= dict(zip(names, values, strict=False))
        train = torch.from_numpy(work.data.pixels("train")[: settings["train_images"]])
        if work.loaded.spec.training.binarise == "each_epoch":
            train = binarised(train, work.keyed("train images")).float()
        for split, x in (("test", test), ("train", train.to(work.device))):
            parts = bound_parts(model, x, settings["bound_draws"], (seed, f"bound of {split} images"))
            work.arrays |= {f"{split}/{name}": value for name, value in vars(parts).items()}


def generation(arguments: Arguments) -> None:
    """generate images with the memory as it is and disabled"""
    from memvae.evaluation.generation import generate

    with _Analysis(arguments) as work:
        work.arrays |= generate(work.loaded.model, work.settings["draws"], work.loaded.spec.seed, work.device)


def detail(arguments: Arguments) -> None:
    """what disabling the memory takes from images and from their likelihood"""
    from memvae import cost as costs
    from memvae.evaluation.detail import likelihoods, spectra

    with _Analysis(arguments) as work:
        settings, seed, model = work.settings, work.loaded.spec.seed, work.loaded.model
        draws, cutoff, samples = settings["draws"], settings["cutoff"], settings["samples"]
        work.arrays |= spectra(model, work.data.pixels("test"), draws, cutoff, seed, work.device)
        x = work.tensor(work.data.test_binary)
        images = min(settings["images"] or len(x), len(x))
        mode = work.mode(costs.decoding_seconds(work.loaded.spec.network, costs.CONDITIONS * images * samples))
        work.arrays |= likelihoods(model, x, images, samples, settings["bound_draws"], seed, mode)


def slots(arguments: Arguments) -> None:
    """average preference values of the slots by class, and the slots as images"""
    from memvae.evaluation.slots import slots as responses

    with _Analysis(arguments) as work:
        x, labels = work.tensor(work.data.pixels("test")), work.data.labels("test")
        work.arrays |= responses(work.loaded.model, x, labels, work.settings["top"], work.loaded.spec.seed)
        work.attributes["images"] = len(x)


def imputation(arguments: Arguments) -> None:
    """complete images with missing pixels, and let the classifier read them"""
    from memvae import cost as costs
    from memvae.data import corruption
    from memvae.evaluation.classifier import load_classifier
    from memvae.evaluation.imputation import impute

    with _Analysis(arguments) as work:
        settings, spec = work.settings, work.loaded.spec
        path = Path(arguments.classifier or targets.classifier_file(_config(arguments), spec.dataset))
        judge = load_classifier(path, work.device)
        work.inputs.append(path)
        x, labels = work.tensor(work.data.pixels("test")), work.data.labels("test")
        shown = settings["shown"]
        work.arrays |= {"labels": labels, "truth": work.data.pixels("test")[:shown]}
        noises = corruption.noises(settings)
        passes = len(noises) * settings["iterations"] * len(x)
        mode = work.mode(costs.passing_seconds(spec.network, passes))
        for noise in noises:
            missing = work.tensor(corruption.missing(noise, len(x), work.data.image, spec.seed))
            start = work.tensor(corruption.starting_values(noise, len(x), work.data.image, spec.seed))
            key = (spec.seed, f"{spec.run} {noise.name}")
            completed, error = impute(
                work.loaded.model, x, missing, start, settings["iterations"], settings["batch_size"], key, mode
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

    with _Analysis(arguments) as work:
        settings, seed = work.settings, work.loaded.spec.seed
        train_labels, labels = work.data.labels("train"), work.data.labels("test")
        h = features(work.loaded.model, work.tensor(work.data.pixels("train"))).cpu()
        test_h = features(work.loaded.model, work.tensor(work.data.pixels("test"))).cpu()
        weights = crammer_singer(h, torch.from_numpy(train_labels), settings["steps"])
        svc = linear_svc(h.numpy(), train_labels, test_h.numpy(), settings["svc_c"], settings["svc_images"], seed)
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

    output = _result(arguments, arguments.output, f"tables/{arguments.name}.csv")
    layout, inputs = _drawn_from(arguments)
    paper = Path(arguments.paper)
    tables.write(arguments.name.removesuffix("_extended"), layout, inputs, paper, output)
    _record(arguments, [*inputs, paper], [output.with_suffix(f".{kind}") for kind in targets.TABLE_FORMATS])


def figure(arguments: Arguments) -> None:
    """render a figure as png and pdf"""
    from memvae.report import figures

    output = Path(arguments.output or f"{_config(arguments).figures}/{arguments.name}.png")
    layout, inputs = _drawn_from(arguments)
    figures.write(arguments.name, layout, inputs, output)
    _record(arguments, inputs, [output.with_suffix(f".{kind}") for kind in targets.FIGURE_FORMATS])


def scorecard(arguments: Arguments) -> None:
    """put every number that the paper prints beside ours"""
    from memvae.report import scorecard as card

    if arguments.name not in targets.SCORECARDS:
        raise InputError(f"scorecard: found {arguments.name!r}, expected one of {', '.join(targets.SCORECARDS)}")
    output = _result(arguments, arguments.output, f"{arguments.name}.csv")
    layout, inputs = _drawn_from(arguments)
    paper = Path(arguments.paper)
    card.write(layout, inputs, paper, output)
    _record(arguments, [*inputs, paper], [output.with_suffix(f".{kind}") for kind in targets.SCORECARD_FORMATS])


def check(arguments: Arguments) -> None:
    """fail when a number of the scorecard is outside its tolerance"""
    from memvae.report import check as gate

    (not_run,) = _told(arguments, targets.CHECK, "not_run")
    checked = gate.check(_result(arguments, arguments.scorecard, "scorecard.csv"), not_run)
    print("\n".join(checked.lines), flush=True)
    if checked.failures:
        raise InputError("\n".join(checked.failures))


def page(arguments: Arguments) -> None:
    """write the page of results: every table and figure beside the paper's claims"""
    from memvae.report import page as results

    output = Path(arguments.output or targets.PAGE)
    alone = output.suffix == ".html"  # one file, for Snakemake's report
    spec, inputs = _told(arguments, targets.REPORT_PAGE if alone else "page", "page", "inputs")
    read, paper = [Path(path) for path in inputs], Path(arguments.paper)
    results.write(spec, read, paper, output)
    beside = [*targets.PAGE_TABLES, *(path.name for path in read if path.suffix in (".csv", ".png"))]
    folder = output.with_suffix("")
    _record(arguments, [*read, paper], [output, *([] if alone else [folder / name for name in beside])])


def archive(arguments: Arguments) -> None:
    """put all that tables, figures and the scorecard are drawn from into one file"""
    from memvae.report import archive as archives

    scale, drawn = _told(arguments, targets.ARCHIVE, "scale", "targets")
    output = _result(arguments, arguments.output, "archive.zip")
    paper = Path(arguments.paper)
    archives.write(scale, drawn, paper, output)
    read = dict.fromkeys(Path(path) for target in drawn for path in target["inputs"])
    _record(arguments, [*read, paper], [output])
    say(f"archive: wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")


def redraw(arguments: Arguments) -> None:
    """draw tables, figures and the scorecard from an archive, without torch"""
    from memvae.report import archive as archives

    output = Path(arguments.output)
    manifest = archives.redraw(Path(arguments.archive), output)
    ours = store.provenance()["code_version"]
    if manifest.code_version != ours:
        say(f"redraw: the archive was made by memvae {manifest.code_version}, this is {ours}: bytes may differ")
    say(f"redraw: wrote {len(manifest.targets)} tables, figures and scorecards (scale={manifest.scale}) to {output}/")


def trace(arguments: Arguments) -> None:
    """tell where a file comes from: all that it was made of, down to the raw files"""
    from memvae import lineage

    found = lineage.trace(arguments.path)
    links = lineage.verify(found, lambda: _config(arguments).datasets) if arguments.verify else []
    print(lineage.as_json(found, links) if arguments.json else lineage.as_tree(found, links), flush=True)
    if broken := lineage.problems(links):
        raise InputError("\n".join(broken))
    if links:
        say(f"trace: {len(links)} checksums hold")


def cost(arguments: Arguments) -> None:
    """say which jobs a target still needs here, roughly how long they take, and how much disk"""
    from memvae import forecast

    def load(scale: str) -> configuration.Config:
        return configuration.load(Path(arguments.config), {"scale": scale}, arguments.configfile)

    options = ["--configfile", *map(str, arguments.configfile)] if arguments.configfile else []
    options += ["--config", f"scale={arguments.scale}"] if arguments.scale else []
    print(forecast.describe(_config(arguments), arguments.target, options, load))


def doctor(arguments: Arguments) -> None:
    """say what this machine has, what is missing, and what to do; exit code 2 when the demo cannot run"""
    from memvae import doctor as doctors

    try:
        config = _config(arguments)
    except ImportError:
        config = None
    doctors.tell(config)


# ---- what the stages share -------------------------------------------------------------------------------------------
class _Analysis:
    """One analysis of one model: loads what it needs, and writes `arrays` and `attributes` when the block ends well."""

    def __init__(self, arguments: Arguments):
        from memvae import compute
        from memvae.data import dataset
        from memvae.evaluation import models

        self.arguments, self.name = arguments, arguments.command
        self.device = compute.set_up()
        path = Path(arguments.model or targets.model_file(_config(arguments), arguments.run))
        self.loaded = models.load(path, self.device)
        name = self.loaded.spec.dataset
        self.data = dataset.load(arguments.data or targets.data_file(name))
        if self.data.sha256 != self.loaded.provenance["data_sha256"]:
            raise InputError(
                f"{self.data.path}: found sha256 {self.data.sha256[:12]}, expected that of the data {path} was trained "
                f"on, {self.loaded.provenance['data_sha256'][:12]}; train again or restore the data"
            )
        self.inputs = [path, self.data.path]
        self.settings = _settings(arguments, self.name, name)
        self.arrays: dict[str, Any] = {}
        self.attributes: dict[str, Any] = {"settings": self.settings, **self.loaded.provenance}

    def tensor(self, values: Any) -> Any:
        import torch

        return torch.from_numpy(values).to(self.device)

    def mode(self, seconds: float) -> Any:
        """How the network's passes are computed, which would take so many seconds when not compiled."""
        from memvae import compute

        mode = compute.mode(self.settings["precision"], self.device, seconds)
        self.attributes["computed"] = str(mode)
        return mode

    def keyed(self, purpose: str) -> Any:
        from memvae.random import keyed

        return keyed(self.loaded.spec.seed, purpose)

    def __enter__(self) -> "_Analysis":
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            run = self.loaded.spec.run
            output = self.arguments.output or targets.analysis_file(_config(self.arguments), run, self.name)
            _write(self.arguments, output, f"analysis/{self.name}", self.arrays, self.attributes, self.inputs)


def _write(
    arguments: Arguments, output: str | Path, kind: str, arrays: Any, attributes: Any, inputs: Sequence[str | Path]
) -> None:
    """An HDF5 file and its record."""
    store.write(output, kind, arrays, attributes)
    store.write_run_json(output, arguments.started, inputs, [output])
    say(f"{arguments.command}: wrote {output}")


def _record(arguments: Arguments, inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """The record of drawn files beside the first of them; of what they were drawn from the files say nothing."""
    store.write_run_json(outputs[0], arguments.started, inputs, outputs, **store.provenance(names=store.DRAWING))


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
        return _json(arguments.settings, "--settings")
    return targets.settings(_config(arguments), analysis, dataset)


def _drawn_from(arguments: Arguments) -> tuple[dict[str, Any], list[Path]]:
    """Layout and inputs of a table, a figure or a scorecard."""
    layout, inputs = _told(arguments, arguments.name, "layout", "inputs")
    return layout, [Path(path) for path in inputs]


def _told(arguments: Arguments, target: str, *keys: str) -> list[Any]:
    """Entries of `targets.told`, from the file that the workflow wrote or from the configuration."""
    if not arguments.plan:
        told = targets.told(_config(arguments), target)
        return [told[key] for key in keys]
    expected = "expected the file that snakemake writes when it starts; leave --plan out to use the configuration"
    try:
        told = json.loads(Path(arguments.plan).read_text())
        return [told[key] for key in keys]
    except FileNotFoundError:
        raise InputError(f"{arguments.plan}: not found; {expected}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{arguments.plan}: found no plan of {target} ({error}); {expected}") from None


def _json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{option}: found no JSON ({error}); leave the option out to use the configuration") from None


def _result(arguments: Arguments, given: str | None, name: str) -> Path:
    """The path that an option gives, or where the workflow has that result."""
    return Path(given or f"{_config(arguments).results}/{name}")


def _device_name(device: Any) -> str:
    import platform

    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
