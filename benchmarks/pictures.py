"""The two figures of the benchmark, in the look of the report's."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.measure import machine
from memvae.report import style
from memvae.report.canvas import Canvas

LINE = 0.17  # inches: height of one variant's line


def speed(table: pd.DataFrame) -> Figure:
    """One panel per what, model and K: median and range of every variant, and how many times faster than the first."""
    panels = list(table.groupby(["what", "model", "K"], sort=False))
    heights = [LINE * len(rows) + 0.62 for _, rows in panels]
    note = (
        f"{machine()}. Point: median; line: smallest to largest; number: times faster than the first line, paired "
        "within rounds. Open points: the step's matrix products alone."
    )
    canvas = Canvas(style.PAGE, sum(heights), note)
    top = sum(heights)
    for height, ((what, model, k), rows) in zip(heights, panels, strict=True):
        top -= height
        axes = canvas.axes(2.0, top + 0.38, 3.9, height - 0.62)
        for place, row in enumerate(rows.itertuples()):
            alone = str(row.variant).startswith("products")
            ours = str(row.variant).startswith("memvae") or (place and what.startswith("jobs"))
            colour = style.COLOURS[2] if ours else style.COLOURS[0]
            axes.plot((row.low_ms, row.high_ms), (place, place), color=colour, linewidth=1)
            axes.plot(row.median_ms, place, "o", color=colour, markerfacecolor="white" if alone else colour)
            if not alone:
                text = f"{row.median_ms:.3g} ms   {row.ratio_to_plain:.2f}"
                axes.text(1.02, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7)
        axes.set_yticks(range(len(rows)), list(rows.variant))
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, None), title=f"{what}: {model}, K = {k}")
        axes.set_xlabel("ms", labelpad=1)
    return canvas.figure


def growth(table: pd.DataFrame) -> Figure:
    """Above time, below peak memory against size, both logarithmic; the legend gives the fitted order."""
    kinds = list(table.groupby("size_of", sort=False))
    wide, tall = style.PAGE / 3, 1.75
    note = f"{machine()}. Numbers: slope of log time (log peak memory) against log size, upper half of the sizes."
    canvas = Canvas(style.PAGE, 2 * tall, note)
    for place, (kind, rows) in enumerate(kinds):
        left, bottom = place % 3 * wide, (1 - place // 3) * tall
        axes = canvas.axes(left + 0.5, bottom + 0.38, wide - 1.0, tall - 0.62)
        shown = rows[rows["size"] > 0]
        axes.plot(shown["size"], shown.median_ms, color=style.COLOURS[0], marker="o")
        axes.fill_between(shown["size"], shown.low_ms, shown.high_ms, color=style.COLOURS[0], alpha=0.25, linewidth=0)
        axes.set(xscale="log", yscale="log", title=f"{shown.what.iloc[0]}")
        axes.set_xticks(shown["size"], [_short(size) for size in shown["size"]])
        axes.minorticks_off()
        _plain_ticks(axes, shown.median_ms)
        axes.set_xlabel(str(kind), labelpad=1)
        axes.set_ylabel("ms", labelpad=1)
        lines = [f"order of time {shown.order.iloc[0]:.2f}"]
        if shown.peak_mb.notna().any():
            right = axes.twinx()
            right.plot(shown["size"], shown.peak_mb, color=style.COLOURS[2], marker="s", linestyle="--")
            right.set(yscale="log")
            right.spines["right"].set_visible(True)
            _plain_ticks(right, shown.peak_mb)
            right.set_ylabel("peak MB (dashed)", labelpad=1)
            lines.append(f"of memory {shown.memory_order.iloc[0]:.2f}")
        axes.text(0.04, 0.98, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=7)
    return canvas.figure


def _plain_ticks(axes: Axes, values: pd.Series) -> None:
    """1, 2, 5, 10 ... on a logarithmic axis with room around the values."""
    axes.set_ylim(values.min() / 1.6, values.max() * 2.5)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if values.max() < 30 * values.min() else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _short(size: int) -> str:
    return f"{size // 1000}k" if size >= 1000 and size % 1000 == 0 else str(size)
