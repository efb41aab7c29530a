"""What a job asks of a scheduler: memory and run time, from jobs that were measured. Standard library only.

`workflow/measured.csv` has a row for each measured job; `python -m benchmarks.measured` makes it from Snakemake's
benchmark files.
"""

import csv
import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from memvae.errors import InputError
from memvae.operations import cost
from memvae.settings import targets
from memvae.settings.config import PAPER, ROOT, RUN_NAME, Config

MEASURED = ROOT / "workflow/measured.csv"
MEMORY_MARGIN = 1.5  # times the largest measured peak
SNAKEMAKE_MB = 400  # a job on a cluster is started by two processes of Snakemake, 130 MB each
MOST_TIMES = 3  # what a job asks for when it is tried more often than that grows no further
TIME_MARGIN = 2.0  # times the longest measured time, for a slower machine
LONG = 300.0  # estimated seconds from which a measured time says how far the estimate is off
LEAST_MINUTES = 10


@dataclass(frozen=True)
class Job:
    """One measured job: seconds of the clock and of the processor, peak memory in MB, what cost.py estimates, disk."""

    rule: str
    name: str  # of the run or the data set
    scale: str
    seconds: float
    cpu_seconds: float
    memory_mb: float
    estimated_seconds: float
    disk_mb: float  # of the files that it wrote and that were there; 0: none was
    machine: str


@cache
def measured() -> tuple[Job, ...]:
    """The rows of workflow/measured.csv."""
    with open(MEASURED, newline="") as file:
        return tuple(
            Job(
                rule=row["rule"],
                name=row["name"],
                scale=row["scale"],
                seconds=float(row["seconds"]),
                cpu_seconds=float(row["cpu_seconds"]),
                memory_mb=float(row["memory_mb"]),
                estimated_seconds=float(row["estimated_seconds"]),
                disk_mb=float(row["disk_mb"]),
                machine=row["machine"],
            )
            for row in csv.DictReader(file)
        )


def read_benchmarks(config: Config, results: Path, machine: str) -> list[Job]:
    """The jobs of one scale from Snakemake's benchmark files below `results`, sorted by rule and name.

    A job that is not known to the configuration any more is left out.
    """
    jobs = []
    for path in sorted((results / "benchmarks").rglob("*.tsv")):
        rule = path.relative_to(results / "benchmarks").parts[0].removesuffix(".tsv")
        wildcards = {"run" if RUN_NAME.fullmatch(path.stem) else "dataset": path.stem}
        try:
            estimate = round(cost.seconds(config, rule, wildcards), 1)
            with open(path, newline="") as file:
                (row,) = csv.DictReader(file, delimiter="\t")
            seconds, cpu_seconds, memory = (float(row[column]) for column in ("s", "cpu_time", "max_rss"))
        except (InputError, KeyError, ValueError):  # another model, or a job too short to be measured (NA)
            continue
        root = results.parent if config.scale == PAPER else results.parent.parent
        files = [root / name for name in targets.files(config, rule, path.stem)]
        size = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
        name, disk = path.stem, round(size, 3)
        jobs.append(Job(rule, name, config.scale, seconds, cpu_seconds, memory, estimate, disk, machine))
    return jobs


@cache
def memory_mb(rule: str, attempt: int = 1) -> int:
    """MB of memory: the largest measured peak of the rule, with a margin; twice and three times that when tried again.

    The number of samples K changes little: a training with K = 50 took 1,085 MB, with K = 1 up to 1,414 MB.
    """
    peak = max(job.memory_mb for job in measured() if job.rule == rule)
    return min(attempt, MOST_TIMES) * 500 * math.ceil((MEMORY_MARGIN * peak + SNAKEMAKE_MB) / 500)


def minutes(config: Config, rule: str, wildcards: dict[str, str], attempt: int = 1) -> int:
    """Minutes of run time: the estimate, times by how much the processor seconds of a measured job of the rule
    exceeded its own, times a margin.

    Another attempt asks for more, but a training for the same again, for it goes on from its state: a partition's limit
    that admits the first admits the others. Never above MEMVAE_MAX_MINUTES.
    """
    estimate = cost.seconds(config, rule, wildcards) * _slower(rule)
    times = 1 if rule == "train" else min(attempt, MOST_TIMES)
    return min(times * max(LEAST_MINUTES, math.ceil(TIME_MARGIN * estimate / 60)), _most_minutes())


@cache
def _slower(rule: str) -> float:
    """How many times its estimate the slowest measured job of the rule took; at least 1."""
    jobs = [job for job in measured() if job.rule == rule and job.estimated_seconds >= LONG]
    return max([1.0, *(job.cpu_seconds / job.estimated_seconds for job in jobs)])


def _most_minutes() -> int:
    wanted = os.environ.get("MEMVAE_MAX_MINUTES") or "525600"  # a year
    if not wanted.isdigit() or int(wanted) < 1:
        raise InputError(
            f"MEMVAE_MAX_MINUTES: found {wanted!r}, expected the minutes that a job may run, a number from 1"
        )
    return int(wanted)
