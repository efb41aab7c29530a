"""Every file leads back to what it was made of, and every recorded checksum that no longer holds is named."""

import json
import shutil
from pathlib import Path

import project
import pytest

from memvae.errors import InputError
from memvae.files import store
from memvae.operations import trace as lineage

RUN = "digits-mem_vae-k1-s0"
DATA, MODEL = "data/digits.h5", f"results/tiny/models/{RUN}.h5"
LIKELIHOOD, IMPUTATION = (f"results/tiny/evaluation/{RUN}/{name}.h5" for name in ("likelihood", "imputation"))
TABLE, FIGURE = "results/tiny/tables/likelihood.csv", "figures/tiny/fig6.pdf"


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished project to spoil, which is also the folder that the test runs in."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, symlinks=True, ignore=shutil.ignore_patterns(".snakemake", "benchmarks", "plan"))
    monkeypatch.chdir(copy)
    return copy


def verified(path: str) -> list[str]:
    return lineage.problems(lineage.verify(lineage.trace(path)))


def test_a_file_leads_to_its_data(folder: Path) -> None:
    assert {"config/paper.yaml", LIKELIHOOD, DATA, MODEL} <= set(lineage.trace(TABLE))
    found = lineage.trace(folder / IMPUTATION)
    assert set(found) == {IMPUTATION, MODEL, "results/tiny/classifiers/digits.h5", DATA}
    content = json.loads(lineage.as_json(found, []))
    assert content["file"] == IMPUTATION and content["files"][MODEL]["attributes"]["spec"]["run"] == RUN
    text = lineage.as_tree(found, [])
    assert store.read(MODEL).attributes["sha256"] in text and text.count("sources") == 1


def test_data_lead_to_raw_files(folder: Path) -> None:
    store.write_run_json(DATA, 0.0, ["Snakefile"], [DATA])
    assert "Snakefile" in lineage.trace(TABLE)


@pytest.mark.parametrize("path", [TABLE, FIGURE, IMPUTATION, "results/tiny/scorecard.md"])
def test_what_is_untouched_holds(folder: Path, path: str) -> None:
    assert verified(path) == []


@pytest.mark.parametrize("changed", [TABLE, LIKELIHOOD, MODEL, DATA])
def test_a_changed_byte_and_a_missing_file_are_named(folder: Path, changed: str) -> None:
    content = bytearray(Path(changed).read_bytes())
    content[-1] ^= 1
    Path(changed).write_bytes(content)
    result = project.memvae(folder, "trace", TABLE, "--verify")
    assert result.returncode == 2 and changed in result.stderr and "[broken" in result.stdout
    if changed != TABLE:
        Path(changed).unlink()
        assert any(line.startswith(changed) and "not here" in line for line in verified(TABLE))


@pytest.mark.parametrize("path", ["figures/tiny/none.png", "x" * 300, "config/config.yaml", "/etc/hostname", "results"])
def test_what_has_no_lineage_is_refused_in_one_line(folder: Path, path: str) -> None:
    with pytest.raises(InputError, match=r"not found|no record") as caught:
        lineage.trace(path)
    assert "\n" not in str(caught.value)
