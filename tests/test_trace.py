"""Every file leads back to what it was made of, and every recorded checksum that no longer holds is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import project
import pytest

from memvae.errors import InputError
from memvae.files import store
from memvae.operations import trace as lineage

RUN = "digits-mem_vae-k1-s0"
DATA, MODEL = "data/digits.h5", f"results/tiny/models/{RUN}.h5"
LIKELIHOOD, IMPUTATION = (f"results/tiny/evaluation/{RUN}/{name}.h5" for name in ("likelihood", "imputation"))
CLASSIFIER = "results/tiny/classifiers/digits.h5"
TABLE, FIGURE = "results/tiny/tables/likelihood.csv", "figures/tiny/fig6.png"


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished project to spoil, which is also the folder that the test runs in."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, symlinks=True, ignore=shutil.ignore_patterns(".snakemake", "benchmarks", "plan"))
    monkeypatch.chdir(copy)
    return copy


def verified(path: str) -> list[str]:
    return lineage.problems(lineage.verify(lineage.trace(path), lambda: project.TINY.datasets))


def rewrite(path: str) -> None:
    """The HDF5 file with other arrays, undamaged."""
    stored = store.read(path)
    attributes = {k: v for k, v in stored.attributes.items() if k not in ("format", "format_version", "sha256")}
    name = min(stored.arrays)
    arrays = stored.arrays | {name: np.flip(stored.arrays[name], 0) if stored.arrays[name].size > 1 else 1}
    store.write(path, stored.attributes["format"].removeprefix("memvae/"), arrays, attributes)


@pytest.mark.parametrize("ending", ["csv", "md", "tex"])
def test_a_table_leads_to_its_data_in_every_format(folder: Path, ending: str) -> None:
    found = lineage.trace(str(Path(TABLE).with_suffix(f".{ending}")))
    assert {"config/paper.yaml", LIKELIHOOD, DATA, MODEL} <= set(found.nodes)
    assert found.nodes[MODEL].kind == "model" and found.nodes[DATA].kind == "dataset"


def test_an_analysis_leads_to_model_data_and_classifier(folder: Path) -> None:
    assert set(lineage.trace(IMPUTATION).nodes) == {IMPUTATION, MODEL, CLASSIFIER, DATA}
    assert lineage.trace(folder / IMPUTATION) == lineage.trace(IMPUTATION)


def test_the_attributes_lead_on_where_a_record_is_lost_or_none(folder: Path) -> None:
    for text in (None, "[]", '{"attempts": 1e999}', "[" * 5000):
        record = Path(f"{IMPUTATION}.run.json")
        record.unlink(missing_ok=True)
        if text:
            record.write_text(text)
        assert set(lineage.trace(IMPUTATION).nodes) == {IMPUTATION, MODEL, CLASSIFIER, DATA}


def test_the_tree_shows_run_seed_settings_versions_and_time_of_each_file_once(folder: Path) -> None:
    text = lineage.as_tree(lineage.trace(LIKELIHOOD), [])
    model = store.read(MODEL).attributes
    for words in (
        f"{RUN}: seed 0, 2 epochs, {model['computed']}",
        '"samples": 20',
        f"memvae {model['code_version']} on cpu: ",
        f"sha256 of its arrays {model['sha256']}",
        "sklearn.datasets.load_digits",
        " s, finished 20",
    ):
        assert words in text
    assert text.count("| network") == 1
    content = json.loads(lineage.as_json(lineage.trace(LIKELIHOOD), []))
    assert content["file"] == LIKELIHOOD and content["files"][MODEL]["attributes"]["sha256"] == model["sha256"]


@pytest.mark.parametrize("path", [TABLE, FIGURE, IMPUTATION, "results/tiny/scorecard.md"])
def test_what_is_untouched_holds(folder: Path, path: str) -> None:
    assert verified(path) == []


@pytest.mark.parametrize("changed", [LIKELIHOOD, MODEL, DATA])
def test_a_file_that_was_made_again_differently_is_named(folder: Path, changed: str) -> None:
    rewrite(changed)
    lines = verified(TABLE)
    assert any(line.startswith(changed) and "expected" in line for line in lines)


@pytest.mark.parametrize("changed", [TABLE, LIKELIHOOD])
def test_a_changed_byte_is_named(folder: Path, changed: str) -> None:
    content = bytearray(Path(changed).read_bytes())
    content[-1] ^= 1
    Path(changed).write_bytes(content)
    assert any(line.startswith(changed) for line in verified(TABLE))


def test_a_missing_input_cannot_be_verified_and_is_named(folder: Path) -> None:
    Path(MODEL).unlink()
    assert any(line.startswith(MODEL) and "not here" in line for line in verified(TABLE))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("figures/tiny/none.png", "not found; expected a table"),
        ("x" * 300, "not found"),
        ("config/config.yaml", "found no record of what it was made of"),
        ("/etc/hostname", "outside this folder"),
        ("results", "not found"),
    ],
)
def test_what_has_no_lineage_is_refused_in_one_line(folder: Path, path: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        lineage.trace(path)
    assert "\n" not in str(caught.value)


def test_the_command_exits_with_2_where_something_does_not_hold(folder: Path) -> None:
    assert project.memvae(folder, "trace", TABLE, "--verify", "--scale", "demo").returncode == 0
    rewrite(MODEL)
    result = project.memvae(folder, "trace", TABLE, "--verify", "--scale", "demo")
    assert result.returncode == 2 and MODEL in result.stderr and "[broken" in result.stdout
