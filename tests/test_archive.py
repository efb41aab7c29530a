"""An archive: the workflow's bytes come out of it, without torch; a stranger's file is refused and harms nothing."""

import contextlib
import json
import re
import stat
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import project
import pytest
import synthetic
import torch
from packaging.requirements import Requirement

from memvae.errors import InputError
from memvae.files import store
from memvae.model import trained as models
from memvae.report import archive as archives
from memvae.settings import targets

PAPER = project.ROOT / targets.PAPER_VALUES
RUN = "mnist-vae-k1-s0"
DRAWING = ("numpy", "h5py", "pandas", "matplotlib", "jinja2", "tabulate", "pyyaml")
REFUSING = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "snakemake", "scipy", "sklearn", "jsonschema"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from memvae.__main__ import main
main()
"""

Members = dict[str, bytes]


def pins() -> list[str]:
    """The packages that drawing needs, as pyproject.toml has them."""
    dependencies = tomllib.loads((project.ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found = {Requirement(entry).name: entry for entry in dependencies}
    return [found[name] for name in DRAWING]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with the likelihood and the model of one run; the current one."""
    monkeypatch.chdir(tmp_path)
    synthetic.likelihood(Path("results"), RUN, [-90.0, -91.0, -92.0])
    store.write_run_json(f"results/{RUN}/likelihood.h5", 0.0)
    synthetic.model(Path("results"), RUN)
    return tmp_path


def drawn() -> list[dict[str, Any]]:
    layout = synthetic.layout(synthetic.row("vae"))
    inputs = {"likelihood": f"results/{RUN}/likelihood.h5", "training": f"results/{RUN}/model.h5"}
    kinds = {"likelihood": "table", "training": "figure"}
    return [{"kind": kinds[name], "name": name, "layout": layout, "inputs": [path]} for name, path in inputs.items()]


@pytest.fixture
def archive(folder: Path) -> Path:
    """A sound archive of one table and one figure."""
    path = folder / "archive.zip"
    archives.write("paper", drawn(), PAPER, path)
    return path


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewrite(path: Path, members: Members, names: bool = True) -> None:
    """An archive of these members; `names`: its manifest names them all, with their sha256."""
    if names:
        manifest = json.loads(members["manifest.json"])
        others = {name: content for name, content in members.items() if name != "manifest.json"}
        manifest["members"] = {name: archives._sha256(content) for name, content in others.items()}
        members = members | {"manifest.json": json.dumps(manifest).encode()}
    path.write_bytes(archives._zip(members))


def refused(path: Path) -> str:
    """The line with which an archive is refused; nothing was drawn, and nothing written beside it."""
    before = sorted(path.parent.rglob("*"))
    result = project.memvae(project.ROOT, "redraw", str(path), "--output", str(path.parent / "redrawn"))
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 2 and len(lines) == 1, result.stderr
    assert lines[0].startswith(f"memvae redraw: {path}: ")
    assert sorted(path.parent.rglob("*")) == before
    return lines[0]


def reason(path: Path) -> str:
    """As `refused`, within this process."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(InputError) as caught:
        archives.redraw(path, path.parent / "redrawn")
    assert sorted(path.parent.rglob("*")) == before
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value)


# ---- what is in it ---------------------------------------------------------------------------------------------------
def test_analyses_are_archived_byte_for_byte_without_what_differs_between_two_runs(folder: Path, archive: Path) -> None:
    members = members_of(archive)
    assert members[f"results/{RUN}/likelihood.h5"] == (folder / f"results/{RUN}/likelihood.h5").read_bytes()
    assert not [name for name in members if name.endswith(".run.json")]
    assert members["config/paper.yaml"] == PAPER.read_bytes()


def test_of_a_model_the_curves_are_archived_and_the_weights_are_not(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        path = Path(file.extract(f"results/{RUN}/model.curves.h5", folder / "unpacked"))
    whole, rest = store.read(folder / f"results/{RUN}/model.h5"), store.read(path)
    assert rest.attributes["weights_left_out"] is True
    assert rest.attributes["model_sha256"] == whole.attributes["sha256"]
    assert rest.attributes["spec"] == whole.attributes["spec"] and rest.attributes["format"] == "memvae/model"
    assert set(rest.arrays) == {name for name in whole.arrays if name.startswith("curves/")}
    for name, value in rest.arrays.items():
        np.testing.assert_array_equal(value, whole.arrays[name])


def test_curves_are_refused_as_a_model(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        path = Path(file.extract(f"results/{RUN}/model.curves.h5", folder / "unpacked"))
    with pytest.raises(InputError, match=r"model\.curves\.h5: found the curves of a model without its weights"):
        models.load(path, torch.device("cpu"))


def test_the_manifest_names_every_target_and_member(folder: Path, archive: Path) -> None:
    members = members_of(archive)
    manifest = json.loads(members.pop("manifest.json"))
    assert (manifest["format"], manifest["version"], manifest["scale"]) == ("memvae/archive", 1, "paper")
    assert manifest["code_version"] == store.provenance()["code_version"]
    assert manifest["members"] == {name: archives._sha256(content) for name, content in members.items()}
    assert [target["layout"] for target in manifest["targets"]] == [target["layout"] for target in drawn()]
    assert [target["inputs"] for target in manifest["targets"]] == [
        [f"results/{RUN}/likelihood.h5"],
        [f"results/{RUN}/model.curves.h5"],
    ]


def test_every_table_figure_and_the_scorecard_of_all_files_is_drawn_from_the_archive() -> None:
    files = []
    for target in targets.drawn(project.TINY):
        root = {"table": "results/tiny/tables", "figure": "figures/tiny", "scorecard": "results/tiny"}[target["kind"]]
        files.append(f"{root}/{target['name']}")
    assert set(files) == {path.rsplit(".", 1)[0] for path in targets.all_files(project.TINY)}


def test_two_archives_of_the_same_files_are_the_same_bytes(folder: Path, archive: Path) -> None:
    archives.write("paper", drawn(), PAPER, folder / "again.zip")
    assert (folder / "again.zip").read_bytes() == archive.read_bytes()


def test_an_archive_over_the_limit_is_refused_with_its_biggest_member(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(archives, "MAXIMUM", 30_000)
    with pytest.raises(InputError, match=r"MB, expected at most 0; the biggest member is results/.*\.h5 with 0\.0 MB"):
        archives.write("paper", drawn(), PAPER, folder / "archive.zip")
    assert not (folder / "archive.zip").exists()


def test_a_missing_input_is_named_with_the_way_to_make_it(folder: Path) -> None:
    (folder / f"results/{RUN}/likelihood.h5").unlink()
    with pytest.raises(InputError, match=rf"results/{RUN}/likelihood\.h5: not found.*snakemake --cores 1"):
        archives.write("paper", drawn(), PAPER, folder / "archive.zip")


# ---- what comes out of it --------------------------------------------------------------------------------------------
def test_table_and_figure_are_drawn_from_members(folder: Path, archive: Path) -> None:
    manifest = archives.redraw(archive, folder / "redrawn")
    found = {path.relative_to(folder / "redrawn").as_posix() for path in (folder / "redrawn").rglob("*.*")}
    tables, figures = (f"tables/likelihood.{kind}" for kind in targets.TABLE_FORMATS), ("png", "pdf")
    assert found == {*tables, *(f"figures/training.{kind}" for kind in figures)}
    assert manifest.scale == "paper" and "-91" in (folder / "redrawn/tables/likelihood.csv").read_text()


def test_redrawing_needs_no_torch_snakemake_scipy_sklearn_jsonschema(folder: Path, archive: Path) -> None:
    command = (sys.executable, "-c", REFUSING, "redraw", str(archive))
    result = project.run(folder, *command, PYTHONPATH=str(project.ROOT))
    assert result.returncode == 0, result.stderr
    assert (folder / "redrawn/figures/training.pdf").exists() and (folder / "redrawn/tables/likelihood.tex").exists()


@project.on_the_tiny_dag
def test_the_workflows_archive_gives_the_workflows_bytes(finished: Path, tmp_path: Path) -> None:
    made = project.tiny(finished, "results/tiny/archive.zip")
    assert made.returncode == 0, made.stderr[-3000:]
    archive = finished / "results/tiny/archive.zip"
    options = ("--configfile", str(project.ROOT / "tests/tiny.yaml"), "--output", str(tmp_path / "again.zip"))
    assert project.memvae(finished, "archive", *options).returncode == 0
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    result = project.memvae(tmp_path, "redraw", str(archive), PYTHONPATH=str(project.ROOT))
    assert result.returncode == 0, result.stderr
    assert "bytes may differ" not in result.stderr
    assert_same_bytes(finished, tmp_path / "redrawn")


@pytest.mark.slow
@project.on_the_tiny_dag
def test_an_environment_without_torch_gives_the_workflows_bytes(finished: Path, tmp_path: Path) -> None:
    """Needs a package index."""
    archive = tmp_path / "archive.zip"
    options = ("--configfile", str(project.ROOT / "tests/tiny.yaml"), "--output", str(archive))
    assert project.memvae(finished, "archive", *options).returncode == 0
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = str(tmp_path / "env/bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pins()], check=True)
    command = [python, "-m", "memvae", "redraw", str(archive), "--output", str(tmp_path / "redrawn")]
    result = project.run(finished, *command, PYTHONPATH="")
    assert result.returncode == 0, result.stderr
    assert subprocess.run([python, "-c", "import torch"], capture_output=True).returncode != 0
    assert_same_bytes(finished, tmp_path / "redrawn")


def assert_same_bytes(finished: Path, redrawn: Path) -> None:
    """The folder holds the files of the tiny workflow and no other."""
    roots = (f"{project.TINY.results}/", ""), (f"{project.TINY.figures}/", "figures/")
    files = {}
    for path in targets.all_files(project.TINY):
        root, here = next((root, here) for root, here in roots if path.startswith(root))
        files[here + path.removeprefix(root)] = finished / path
    assert {path.relative_to(redrawn).as_posix() for path in redrawn.rglob("*") if path.is_file()} == set(files)
    for name, path in files.items():
        assert (redrawn / name).read_bytes() == path.read_bytes(), name


def test_the_readmes_command_installs_what_pyproject_pins() -> None:
    (command,) = re.findall(
        r"^pip install (numpy.*?)(?: #.*)?$", (project.ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert command.replace("'", "").split() == pins()


# ---- refusals --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "a\\x", "C:/x", "./x", "a//x", "x/", ".x", "a\nx"])
def test_a_member_outside_the_folder_is_refused(archive: Path, name: str) -> None:
    rewrite(archive, members_of(archive) | {name: b"x"})
    assert "expected a plain path below" in reason(archive)


def test_a_member_that_the_manifest_does_not_name_is_refused(archive: Path) -> None:
    rewrite(archive, members_of(archive) | {"extra.txt": b"x"}, names=False)
    assert "found the member extra.txt, which its manifest does not name" in refused(archive)


def test_a_member_that_is_not_there_is_named(archive: Path) -> None:
    members = members_of(archive)
    del members[f"results/{RUN}/likelihood.h5"]
    rewrite(archive, members, names=False)
    assert f"has no member 'results/{RUN}/likelihood.h5'" in reason(archive)


def test_a_wrong_checksum_is_refused(archive: Path) -> None:
    members = members_of(archive)
    rewrite(archive, members | {"config/paper.yaml": members["config/paper.yaml"] + b"\n"}, names=False)
    assert "config/paper.yaml: damaged (not the sha256 of the manifest)" in refused(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_doubled_member_is_refused(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("config/paper.yaml", "x")
    assert "found the member config/paper.yaml twice" in reason(archive)


def test_a_link_is_refused(archive: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(entry, "/etc")
    assert "link: found a link" in reason(archive)


def test_a_member_that_is_also_a_folder_is_refused(archive: Path) -> None:
    rewrite(archive, members_of(archive) | {"config/paper.yaml/x": b"x"})
    assert "config/paper.yaml/x: cannot be written (File exists)" in reason(archive)


def test_a_compressed_member_is_refused_before_it_is_unpacked(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(10_000_000))
    assert "zeros: found it compressed" in reason(archive)


def test_a_declared_size_over_the_limit_is_refused_before_it_is_read(archive: Path, monkeypatch: Any) -> None:
    content = bytearray(archive.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 24  # the size when unpacked of the last entry of the directory
    content[place : place + 4] = (4_000_000_000).to_bytes(4, "little")
    archive.write_bytes(content)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    assert "found 4000.0 MB when unpacked, expected at most 20" in reason(archive)


def test_a_file_over_the_limit_is_refused_before_it_is_opened(archive: Path) -> None:
    with open(archive, "r+b") as file:
        file.truncate(archives.MAXIMUM + 1)
    assert "found 20.0 MB, expected at most 20" in reason(archive)


def test_a_truncated_archive_is_refused_wherever_it_ends(archive: Path) -> None:
    content = archive.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 30, len(content) - 1):
        archive.write_bytes(content[:length])
        assert "damaged or no zip file" in reason(archive)


def test_a_flipped_byte_changes_no_member_unnoticed(archive: Path) -> None:
    """Some bytes, as those of time stamps, are under no checksum."""
    content, members = archive.read_bytes(), members_of(archive)
    for place in np.random.default_rng(0).integers(len(content), size=100):
        flipped = bytearray(content)
        flipped[place] ^= 0xFF
        archive.write_bytes(flipped)
        unpacked = archive.parent / f"flipped{place}"
        with contextlib.suppress(InputError):
            manifest = archives.unpack(archive, unpacked)
            assert {name: (unpacked / name).read_bytes() for name in manifest.members}.items() <= members.items()


def test_what_is_no_archive_is_refused(archive: Path) -> None:
    archive.write_bytes(b"not a zip")
    assert "damaged or no zip file" in refused(archive)
    archive.unlink()
    assert "not found" in reason(archive)


def test_without_a_manifest_it_is_no_archive(archive: Path) -> None:
    members = members_of(archive)
    del members["manifest.json"]
    rewrite(archive, members, names=False)
    assert "has no manifest.json" in reason(archive)


def change(**keys: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest.update(keys)


def change_target(**keys: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["targets"][0].update(keys)


@pytest.mark.parametrize(
    ("changing", "expected"),
    [
        (change(version=2), "found version 2, expected at most 1; update memvae"),
        (change(version="1"), "found version '1'"),
        (change(format="other"), "expected the format memvae/archive"),
        (change(more=1), "found the unknown key 'more'"),
        (change(targets={}), "manifest.json.targets: found {}, expected list"),
        (change(members={}), "manifest.json.members: the key 'config/paper.yaml' is missing"),
        (change_target(kind="page"), "targets[0].kind: found 'page', expected one of table, figure, scorecard"),
        (change_target(name="../../x"), "targets[0].name: found '../../x', expected one of table3"),
        (change_target(inputs=["/etc/passwd"]), "targets[0].inputs: found '/etc/passwd', which is no member"),
        (change_target(inputs=[{}]), "targets[0].inputs: found {}, which is no member"),
        (change_target(layout={}), "targets[0].layout: the key 'scale' is missing"),
    ],
)
def test_a_newer_or_wrong_manifest_is_refused_by_its_key(archive: Path, changing: Any, expected: str) -> None:
    members = members_of(archive)
    manifest = json.loads(members["manifest.json"])
    changing(manifest)
    rewrite(archive, members | {"manifest.json": json.dumps(manifest).encode()}, names=False)
    assert expected in reason(archive)


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff\xfe\xfd", b"[]"])
def test_a_manifest_that_is_no_json_object_is_refused(archive: Path, content: bytes) -> None:
    rewrite(archive, members_of(archive) | {"manifest.json": content}, names=False)
    assert "manifest.json: " in reason(archive)


def test_arrays_over_the_limit_are_refused_before_they_are_read(archive: Path) -> None:
    with h5py.File("big.h5", "w") as file:
        file.create_dataset("zeros", shape=(10**12,), chunks=(10**6,), compression="gzip", dtype="u1")
        file.attrs.update({"format": "memvae/analysis/likelihood", "format_version": 1, "sha256": ""})
    rewrite(archive, members_of(archive) | {f"results/{RUN}/likelihood.h5": Path("big.h5").read_bytes()})
    assert f"results/{RUN}/likelihood.h5: zeros: found 1,000,000,000,000 bytes, expected at most" in reason(archive)


def test_arrays_that_lie_in_other_files_are_refused(archive: Path) -> None:
    with h5py.File("outside.h5", "w") as file:
        file.create_dataset("secret", shape=(8,), dtype="u1", external=[("/etc/hostname", 0, 8)])
        file.attrs.update({"format": "memvae/analysis/likelihood", "format_version": 1, "sha256": ""})
    rewrite(archive, members_of(archive) | {f"results/{RUN}/likelihood.h5": Path("outside.h5").read_bytes()})
    assert "secret: found other things than numbers in the file itself" in reason(archive)


def test_arrays_that_cannot_be_drawn_are_refused_in_one_line(archive: Path) -> None:
    arrays = store.read(f"results/{RUN}/likelihood.h5").arrays | {"test/log_likelihood": np.zeros((2, 3, 4), bool)}
    path = synthetic.write(Path("other"), RUN, "analysis/likelihood", arrays, {"samples": "x"})
    rewrite(archive, members_of(archive) | {f"results/{RUN}/likelihood.h5": path.read_bytes()})
    with pytest.raises(InputError, match="table likelihood cannot be drawn"):
        archives.redraw(archive, archive.parent / "redrawn")
