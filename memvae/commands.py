"""The subcommands: each reads the files of earlier stages, calls the code that computes, and writes its own file.

A subcommand imports only what it needs: training and evaluation run with torch, numpy and h5py alone.
"""

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.files import store
from memvae.progress import say
from memvae.settings import config as configuration
from memvae.settings import registry, schema, targets
from memvae.settings.rules import known
from memvae.settings.spec import RunSpec

Arguments = argparse.Namespace


# ---- from raw files to a trained model -------------------------------------------------------------------------------
def download(arguments: Arguments) -> None:
    """download one raw file of a data set, or all of them"""
    from memvae.data.download import data_folder, fetch

    if arguments.spec:
        found = {arguments.file: _json(arguments.spec, "--spec")}
        files, folder = schema.raw_files(found, "--file, --spec"), data_folder()
    else:
        files = _dataset_entry(arguments).get("files", {})
        folder = data_folder(_config(arguments).data_folder)
    if arguments.output and not arguments.file:
        raise InputError("--output: found no --file, expected one, since --output is the path of one file; add it")
    if arguments.file:
        known(f"{arguments.dataset}: file", arguments.file, files)
    for name in [arguments.file] if arguments.file else files:
        path = Path(arguments.output or targets.raw_file(arguments.dataset, name))
        fetch(arguments.dataset, name, files[name], path, folder, say)


def prepare(arguments: Arguments) -> None:
    """turn a data set's raw files into data/<dataset>.h5"""
    from memvae.data.prepare import prepare as prepared

    given = arguments.spec
    entry = schema.raw_data(_json(given, "--spec"), "--spec") if given else _dataset_entry(arguments)
    raw = Path(arguments.raw or targets.raw_file(arguments.dataset, ""))
    arrays, attributes = prepared(arguments.dataset, entry, raw)
    inputs = [*(raw / name for name in entry.get("files", {})), *([entry["file"]] if "file" in entry else [])]
    _write(arguments, arguments.output or targets.data_file(arguments.dataset), "dataset", arrays, attributes, inputs)


def train(arguments: Arguments) -> None:
    """train the model of one run, or continue its training"""
    from memvae.data import dataset
    from memvae.model import device as computing
    from memvae.model import trained as models
    from memvae.training import loop, state

    spec = _spec(arguments)
    output = Path(arguments.output or targets.model_file(_config(arguments), spec.run))
    data = dataset.load(arguments.data or targets.data_file(spec.dataset))
    device = computing.set_up()
    material = loop.TrainingData(data.pixels("train"), data.test_binary, data.sha256)
    trained = loop.train(spec, material, state.path_of(output), device)
    models.save(output, trained, spec, data.sha256, device)
    facts = {"device": _device_name(device), "epochs_earlier": trained.earlier}
    store.write_run_json(output, arguments.started, [data.path], [output], **facts)


def published(arguments: Arguments) -> None:
    """use a published model as the model of a run"""
    spec = _spec(arguments)
    source = Path(arguments.model or _config(arguments).published_model(spec.run))
    found = store.read(source, "model").attributes.get("spec")
    wanted = json.loads(spec.to_json())
    if found != wanted:
        raise InputError(
            f"{source}: found {_first_difference(found, wanted)}; expected a model of this configuration: leave its "
            "settings as they are shipped, or train at another scale"
        )
    output = Path(arguments.output or targets.model_file(_config(arguments), spec.run))
    store.write_bytes(output, store.read_bytes(source, "a model"))
    store.write_run_json(output, arguments.started, [source], [output])


def _first_difference(found: Any, wanted: Any, where: str = "spec") -> str:
    """The first key in which two specifications differ, with both values."""
    if not (isinstance(found, dict) and isinstance(wanted, dict)):
        return f"{where} {json.dumps(found)} where the configuration has {json.dumps(wanted)}"
    key = next(key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key))
    return _first_difference(found.get(key), wanted.get(key), f"{where}.{key}")


def classifier(arguments: Arguments) -> None:
    """train the classifier that judges completed images"""
    from memvae.analyses.imputation import classifier as judge
    from memvae.data import dataset
    from memvae.model import device as computing

    settings = _settings(arguments, "classifier", arguments.dataset)
    data = dataset.load(arguments.data or targets.data_file(arguments.dataset))
    arrays, attributes = judge.compute(data, settings, computing.set_up())
    output = arguments.output or targets.classifier_file(_config(arguments), arguments.dataset)
    _write(arguments, output, "classifier", arrays, attributes, [data.path])


# ---- analyses --------------------------------------------------------------------------------------------------------
def analyse(arguments: Arguments) -> None:
    """compute an analysis of one run"""
    analysis = _analysis(arguments)
    if analysis.declared.of == "networks":
        rows = _plan(arguments, analysis.name)["rows"]
        arrays, inputs = analysis.part("compute").compute(rows), list[Path]()
        attributes = {"rows": rows, **store.provenance()}
        output = arguments.output or targets.analysis_file(_config(arguments), "", analysis.name)
    elif analysis.declared.of in ("models", "ablation"):
        raise InputError(f"{analysis.name}: found an analysis without a file of its own; ask for its tables or figures")
    elif not arguments.run:
        raise InputError(f"{analysis.name}: found no run, expected one; write `memvae {analysis.name} {RUN}`")
    else:
        arrays, attributes, inputs = _analysed(arguments, analysis)
        output = arguments.output or targets.analysis_file(_config(arguments), arguments.run, analysis.name)
    _write(arguments, output, f"analysis/{analysis.name}", arrays, attributes, inputs)


def _analysed(arguments: Arguments, analysis: registry.Registered) -> tuple[dict[str, Any], dict[str, Any], list[Path]]:
    """The arrays and attributes of an analysis of a run, and the files that it read."""
    from memvae.analyses.job import Job
    from memvae.data import dataset
    from memvae.model import device as computing
    from memvae.model import trained as models

    device = computing.set_up()
    path = Path(arguments.model or targets.model_file(_config(arguments), arguments.run))
    loaded = models.load(path, device)
    if analysis.declared.memory and not loaded.spec.network.has_memory:
        raise InputError(
            f"{analysis.name}: {path} has no memory, which this analysis is about; name models with slots in "
            f"analyses.{analysis.name}.models"
        )
    data = dataset.load(arguments.data or targets.data_file(loaded.spec.dataset))
    if data.sha256 != loaded.provenance["data_sha256"]:
        raise InputError(
            f"{data.path}: found sha256 {data.sha256[:12]}, expected that of the data {path} was trained on, "
            f"{loaded.provenance['data_sha256'][:12]}; train again or restore the data"
        )
    inputs, settings = [path, data.path], _settings(arguments, analysis.name, loaded.spec.dataset)
    judge = None
    if "classifier" in analysis.declared.needs:
        judge = Path(arguments.classifier or targets.classifier_file(_config(arguments), loaded.spec.dataset))
        inputs.append(judge)
    job = Job(loaded.model, loaded.spec, data, settings, device, judge)
    arrays = analysis.part("compute").compute(job)
    return arrays, {"settings": settings, **loaded.provenance, **job.computed, **job.attributes}, inputs


# ---- tables, figures, scorecard, page, archive -----------------------------------------------------------------------
def table(arguments: Arguments) -> None:
    """render a table as csv, md and tex"""
    _draw(arguments, arguments.name, "table")


def figure(arguments: Arguments) -> None:
    """render a figure as png and pdf"""
    _draw(arguments, arguments.name, "figure")


def scorecard(arguments: Arguments) -> None:
    """compare the authors' numbers with ours"""
    _draw(arguments, arguments.name, "scorecard")


def measurements(arguments: Arguments) -> None:
    """write every number of every analysis into one csv file"""
    _draw(arguments, targets.MEASUREMENTS, targets.MEASUREMENTS)


def _draw(arguments: Arguments, name: str, kind: str) -> None:
    from memvae.report import render

    if not arguments.plan and kind != targets.MEASUREMENTS:
        known(kind, name, targets.SCORECARDS if kind == "scorecard" else targets.of_kind(_config(arguments), kind))
    target = _plan(arguments, name)["target"]
    output = Path(arguments.output or targets.files(_config(arguments), kind, name)[0])
    paper = None if kind == "figure" else Path(arguments.paper)
    written = render.write(target, paper, output)
    inputs = [*map(Path, targets.inputs_of(target)), *([paper] if paper else [])]
    facts = {key: target[key] for key in ("made_with",) if key in target}
    _record(arguments, inputs, written, **facts)


def check(arguments: Arguments) -> None:
    """fail when a number of the scorecard is outside its tolerance"""
    from memvae.report import check as gate
    from memvae.report.paper import read_paper

    plan = _plan(arguments, targets.CHECK)
    card = Path(arguments.scorecard or f"{_config(arguments).results}/scorecard.csv")
    checked = gate.check(card, read_paper(arguments.paper), plan["scale"], plan["not_run"])
    print("\n".join(checked.lines), flush=True)
    if checked.failures:
        raise InputError("\n".join(checked.failures))


def page(arguments: Arguments) -> None:
    """write the page of results: every table and figure, and the paper's claims with verdicts"""
    from memvae.report import page as results

    output = Path(arguments.output or targets.PAGE)
    alone = output.suffix == ".html"  # one file, for Snakemake's report
    plan = _plan(arguments, targets.REPORT_PAGE if alone else "page")
    spec, read, paper = plan["page"], [Path(path) for path in plan["inputs"]], Path(arguments.paper)
    if not arguments.plan:
        spec["command"] = f"memvae page --scale {spec['scale']} --output {output}"
    results.write(spec, read, paper, output)
    say(f"page: wrote {output}")
    beside = [] if alone else [output.with_suffix("") / Path(path).name for path in spec["files"]]
    _record(arguments, [*read, paper], [output, *beside])


def archive(arguments: Arguments) -> None:
    """put everything needed to draw tables, figures and the scorecard into one file"""
    from memvae.report import archive as archives

    plan = _plan(arguments, targets.ARCHIVE)
    output = Path(arguments.output or f"{_config(arguments).results}/archive.zip")
    paper = Path(arguments.paper)
    archives.write(plan["scale"], plan["targets"], paper, output)
    _record(arguments, [*map(Path, targets.inputs_of(*plan["targets"])), paper], [output])
    say(f"archive: wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")


def redraw(arguments: Arguments) -> None:
    """draw tables, figures and the scorecard from an archive, without torch"""
    from memvae.report import archive as archives

    output = Path(arguments.output)
    own = {one.reference for one in _config(arguments).registered.values()} if arguments.configfile else set()
    archive = Path(arguments.archive)
    manifest, written = archives.redraw(archive, output, own)
    facts = store.provenance(names=store.DRAWING)
    store.write_run_json(output / targets.ARCHIVE, arguments.started, [archive], written, **facts)
    ours = store.provenance()["code_version"]
    if manifest["code_version"] != ours:
        say(f"redraw: the archive was made by memvae {manifest['code_version']}, this is {ours}: bytes may differ")
    say(f"redraw: wrote {len(manifest['targets'])} tables, figures, ... (scale={manifest['scale']}) to {output}/")


# ---- questions about a file, a target, a machine ---------------------------------------------------------------------
def trace(arguments: Arguments) -> None:
    """show what a file was made from, down to the raw files"""
    from memvae.operations import trace as lineage

    found = lineage.trace(arguments.path)
    links = lineage.verify(found) if arguments.verify else []
    print(lineage.as_json(found, links) if arguments.json else lineage.as_tree(found, links), flush=True)
    if broken := lineage.problems(links):
        raise InputError("\n".join(broken))
    if links:
        say(f"trace: {len(links)} checksums hold")


def cost(arguments: Arguments) -> None:
    """estimate which jobs a target still needs on this machine, their time, and the disk space"""
    from memvae.operations.cost import describe

    options = ["--configfile", *map(str, arguments.configfile)] if arguments.configfile else []
    options += ["--config", f"scale={arguments.scale}"] if arguments.scale else []
    print(describe(_config(arguments), arguments.target, options))


def doctor(arguments: Arguments) -> None:
    """check what this machine has and what is missing, and say what to do; exit code 2 if the demo cannot run"""
    from memvae.operations import doctor as doctors

    try:
        config = _config(arguments)
    except ImportError:
        config = None
    doctors.report(config)


# ---- what the subcommands share --------------------------------------------------------------------------------------
RUN = "mnist-mem_vae-k1-s0"  # an example


def _write(
    arguments: Arguments, output: str | Path, kind: str, arrays: Any, attributes: Any, inputs: Sequence[str | Path]
) -> None:
    """An HDF5 file and its record."""
    store.write(output, kind, arrays, attributes)
    store.write_run_json(output, arguments.started, inputs, [output])
    say(f"{arguments.command}: wrote {output}")


def _record(arguments: Arguments, inputs: Sequence[Path], outputs: Sequence[Path], **facts: str) -> None:
    """The record of tables or figures, in the folder of the first; the files themselves do not name their inputs."""
    facts |= store.provenance(names=store.DRAWING)
    store.write_run_json(outputs[0], arguments.started, inputs, outputs, **facts)


def _config(arguments: Arguments) -> configuration.Config:
    """The configuration of --config, --configfile and --scale."""
    overrides = {"scale": arguments.scale} if arguments.scale else {}
    config = configuration.load(arguments.config, overrides, arguments.configfile)
    config.made = targets.made(config)
    return config


def _dataset_entry(arguments: Arguments) -> Any:
    """The configuration's entry of the data set; an unknown one is an InputError."""
    datasets = _config(arguments).datasets
    known("dataset", arguments.dataset, datasets)
    return datasets[arguments.dataset]


def _analysis(arguments: Arguments) -> registry.Registered:
    """The analysis of the subcommand: from the module that an option names, otherwise from the configuration."""
    if arguments.module or arguments.name in registry.shipped():
        return registry.find(arguments.name, arguments.module or "")
    registered = _config(arguments).registered
    known("analysis", arguments.name, registered)
    return registered[arguments.name]


def _spec(arguments: Arguments) -> RunSpec:
    """The run's specification, from --spec or the configuration; another run's is an InputError."""
    if not arguments.spec:
        return _config(arguments).spec(arguments.run)
    found = RunSpec.from_json(arguments.spec)
    if found.run != arguments.run:
        raise InputError(f"--spec: found the run {found.run!r}, expected {arguments.run!r}")
    return found


def _settings(arguments: Arguments, analysis: str, dataset: str) -> dict[str, Any]:
    """The settings of an analysis, from --settings or the configuration."""
    if not arguments.settings:
        return targets.settings(_config(arguments), analysis, dataset)
    settings: dict[str, Any] = _json(arguments.settings, "--settings")
    return settings


def _plan(arguments: Arguments, name: str) -> dict[str, Any]:
    """The rows and inputs of a target: from the file that the workflow wrote, or from the configuration."""
    if not arguments.plan:
        return targets.plan(_config(arguments), name)
    found: dict[str, Any] = _json(store.read_bytes(arguments.plan, "a plan"), "--plan")
    return found


def _json(text: str | bytes, option: str) -> Any:
    """The JSON mapping that an option gives; anything else is an InputError that names the option."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{option}: found no JSON ({error}); leave the option out to use the configuration") from None
    if not isinstance(found, dict):
        raise InputError(f"{option}: found {found!r}, expected a mapping; leave the option out")
    return found


def _device_name(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
