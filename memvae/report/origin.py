"""What every table and figure says of where its numbers come from: scale, data, epochs, samples, images."""

from collections.abc import Iterable
from typing import Any

from memvae.report.layout import Layout, RunFile
from memvae.settings.config import Row

PAPER_DATASETS = {"mnist": "MNIST", "ocr_letters": "OCR-letters", "frey_faces": "Frey faces"}


def notes(layout: Layout, *sentences: str) -> list[str]:
    """The scale's note first, where there is one, then the sentences that are not empty."""
    replaced = {PAPER_DATASETS[row.paper_dataset]: row.dataset for row in layout.rows if is_replaced(row)}
    theirs = [
        f"The paper's numbers are for {paper}; here they stand beside {ours}." for paper, ours in replaced.items()
    ]
    return [sentence for sentence in (f"{layout.note}." if layout.note else "", *sentences, *theirs) if sentence]


def facts(files: Iterable[RunFile]) -> str:
    """Data sets and epochs of some files, as in `MNIST (40 epochs), OCR-letters (200 epochs)`."""
    return ", ".join(dict.fromkeys(f"{file.data} ({file.epochs:,} epochs)" for file in files))


def facts_columns(
    layout: Layout, row: Row, found: list[RunFile], samples: int | None = None, images: int | None = None
) -> dict[str, Any]:
    """The columns of every .csv that say what a number comes from."""
    return {
        "scale": layout.scale,
        "data": row.dataset,
        "epochs": found[0].epochs if found else None,
        "samples": samples,
        "images": images,
        "runs": " ".join(file.run for file in found),
    }


def comparable(row: Row, found: list[RunFile], theirs: float | None, ours: float) -> float | None:
    """Ours minus the paper's; None where the paper has no number, or another data set stands for the paper's.

    Without files (parameter counts) the number does not depend on data.
    """
    if theirs is None or (found and found[0].spec["dataset"] != row.paper_dataset):
        return None
    return ours - theirs


def is_replaced(row: Row) -> bool:
    """Whether another data set stands for the paper's in this row."""
    return bool(row.runs) and PAPER_DATASETS.get(row.paper_dataset, row.dataset) != row.dataset
