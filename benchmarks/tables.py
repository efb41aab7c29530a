"""What things cost here, side by side with what else a user would pick; `gpu` is a part of its own (gpu.py)."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmarks import growth, jobs, likelihood, measure, pictures, steps
from benchmarks.problem import Disagreement
from memvae.model import device as compute
from memvae.report import style

PARTS = {"steps": steps.measure, "likelihood": likelihood.measure, "jobs": jobs.measure}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join((*PARTS, 'growth'))}; all without it")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of tables and figures")
    parser.add_argument("--rounds", type=int, default=15, help="turns of every variant (default 15)")
    arguments = parser.parse_args()
    wanted = arguments.parts or [*PARTS, "growth"]
    if unknown := set(wanted) - {*PARTS, "growth"}:
        parser.error(f"found {sorted(unknown)[0]!r}, expected one of {', '.join((*PARTS, 'growth'))}")
    compute.set_up()
    torch.set_num_threads(1)
    try:
        rows = [row for part, call in PARTS.items() if part in wanted for row in call(arguments.rounds)]
    except Disagreement as error:
        print(error, file=sys.stderr)
        return 2
    if rows:
        _keep(rows, pictures.speed, arguments.output / "benchmarks.csv")
    if "growth" in wanted:
        points = growth.measure(max(arguments.rounds // 3, 1))
        _keep(points, pictures.growth, arguments.output / "growth.csv")
    return 0


def _keep(rows: Sequence[object], draw: Callable[[pd.DataFrame], Figure], path: Path) -> None:
    """Writes .csv, .md, .png and .pdf, and prints the table."""
    table = measure.write(rows, path)
    print(table.to_markdown(index=False, floatfmt=".3g", missingval=""))
    with style.paper():
        style.save(draw(table), path.with_suffix(".png"))
