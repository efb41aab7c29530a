"""The authors' numbers and protocol in config/paper.yaml: what is printed, and read strictly."""

from pathlib import Path

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
        (f"[{ENTRY[:-1]}, hue: 3}}]", "entries.0: found the unknown key 'hue'"),
        ("[{table: table3, row: a, column: b, value: 1, tolerance: 2}]", "key 'source' is missing"),
        (f"[{ENTRY.replace('value: 1', 'value: one')}]", "value: found 'one', expected a number"),
        (f"[{ENTRY.replace('tolerance: 2', 'tolerance: 0')}]", "expected a number above 0"),
    ],
)
def test_paper_file_is_read_strictly(tmp_path: Path, entries: str, message: str) -> None:
    path = tmp_path / "paper.yaml"
    path.write_text(f"sources: {{A: appendix}}\nprotocol: {{}}\nentries: {entries}\n")
    with pytest.raises(InputError, match=message):
        paper.read_paper(path)


def test_the_protocol_is_read_strictly(tmp_path: Path) -> None:
    raw = yaml.safe_load(PAPER.read_text())
    raw["protocol"]["mnist"]["training"]["epoch"] = 3
    path = tmp_path / "paper.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(InputError, match=r"protocol\.mnist\.training: found the unknown key 'epoch'"):
        paper.read_paper(path)
