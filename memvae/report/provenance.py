"""The provenance of the models and numbers of a page: seeds, code, packages, machine, checksums, time."""

import json
from collections.abc import Sequence
from typing import Any

from memvae.files.store import Stored, read_record
from memvae.report.table import Column, Section, Table

TRAININGS = (
    *(Column(name, name) for name in ("run", "seed", "epochs", "computed", "device", "code_version")),
    Column("minutes", "minutes", 0),
    Column("finished", "finished"),
    Column("sums", "data, model (sha256)"),
)
TIMES = (
    Column("files", "files"),
    Column("number", "number"),
    Column("all", "minutes, all together", 0),
    Column("longest", "the longest", 0),
)


def table(models: Sequence[Stored], analyses: Sequence[Stored]) -> Table:
    """Every training with its seed, length, mode, code, checksums and time; what each kind of job took altogether."""
    stored = list({one.path: one for one in (*analyses, *models)}.values())
    run_records = {one.path: read_record(one.path) for one in stored}
    trainings = [_training(file, run_records[file.path]) for file in models]
    minutes: dict[str, list[float]] = {}
    for one in stored:
        kind = str(one.attributes["format"]).rpartition("/")[2]
        if "seconds" in run_records[one.path]:
            minutes.setdefault("training" if kind == "model" else kind, []).append(
                run_records[one.path]["seconds"] / 60
            )
    times = [
        {"files": kind, "number": len(taken), "all": sum(taken), "longest": max(taken)}
        for kind, taken in minutes.items()
    ]
    codes = dict.fromkeys(str(one.attributes["code_version"]) for one in stored)
    packages = dict.fromkeys(" ".join(map(" ".join, json.loads(one["packages"]).items())) for one in trainings)
    processors = dict.fromkeys(record["processor"] for record in run_records.values() if "processor" in record)
    notes = [
        f"Packages: {'; '.join(packages)}." if packages else "",
        f"Processor: {'; '.join(processors)}." if processors else "",
        f"Code of trainings and analyses: {', '.join(codes)} (version and sha256 of the package's sources).",
        "Minutes are those of a job's process since its last start, one thread each, with other jobs beside it.",
    ]
    shown = [
        {**one, "seed": str(one["seed"]), "sums": f"{one['data_sha256'][:8]}, {one['model_sha256'][:8]}"}
        for one in trainings
    ]
    sections = [Section("Trainings", TRAININGS, shown), Section("Time by kind of job", TIMES, times)]
    return Table("provenance", "Provenance", trainings, sections, [note for note in notes if note])


def _training(file: Stored, record: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": file.run,
        "seed": file.seed,
        "epochs": file.epochs,
        "computed": file.attribute("computed"),
        "device": file.attribute("device"),
        "code_version": file.attribute("code_version"),
        "minutes": round(record["seconds"] / 60, 1) if "seconds" in record else None,
        "attempts": record.get("attempts"),
        "finished": record.get("finished", ""),
        "data_sha256": file.attribute("data_sha256"),
        "model_sha256": file.attribute("sha256"),
        "packages": json.dumps(file.attribute("packages"), sort_keys=True),
    }
