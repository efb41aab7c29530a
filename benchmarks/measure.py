"""Times of calls that take turns, their medians and paired ratios, and the table they go to."""

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pandas as pd

PACKAGES = ("torch", "jax", "pythae", "numpy")


@dataclass(frozen=True)
class Row:
    """One line of benchmarks.csv. Times in ms; ratio: how many times faster than the first, paired within rounds."""

    what: str
    model: str
    K: int
    variant: str
    median_ms: float
    low_ms: float
    high_ms: float
    ratio_to_plain: float
    ratio_low: float
    ratio_high: float
    products_floor_ms: float | None = None  # the step's matrix products alone, same round, same precision
    floor_share: float | None = None  # products_floor_ms / median_ms
    gflop_per_s: float | None = None  # of the step's products, over its whole time


def take_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round. In a round every call has its turn, so drift of the machine is shared."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()  # the first call allocates
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def summarise(
    what: str,
    model: str,
    k: int,
    seconds: dict[str, list[float]],
    units: int = 1,
    floors: dict[str, str] | None = None,
) -> list[Row]:
    """A row per call, per unit of work. The first call is what the others are compared with.

    floors: for some calls, the call that measured the floor of their precision.
    """
    base = next(iter(seconds.values()))
    rows = []
    for name, found in seconds.items():
        ratios = [b / f for b, f in zip(base, found, strict=True)]
        ms = [1000 * f / units for f in found]
        median = statistics.median(ms)
        floor = statistics.median(seconds[floors[name]]) * 1000 / units if floors and name in floors else None
        rows.append(
            Row(
                *(what, model, k, name, median, min(ms), max(ms)),
                *(statistics.median(ratios), min(ratios), max(ratios)),
                *(floor, floor / median if floor else None),
            )
        )
    return rows


def write(rows: Sequence[object], path: Path) -> pd.DataFrame:
    """`path` (.csv) with machine, date and versions in every row, and a Markdown table beside it. Returns the table."""
    table = pd.DataFrame([vars(row) for row in rows]).dropna(axis="columns", how="all")
    path.parent.mkdir(parents=True, exist_ok=True)
    table.assign(machine=machine(), date=datetime.date.today().isoformat(), versions=versions()).to_csv(
        path, index=False, float_format="%.4g"
    )
    text = table.to_markdown(index=False, floatfmt=".3g", missingval="")
    path.with_suffix(".md").write_text(f"{text}\n\n{machine()}; {datetime.date.today()}; {versions()}\n")
    return table


def machine() -> str:
    """Processor and number of cores, without names of hosts."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def versions() -> str:
    found = [f"python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)
