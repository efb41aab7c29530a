"""Every key of config/config.yaml and its allowed values, made from the rules of memvae/settings/rules.py."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from memvae.errors import InputError
from memvae.settings import registry
from memvae.settings.ablation import Axes
from memvae.settings.rules import SEEDS, Either, Fields, ListOf, MapOf, Nothing, OneOf, Rule, Text, Whole
from memvae.settings.spec import NAME, NETWORK, OPTIMISER, POSITIVE, TRAINING

DEPTH = 20  # levels of a configuration; ours has five


def optional(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The same rules for keys that may be left out."""
    return {name: dataclasses.replace(rule, default=None) for name, rule in rules.items()}


LENGTH: dict[str, Rule] = {name: TRAINING[name] for name in ("epochs", "batch_size", "constant_epochs")}
SHAPE: dict[str, Rule] = {
    "hidden": NETWORK["hidden"],
    "latent": NETWORK["latent"],
    "slots": Either(
        Whole(),
        ListOf(Whole(), 1, 100),
        note="S, the number of slots, of each decoder layer, or one number for all; 0: no memory",
    ),
}
SUM = Text("a sha256, 64 digits from 0 to f", "[0-9a-f]{64}", default=None)
FILE = Fields(
    {
        "sha256": dataclasses.replace(SUM, note="checksum of the file"),
        "sha256_rows": dataclasses.replace(SUM, note="checksum of its sorted rows, instead of sha256"),
        "homes": ListOf(
            Text("a URL from https:// to /", "https://[^ ]+/"), 1, note="URLs from which the file can be downloaded"
        ),
    }
)
FILES = MapOf(FILE, Text("the name of a file", "[A-Za-z0-9][A-Za-z0-9._-]*"), default=None, note="raw files by name")
DATASET: dict[str, Rule] = {
    "title": Text(note="its name in tables and figures"),
    "loader": Text(
        "mnist, ocr_letters, frey_faces, digits, hdf5, or your module and function, written own.gray:gray",
        r"mnist|ocr_letters|frey_faces|digits|hdf5|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*",
        note="what reads its raw files",
    ),
    "file": Text("a path without { and }", "[^{}]+", default=None, note="your HDF5 file, for the loader hdf5"),
    "image": NETWORK["image"],
    "likelihood": dataclasses.replace(NETWORK["likelihood"], default="bernoulli", note="distribution of a pixel"),
    "binarise": OneOf(
        ("each_epoch", "never"), note="whether grey pixels are binarised, x ~ Bernoulli(pixel), anew in every epoch"
    ),
    "network": Fields(SHAPE, note="network settings of all its models"),
    "training": Fields({**LENGTH, **optional(OPTIMISER)}, note="training settings of all its models"),
    "files": FILES,
}
# of a data set what its arrays are made of
RAW = {**DATASET, **optional({name: DATASET[name] for name in ("network", "training")})}
MODEL: dict[str, Rule] = {
    "title": Text(note="its name in tables and figures"),
    **optional(SHAPE),
    **optional({name: NETWORK[name] for name in ("attention", "composition", "pseudo_inputs")}),
    "parameters": dataclasses.replace(
        NAME, default=None, note="another model; pseudo_inputs, if not given, is chosen to make this one equally large"
    ),
}
RUN: dict[str, Rule] = {
    "dataset": dataclasses.replace(NAME, note="a key of `datasets`"),
    "model": dataclasses.replace(NAME, note="a key of `models`"),
    "k": Whole(1, note="K, the number of samples of the training bound"),
}
RUNS = ListOf(Fields(RUN))
VARIED: dict[str, Rule] = {  # what an axis of an ablation may change
    **{name: rule for name, rule in MODEL.items() if name not in ("title", "parameters")},
    "k": Whole(1),
    **{f"training.{name}": rule for name, rule in TRAINING.items() if name not in ("samples", "full_epochs")},
}
ABLATION: dict[str, Rule] = {
    "title": Text(note="title of its table and figures"),
    "dataset": RUN["dataset"],
    "base": dataclasses.replace(NAME, note="the model that is varied, which is the baseline"),
    "k": Whole(1, default=1, note="K, the number of samples of the training bound"),
    "epochs": dataclasses.replace(
        POSITIVE, default=None, note="epochs of each model; if left out, those of the data set at this scale"
    ),
    "seeds": ListOf(Whole(0, SEEDS), 1, different=True, default=None, note="if left out, those of the configuration"),
    "axes": Axes(VARIED, note="for each axis a list of values, or labels with changes of several keys; null: none"),
    "crossed": ListOf(ListOf(Text(), 2), default=None, note="axes whose values are tried in every combination"),
}
BLOCK: dict[str, Rule] = {
    "module": Text(
        "a module and its declaration, written own.distances:ANALYSIS",
        "[^ :]+:[^ :]+",
        default=None,
        note="where the analysis is declared, if it is not in memvae",
    ),
    "models": ListOf(NAME, 1, default=None, note="models that it analyses; if left out, those of all runs"),
    "seeds": ListOf(Whole(0, SEEDS), 1, different=True, default=None, note="seeds that it shows; default: all `seeds`"),
}


def rules(blocks: Mapping[str, Any]) -> dict[str, Rule]:
    """The rules of the whole configuration. blocks: its `analyses`, which name what else there is."""
    analyses: dict[str, Rule] = {
        "dataset": dataclasses.replace(NAME, note="a key of `datasets`, for the analyses that have `models`"),
        "classifier": Fields(
            {"epochs": Whole(1, note="passes over the training images for the classifier of `imputation`")}
        ),
    }
    for name, analysis in registry.registered(blocks).items():
        analyses[name] = Fields({**BLOCK, **analysis.declared.settings})
    changed = {k: dataclasses.replace(rule, partial=True) for k, rule in analyses.items() if isinstance(rule, Fields)}
    scale: dict[str, Rule] = {
        "title": Text(note="description of the scale in tables and figures"),
        "weights": OneOf(
            ("trained", "published"),
            default=None,
            note="published: take the weights in models/ and leave other rows empty",
        ),
        "replace": MapOf(
            Nothing(NAME), NAME, default=None, note="data set -> the data set that replaces it; null: none"
        ),
        "epochs": MapOf(
            POSITIVE,
            Text("a data set, or with the K of its runs, as mnist-k50", "[a-z0-9_]+(-k[1-9][0-9]*)?"),
            default=None,
            note="passes over the training images, by data set, or by data set and K",
        ),
        "training": Fields(
            {**LENGTH, **OPTIMISER},
            True,
            default=None,
            note="differences from `training` and from the data sets' training",
        ),
        "analyses": Fields({**analyses, **changed}, True, default=None, note="differences from `analyses`"),
        "ablations": MapOf(
            Nothing(Fields(ABLATION, partial=True)),
            NAME,
            default=None,
            note="differences from `ablations`; null: none",
        ),
    }
    return {
        "scale": Text(note="one of `scales`"),
        "seeds": ListOf(Whole(0, SEEDS), 1, different=True, note="every model is trained once per seed"),
        "data_folder": Text(default="", note="a folder with files that are already downloaded"),
        "datasets": MapOf(Fields(DATASET), NAME),
        "models": MapOf(Fields(MODEL), NAME),
        "training": Fields(OPTIMISER),
        "runs": Fields({"appendix": RUNS, "extended": RUNS, "own": RUNS}),
        "analyses": Fields(analyses),
        "ablations": MapOf(Nothing(Fields(ABLATION)), NAME, default={}),
        "scales": MapOf(Fields(scale), NAME),
    }


def check(raw: Any) -> dict[str, Any]:
    """The configuration, every value checked. Raises InputError with the first offending key."""
    _check_plain(raw, "")
    blocks = raw.get("analyses") if isinstance(raw, dict) else None
    checked = Fields(rules(blocks if isinstance(blocks, dict) else {})).check(raw, "")
    for name, dataset in checked["datasets"].items():
        raw_files(dataset.get("files", {}), f"datasets.{name}.files")
    return checked


def raw_data(entry: Any, where: str) -> dict[str, Any]:
    """A data set's entry as far as its arrays depend on it, checked. Raises InputError with the first offending key."""
    checked = Fields(RAW).check(entry, where)
    raw_files(checked.get("files", {}), f"{where}.files")
    return checked


def raw_files(files: Any, where: str) -> dict[str, Any]:
    """The raw files of a data set, each with one checksum. Raises InputError with the first offending key."""
    checked = FILES.check(files, where)
    for name, entry in checked.items():
        if ("sha256" in entry) == ("sha256_rows" in entry):
            raise InputError(f"{where}.{name}: expected either sha256 or sha256_rows")
    return checked


def _check_plain(value: Any, where: str) -> None:
    """Keys that are no text, not-a-numbers, and characters that end a line are refused everywhere.

    Raises InputError with the first one, and when mappings or lists hold themselves.
    """
    if where.count(".") > DEPTH:
        raise InputError(
            f"{where[:60]}...: found more than {DEPTH} levels, expected fewer; does a YAML anchor hold itself?"
        )
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isprintable():
                raise InputError(f"{where or 'config'}: found the key {key!r}, expected plain text; put it in quotes")
            _check_plain(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _check_plain(item, f"{where}.{place}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: found {value}, expected a finite number")
    elif isinstance(value, str) and not value.isprintable():
        raise InputError(f"{where}: found {value[:60]!r}, expected text of one line without control characters")
