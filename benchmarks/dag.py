"""How long Snakemake takes to plan the workflow, and how much memory, against the number of jobs.

Dry runs in the project's folder, at a scale of which nothing is made: what `snakemake` does before the first job.
Two ways to grow: more seeds of the appendix's models, with every table and figure; and more models of one's own (their
memory slots and K differ), with their trainings, log-likelihoods and the likelihood table.

`python -m benchmarks.dag` writes `dag.csv` and `dag.md`. Sizes take turns; a round is two minutes.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure
from memvae.progress import say

SCALE = "planned"  # of this benchmark alone, so that nothing is made yet
SEEDS, OWN = "seeds", "own models"
TARGETS = {SEEDS: "all", OWN: f"results/{SCALE}/tables/likelihood.csv"}
JOBS_EACH = {SEEDS: 19, OWN: 2}  # jobs that one more seed, one more model brings
SLOTS = 1000  # models differ in the slots next to the data up to this number, then in those next to z


@dataclass(frozen=True)
class Plan:
    """One dry run: seconds of the clock and of the processor, the jobs it planned, its peak memory in 10^6 bytes."""

    jobs: int
    trainings: int
    seconds: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Point:
    """One size: seconds of the clock over the rounds; medians of seconds of the processor and of memory, 10^6 bytes."""

    growing: str
    jobs: int
    trainings: int
    median_s: float
    low_s: float
    high_s: float
    cpu_s: float
    peak_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dag", description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[50, 1000, 10000], help="about so many (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every size (default 3)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of the table")
    arguments = parser.parse_args()
    table = measure.write(growth(arguments.jobs, arguments.rounds), arguments.output / "dag.csv")
    print(table.to_markdown(index=False, floatfmt=".3g"))


def growth(sizes: list[int], rounds: int) -> list[Point]:
    """A point for each way to grow and each rough number of jobs. In a round every size has its turn."""
    cases = [(growing, jobs) for growing in TARGETS for jobs in sizes]
    plans: dict[tuple[str, int], list[Plan]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for growing, jobs in cases:
                overlay = Path(folder) / "overlay.json"
                overlay.write_text(json.dumps(configuration(growing, jobs)))
                plans[growing, jobs].append(plan(TARGETS[growing], overlay))
                say(f"dag: {growing}, {plans[growing, jobs][-1]}")
    return [_point(growing, plans[growing, jobs]) for growing, jobs in cases]


def configuration(growing: str, jobs: int) -> dict[str, Any]:
    """What is laid over `config/config.yaml` for about so many jobs."""
    count = max(jobs // JOBS_EACH[growing], 1)
    scale: dict[str, Any] = {"scale": SCALE, "scales": {SCALE: {"title": "planned, never run"}}}
    if growing == SEEDS:
        return scale | {"seeds": list(range(count))}
    slots = [[1 + place % SLOTS, 30 + place // SLOTS] for place in range(count)]
    models = {f"mem_{a}_{b}": {"title": f"MEM-VAE, {a} and {b} slots", "slots": [a, b]} for a, b in slots}
    own = [{"dataset": "mnist", "model": name, "k": 1 + place % 2} for place, name in enumerate(models)]
    return scale | {"models": models, "runs": {"own": own}}


def plan(target: str, overlay: Path) -> Plan:
    """A dry run of `snakemake TARGET`. Raises RuntimeError with its last words when it cannot be planned."""
    options = ["-n", "--quiet", "rules", "--nolock", "--cores", "1", "--configfile", str(overlay)]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", target, *options], stdout=words, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        words.seek(0)
        text = words.read()
    if status:
        raise RuntimeError(f"snakemake {target}: {text[-500:]}")
    counts = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}
    cpu = usage.ru_utime + usage.ru_stime
    return Plan(counts["total"], counts["train"], seconds, cpu, usage.ru_maxrss * 1024 / 1e6)


def _point(growing: str, plans: list[Plan]) -> Point:
    seconds = [one.seconds for one in plans]
    cpu, peak = (statistics.median(getattr(one, field) for one in plans) for field in ("cpu_s", "peak_mb"))
    spread = (statistics.median(seconds), min(seconds), max(seconds))
    return Point(growing, plans[0].jobs, plans[0].trainings, *spread, cpu, peak)


if __name__ == "__main__":
    main()
