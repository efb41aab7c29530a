"""`python -m benchmarks.measured RESULTS...`: what the jobs of finished workflows took, for workflow/measured.csv.

RESULTS is a folder such as results/quick, whose name is its scale. Snakemake wrote a benchmark file of every job there.
"""

import argparse
import csv
import dataclasses
import sys
from pathlib import Path

from memvae.errors import InputError
from memvae.operations.resources import MEASURED, Job, read_benchmarks
from memvae.settings import config as configuration


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
    """The jobs of one scale. Raises InputError where there is no benchmark file."""
    jobs = read_benchmarks(configuration.load(overrides={"scale": results.name}, extra=overlays), results, machine)
    if not jobs:
        raise InputError(f"{results}/benchmarks: found no benchmark file; expected those of a finished workflow")
    return jobs


if __name__ == "__main__":
    sys.exit(main())
