"""Time and memory of jobs, for `memvae cost` and for requests to a scheduler. Standard library only.

An estimate is the work of a job (memvae/settings/work.py), multiplied by the ratio of measured time to work for jobs of
its kind (`workflow/measured.csv`, made by `python -m benchmarks.measured` from Snakemake's benchmark files). It is
meant to be right within a factor of two. The kind of a job is the name of its rule or, for the rule `analyse`, of its
analysis.
"""

import csv
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from memvae.errors import InputError
from memvae.progress import readable
from memvae.settings import targets
from memvae.settings.config import ROOT, RUN_NAME, Config, brought
from memvae.settings.spec import RunSpec
from memvae.settings.work import PAYS_BACK, decoding_seconds, passing_seconds, training_seconds

MEASURED = ROOT / "workflow/measured.csv"
START = 3.0  # seconds to start a job
COMPILING = 30.0  # seconds
COMPILED = 0.55  # time of compiled work with bf16 products, as a part of what it takes otherwise
CLASSIFIER = 3.5e-4  # seconds of the classifier per image and epoch
IMAGES = {"mnist": (60000, 10000), "ocr_letters": (32152, 10000), "frey_faces": (1865, 100), "digits": (1500, 297)}
UNKNOWN_IMAGES = (10000, 10000)  # training and test images of a data set of the user's own
MEMORY_MARGIN = 1.5  # times the largest measured peak
SNAKEMAKE_MB = 400  # a job on a cluster is started by two processes of Snakemake, 130 MB each
UNMEASURED_MB = 1500  # peak of a kind of job that was never measured
MOST_TIMES = 3  # what a job asks for when it is tried more often than that grows no further
TIME_MARGIN = 2.0  # times the estimate, for a slower machine
LONG = 120.0  # seconds of the processor from which they are right: Snakemake samples them every half minute
LEAST_MINUTES = 10
YEAR = 525600  # minutes
NO_JOBS = ("all", "extended", "ablation")  # rules without an output of their own

Jobs = Iterable[tuple[str, dict[str, str]]]  # rule, wildcards


@dataclass(frozen=True)
class Job:
    """One measured job: seconds of the clock and of the processor, peak memory in MB, its estimate, disk."""

    rule: str  # its kind
    name: str  # of the run, the data set, the table or figure
    scale: str
    seconds: float
    cpu_seconds: float
    memory_mb: float
    estimated_seconds: float  # of `work_seconds`
    disk_mb: float  # of the files that it wrote and that were there; 0: none was
    machine: str


@cache
def measured() -> tuple[Job, ...]:
    """The rows of workflow/measured.csv."""
    words = ("rule", "name", "scale", "machine")
    with open(MEASURED, newline="") as file:
        return tuple(
            Job(**{key: value if key in words else float(value) for key, value in row.items()})  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        )


# ---- estimates -------------------------------------------------------------------------------------------------------
def kind(rule: str, wildcards: dict[str, str]) -> tuple[str, str]:
    """The kind of a job and its name, as the benchmark files have them."""
    if "analysis" in wildcards:
        return wildcards["analysis"], wildcards.get("run", wildcards["analysis"])
    if rule.startswith("table"):
        return "table", rule.removeprefix("table_")
    if rule.startswith("fig"):
        return "figure", rule.removeprefix("figure_")
    if rule in targets.SCORECARDS:
        return "scorecard", rule
    if "file" in wildcards:
        return rule, f"{wildcards['dataset']}-{wildcards['file']}"
    return rule, wildcards.get("run", wildcards.get("dataset", rule))


def work_seconds(config: Config, kind: str, name: str) -> float:
    """Seconds of one job on one core, from its work alone."""
    analysis = config.registered.get(kind)
    if kind == "classifier":
        images = IMAGES.get(name, UNKNOWN_IMAGES)[0]
        return START + config.analyses["classifier"]["epochs"] * CLASSIFIER * images
    if not RUN_NAME.fullmatch(name) or not (analysis or kind == "train"):
        return START
    spec = config.spec(name)
    train, test = IMAGES.get(spec.dataset, UNKNOWN_IMAGES)
    if analysis is None:
        return START + _compiled(training_seconds(spec, train))
    if analysis.declared.work is None:
        return START
    work = analysis.declared.work(spec.network, targets.settings(config, kind, spec.dataset), train, test)
    passes = decoding_seconds(spec.network, work.decoder_rows) + passing_seconds(spec.network, work.network_rows)
    return START + _compiled(passes) + work.seconds


def seconds(config: Config, kind: str, name: str) -> float:
    """Estimated seconds of one job on one core."""
    return work_seconds(config, kind, name) * _ratio(kind)


def full_training_hours(spec: RunSpec) -> float:
    """Hours of one core that a run takes at its data set's own number of epochs."""
    longer = spec.training.full_epochs / spec.training.epochs
    images = IMAGES.get(spec.dataset, UNKNOWN_IMAGES)[0]
    return _compiled(training_seconds(spec, images) * longer) * _ratio("train") / 3600


@cache
def _ratio(kind: str) -> float:
    """Median of what measured jobs of a kind took to what their work says; the long ones, if there are any."""
    jobs = [job for job in measured() if job.rule == kind and job.estimated_seconds > 0]
    long = [job for job in jobs if job.cpu_seconds >= LONG]
    return statistics.median(job.cpu_seconds / job.estimated_seconds for job in long or jobs) if jobs else 1.0


def _compiled(time: float) -> float:
    """Seconds, assuming that long work is compiled."""
    return COMPILING + COMPILED * time if time >= PAYS_BACK else time


# ---- what a job asks of a scheduler ----------------------------------------------------------------------------------
def memory_mb(kind: str, attempt: int = 1) -> int:
    """MB of memory: the largest measured peak of the kind, with a margin; twice and three times that when tried again.

    The number of samples K changes little: a training with K = 50 took 1,085 MB, with K = 1 up to 1,414 MB.
    """
    peak = max((job.memory_mb for job in measured() if job.rule == kind), default=UNMEASURED_MB)
    return min(attempt, MOST_TIMES) * 500 * math.ceil((MEMORY_MARGIN * peak + SNAKEMAKE_MB) / 500)


def minutes(config: Config, kind: str, name: str, attempt: int = 1) -> int:
    """Minutes of run time: the estimate by the slowest measured job of the kind, times a margin.

    Another attempt asks for more, but a training for the same again, for it goes on from its state: a partition's limit
    that admits the first admits the others. Never above MEMVAE_MAX_MINUTES.
    """
    long = [job for job in measured() if job.rule == kind and job.cpu_seconds >= LONG]
    slowest = max([1.0, *(job.cpu_seconds / job.estimated_seconds for job in long)])
    estimate = work_seconds(config, kind, name) * slowest
    times = 1 if kind == "train" else min(attempt, MOST_TIMES)
    wanted = os.environ.get("MEMVAE_MAX_MINUTES") or str(YEAR)
    if not wanted.isdecimal() or not 1 <= int(wanted) <= YEAR:
        raise InputError(
            f"MEMVAE_MAX_MINUTES: found {wanted!r}, expected the minutes that a job may run, a number from 1 to {YEAR}"
        )
    return min(times * max(LEAST_MINUTES, math.ceil(TIME_MARGIN * estimate / 60)), int(wanted))


# ---- in words --------------------------------------------------------------------------------------------------------
def announcement(config: Config, jobs: Jobs) -> str:
    """What is about to run: scale, data, jobs, rough time; and, for a training, the shorter scale."""
    named = [kind(rule, wildcards) for rule, wildcards in jobs if rule not in NO_JOBS]
    datasets = {name.split("-")[0] for _, name in named} & set(config.datasets)
    titles = sorted(config.datasets[name]["title"] for name in datasets)
    lines = [
        f"memvae: scale={config.scale} ({config.title}); data: {', '.join(titles) or 'none'}; "
        f"seeds {', '.join(map(str, config.seeds))}; results in {config.results}/, figures in {config.figures}/"
    ]
    if not named:
        return "\n".join([*lines, "memvae: nothing to be done"])
    times = [seconds(config, *one) for one in named]
    trainings = sum(found == "train" for found, _ in named)
    lines.append(
        f"memvae: {len(named)} jobs, {trainings} of them trainings; about {readable(sum(times))} of one core, the "
        f"longest job {readable(max(times))}"
    )
    shorter = {"paper": "quick", "long": "quick", "quick": "demo"}.get(config.scale)
    if shorter and trainings:
        lines.append(f"memvae: shorter: --config scale={shorter}")
    return "\n".join(lines)


def describe(config: Config, target: str, extra: list[str]) -> str:
    """Jobs, hours and disk that `snakemake TARGET` would take now, kind by kind, without running them.

    extra: further options of Snakemake. Raises InputError with Snakemake's reason when the target cannot be made.
    """
    jobs = _planned(target, extra)
    names: dict[str, list[str]] = {}
    for rule, wildcards in jobs:
        if rule not in NO_JOBS:
            found, name = kind(rule, wildcards)
            names.setdefault(found, []).append(name)
    lines, total = [f"{'jobs':>5} {'kind':12} {'core time':>10} {'disk, MB':>10}"], 0.0
    for found, of_kind in names.items():
        time = sum(seconds(config, found, name) for name in of_kind)
        disk = len(of_kind) * max((job.disk_mb for job in measured() if job.rule == found), default=0.0)
        total += disk
        lines.append(f"{len(of_kind):5} {found:12} {readable(time):>10} {disk:10.1f}")
    lines.append(f"memvae: {total:.0f} MB of disk, {shutil.disk_usage('.').free / 1e9:.0f} GB are free")
    return "\n".join([announcement(config, jobs), *(lines if names else [])])


def _planned(target: str, extra: list[str]) -> list[tuple[str, dict[str, str]]]:
    """(rule, wildcards) of the jobs that `snakemake TARGET` would run now, from the text of a dry run."""
    snakefile = brought(Path("Snakefile"))
    options = ["-n", "--cores", "1", "--nolock", "--snakefile", str(snakefile), *extra]
    command = [sys.executable, "-m", "snakemake", *options, "--", target]
    result = subprocess.run(command, capture_output=True, text=True)
    text = result.stdout + result.stderr
    if result.returncode:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        ours = [line.removeprefix("memvae: ") for line in lines if line.startswith("memvae: ")]
        reason = ours[0] if ours else f"{target}: snakemake cannot plan it: {' '.join(lines[-3:])[:300]}"
        raise InputError(reason.replace("--config scale=", "--scale "))
    jobs: list[tuple[str, dict[str, str]]] = []
    for line in text.splitlines():
        if match := re.match(r"(?:local)?rule (\w+):", line.strip()):
            jobs.append((match[1], {}))
        elif jobs and (match := re.match(r"\s+wildcards: (.*)", line)):
            jobs[-1][1].update((key, value) for key, _, value in (pair.partition("=") for pair in match[1].split(", ")))
    return jobs
