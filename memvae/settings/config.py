"""From `config/config.yaml` to the specification of one run.

Only the standard library is imported at the top, because Snakemake imports this module at every dry run.
"""

import copy
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.settings import ablation, registry, schema
from memvae.settings.registry import Registered
from memvae.settings.rules import Fields, known, user_path
from memvae.settings.spec import STAGES, RunSpec, network_of
from memvae.settings.strict_yaml import read_yaml
from memvae.settings.work import parameters

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path("config/config.yaml")
PUBLISHED = ROOT / "models"  # trained models that are part of the project
PAPER = "paper"  # the scale that is the configuration itself, without a change
MOST_THREADS = 1024
ROOMS = ("models", "evaluation", "classifiers", "tables", "benchmarks", "report")  # below results/<scale>/
RUN_NAME = re.compile(r"(?P<dataset>[a-z0-9_]+)-(?P<model>[a-z0-9_]+)-k(?P<k>[0-9]+)-s(?P<seed>[0-9]+)")


@dataclass(frozen=True)
class Row:
    """One row of a table: a model of the paper and the runs (one per seed) that represent it at this scale."""

    paper_dataset: str  # key of the data set in the paper: where the paper's value is found
    model: str
    k: int
    title: str
    dataset: str  # title of the data set really used
    runs: tuple[str, ...]  # empty: not run at this scale


class Config:
    """The configuration of one scale: which runs there are, and the specification of each."""

    def __init__(self, raw: dict[str, Any]):
        raw = schema.check(raw)
        known("scale", raw["scale"], raw["scales"])
        self.scale: str = raw["scale"]
        self.seeds: list[int] = raw["seeds"]
        overrides = raw["scales"][self.scale]
        if changed := sorted(set(raw["scales"].get(PAPER, {})) - {"title"}):
            raise InputError(
                f"scales.{PAPER}: found the key {changed[0]!r}, expected only title, for its numbers are the paper's; "
                "put yours into a scale of another name"
            )
        self.title: str = overrides["title"]
        self.published: bool = overrides.get("weights") == "published"
        self.datasets: dict[str, Any] = raw["datasets"]
        self.models: dict[str, Any] = raw["models"]
        self.groups: dict[str, list[dict[str, Any]]] = raw["runs"]
        self.analyses: dict[str, Any] = merge(raw["analyses"], overrides.get("analyses", {}))
        self.training: dict[str, Any] = merge(raw["training"], overrides.get("training", {}))
        self.replace: dict[str, str | None] = overrides.get("replace", {})
        self.epochs: dict[str, int] = overrides.get("epochs", {})
        self.data_folder: str = raw.get("data_folder", "")
        self.registered: dict[str, Registered] = registry.registered(self.analyses)
        self._specs: dict[str, RunSpec] = {}
        self._rows: dict[str, list[Row]] = {}
        self._varied: dict[str, dict[str, Any]] = {}  # models of ablations: name -> entry, with its `training`
        removed = {name for name, block in raw["ablations"].items() if block is None}  # a scale does not bring it back
        self.ablations: dict[str, Any] = {
            name: Fields(schema.ABLATION).check(block, f"ablations.{name}")
            for name, block in merge(raw["ablations"], overrides.get("ablations", {})).items()
            if block is not None and name not in removed
        }
        self._check_references()
        plans = {name: self._planned(name, block) for name, block in self.ablations.items()}
        # of the ablations made at this scale: their models are never published
        self.plans = {name: found for name, found in plans.items() if found and not self.published}
        self.made: list[str] = []  # ablations that page, measurements and archive show: those of `targets.made`
        self.apart = registry.of_ablations({name: self.ablations[name]["title"] for name in self.plans})

    # ---- paths ----------------------------------------------------------------------------------------------------
    @property
    def results(self) -> str:
        return "results" if self.scale == PAPER else f"results/{self.scale}"

    @property
    def figures(self) -> str:
        return "figures" if self.scale == PAPER else f"figures/{self.scale}"

    # ---- what stands for what ---------------------------------------------------------------------------------------
    def dataset_here(self, name: str) -> str | None:
        """The data set that is used for `name` at this scale; None: there is none."""
        return self.replace.get(name, name)

    def rows(self, *groups: str) -> list[Row]:
        """The table rows of some groups of `runs`, in the config's order."""
        for group in groups:
            if group not in self._rows:
                self._rows[group] = [self._row(entry, self.seeds) for entry in self.groups[group]]
        return [row for group in groups for row in self._rows[group]]

    def runs(self, *groups: str) -> list[str]:
        """The names of the runs of some groups, each once."""
        return list(dict.fromkeys(name for row in self.rows(*groups) for name in row.runs))

    def settings(self, analysis: str) -> dict[str, Any]:
        """The settings of an analysis, without what says which runs it is for."""
        block = self.analyses[analysis] or {}
        return {key: value for key, value in block.items() if key not in registry.KEYS}

    def analysis_rows(self, analysis: str) -> list[Row]:
        """The rows of an analysis that names its models: K = 1, on `analyses.dataset`, perhaps with its own seeds.

        An analysis that names no models has none: it is about all runs.
        """
        block = self.analyses[analysis] or {}
        if "models" not in block:
            return []
        dataset = self.analyses["dataset"]
        entries = [entry for group in ("appendix", "own") for entry in self.groups[group]]
        found = {entry["model"]: entry for entry in entries if entry["dataset"] == dataset and entry["k"] == 1}
        if missing := [model for model in block["models"] if model not in found]:
            raise InputError(
                f"analyses.{analysis}.models: found {missing[0]!r}, expected one of {', '.join(found)}; "
                f"to add it, put {{dataset: {dataset}, model: {missing[0]}, k: 1}} into runs.own"
            )
        return [self._row(found[model], block.get("seeds", self.seeds)) for model in block["models"]]

    def ablation_rows(self, name: str) -> dict[str, Row]:
        """The models of an ablation, the base first: names of its plan -> rows."""
        block, rows = self.ablations[name], {}
        for place, variant in self.plans[name].variants.items():
            model, _, k = place.rpartition("-k")
            base = self.models[block["base"]]["title"]
            title = self.models[model]["title"] if model in self.models else variant.title or base
            entry = {"dataset": block["dataset"], "model": model, "k": int(k)}
            rows[place] = self._row(entry, block.get("seeds", self.seeds), title)
        return rows

    def spec(self, run: str) -> RunSpec:
        """The resolved specification of a run such as `mnist-mem_vae-k1-s0`.

        Resolved once: a plan asks for it several times for each job.
        """
        if run not in self._specs:
            self._specs[run] = self._resolved(run)
        return self._specs[run]

    def published_model(self, run: str) -> Path:
        """The file of the published model that is this run: `models/<dataset>-<model>.h5`, with `-k<K>` for K above 1.

        Raises InputError where there is none.
        """
        if path := self._published(run):
            return path
        known = ", ".join(sorted(f"{file.stem}-k1-s0" for file in PUBLISHED.glob("*.h5")))
        raise InputError(
            f"{run}: found no published model, expected one of {known or f'the models in {PUBLISHED}'}; another scale "
            "trains it"
        )

    def export_environment(self, home: Path) -> None:
        """What the workflow's jobs inherit: this environment's python first in PATH, the code of `home` wherever they
        run, and the user's data folder."""
        others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(home)]
        os.environ["PYTHONPATH"] = os.pathsep.join([str(home), *others])
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        if self.data_folder:
            os.environ["MEMVAE_DATA_FOLDER"] = str(user_path(self.data_folder, "data_folder").resolve())

    def check_own_files(self) -> None:
        """Raises InputError where a data set's own file is not there.

        Without this Snakemake would take data that were prepared from another file as they are.
        """
        for name, file in ((name, dataset.get("file")) for name, dataset in self.datasets.items()):
            if file and not Path(file).is_file():
                raise InputError(
                    f"datasets.{name}.file: found no file {file}, expected your HDF5 file; its path is relative to the "
                    "folder that you work in"
                )

    def scale_note(self) -> str:
        """What every table and figure below the paper's scale says of itself; empty at the paper's scale."""
        if self.scale == PAPER:
            return ""
        shorter = "" if self.published else "; not the paper's schedule"
        return f"scale={self.scale}: {self.title}{shorter}"

    def _row(self, entry: dict[str, Any], seeds: Sequence[int], model_title: str = "") -> Row:
        here = self.dataset_here(entry["dataset"])
        names = [f"{here}-{entry['model']}-k{entry['k']}-s{seed}" for seed in seeds] if here else []
        if self.published:
            names = [name for name in names if self._published(name)]
        title = self.datasets[here or entry["dataset"]]["title"]
        model = model_title or self.models[entry["model"]]["title"]
        return Row(entry["dataset"], entry["model"], entry["k"], model, title, tuple(names))

    @staticmethod
    def _published(run: str) -> Path | None:
        path = PUBLISHED / f"{run.removesuffix('-s0').removesuffix('-k1')}.h5"
        return path if run.endswith("-s0") and path.exists() else None

    def _resolved(self, run: str) -> RunSpec:
        match = RUN_NAME.fullmatch(run)
        if not match:
            raise InputError(f"run: found {run!r}, expected <dataset>-<model>-k<K>-s<seed>, e.g. mnist-mem_vae-k1-s0")
        name, model_name = match["dataset"], match["model"]
        models = {**self.models, **self._varied}
        known(f"run {run}: datasets", name, self.datasets)
        if model_name not in models:
            known(f"run {run}: models", model_name, self.models)
        return self._specified(run, name, models[model_name], int(match["k"]), int(match["seed"]))

    def _specified(self, run: str, name: str, model: dict[str, Any], k: int, seed: int = 0) -> RunSpec:
        """The specification of a model on the data set `name`. model: its entry; `training` in it wins."""
        dataset = self.datasets[name]
        left_out = ("title", "training", "parameters")
        shape = merge(dataset["network"], {key: v for key, v in model.items() if key not in left_out})
        if isinstance(shape["slots"], int):
            shape["slots"] = [shape["slots"]] * len(shape["hidden"])
        network = {"image": dataset["image"], "likelihood": dataset["likelihood"], **shape}
        if "parameters" in model and "pseudo_inputs" not in model:
            other = self._specified(run, name, self.models[model["parameters"]], k).network
            more = parameters(other) - parameters(network_of(network, f"run {run}"))
            network["pseudo_inputs"] = max(round(more / other.pixels), 1)
        training = merge(self.training, dataset["training"])
        full_epochs = training.pop("epochs")
        training |= {
            "samples": k,
            "full_epochs": full_epochs,
            "epochs": self.epochs.get(f"{name}-k{k}", self.epochs.get(name, full_epochs)),
            "binarise": dataset["binarise"],
            **model.get("training", {}),
        }
        raw = {
            "run": run,
            "dataset": name,
            "seed": seed,
            "network": network,
            "training": training,
            "version": STAGES["train"],
        }
        return RunSpec.from_mapping(raw, f"run {run}")

    def _planned(self, name: str, block: dict[str, Any]) -> ablation.Plan | None:
        """The models of an ablation; the new ones are entered, so that `spec` finds them.

        None if it is not made: without an axis, if no data set replaces its own, or if that one has other layers.
        """
        here, base = self.dataset_here(block["dataset"]), block["base"]
        if here is None or not any(block["axes"].values()):
            return None

        def entry(changes: ablation.Changes) -> dict[str, Any]:
            training = {key.removeprefix("training."): v for key, v in changes.items() if key.startswith("training.")}
            shape = {key: value for key, value in changes.items() if key != "k" and not key.startswith("training.")}
            return {**self.models[base], **shape, "training": training}

        def resolve(changes: ablation.Changes) -> RunSpec:
            k = changes.get("k", block["k"])
            return self._specified(f"{here}-{base}-k{k}-s0", here, entry(changes), k)

        same = [one for group in self.groups.values() for one in group if one["dataset"] == block["dataset"]]
        known = {ablation.key_of(self.spec(f"{here}-{one['model']}-k{one['k']}-s0")): one["model"] for one in same}
        try:
            planned = ablation.plan(block, base, resolve, known)
        except InputError as error:
            if here != block["dataset"]:
                return None
            raise InputError(f"ablations.{name}: {error}") from None
        for place, variant in planned.variants.items():
            model = place.rpartition("-k")[0]
            if variant.changes and model not in known.values() and model != base:
                if model in self.models:
                    raise InputError(f"models.{model}: found the name of a model of ablations.{name}, expected another")
                self._varied[model] = entry(variant.changes)
        return planned

    def _check_references(self) -> None:
        plain = [name for name, model in self.models.items() if "parameters" not in model]
        for name, model in self.models.items():
            known(f"models.{name}.parameters", model.get("parameters", plain[0]), plain)
        for group, entries in self.groups.items():
            for place, entry in enumerate(entries):
                known(f"runs.{group}[{place}].dataset", entry["dataset"], self.datasets)
                known(f"runs.{group}[{place}].model", entry["model"], self.models)
        for name, block in self.ablations.items():
            known(f"ablations.{name}.dataset", block["dataset"], self.datasets)
            known(f"ablations.{name}.base", block["base"], self.models)
            for axis in (axis for axes in block.get("crossed", ()) for axis in axes):
                known(f"ablations.{name}.crossed", axis, block["axes"])
        known("analyses.dataset", self.analyses["dataset"], self.datasets)
        for dataset in filter(None, (*self.replace.keys(), *self.replace.values())):
            known(f"scales.{self.scale}.replace", dataset, self.datasets)
        for name in self.epochs:
            known(f"scales.{self.scale}.epochs", name.partition("-k")[0], self.datasets)
        for name, analysis in self.registered.items():
            rows = self.analysis_rows(name)  # refuses unknown models
            networks = {row.model: self.spec(f"{row.paper_dataset}-{row.model}-k1-s0").network for row in rows}
            without = [model for model, network in networks.items() if not network.has_memory]
            if analysis.declared.memory and without:
                raise InputError(
                    f"analyses.{name}.models: found {without[0]!r}, which has no memory, expected models with slots"
                )
            refused = analysis.declared.refused
            if rows and refused and (found := refused(self.settings(name), list(networks.values()))):
                raise InputError(f"analyses.{name}.{found}")
        for kind, table in (("models", self.models), ("datasets", self.datasets)):
            titles: dict[str, str] = {}
            for name, entry in table.items():
                if (first := titles.setdefault(entry["title"], name)) != name:
                    raise InputError(
                        f"{kind}.{name}.title: found {entry['title']!r}, the title of {first} too, expected another"
                    )


def making(path: Path | str) -> str:
    """The command that makes a file of the workflow, at the scale that its path names: `results/<scale>/...`."""
    parts = Path(path).parts
    at_scale = parts[0] in ("results", "figures") and len(parts) > 2 and parts[1] not in ROOMS
    return f"`snakemake --cores 1 {path}{f' --config scale={parts[1]}' if at_scale else ''}`"


def has_gpu() -> bool:
    """Whether NVIDIA's driver sees a GPU here: the program alone may be installed without one. Imports no torch."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return False
    return listed.returncode == 0 and "GPU " in listed.stdout


def threads() -> int:
    """Threads of a job that computes: the environment variable MEMVAE_THREADS, or 1. The same whatever `--cores` is.

    More jobs make better use of cores than more threads (docs/performance.md). Raises InputError for no such number.
    """
    wanted = os.environ.get("MEMVAE_THREADS") or "1"
    if not wanted.isdecimal() or not 1 <= int(wanted) <= MOST_THREADS:
        raise InputError(f"MEMVAE_THREADS: found {wanted!r}, expected a number from 1 to {MOST_THREADS}")
    return int(wanted)


def load(path: Path | None = None, overrides: dict[str, Any] | None = None, extra: Sequence[Path] = ()) -> Config:
    """The configuration read from a YAML file, then merged with further files in their order and with single values.

    path: without it, the project's own file, merged with config/config.yaml of the current folder if that is another.
    Raises InputError when a file is missing, is not YAML, or has an unknown key or a wrong value.
    """
    shipped = brought(CONFIG)
    raw = read_yaml(path or shipped)
    if not path and shipped != CONFIG and CONFIG.exists():
        raw = merge(raw, read_yaml(CONFIG))
    for more in extra:
        raw = merge(raw, read_yaml(more))
    return Config(normalise(merge(raw, overrides or {})))


def brought(path: Path) -> Path:
    """A file of the project, next to its code: a short path from the project's folder, from elsewhere the full path.

    If memvae is installed without the rest of the project, the file is expected in the current folder.
    """
    found = ROOT / path
    return found if found.exists() and found.resolve() != path.resolve() else path


def normalise(raw: dict[str, Any]) -> dict[str, Any]:
    """`--config seeds=0` arrives as a number and `seeds=[0,1]` as strings: both become a list of integers."""
    raw = copy.deepcopy(raw)
    seeds = raw.get("seeds")
    if isinstance(seeds, int | str):
        seeds = [seeds]
    if isinstance(seeds, list):
        raw["seeds"] = [int(s) if isinstance(s, str) and re.fullmatch("0|[1-9][0-9]{0,30}", s) else s for s in seeds]
    return raw


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` merged with `changes`, key by key in nested mappings; lists are replaced."""
    merged = copy.deepcopy(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged
