"""Chains on the same missing pixels: errors, recovered classes and log-scores, and numbers on the paper's claim."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from memvae.analyses.imputation.show import HALF, SEED_SD, noise_title
from memvae.analyses.missing import CHAINS, COMPARED, ESTIMATES, EXACT, LONG, PAPER, lengths
from memvae.files.store import Stored
from memvae.report import statistics, style
from memvae.report.canvas import Canvas
from memvae.report.claims import NONE, Part, judged
from memvae.report.paper import model_key
from memvae.report.statistics import Measured, Values
from memvae.report.table import NOT_RUN, Column, Section, Table, number
from memvae.report.view import View, record_of
from memvae.settings.config import Row

PAGE = Part(
    "Missing pixels, chains compared",
    "Ours: the paper's plug-in chain beside chains that draw the missing pixels, and what each says of the paper's "
    "claim.",
)
QUANTITIES = {"error": "squared error per missing pixel", "recovered": "%"}


def measure(view: View) -> Iterator[Measured]:
    """Per noise, chain and estimate: error and recovered classes, and both minus those of the paper's chain, image by
    image; per chain its log-score; of Metropolis the accepted z; the log-likelihood that the model has."""
    for row, found in view.made:
        for setting in ("iterations", "burn_in", "long", "samples"):
            statistics.same_setting(found, setting)
        for noise in found[0].attribute("noises"):
            yield statistics.per_image(
                row, found, "log_likelihood", "nats", statistics.array(f"{noise}/log_likelihood"), noise
            )
            for chain in EXACT:
                yield statistics.plain(row, found, "moves", "z", _moves(noise, chain), f"{noise} {chain}")
            for chain in CHAINS:
                place = f"{noise}/{chain}/log_score"
                yield statistics.per_image(row, found, "log_score", "nats", statistics.array(place), f"{noise} {chain}")
                for estimate in ESTIMATES:
                    place, condition = f"{noise}/{chain}/{estimate}", f"{noise} {chain} {estimate}"
                    error = QUANTITIES["error"]
                    yield statistics.per_image(
                        row, found, "error", error, statistics.array(f"{place}/error"), condition
                    )
                    yield statistics.share(row, found, "recovered", statistics.array(f"{place}/recovered"), condition)
                    for name, unit in QUANTITIES.items():
                        against = _against(f"{place}/{name}", f"{noise}/{PAPER}/last/{name}")
                        yield statistics.per_image(row, found, f"{name}_minus_paper", unit, against, condition)


def table(view: View) -> Table:
    """The table `missing`: per model a line per noise and chain; in the `.csv` one per estimate."""
    records = [
        _record(view, row, found, noise, chain, estimate)
        for row, found in view.rows
        for noise in (found[0].attribute("noises") if found else [HALF])
        for chain in CHAINS
        for estimate in ESTIMATES
    ]
    columns = [Column("noise", "missing"), Column("chain", "chain"), Column("estimate", "estimate")]
    columns += [Column("error_cell", "error"), Column("error_minus_cell", "error minus the paper's")]
    columns += [Column("recovered_cell", "recovered, %"), Column("recovered_minus_cell", "points minus the paper's")]
    columns += [Column("log_score", "log-score", 1), Column("log_likelihood", "the model's", 1)]
    columns += [Column("moves", "accepted z", 1)]
    sections = []
    for row, _ in view.rows:
        own = [one for one in records if one["row"] == model_key(row) and one["compared"]]
        sections.append(Section(row.title, columns, [_line(one) for one in own], long=True))
    return Table("missing", "Missing pixels, chains compared", records, sections, _notes(view))


def _record(view: View, row: Row, found: list[Stored], noise: str, chain: str, estimate: str) -> dict[str, Any]:
    condition = f"{noise} {chain} {estimate}"
    record: dict[str, Any] = {**record_of(row, model_key), "noise": noise, "chain": chain, "estimate": estimate}
    for name in ("error", "error_minus_paper", "recovered", "recovered_minus_paper"):
        one = view.number(row, name, condition)
        record |= {name: one.mean if one else NOT_RUN, f"{name}_standard_error": one.error if one else None}
    for name, place in (("log_score", f"{noise} {chain}"), ("log_likelihood", noise)):
        one = view.number(row, name, place)
        record |= {name: one.mean if one else None, f"{name}_standard_error": one.error if one else None}
    moves = view.number(row, "moves", f"{noise} {chain}")
    record["moves"] = moves.mean if moves else None
    record["compared"] = (chain, estimate) in COMPARED
    record["images"] = found[0].array("labels").size if found else None
    return record | view.facts(row, found, found[0].setting("samples") if found else None)


def _line(record: dict[str, Any]) -> dict[str, Any]:
    """A record as it is read."""
    cells: dict[str, Any] = {"noise": noise_title(record["noise"]), "chain": CHAINS[record["chain"]]}
    for name, decimals in (("error", 4), ("recovered", 1)):
        for kind in (name, f"{name}_minus_paper"):
            value, error, minus = record[kind], record[f"{kind}_standard_error"], kind != name
            text = NOT_RUN if value == NOT_RUN else f"{number(value, decimals, minus)} ± {number(error, decimals)}"
            first = (record["chain"], record["estimate"]) == COMPARED[0]
            cells[kind.replace("_paper", "") + "_cell"] = "" if minus and first else text
    return {**record, **cells}


def _notes(view: View) -> list[str]:
    if not view.done:
        return view.notes()
    first = view.done[0]
    (iterations, burn_in), (longer, longer_burn_in) = _lengths(first, PAPER), _lengths(first, LONG)
    return view.notes(
        f"Every chain makes {iterations} passes through encoder and decoder on the first "
        f"{first.array('labels').size:,} test images, binary, and the longer one {longer:,}; batch norm has the "
        "collected statistics but in the paper's chain.",
        f"Estimates of a missing pixel: last, the decoder's mean after the last iteration; average, its mean over "
        f"iterations {burn_in + 1} to {iterations} (of the longer chain {longer_burn_in + 1} to {longer:,}). The paper "
        "takes the last; of the other chains it is in the .csv.",
        "Accepted z: of an image, after burn-in, on average. Until then Metropolis-within-Gibbs is pseudo-Gibbs. With "
        "few accepted z it is not yet where it converges to, and its numbers are those of its start: the longer chain "
        "says what more would give.",
        "Error: squared error per missing pixel against the grey values. Recovered: classes that the classifier of "
        "`imputation` reads right. ±: one standard error over images, paired for differences.",
        "Log-score, nats per image: log of the average p(missing pixels | z) over the z after burn-in, what the chain "
        "says of the missing pixels; a chain that accepts few z has few that differ. The model's: log p(missing pixels "
        "| observed pixels) by importance sampling, too high rather than too low; a converged Metropolis chain reaches "
        "it with enough z.",
        f"Data: {view.data()}.",
        *survives(view),
    )


def survives(view: View) -> list[str]:
    """Whether the paper's claim, that MEM-VAE infers missing halves better than VAE, is one of every chain; and what
    the chain of the paper loses. A sentence each, from numbers; none where there are no files."""
    rows = view.row("mem_vae"), view.row("vae")
    sentences = []
    gains = []
    for chain, estimate in COMPARED if all(rows) else ():
        place = f"{HALF} {chain} {estimate}"
        ours, theirs = (view.number(row, "recovered", place) for row in rows)
        if ours and theirs:
            gain = statistics.difference(
                ours, theirs, statistics.array(f"{place.replace(' ', '/')}/recovered"), factor=100
            )
            error = statistics.joined(gain.error, statistics.seed_error(gain, SEED_SD))
            verdict = NONE if view.stands_in else judged(gain.mean, error)
            gains.append(f"{CHAINS[chain]}, {estimate} {gain.mean:+.1f} ± {error:.1f} points, {verdict}")
    if gains:
        why = " (another data set stands for MNIST, so nothing is said about the claim)" if view.stands_in else ""
        sentences.append(
            "The paper's claim that MEM-VAE infers missing halves better than VAE, by images recovered with the left "
            f"half missing, ± with the chance of training: {'; '.join(gains)}{why}."
        )
    for row, found in view.made:
        noises, counts = found[0].attribute("noises"), []
        for chain, estimate in COMPARED[1:]:
            places = [f"{noise} {chain} {estimate}" for noise in noises]
            changes = [one for place in places if (one := view.number(row, "error_minus_paper", place))]
            lower, higher = (sum(sign * one.mean > 2 * (one.error or 0) for one in changes) for sign in (-1, 1))
            counts.append(f"{CHAINS[chain]}, {estimate} {lower} and {higher}")
        sentences.append(
            f"{row.title}: of {len(noises)} noises, the error is clearly lower and clearly higher than that of the "
            f"paper's estimate for: {'; '.join(counts)}."
        )
    return sentences


# ---- the figure ------------------------------------------------------------------------------------------------------
def figure(view: View) -> Figure:
    """A row of panels per model, errors of the chains against iteration, and one of the longer Metropolis chain's
    accepted z; a column for the hardest noise of each kind."""
    found_noises = view.made[0][1][0].attribute("noises")
    noises = list({noise.partition("_")[0]: noise for noise in found_noises}.values())
    left, right, between, foot, head, height, gap, legend = 0.5, 0.05, 0.42, 0.36, 0.2, 1.45, 0.4, 0.36  # inches
    width = (style.PAGE - left - right - between * (len(noises) - 1)) / len(noises)
    rows = len(view.made) + 1
    first = view.made[0][1][0]
    words = f"seed {first.seed}, the first {first.array('labels').size:,} test images"
    said = (
        "Marks at the end, side by side: the last iteration, with one standard error over images. Averages are of the "
        "iterations after burn-in. During burn-in all lines are of the last iteration, and Metropolis chains accept "
        "all z.\n"
        f"{view.figure_note([one[0] for _, one in view.made], words)}"
    )
    burn_in = _lengths(first, LONG)[1]
    canvas = Canvas(style.PAGE, foot + rows * (height + head) + (rows - 1) * gap + legend, said)
    for across, noise in enumerate(noises):
        for down, (row, found) in enumerate(view.made):
            bottom = foot + (rows - 1 - down) * (height + head + gap)
            axes = canvas.axes(left + across * (width + between), bottom, width, height)
            axes.set_title(style.text(f"{row.title}: {noise_title(noise)}"))
            for place, (chain, estimate) in enumerate(COMPARED):
                curve = found[0].array(f"{noise}/{chain}/{estimate}/curve")
                error = statistics.standard_error(found[0].array(f"{noise}/{chain}/{estimate}/error"))
                look: Any = {"color": style.COLOURS[place], "linestyle": "-" if place else ":"}
                axes.plot(np.arange(1, len(curve) + 1), curve, label=f"{CHAINS[chain]}: {estimate}", **look)
                at = len(curve) * (1 + 0.05 * place)
                axes.errorbar([at], [curve[-1]], error, marker=style.MARKERS[place], **look)
            axes.set(xlabel="iteration", xscale="log", ylim=(0, None))
            axes.grid(alpha=0.25, linewidth=0.4)
            if not across:
                axes.set_ylabel("squared error per missing pixel")
            if not across and not down:
                handles, labels = axes.get_legend_handles_labels()
                canvas.figure.legend(handles, labels, frameon=False, loc="upper center", ncols=3, fontsize=6.5)
        axes = canvas.axes(left + across * (width + between), foot, width, height)
        for place, (row, found) in enumerate(view.made):
            share = 100 * found[0].array(f"{noise}/{LONG}/accepted")[burn_in:]
            colour = ("black", "#999999")[place % 2]
            axes.plot(
                burn_in + 1 + np.arange(len(share)), share, color=colour, linewidth=0.5, label=style.text(row.title)
            )
        axes.set(xlabel="iteration (without burn-in)", ylim=(0, None))
        axes.set_title(style.text(f"longer Metropolis chain: {noise_title(noise)}"))
        axes.grid(alpha=0.25, linewidth=0.4)
        if not across:
            axes.set_ylabel("accepted z, %")
            axes.legend(frameon=False)
    return canvas.figure


def _against(array: str, other: str) -> Values:
    factor = 100 if array.endswith("recovered") else 1
    return lambda file: factor * (file.array(array).astype(float) - file.array(other))


def _moves(noise: str, chain: str) -> Callable[[Stored], float]:
    return lambda file: float(file.array(f"{noise}/{chain}/accepted")[_lengths(file, chain)[1] :].sum())


def _lengths(file: Stored, chain: str) -> tuple[int, int]:
    """Iterations of a chain, and how many of them are burn-in."""
    return lengths({name: file.setting(name) for name in ("iterations", "burn_in", "long")}, chain)


TABLES = {"missing": table}
FIGURES = {"missing_by_iteration": figure}
