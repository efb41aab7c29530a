"""The authors' numbers and protocol in config/paper.yaml: what is printed, and read strictly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from memvae.errors import InputError
from memvae.report import paper

PAPER = Path(__file__).resolve().parents[1] / "config/paper.yaml"


def test_paper_values_are_those_printed() -> None:
    printed = paper.read_paper(PAPER)
    first = [0.27, 0.82, 0.33, 0.11, 0.34, 0.15, 0.49, 0.27, 0.09, 0.28]
    assert [printed.value("table4", "1st", str(label)) for label in range(10)] == first
    assert printed.value("table4", "1st", "mean") == pytest.approx(np.mean(first))
    assert printed.value("likelihood", "mnist-mem_vae-k50", "log_likelihood") == -82.84
    assert printed.value("likelihood", "ocr_letters-vae-k1", "log_likelihood") is None
    cells = [entry for entry in printed.of("table4") if entry.row in ("1st", "2nd", "3rd") and entry.column != "mean"]
    assert len(cells) == 30 and all(entry.tolerance is None for entry in cells)


ENTRY = "{table: table3, row: a, column: b, value: 1, tolerance: 2, source: A}"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (f"[{ENTRY}, {ENTRY}]", "table3 a b twice"),
        (f"[{ENTRY[:-1]}, hue: 3}}]", "unknown key 'hue'"),
        ("[{table: table3, row: a, column: b, value: 1, tolerance: 2}]", "key 'source' is missing"),
        (f"[{ENTRY.replace('value: 1', 'value: one')}]", "value: found 'one', expected a number"),
        (f"[{ENTRY.replace('tolerance: 2', 'tolerance: 0')}]", "expected a positive number"),
        (f"[{ENTRY.replace('source: A', 'source: Z')}]", "source: found 'Z', expected one of A"),
        (f"[{ENTRY.replace('column: b', 'column: 7')}]", "column: found 7, expected text"),
        (f"[{ENTRY.replace('table3', 'table9')}]", "table: found 'table9'"),
    ],
)
def test_paper_file_is_read_strictly(tmp_path: Path, entries: str, message: str) -> None:
    path = tmp_path / "paper.yaml"
    path.write_text(f"sources: {{A: appendix}}\nprotocol: {{}}\nentries: {entries}\n")
    with pytest.raises(InputError, match=message):
        paper.read_paper(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hue": 1}, "protocol.mnist: found the unknown key 'hue'"),
        ({"training": {"epoch": 3}}, "protocol.mnist.training: found the unknown key 'epoch', expected one of samples"),
        ({"models": {"vae": {"units": 3}}}, "protocol.mnist.models.vae: found the unknown key 'units'"),
        ({"models": {"vae": 3}}, "protocol.mnist.models.vae: found 3, expected a mapping"),
        ({"settings": {"likelihood": {}}}, "protocol.mnist.settings: the key 'probing' is missing"),
        ({"images": "all"}, "protocol.mnist.images: found 'all', expected int"),
    ],
)
def test_the_protocol_is_read_strictly(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    raw = yaml.safe_load(PAPER.read_text())
    raw["protocol"]["mnist"] |= change
    path = tmp_path / "paper.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(InputError, match=message):
        paper.read_paper(path)


def test_missing_paper_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        paper.read_paper(tmp_path / "paper.yaml")
