"""Where the models and numbers of a page come from: seeds, code, packages, machine, checksums, time."""

import json
from pathlib import Path
from typing import Any

from memvae.report.layout import Files, Layout
from memvae.report.render import Section, Table, number


def table(models: Files, analyses: Files, layout: Layout) -> Table:
    """Every training with its seed, length, mode, code, checksums and time; what each kind of job took altogether."""
    stored = [*analyses.stored, *models.stored]
    records = {one.path: _run_record(one.path) for one in stored}
    cells: list[dict[str, Any]] = []
    for file in (file for row in layout.rows for file in models.of(row, "model")):
        record = records[file.path]
        cells.append(
            {
                "run": file.run,
                "seed": file.seed,
                "epochs": file.epochs,
                "computed": file.attribute("computed"),
                "device": file.attribute("device"),
                "code_version": file.attribute("code_version"),
                "minutes": round(record["seconds"] / 60, 1) if record else None,
                "attempts": record.get("attempts"),
                "finished": record.get("finished", ""),
                "data_sha256": file.attribute("data_sha256"),
                "model_sha256": file.attribute("sha256"),
                "packages": json.dumps(file.attribute("packages"), sort_keys=True),
            }
        )
    trainings = [
        {
            **{key: str(cell[key]) for key in ("run", "seed", "epochs", "computed", "device", "code_version")},
            "minutes": number(cell["minutes"], 0),
            "finished": cell["finished"],
            "data, model (sha256)": f"{cell['data_sha256'][:8]}, {cell['model_sha256'][:8]}",
        }
        for cell in cells
    ]
    kinds = {one.path: str(one.attributes["format"]).rpartition("/")[2] for one in stored}
    times = [
        {
            "files": "training" if kind == "model" else kind,
            "number": str(len(minutes)),
            "minutes, all together": number(sum(minutes), 0),
            "the longest": number(max(minutes), 0),
        }
        for kind in dict.fromkeys(kinds.values())
        if (minutes := [record["seconds"] / 60 for path, record in records.items() if kinds[path] == kind and record])
    ]
    codes = dict.fromkeys(str(one.attributes["code_version"]) for one in stored)
    packages = dict.fromkeys(" ".join(map(" ".join, json.loads(cell["packages"]).items())) for cell in cells)
    processors = dict.fromkeys(record["processor"] for record in records.values() if "processor" in record)
    notes = [
        f"Packages: {'; '.join(packages)}." if packages else "",
        f"Processor: {'; '.join(processors)}." if processors else "",
        f"Code of trainings and analyses: {', '.join(codes)} (version and sha256 of the package's sources).",
        "Minutes are those of a job's process since its last start, one thread each, with other jobs beside it.",
    ]
    sections = [Section("Trainings", trainings), Section("Time by kind of job", times)]
    return Table("provenance", "Provenance", cells, sections, [note for note in notes if note])


def _run_record(path: Path) -> dict[str, Any]:
    """`<file>.run.json`, where there is one: it is no output of the workflow."""
    try:
        record: dict[str, Any] = json.loads(Path(f"{path}.run.json").read_text())
    except (OSError, ValueError):
        return {}
    return record
