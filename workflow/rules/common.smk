# The only functions of the workflow; everything else is declared. What a target consists of stands in memvae/settings/targets.py.
# The workflow may run in its own folder, in another one (--directory), or as a module of another workflow: what it brings
# along is found beside its Snakefile, and results go where the user stands.
import json
import os
import shlex
import sys
from pathlib import Path

HOME = Path(workflow.snakefile).absolute().parents[2]  # the folder of our Snakefile
sys.path.insert(0, str(HOME))
from memvae.settings import config as configuration, targets
from memvae.settings.strict_yaml import read_yaml
from memvae.operations import cost
from memvae.data import download
from memvae.errors import InputError
from memvae.settings.spec import STAGES


def refuse(message):
    """Ends the workflow before anything runs: one line, exit code 2."""
    print(f"memvae: {message}", file=sys.stderr, flush=True)
    sys.exit(2)


def configured():
    """The validated configuration of the chosen scale."""
    try:
        if AS_MODULE:  # Snakemake lays a module's `config` over nothing
            if not isinstance(config, dict):
                raise InputError(
                    f"the module's config: found {config!r}, expected a mapping, such as {{'scale': 'demo'}}"
                )
            raw = configuration.merge(read_yaml(Path(brought("config/config.yaml"))), config)
        else:
            raw = dict(config)
            for path in workflow.configfiles:
                read_yaml(Path(path))  # Snakemake's own reader takes a key that stands there twice
        loaded = configuration.Config(configuration.normalise(raw))
        for run in loaded.runs("appendix", "extended", "own"):
            loaded.spec(run)
        if not AS_MODULE:  # there the words are those of the user's workflow
            check_targets(loaded)
        download.data_folder(loaded.data_folder)  # refuses one that is none
        if workflow.is_main_process:  # a job elsewhere has its inputs alone
            loaded.check_own_files()
    except InputError as error:
        refuse(error)
    return loaded


def brought(name):
    """A file that the workflow brings along: its short name where the user stands in our folder, else its full path."""
    return str(HOME / name if AS_MODULE else configuration.brought(Path(name)))


def placed(path):
    """Where a file of the workflow stands for the user: below the prefix, if the module that uses us has one."""
    return MODIFIER.path_modifier.replace_prefix(path)


def elsewhere(command, option):
    """The command, below a prefix with an option for a path that it finds by itself elsewhere. So without a prefix it is
    what it always was: a changed command would be run again, and with it a training."""
    return command if RAW == "data/raw/" else command.replace(" 2> ", f" {option} 2> ")


def check_targets(loaded):
    """A target under another scale's root is refused with the option that it needs, an unknown target or
    run by its name."""
    known = [
        *targets.all_files(loaded, extended=True),
        *targets.ablation_files(loaded),
        f"{loaded.figures}/rulegraph.png",
    ]
    for word in sys.argv[1:]:
        parts = word.split("/")
        if parts[0] in ("results", "figures") and len(parts) > 1:
            scale = parts[1] if parts[1] in config["scales"] else "paper"
            if scale != loaded.scale:
                raise InputError(
                    f"{word}: found scale={loaded.scale}, expected scale={scale}; add `--config scale={scale}`"
                )
            if (parts[0] == "figures" or "tables" in parts or parts[-1].startswith("scorecard")) and word not in known:
                names = ", ".join(Path(path).name for path in known if path.endswith((".csv", ".png")))
                raise InputError(f"{word}: found no such target, expected one of {names} (or .md, .tex, .pdf)")
            for name in (part.removesuffix(".h5") for part in parts):
                if configuration.RUN_NAME.fullmatch(name):
                    loaded.spec(name)
                    if loaded.published:
                        loaded.published_model(name)


def raw_entry(wildcards):
    """One raw file's entry of the config."""
    return json.dumps(CONFIG.datasets[wildcards.dataset]["files"][wildcards.file], sort_keys=True)


def raw_files(wildcards):
    """What a data set is prepared from; their content is checked, so their age does not matter."""
    files = CONFIG.datasets[wildcards.dataset].get("files", {})
    return [targets.raw_file(wildcards.dataset, name) for name in files]


def own_file(wildcards):
    """The user's own HDF5 file, where the data set is one."""
    entry = CONFIG.datasets[wildcards.dataset]
    if "file" not in entry:
        return []
    return [os.path.abspath(entry["file"]) if AS_MODULE else entry["file"]]  # a prefix is not for the user's files


def dataset_entry(wildcards):
    """The part of a data set's entry that its HDF5 file depends on."""
    entry = CONFIG.datasets[wildcards.dataset]
    return json.dumps(
        {key: value for key, value in entry.items() if key not in ("network", "training")}, sort_keys=True
    )


def dataset_of(wildcards):
    """The HDF5 file that a run is trained and evaluated on."""
    return targets.data_file(CONFIG.spec(wildcards.run).dataset)


def classifier_of(wildcards):
    """The classifier that reads a run's completed images, where the analysis needs it."""
    if "classifier" not in CONFIG.registered[wildcards.analysis].declared.needs:
        return []
    return targets.classifier_file(CONFIG, CONFIG.spec(wildcards.run).dataset)


def run_spec(wildcards):
    """A run's resolved specification, JSON."""
    return CONFIG.spec(wildcards.run).to_json()


def published_model(wildcards):
    """The published model that is this run."""
    return brought(f"models/{CONFIG.published_model(wildcards.run).name}")


def analyses_of(kind):
    """The names of the analyses of one kind, as a pattern."""
    names = [name for name, analysis in CONFIG.registered.items() if analysis.declared.of == kind]
    return "|".join(names) or "none"


def analysis_settings(wildcards):
    """The settings of an analysis of a run, JSON."""
    return settings_of(wildcards.analysis, CONFIG.spec(wildcards.run).dataset)


def classifier_settings(wildcards):
    """The settings of the classifier of a data set, JSON."""
    return settings_of("classifier", wildcards.dataset)


def settings_of(analysis, dataset):
    return json.dumps(targets.settings(CONFIG, analysis, dataset), sort_keys=True)


def analysis_version(wildcards):
    """The version that an analysis declares: another one makes it again."""
    return CONFIG.registered[wildcards.analysis].declared.version


def analysis_options(wildcards):
    """Options of `memvae analyse` that only some analyses have: where it is declared, and its classifier."""
    reference, judge = CONFIG.registered[wildcards.analysis].reference, classifier_of(wildcards)
    options = (["--module", reference] if reference else []) + (["--classifier", placed(judge)] if judge else [])
    return shlex.join(options)


def caption(analysis, name):
    """The caption of a table or figure, beside the analysis that shows it; the workflow's own words where it has none."""
    paths = [analysis.folder / f"{one}.rst" for one in (name, analysis.own(name))]
    return next((str(path) for path in paths if path.is_file()), "../report/own.rst")


def memory(rule=""):
    """MB of memory of a job, from measured jobs of its rule (or analysis); more with every attempt."""
    return lambda wildcards, attempt: cost.memory_mb(cost.kind(rule, dict(wildcards))[0], attempt)


def minutes(rule=""):
    """Minutes that a job may run, from measured jobs of its rule (or analysis); more with every attempt."""

    def runtime(wildcards, attempt):
        try:
            return cost.minutes(CONFIG, *cost.kind(rule, dict(wildcards)), attempt)
        except InputError as error:
            refuse(error)

    return runtime


def plan(target):
    """Path of the file with the rows and inputs of the job of `target`. It is written here, in Snakemake's own folder, for
    a module has no `onstart`."""
    path, text = targets.plan_file(CONFIG, target, placed)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        unfinished = Path(f"{path}.{os.getpid()}")
        unfinished.write_text(text)
        unfinished.replace(path)
    return path


def threads():
    """Of a job that computes."""
    try:
        return configuration.threads()
    except InputError as error:
        refuse(error)


def rulegraph_options():
    """Of the Snakemake that draws the graph of the workflow that runs."""
    options = ["--snakefile", workflow.main_snakefile]
    if not AS_MODULE:
        options += ["--configfile", *map(str, workflow.configfiles), "--config", f"scale={CONFIG.scale}"]
    return shlex.join(options)


def jobs_to_run(workflow):
    """(rule, wildcards) of every job that is about to run."""
    return [(job.rule.name, dict(job.wildcards_dict)) for job in workflow.dag.needrun_jobs()]


MODIFIER = workflow.modifier  # what a module that uses this workflow changes of it
AS_MODULE = not MODIFIER.is_main_snakefile()


configfile: brought("config/config.yaml")


if not AS_MODULE and brought("config/config.yaml") != "config/config.yaml" and os.path.exists("config/config.yaml"):

    configfile: "config/config.yaml"  # the user's own, laid over it


CONFIG = configured()
CONFIG.made = targets.made(CONFIG, placed)
RAW = placed("data/raw/")
RAW_OPTION = f"--raw {shlex.quote(RAW)}{{wildcards.dataset:q}}"
PAPER = brought(targets.PAPER_VALUES)
VERSIONS = STAGES
GPU = int((os.getenv("MEMVAE_DEVICE") or ("cuda" if configuration.has_gpu() else "cpu")) == "cuda")
THREADS = threads()
CONFIG.export_environment(HOME)


wildcard_constraints:
    dataset="[a-z0-9_]+",
    file="[A-Za-z0-9][A-Za-z0-9._-]*",
    run=configuration.RUN_NAME.pattern.replace("?P<dataset>", "")
    .replace("?P<model>", "")
    .replace("?P<k>", "")
    .replace("?P<seed>", ""),
