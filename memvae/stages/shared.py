"""What the stages share: what their options say, and how they write files."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.files import store
from memvae.progress import say
from memvae.settings import config as configuration
from memvae.settings import targets
from memvae.settings.spec import RunSpec

Arguments = argparse.Namespace


def write(
    arguments: Arguments, output: str | Path, kind: str, arrays: Any, attributes: Any, inputs: Sequence[str | Path]
) -> None:
    """An HDF5 file and its record."""
    store.write(output, kind, arrays, attributes)
    store.write_run_json(output, arguments.started, inputs, [output])
    say(f"{arguments.command}: wrote {output}")


def record(arguments: Arguments, inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """The record of drawn files beside the first of them; of what they were drawn from the files say nothing."""
    store.write_run_json(outputs[0], arguments.started, inputs, outputs, **store.provenance(names=store.DRAWING))


def config(arguments: Arguments) -> configuration.Config:
    """The configuration of --config, --configfile and --scale."""
    overrides = {"scale": arguments.scale} if arguments.scale else {}
    return configuration.load(Path(arguments.config), overrides, arguments.configfile)


def dataset(arguments: Arguments) -> dict[str, Any]:
    """The configuration's entry of the data set; an unknown one is an InputError."""
    datasets = config(arguments).datasets
    if arguments.dataset not in datasets:
        raise InputError(f"dataset: found {arguments.dataset!r}, expected one of {', '.join(datasets)}")
    entry: dict[str, Any] = datasets[arguments.dataset]
    return entry


def spec(arguments: Arguments) -> RunSpec:
    """The run's specification, from --spec or the configuration; another run's is an InputError."""
    if not arguments.spec:
        return config(arguments).spec(arguments.run)
    found = RunSpec.from_json(arguments.spec)
    if found.run != arguments.run:
        raise InputError(f"--spec: found the run {found.run!r}, expected {arguments.run!r}")
    return found


def settings(arguments: Arguments, analysis: str, dataset: str) -> dict[str, Any]:
    """An analysis' settings, from --settings or the configuration."""
    if arguments.settings:
        return parsed(arguments.settings, "--settings")
    return targets.settings(config(arguments), analysis, dataset)


def drawn_from(arguments: Arguments) -> tuple[dict[str, Any], list[Path]]:
    """Layout and inputs of a table, a figure or a scorecard."""
    layout, inputs = told(arguments, arguments.name, "layout", "inputs")
    return layout, [Path(path) for path in inputs]


def told(arguments: Arguments, target: str, *keys: str) -> list[Any]:
    """Entries of `targets.told`, from the file that the workflow wrote or from the configuration."""
    if not arguments.plan:
        entries = targets.told(config(arguments), target)
        return [entries[key] for key in keys]
    expected = "expected the file that snakemake writes when it starts; leave --plan out to use the configuration"
    try:
        entries = json.loads(Path(arguments.plan).read_text())
        return [entries[key] for key in keys]
    except FileNotFoundError:
        raise InputError(f"{arguments.plan}: not found; {expected}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{arguments.plan}: found no plan of {target} ({error}); {expected}") from None


def parsed(text: str, option: str) -> Any:
    """The JSON in the value of an option; anything else is an InputError that names the option."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{option}: found no JSON ({error}); leave the option out to use the configuration") from None


def result(arguments: Arguments, given: str | None, name: str) -> Path:
    """The path that an option gives, or where the workflow has that result."""
    return Path(given or f"{config(arguments).results}/{name}")
