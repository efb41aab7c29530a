"""Table 4 (average preference values) and the table of the slots themselves."""

from typing import Any

import numpy as np

from memvae.report import measures
from memvae.report.layout import Files, Layout, RunFile
from memvae.report.origin import facts, facts_columns, notes
from memvae.report.paper import NOT_RUN, Paper
from memvae.report.render import Section, Table, number
from memvae.settings.config import Row

PAPER_MODEL = "vis_mem_vae"  # Table 4 and Figure 7 are about it
ORDINALS = ("1st", "2nd", "3rd")


def table4(layout: Layout, files: Files, printed: Paper) -> Table:
    """The largest average preference values of each class, seed by seed: slot numbers are arbitrary."""
    rows = files.rows(layout, "analysis/slots")
    cells: list[dict[str, Any]] = []
    sections: list[Section] = []
    for row, found in rows:
        if not found:
            cells.append({"row": row.title, "layer": "layer0", "value_1": NOT_RUN, **facts_columns(layout, row, found)})
            sections.append(Section(row.title, [{"": "1st", "0": NOT_RUN}]))
        for file in found:
            for layer in measures.layers(file):
                theirs = printed if row.model == PAPER_MODEL and layer == "layer0" else None
                cells += _table4_cells(layout, row, file, layer, theirs)
        for layer in measures.layers(found[0]) if found else []:
            theirs = printed if row.model == PAPER_MODEL and layer == "layer0" else None
            sections.append(_table4_section(row, found[0], layer, theirs, many=len(found) > 1))
            if len(found) > 1:
                sections.append(_over_seeds(row, found, layer))
    done = [file for _, found in rows for file in found]
    said = notes(
        layout,
        "Preference values of the slots that each class prefers most (in brackets the slot's number, arbitrary, from 0 "
        "on), averaged over the real-valued test images, one z per image; they sum to 1 over slots.",
        "Perplexity: exp of the entropy of the class's preferences, the effective number of slots.",
        f"Data: {facts(done)}." if done else "",
    )
    return Table("table4", "Table 4. Average preference values", cells, sections, said)


def slots(layout: Layout, files: Files, printed: Paper) -> Table:
    """Every slot's norm and use. A slot is in use when some class prefers it by more than 0.01."""
    rows = files.rows(layout, "analysis/slots")
    cells: list[dict[str, Any]] = []
    summary: list[dict[str, str]] = []
    long: list[Section] = []
    for row, found in rows:
        if not found:
            cells.append({"row": row.title, "norm": NOT_RUN, **facts_columns(layout, row, found)})
            summary.append({"model": row.title, "slots": NOT_RUN})
        for place, file in enumerate(found):
            for layer in measures.layers(file):
                records = slot_records(file, layer)
                theirs = printed.value("slots", layer, "used") if row.model == PAPER_MODEL else None
                in_use = sum(record["used"] for record in records)
                head = {"row": row.title, "run": file.run, "seed": file.seed, "layer": layer}
                origin = facts_columns(layout, row, [file], samples=1, images=file.images)
                cells += [{**head, **record, **origin} for record in records]
                summary.append(
                    {
                        "model": row.title,
                        "layer": layer_title(layer),
                        "seed": str(file.seed),
                        "slots": str(len(records)),
                        "used": str(in_use),
                        "used in the paper": number(theirs, 0),
                    }
                )
                if place == 0:
                    title = f"{row.title}, {layer_title(layer)}" + (f", seed {file.seed}" if len(found) > 1 else "")
                    long.append(Section(title, [_slot_text(record) for record in records], long=True))
    done = [file for _, found in rows for file in found]
    said = notes(
        layout,
        f"A slot is in use when its average preference value is above {measures.USED_ABOVE} for some class.",
        "Cells: where the slot stands in Table 4, as class: place.",
        f"Data: {facts(done)}." if done else "",
    )
    return Table("slots", "The memory's slots", cells, [Section("slots in use", summary), *long], said)


def slot_records(file: RunFile, layer: str) -> list[dict[str, Any]]:
    """One record per slot of a layer, in the slots' order."""
    preferences = file.array(f"{layer}/preferences")  # [classes, S]
    classes, top = file.array("classes"), file.array(f"{layer}/top")
    norms, mean = file.array(f"{layer}/norms"), file.array(f"{layer}/mean_preference")
    counts = measures.used(file, layer)
    records = []
    for slot in range(preferences.shape[1]):
        best = int(preferences[:, slot].argmax())
        cells = [f"{classes[row]}: {ordinal(place)}" for row, place in zip(*np.nonzero(top == slot), strict=True)]
        records.append(
            {
                "slot": slot,
                "norm": float(norms[slot]),
                "mean_preference": float(mean[slot]),
                "top_class": int(classes[best]),
                "top_preference": float(preferences[best, slot]),
                "classes_above_0.01": int(counts[slot]),
                "used": bool(counts[slot]),
                "table4_cells": ", ".join(cells),
            }
        )
    return records


def layer_title(layer: str) -> str:
    """`layer0` -> `layer next to the data`, `layer1` -> `layer 2 from the data`."""
    place = int(layer.removeprefix("layer"))
    return "layer next to the data" if place == 0 else f"layer {place + 1} from the data"


def ordinal(place: int) -> str:
    """0 -> `1st`."""
    return ORDINALS[place] if place < len(ORDINALS) else f"{place + 1}th"


def _table4_cells(layout: Layout, row: Row, file: RunFile, layer: str, printed: Paper | None) -> list[dict[str, Any]]:
    classes, top = file.array("classes"), file.array(f"{layer}/top")  # [classes, 3]
    values, perplexity = file.array(f"{layer}/top_values"), file.array(f"{layer}/perplexity")
    cells = []
    for place, label in enumerate(classes):
        cell: dict[str, Any] = {"row": row.title, "run": file.run, "seed": file.seed, "layer": layer}
        cell["class"] = int(label)
        for rank in range(top.shape[1]):
            cell[f"value_{rank + 1}"] = float(values[place, rank])
            cell[f"slot_{rank + 1}"] = int(top[place, rank])
            cell[f"paper_{rank + 1}"] = printed.value("table4", ordinal(rank), str(label)) if printed else None
        cell["perplexity"] = float(perplexity[place])
        cell["paper_perplexity"] = printed.value("table4", "perplexity", str(label)) if printed else None
        cells.append({**cell, **facts_columns(layout, row, [file], samples=1, images=file.images)})
    return cells


def _table4_section(row: Row, file: RunFile, layer: str, printed: Paper | None, many: bool) -> Section:
    """As the paper prints it: classes are columns."""
    classes, top = file.array("classes"), file.array(f"{layer}/top")  # [classes, 3]
    values, perplexity = file.array(f"{layer}/top_values"), file.array(f"{layer}/perplexity")

    def line(head: str, cells: list[str]) -> dict[str, str]:
        return {"": head, **{str(label): cell for label, cell in zip(classes, cells, strict=True)}}

    def paper_line(entry: str, decimals: int) -> dict[str, str]:
        theirs = [printed.value("table4", entry, str(label)) for label in classes] if printed else []
        return line(f"paper: {entry}", [number(value, decimals) for value in theirs])

    def our_line(rank: int) -> dict[str, str]:
        pairs = zip(values[:, rank], top[:, rank], strict=True)
        return line(ordinal(rank), [f"{number(value)} ({slot})" for value, slot in pairs])

    ranks = range(top.shape[1])
    lines = [our_line(rank) for rank in ranks]
    lines.append(line("perplexity", [number(value, 1) for value in perplexity]))
    if printed:
        lines += [paper_line(ordinal(rank), 2) for rank in ranks] + [paper_line("perplexity", 1)]
    title = f"{row.title}, {layer_title(layer)}" + (f", seed {file.seed}" if many else "")
    return Section(title, lines)


def _over_seeds(row: Row, found: list[RunFile], layer: str) -> Section:
    """Mean and standard deviation of the largest, second largest, ... value of each class; slots are never averaged."""
    classes = found[0].array("classes")
    lines = []
    for rank in range(found[0].array(f"{layer}/top").shape[1]):
        spreads = measures.top_values(found, layer, rank)
        cells = [f"{number(one.mean)} ({number(one.sd)})" for one in spreads]
        lines.append({"": ordinal(rank), **{str(label): cell for label, cell in zip(classes, cells, strict=True)}})
    return Section(f"{row.title}, {layer_title(layer)}: mean (standard deviation) over {len(found)} seeds", lines)


def _slot_text(record: dict[str, Any]) -> dict[str, str]:
    return {
        "slot": str(record["slot"]),
        "norm": number(record["norm"]),
        "mean preference": number(record["mean_preference"], 4),
        "top class": str(record["top_class"]),
        "its preference": number(record["top_preference"], 4),
        "classes above 0.01": str(record["classes_above_0.01"]),
        "used": "yes" if record["used"] else "no",
        "cells": record["table4_cells"],
    }
