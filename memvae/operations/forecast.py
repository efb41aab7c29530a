"""What a target still needs here: jobs, hours of a core and disk, and what each number comes from.

Times are the estimates of cost.py, times by how much measured jobs of the rule differed from theirs: jobs of this
machine where there are some, else those of workflow/measured.csv. Sizes are those of measured files.
"""

import json
import platform
import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.files import store
from memvae.operations import cost, resources
from memvae.operations.resources import Job
from memvae.progress import readable
from memvae.settings import targets
from memvae.settings.config import PAPER, RUN_NAME, Config

SAMPLED = 120.0  # seconds of the processor from which they are right: Snakemake samples them every half minute
NO_JOBS = ("all", "extended")  # rules without an output of their own


@dataclass(frozen=True)
class Need:
    """What the jobs of one kind still need. seconds: of one core; disk_mb: None where no such file was measured."""

    kind: str
    jobs: int
    seconds: float
    disk_mb: float | None
    source: str  # of the seconds


def describe(config: Config, target: str, extra: list[str], load: Callable[[str], Config]) -> str:
    """Jobs, hours and disk that `snakemake TARGET` would take now, kind by kind, without running them.

    extra: further options of Snakemake; load: the configuration of a scale by its name, for the benchmark files here.
    Raises InputError with Snakemake's reason when the target cannot be made.
    """
    jobs = cost.planned(target, extra)
    found = needs(config, jobs, here(Path("results"), load), list(resources.measured()))
    trainings = sum(rule == "train" for rule, _ in jobs)
    seconds, disk = sum(need.seconds for need in found), sum(need.disk_mb or 0 for need in found)
    lines = [cost.heading(config, jobs)]
    if not found:
        return "\n".join([*lines, "memvae: nothing to be done"])
    count, free = sum(need.jobs for need in found), shutil.disk_usage(".").free / 1e9
    lines.append(
        f"memvae: {count} jobs, {trainings} of them trainings; about {readable(seconds)} of one core, "
        f"{disk:.0f} MB of {free:.0f} GB that are free; on a GPU: not measured"
    )
    lines.append(f"{'jobs':>5} {'kind':12} {'core time':>10} {'disk':>10}  core time from")
    for need in found:
        size = "?" if need.disk_mb is None else f"{need.disk_mb:.1f} MB"
        lines.append(f"{need.jobs:5} {need.kind:12} {readable(need.seconds):>10} {size:>10}  {need.source}")
    return "\n".join([*lines, f"disk: from the files of {resources.MEASURED.name}", *cost.advice(config, jobs)])


def needs(config: Config, jobs: list[tuple[str, dict[str, str]]], own: list[Job], others: list[Job]) -> list[Need]:
    """What planned jobs need, kind by kind in their order. own: jobs measured on this machine; others: elsewhere."""
    by_kind: dict[str, list[tuple[str, str, dict[str, str]]]] = {}
    for rule, wildcards in jobs:
        if rule not in NO_JOBS:
            kind, name = _kind(rule, wildcards)
            by_kind.setdefault(kind, []).append((rule, name, wildcards))
    speed, shared = _speed(own, others)
    found = []
    for kind, planned in by_kind.items():
        estimates = [cost.seconds(config, rule, wildcards) for rule, _, wildcards in planned]
        seconds, source = _seconds(kind, estimates, own, others, speed, shared)
        sizes = [_size(kind, name, others) for _, name, _ in planned]
        disk = None if None in sizes else sum(size for size in sizes if size is not None)
        found.append(Need(kind, len(planned), seconds, disk, source))
    return found


def here(results: Path, load: Callable[[str], Config]) -> list[Job]:
    """The jobs of finished workflows below `results` that ran on this machine, as the records of their files say."""
    found: list[Job] = []
    for folder in sorted({*results.glob("benchmarks"), *results.glob("*/benchmarks")}):
        scale = PAPER if folder.parent == results else folder.parent.name
        try:
            config = load(scale)
        except InputError:  # a scale that is no longer in the configuration
            continue
        for job in resources.read_benchmarks(config, folder.parent, "here"):
            files = targets.files(config, job.rule, job.name)
            if any(_ran_here(results.parent / path) for path in files):
                found.append(job)
    return found


def _ran_here(path: Path) -> bool:
    """Whether a file was made on this machine, in one go: seconds of a training are those since its last start."""
    try:
        record: dict[str, Any] = json.loads(Path(f"{path}.run.json").read_text())
    except (OSError, ValueError):
        return False
    return not record.get("epochs_earlier") and record.get("processor", record.get("host")) in (
        store.processor(),
        platform.node(),
    )


def _kind(rule: str, wildcards: dict[str, str]) -> tuple[str, str]:
    """The kind of a job and its name, as the benchmark files have them."""
    if rule.startswith("table"):  # `likelihood` is the analysis, `table_likelihood` its table
        return "table", rule.removeprefix("table_")
    if rule.startswith("fig"):
        return "figure", rule.removeprefix("figure_")
    if rule in targets.SCORECARDS:
        return "scorecard", rule
    if "file" in wildcards:
        return rule, f"{wildcards['dataset']}-{wildcards['file']}"
    return rule, wildcards.get("run", wildcards.get("dataset", rule))


def _speed(own: list[Job], others: list[Job]) -> tuple[float, int]:
    """How many times as long this machine's processor takes as the measured one's, from the long jobs that ran on both;
    and their number. Short jobs are mostly start and waiting: they tell how busy a machine was."""
    theirs = {(job.rule, job.name, job.scale): job.cpu_seconds for job in _long(others)}
    both = [(job.cpu_seconds, theirs.get((job.rule, job.name, job.scale))) for job in _long(own)]
    ratios = [ours / before for ours, before in both if before]
    return (statistics.median(ratios) if ratios else 1.0), len(ratios)


def _long(jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if job.rule in cost.RULES_WITH_COST and job.cpu_seconds >= SAMPLED]


def _seconds(
    kind: str, estimates: list[float], own: list[Job], others: list[Job], speed: float, shared: int
) -> tuple[float, str]:
    """Seconds of all jobs of a kind, and in words where they come from. The median job is robust to resumed ones."""
    factor = f", times {speed:.2f} ({shared} jobs ran on both machines)" if shared else ""
    for jobs, where, times, suffix in ((own, "here", 1.0, ""), (others, "elsewhere", speed, factor)):
        if kind in cost.RULES_WITH_COST:
            long = [job for job in _long(jobs) if job.rule == kind]
            if long:
                ratio = statistics.median(job.cpu_seconds / job.estimated_seconds for job in long)
                words = f"formula times {ratio:.2f}, as {len(long)} measured {where}{suffix}"
                return sum(estimates) * ratio * times, words
        elif measured := [job.seconds for job in jobs if job.rule == kind]:
            words = f"{len(measured)} measured {where}{suffix}"
            return statistics.median(measured) * times * len(estimates), words
    return sum(estimates) * speed, f"formula alone: no measured job took {SAMPLED:.0f} s of the processor{factor}"


def _size(kind: str, name: str, others: list[Job]) -> float | None:
    """MB of the files of a job: of the same model or file where it was measured, else of the largest of its kind."""
    of_kind = {job: job.disk_mb for job in others if job.rule == kind and job.disk_mb > 0}
    same = [size for job, size in of_kind.items() if _seedless(job.name) == _seedless(name)]
    return max(same or of_kind.values(), default=None)


def _seedless(name: str) -> str:
    """Neither the seed nor K changes a size."""
    return "-".join(name.split("-")[:2]) if RUN_NAME.fullmatch(name) else name
