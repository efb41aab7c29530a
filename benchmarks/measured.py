"""`python -m benchmarks.measured RESULTS...`: what the jobs of finished workflows took, for workflow/measured.csv.

RESULTS is a folder such as results/quick, whose name is its scale. Snakemake wrote a benchmark file of every job there.
"""

import argparse
import csv
import dataclasses
import sys
from pathlib import Path

from memvae.errors import InputError
from memvae.operations.cost import MEASURED, Job, work_seconds
from memvae.settings import config as configuration
from memvae.settings import targets


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measured", description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="e.g. results/quick results/long")
    parser.add_argument("--configfile", nargs="*", type=Path, default=[], help="where a scale of your own is defined")
    parser.add_argument("--machine", required=True, help="in words: processor, cores")
    parser.add_argument("--output", type=Path, default=MEASURED)
    arguments = parser.parse_args()
    try:
        jobs = [job for folder in arguments.results for job in read(folder, arguments.configfile, arguments.machine)]
    except InputError as error:
        print(f"benchmarks.measured: {error}", file=sys.stderr)
        return 2
    with open(arguments.output, "w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Job)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(job) for job in jobs)
    print(f"{arguments.output}: {len(jobs)} jobs")
    return 0


def read(results: Path, overlays: list[Path], machine: str) -> list[Job]:
    """The jobs of one scale, sorted by kind and name. Raises InputError where there is no benchmark file."""
    config = configuration.load(overrides={"scale": results.name}, extra=overlays)
    root, jobs = results.parent.parent, []
    for path in sorted((results / "benchmarks").rglob("*.tsv")):
        kind = path.relative_to(results / "benchmarks").parts[0].removesuffix(".tsv")
        try:
            estimate = round(work_seconds(config, kind, path.stem), 1)
            with open(path, newline="") as file:
                (row,) = csv.DictReader(file, delimiter="\t")
            seconds, cpu_seconds, memory = (float(row[column]) for column in ("s", "cpu_time", "max_rss"))
        except (InputError, KeyError, ValueError):  # another model, or a job too short to be measured (NA)
            continue
        files = [root / name for name in targets.files(config, kind, path.stem)]
        disk = round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6, 3)
        jobs.append(Job(kind, path.stem, config.scale, seconds, cpu_seconds, memory, estimate, disk, machine))
    if not jobs:
        raise InputError(f"{results}/benchmarks: found no benchmark file; expected those of a finished workflow")
    return jobs


if __name__ == "__main__":
    sys.exit(main())
