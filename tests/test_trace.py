"""Every file leads back to what it was made of, and every recorded checksum that no longer holds is named."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import project
import pytest

from memvae.errors import InputError
from memvae.files import store
from memvae.operations import trace as lineage
from memvae.settings import targets

RUN = "digits-mem_vae-k1-s0"
DATA, MODEL = "data/digits.h5", f"results/tiny/models/{RUN}.h5"
LIKELIHOOD, IMPUTATION = (f"results/tiny/evaluation/{RUN}/{name}.h5" for name in ("likelihood", "imputation"))
CLASSIFIER = "results/tiny/classifiers/digits.h5"
TABLE, FIGURE = "results/tiny/tables/likelihood.csv", "figures/tiny/training.png"
OPTIONS = ("--configfile", str(project.ROOT / "tests/tiny.yaml"))
STAGES = [
    ("prepare", "digits"),
    ("train", RUN),
    ("classifier", "digits"),
    ("likelihood", RUN),
    ("imputation", RUN),
    ("table", "likelihood", "--plan", "table.json"),
    ("figure", "training", "--plan", "figure.json"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one model, made by the stages, by hand: no Snakemake."""
    folder = project.make(tmp_path_factory.mktemp("made"))
    (row,) = [row for row in targets.rows(project.TINY, "likelihood") if RUN in row.runs]
    layout = {"scale": "tiny", "note": project.TINY.scale_note(), "rows": [vars(row)]}
    for name, inputs in (("table", [LIKELIHOOD]), ("figure", [MODEL])):
        (folder / f"{name}.json").write_text(json.dumps({"layout": layout, "inputs": inputs}))
    for stage in STAGES:
        result = project.memvae(folder, *stage, *OPTIONS)
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to spoil, which is also the folder that the test runs in."""
    copy = tmp_path / "copy"
    shutil.copytree(made, copy, symlinks=True)
    monkeypatch.chdir(copy)
    return copy


def verified(path: str) -> list[str]:
    return lineage.problems(lineage.verify(lineage.trace(path), lambda: project.TINY.datasets))


def rewrite(path: str, change: Callable[[dict, dict], None]) -> None:
    """The HDF5 file with other arrays or attributes, undamaged."""
    stored = store.read(path)
    attributes = dict(stored.attributes)
    kind = attributes.pop("format").removeprefix("memvae/")
    arrays = dict(stored.arrays)
    change(arrays, attributes)
    store.write(path, kind, arrays, {k: v for k, v in attributes.items() if k not in ("format_version", "sha256")})


def edit_record(path: str, change: Callable[[dict], None], sealed: bool) -> None:
    """The record beside a file, changed; sealed: with the record_sha256 of what it says now, as a forger would."""
    place = Path(f"{path}.run.json")
    record = json.loads(place.read_text())
    change(record)
    place.write_text(json.dumps(record | ({"record_sha256": store.record_checksum(record)} if sealed else {})))


def other_output(arrays: dict, _: dict) -> None:
    arrays["weights/output.bias"] = arrays["weights/output.bias"] + 1


# ---- the lineage -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ending", targets.TABLE_FORMATS)
def test_a_table_leads_to_its_data_in_every_format(folder: Path, ending: str) -> None:
    path = str(Path(TABLE).with_suffix(f".{ending}"))
    found = lineage.trace(path)
    assert list(found.nodes) == [path, "config/paper.yaml", LIKELIHOOD, DATA, MODEL]
    assert [node.kind for node in found.nodes.values()] == ["file", "file", "analysis/likelihood", "dataset", "model"]


@pytest.mark.parametrize("ending", targets.FIGURE_FORMATS)
def test_a_figure_leads_to_its_data_in_every_format(folder: Path, ending: str) -> None:
    path = str(Path(FIGURE).with_suffix(f".{ending}"))
    assert list(lineage.trace(path).nodes) == [path, MODEL, DATA]


def test_an_analysis_leads_to_model_data_and_classifier(folder: Path) -> None:
    assert set(lineage.trace(IMPUTATION).nodes) == {IMPUTATION, MODEL, CLASSIFIER, DATA}


def test_an_absolute_path_is_the_same_file(folder: Path) -> None:
    assert lineage.trace(folder / TABLE) == lineage.trace(TABLE)


def test_the_tree_tells_run_seed_settings_versions_device_and_time_of_each_file_once(folder: Path) -> None:
    lines = lineage.as_tree(lineage.trace(TABLE), []).splitlines()
    model = store.read(MODEL).attributes
    for words in (
        f"{RUN}: MEM-VAE on digits 8x8, seed 0, 2 epochs, {model['computed']}",
        '"samples": 20',
        f"memvae {model['code_version']} on cpu: ",
        f"torch {model['packages']['torch']}",
        f"sha256 of its arrays {model['sha256']}",
        "sklearn.datasets.load_digits",
        "matplotlib",
        " s, finished 20",
    ):
        assert any(words in line for line in lines), words
    assert sum("| network" in line for line in lines) == 1
    places = [(len(line) - len(line.lstrip())) // 4 for line in lines if line.lstrip().startswith((MODEL, DATA))]
    assert places == [2, 2, 3] and lines[-1].endswith(f"{DATA}  [as above]")


def test_json_holds_the_same_files_with_their_records(folder: Path) -> None:
    result = project.memvae(folder, "trace", TABLE, "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["file"] == TABLE and set(told["files"]) == set(lineage.trace(TABLE).nodes)
    assert told["files"][TABLE]["inputs"] == {
        LIKELIHOOD: store.file_checksum(LIKELIHOOD),
        "config/paper.yaml": store.file_checksum("config/paper.yaml"),
    }
    assert told["files"][MODEL]["attributes"]["spec"]["seed"] == 0


def test_without_records_hdf5_files_still_lead_to_their_data(folder: Path) -> None:
    for record in folder.glob("results/**/*.run.json"):
        record.unlink()
    assert set(lineage.trace(IMPUTATION).nodes) == {IMPUTATION, MODEL, CLASSIFIER, DATA}
    assert verified(IMPUTATION) == []
    rewrite(MODEL, other_output)
    (line,) = verified(IMPUTATION)
    assert line.startswith(f"{MODEL}, of {IMPUTATION}: its arrays have sha256") and "(model_sha256)" in line


def test_a_second_drawing_has_the_same_bytes_and_another_record(folder: Path) -> None:
    before = {path: path.read_bytes() for path in map(Path, (TABLE, FIGURE))}
    first = json.loads(Path(f"{TABLE}.run.json").read_text())
    for stage in STAGES[-2:]:
        assert project.memvae(folder, *stage, *OPTIONS).returncode == 0
    assert {path: path.read_bytes() for path in before} == before
    second = json.loads(Path(f"{TABLE}.run.json").read_text())
    assert (first["attempts"], second["attempts"]) == (1, 2)
    assert first["outputs"] == second["outputs"] and first["inputs"] == second["inputs"]


@pytest.mark.parametrize("path", ["figures/tiny/nothing.png", "config/config.yaml"])
def test_a_file_that_is_missing_or_has_no_record_is_refused_in_one_line(folder: Path, path: str) -> None:
    result = project.memvae(folder, "trace", path)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    assert f"memvae trace: {path}: " in result.stderr and "expected" in result.stderr


# ---- the checksums ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", [TABLE, FIGURE, IMPUTATION])
def test_every_checksum_of_an_untouched_project_holds(folder: Path, path: str) -> None:
    assert verified(path) == []
    result = project.memvae(folder, "trace", path, "--verify", *OPTIONS)
    assert result.returncode == 0 and "[holds]" in result.stdout and "broken" not in result.stdout
    assert "checksums hold" in result.stderr


def test_an_edited_table_is_named(folder: Path) -> None:
    Path(TABLE).write_text(Path(TABLE).read_text().replace("-", "+", 1))
    (line,) = verified(TABLE)
    assert line.startswith(f"{TABLE}: found sha256 ") and "as its job wrote it" in line


def test_an_input_that_changed_since_is_named_with_what_was_made_of_it(folder: Path) -> None:
    rewrite(LIKELIHOOD, lambda arrays, _: arrays.update({"test/bound": arrays["test/bound"] - 1}))
    lines = verified(TABLE)
    assert len(lines) == 2
    assert lines[0].startswith(f"{LIKELIHOOD}: found sha256 ")
    assert lines[1].startswith(f"{LIKELIHOOD}, of {TABLE}: found sha256 ") and f"make {TABLE} again" in lines[1]


def test_a_model_made_again_with_the_same_weights_is_told_from_another_model(folder: Path) -> None:
    rewrite(MODEL, lambda _, attributes: attributes.update(code_version="later"))
    assert any("its arrays are the same" in line for line in verified(LIKELIHOOD))
    rewrite(MODEL, other_output)
    assert any("its arrays have sha256" in line for line in verified(LIKELIHOOD))


def test_a_model_that_tells_another_training_than_its_analysis_is_named_with_what_both_tell(folder: Path) -> None:
    def claim(_: dict, attributes: dict) -> None:
        attributes["spec"]["seed"], attributes["epoch"] = 7, 3000

    rewrite(MODEL, claim)
    lines = [line for line in verified(LIKELIHOOD) if line.startswith(f"{MODEL}, of {LIKELIHOOD}: ")]
    assert len(lines) == 1 and f"as {LIKELIHOOD} says" in lines[0]
    assert "found epoch 3000, spec.seed 7, expected epoch 2, spec.seed 0" in lines[0]
    for record in folder.glob("results/**/*.run.json"):
        record.unlink()
    assert verified(LIKELIHOOD) == lines


@pytest.mark.parametrize("path", [LIKELIHOOD, MODEL, DATA])
def test_one_flipped_bit_is_named(folder: Path, path: str) -> None:
    content = bytearray(Path(path).read_bytes())
    content[len(content) // 2] ^= 1
    Path(path).write_bytes(content)
    assert f"{path}: damaged or no memvae file; delete it and make it again" in verified(TABLE)


def test_broken_links_are_a_line_each_and_exit_code_2(folder: Path) -> None:
    Path(TABLE).write_text("nothing")
    Path(DATA).unlink()
    result = project.memvae(folder, "trace", TABLE, "--verify", *OPTIONS)
    lines = result.stderr.splitlines()
    assert result.returncode == 2 and all(line.startswith("memvae trace: ") for line in lines)
    assert [line.split()[2].rstrip(":,") for line in lines] == [TABLE, DATA, DATA]
    assert all(line.endswith("not here: cannot be verified") for line in lines[1:])
    assert f"{TABLE}  [broken]" in result.stdout and f"{DATA}  [not here: cannot be verified]" in result.stdout


# ---- the records -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("path", [TABLE, FIGURE])
def test_a_record_without_inputs_is_named(folder: Path, path: str, sealed: bool) -> None:
    edit_record(path, lambda record: record["inputs"].clear(), sealed)
    (line,) = verified(path)
    assert line.startswith(f"{path}: found no inputs in the record of its job")


@pytest.mark.parametrize(("path", "given"), [(TABLE, LIKELIHOOD), (LIKELIHOOD, MODEL), (MODEL, DATA)])
def test_a_record_that_an_input_was_deleted_from_is_named(folder: Path, path: str, given: str) -> None:
    edit_record(path, lambda record: record["inputs"].pop(given), sealed=False)
    (line,) = verified(path)
    assert line.startswith(f"{path}: found another record_sha256 in the record of its job")


@pytest.mark.parametrize("kept", [DATA, MODEL, CLASSIFIER])
def test_what_the_attributes_name_is_an_input_whatever_the_record_says(folder: Path, kept: str) -> None:
    whole = set(lineage.trace(IMPUTATION).nodes)
    edit_record(IMPUTATION, lambda record: record.update(inputs={kept: store.file_checksum(kept)}), sealed=True)
    assert set(lineage.trace(IMPUTATION).nodes) == whole and verified(IMPUTATION) == []
    for place in (MODEL, CLASSIFIER):
        rewrite(place, lambda arrays, _: arrays.update(more=arrays[min(arrays)]))
    lines = verified(IMPUTATION)
    for place, name in ((MODEL, "model_sha256"), (CLASSIFIER, "classifier_sha256")):
        assert any(line.startswith(f"{place}, of {IMPUTATION}: ") and f"({name})" in line for line in lines)


def test_what_the_attributes_name_is_not_looked_for_beside_what_the_record_names(folder: Path) -> None:
    Path("elsewhere.h5").write_bytes(Path(MODEL).read_bytes())
    store.write_run_json(LIKELIHOOD, time.monotonic(), ["elsewhere.h5", DATA], [LIKELIHOOD])
    rewrite(MODEL, other_output)
    assert set(lineage.trace(LIKELIHOOD).nodes) == {LIKELIHOOD, "elsewhere.h5", DATA}
    assert verified(LIKELIHOOD) == []


@pytest.mark.parametrize("path", [TABLE, FIGURE, LIKELIHOOD])
def test_a_record_without_a_checksum_of_an_output_is_named(folder: Path, path: str) -> None:
    if path == TABLE:
        Path(path).write_text("edited")
    edit_record(path, lambda record: record.update(outputs=dict.fromkeys(record["outputs"], "")), sealed=True)
    (line,) = verified(path)
    assert line.startswith(f"{path}: found no checksum of {path} in the record of its job")


def test_a_record_that_cannot_be_read_is_named(folder: Path) -> None:
    Path(f"{TABLE}.run.json").write_text("{")
    with pytest.raises(InputError, match=rf"^{TABLE}\.run\.json: found no record of a job, expected JSON; restore it"):
        lineage.trace(TABLE)


def test_a_file_of_another_folder_is_traced_in_that_folder_alone(folder: Path, monkeypatch) -> None:
    path = Path(TABLE).absolute()
    assert lineage.trace(path).path == TABLE
    monkeypatch.chdir("data")
    with pytest.raises(InputError, match=r"outside this folder, .*; run this in the folder of its project"):
        lineage.trace(path)


def test_a_record_without_its_own_checksum_is_older_or_was_edited(folder: Path) -> None:
    for path in (TABLE, LIKELIHOOD):
        edit_record(path, lambda record: record.pop("record_sha256"), sealed=False)
    (line,) = verified(TABLE)
    assert line.startswith(f"{TABLE}: found no record_sha256 in the record of its job")
    assert verified(LIKELIHOOD) == []  # its attributes name its inputs


@pytest.mark.parametrize("content", [{"seconds": 1}, {"inputs": {}, "outputs": {}}, {"inputs": 1, "outputs": [TABLE]}])
def test_a_record_that_names_nothing_is_no_success(folder: Path, content: dict) -> None:
    Path(f"{TABLE}.run.json").write_text(json.dumps(content))
    assert len(verified(TABLE)) == 1
    result = project.memvae(folder, "trace", TABLE, "--verify", *OPTIONS)
    assert result.returncode == 2 and "hold" not in result.stderr


@pytest.mark.parametrize(("path", "formats"), [(TABLE, targets.TABLE_FORMATS), (FIGURE, targets.FIGURE_FORMATS)])
def test_every_file_that_the_same_job_wrote_is_compared(folder: Path, path: str, formats: tuple[str, ...]) -> None:
    files = [str(Path(path).with_suffix(f".{ending}")) for ending in formats]
    for edited in files:
        content = Path(edited).read_bytes()
        Path(edited).write_bytes(content + b" ")
        for traced in files:
            (line,) = verified(traced)
            assert line.startswith(f"{edited}: found sha256 ") and "as its job wrote it" in line
        Path(edited).write_bytes(content)
    Path(files[-1]).unlink()
    assert verified(files[0]) == [f"{files[-1]}: not here: cannot be verified"]


def test_edited_pictures_and_numbers_beside_a_page_are_a_line_each(folder: Path) -> None:
    page, beside = "docs/page.md", ["docs/page/training.png", "docs/page/likelihood.csv"]
    Path("docs/page").mkdir(parents=True)
    for path in (page, *beside):
        Path(path).write_text(path)
    store.write_run_json(page, time.monotonic(), [TABLE, FIGURE], [page, *beside])
    assert verified(page) == []
    for path in beside:
        Path(path).write_text("edited")
    assert [line.split(":")[0] for line in verified(page)] == sorted(beside)
    assert len(verified(beside[0])) == 2


def test_a_forged_value_with_everything_after_it_made_again_is_not_noticed(folder: Path) -> None:
    """As docs/provenance.md says: checksums tell that files changed, not that a number is true."""
    rewrite(LIKELIHOOD, lambda arrays, _: arrays.update({"test/log_likelihood": arrays["test/log_likelihood"] + 1}))
    assert any(line.startswith(f"{LIKELIHOOD}: ") and "as its job wrote it" in line for line in verified(LIKELIHOOD))
    store.write_run_json(LIKELIHOOD, time.monotonic(), [MODEL, DATA], [LIKELIHOOD])
    assert any(line.startswith(f"{LIKELIHOOD}, of {TABLE}: ") for line in verified(TABLE))
    drawn = project.memvae(folder, *STAGES[-2], *OPTIONS)
    assert drawn.returncode == 0, drawn.stderr
    assert verified(TABLE) == []


# ---- raw files -------------------------------------------------------------------------------------------------------
RAW = "data/raw/letters/rows.txt"


@pytest.fixture
def letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """A data set made of a raw file whose rows are known by their sorted checksum; its configuration."""
    monkeypatch.chdir(tmp_path)
    Path(RAW).parent.mkdir(parents=True)
    Path(RAW).write_bytes(b"b\na\n")
    rule: dict = {"sha256_rows": "", "homes": []}
    rule["sha256_rows"] = lineage.download.checksum(Path(RAW), rule)
    facts = {
        "dataset": "letters",
        "title": "letters",
        "loader": "ocr_letters",
        "sources": {"rows.txt": rule["sha256_rows"]},
    }
    store.write("data/letters.h5", "dataset", {}, facts)
    return {"letters": {"files": {"rows.txt": rule}}}


def raw_problems(datasets: dict) -> list[str]:
    return lineage.problems(lineage.verify(lineage.trace("data/letters.h5"), lambda: datasets))


def test_a_raw_file_is_checked_by_the_rule_of_the_configuration(letters: dict) -> None:
    assert raw_problems(letters) == []
    Path(RAW).write_bytes(b"a\nb\n")  # other bytes, the same rows
    assert raw_problems(letters) == []
    Path(RAW).write_bytes(b"a\nc\n")
    (line,) = raw_problems(letters)
    assert line.startswith(f"{RAW}, of data/letters.h5: found sha256 ") and "fetch it again" in line


def test_a_configuration_that_names_another_raw_file_is_told(letters: dict) -> None:
    letters["letters"]["files"]["rows.txt"]["sha256_rows"] = "0" * 64
    (line,) = raw_problems(letters)
    assert "the configuration names sha256 000000000000" in line
    (line,) = raw_problems({"letters": {}})
    assert "the configuration has no such file of letters" in line


def test_a_missing_raw_file_cannot_be_verified(letters: dict) -> None:
    Path(RAW).unlink()
    assert raw_problems(letters) == [f"{RAW}, of data/letters.h5: not here: cannot be verified"]


def test_a_users_own_file_is_an_input_by_its_bytes(folder: Path) -> None:
    import h5py
    import numpy as np

    with h5py.File("own.h5", "w") as file:
        for split in ("train", "test"):
            file[f"{split}/images"] = np.zeros((2, 28 * 28), np.uint8)
    entry = project.TINY.datasets["digits"] | {"loader": "hdf5", "file": "own.h5"}
    result = project.memvae(folder, "prepare", "own", "--spec", json.dumps(entry), "--output", "data/own.h5")
    assert result.returncode == 0, result.stderr
    assert list(lineage.trace("data/own.h5").nodes) == ["data/own.h5", "own.h5"]
    assert verified("data/own.h5") == []
    with h5py.File("own.h5", "a") as file:
        file.attrs["changed"] = 1
    (line,) = verified("data/own.h5")
    assert line.startswith("own.h5, of data/own.h5: found sha256 ")
