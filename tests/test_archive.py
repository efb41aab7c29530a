"""An archive: the workflow's bytes come out of it, without torch; a stranger's file is refused and harms nothing."""

import json
import subprocess
import sys
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

from memvae.errors import InputError
from memvae.files import store
from memvae.model import trained as models
from memvae.operations import trace
from memvae.report import archive as archives
from memvae.settings import config, targets

PAPER = project.ROOT / targets.PAPER_VALUES
RUN = "mnist-vae-k1-s0"
PUBLISHED = project.ROOT / "docs/results/published"
published = pytest.mark.skipif(not PUBLISHED.exists(), reason="no archive of the published models yet")
REFUSING = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "snakemake", "scipy", "sklearn", "jsonschema", "tabulate"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from memvae.__main__ import main
main()
"""


def drawn() -> list[dict[str, Any]]:
    layout = synthetic.layout(synthetic.row("vae"))

    def target(kind: str, name: str, analysis: str, path: str) -> dict[str, Any]:
        part = {"analysis": analysis, "module": "", "layout": layout, "inputs": [f"results/{RUN}/{path}"]}
        return {"kind": kind, "name": name, "parts": [part]}

    return [
        target("table", "likelihood", "likelihood", "likelihood.h5"),
        target("figure", "training", "curves", "model.h5"),
    ]


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound archive of one table and one figure, in the project's folder, the current one."""
    monkeypatch.chdir(tmp_path)
    synthetic.likelihood(Path("results"), RUN, [-90.0, -91.0, -92.0])
    synthetic.model(Path("results"), RUN)
    archives.write("paper", drawn(), PAPER, Path("archive.zip"))
    return tmp_path / "archive.zip"


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewrite(path: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> None:
    """The archive with other members; the manifest names them all with their sha256, unless it is changed too."""
    members = members_of(path)
    manifest = json.loads(members.pop("manifest.json"))
    change(members, manifest)
    manifest["members"] = {name: archives._sha256(content) for name, content in members.items()}
    members["manifest.json"] = json.dumps(manifest).encode()
    path.write_bytes(archives._zip(members))


def refused(path: Path) -> str:
    """The line with which an archive is refused; nothing was drawn, and nothing written beside it."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(InputError) as caught:
        archives.redraw(path, path.parent / "redrawn")
    assert sorted(path.parent.rglob("*")) == before
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value)


# ---- what is in it ---------------------------------------------------------------------------------------------------
def test_analyses_are_archived_byte_for_byte_and_models_without_weights(archive: Path) -> None:
    members = members_of(archive)
    assert members[f"results/{RUN}/likelihood.h5"] == Path(f"results/{RUN}/likelihood.h5").read_bytes()
    assert members["config/paper.yaml"] == PAPER.read_bytes()
    Path("curves.h5").write_bytes(members[f"results/{RUN}/model.curves.h5"])
    whole, rest = store.read(f"results/{RUN}/model.h5"), store.read("curves.h5")
    assert rest.attributes["model_sha256"] == whole.attributes["sha256"]
    assert set(rest.arrays) == {name for name in whole.arrays if name.startswith("curves/")}
    with pytest.raises(InputError, match="found the curves of a model without its weights"):
        models.load(Path("curves.h5"), torch.device("cpu"))


def test_the_same_files_give_the_same_bytes(archive: Path) -> None:
    archives.write("paper", drawn(), PAPER, Path("again.zip"))
    assert Path("again.zip").read_bytes() == archive.read_bytes()


def test_the_workflows_bytes_come_out_without_torch_snakemake_or_scipy(finished: Path, tmp_path: Path) -> None:
    assert project.tiny(finished, "results/tiny/archive.zip").returncode == 0
    command = [sys.executable, "-c", REFUSING, "redraw", "results/tiny/archive.zip", "--output", str(tmp_path / "out")]
    result = subprocess.run(command, cwd=finished, env=project.environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == len([path for path in targets.all_files(project.TINY)])
    for path in files:
        place = "figures/tiny" if path.parent.name == "figures" else "results/tiny"
        folder = "tables/" if path.parent.name == "tables" else ""
        assert path.read_bytes() == (finished / place / f"{folder}{path.name}").read_bytes(), path


def test_an_archive_over_its_limit_is_not_written(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAXIMUM", 1000)
    with pytest.raises(InputError, match="expected at most 0"):
        archives.write("paper", drawn(), PAPER, Path("large.zip"))
    assert not Path("large.zip").exists()


def test_a_redrawn_file_is_traced_to_its_archive(archive: Path) -> None:
    def verified(path: str) -> tuple[int, str]:
        result = project.memvae(archive.parent, "trace", "--verify", path)
        return result.returncode, result.stdout + result.stderr

    assert project.memvae(archive.parent, "redraw", "archive.zip").returncode == 0
    for path in ("redrawn/tables/likelihood.md", "redrawn/figures/training.png"):
        code, text = verified(path)
        assert code == 0 and "archive.zip  [holds]" in text, text
    with open("redrawn/tables/likelihood.md", "a") as file:
        file.write("0")
    code, text = verified("redrawn/tables/likelihood.md")
    assert code == 2 and "likelihood.md: found sha256" in text
    archive.write_bytes(archive.read_bytes() + b"0")
    code, text = verified("redrawn/figures/training.png")
    assert code == 2 and "archive.zip, of redrawn/figures/training.png: found sha256" in text


# ---- the published run -----------------------------------------------------------------------------------------------
@published
def test_the_published_files_come_out_of_their_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = store.read_record(PUBLISHED / "archive")
    if made["packages"] != (packages := store.provenance(names=store.DRAWING)["packages"]):
        pytest.skip(f"made with {made['packages']}, here are {packages}")
    _, again = archives.redraw(PUBLISHED / "archive.zip", tmp_path)
    names = {path.relative_to(tmp_path) for path in again}
    kept = {path.relative_to(PUBLISHED) for path in PUBLISHED.rglob("*.*") if not path.name.startswith("archive.")}
    assert names == kept
    assert [name for name in sorted(names) if (tmp_path / name).read_bytes() != (PUBLISHED / name).read_bytes()] == []
    monkeypatch.chdir(project.ROOT)
    for name in names:
        lineage = trace.trace((PUBLISHED / name).relative_to(project.ROOT))
        assert len(lineage.nodes) == 2 and trace.problems(trace.verify(lineage, dict)) == [], name


@published
def test_the_published_analyses_are_of_the_published_models(tmp_path: Path) -> None:
    manifest = archives.unpack(PUBLISHED / "archive.zip", tmp_path)
    assert (tmp_path / targets.PAPER_VALUES).read_bytes() == PAPER.read_bytes()
    facts = [store.read(tmp_path / name).attributes for name in manifest.members if name.endswith(".h5")]
    analysed = {one["spec"]["run"]: one["model_sha256"] for one in facts if "model_sha256" in one}
    files = {f"{path.stem}-k1-s0": store.read(path).attributes["sha256"] for path in config.PUBLISHED.glob("*.h5")}
    assert analysed == files
    assert all(one["model_sha256"] == files[one["spec"]["run"]] for one in facts if "model_sha256" in one)


# ---- what is refused -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "a/../../b", ".hidden", "a\\b", "C:/x", "a//b", "results/", "é", "a b"]
)
def test_a_member_that_would_leave_the_folder_or_hide_is_refused(archive: Path, name: str) -> None:
    rewrite(archive, lambda members, _: members.update({name: b"x"}))
    assert "expected plain files" in refused(archive)


def test_compressed_and_doubled_members_are_refused(archive: Path) -> None:
    content = members_of(archive)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in content.items():
            file.writestr(name, value)
    assert "expected plain files" in refused(archive)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(archive, "w") as file:
        for _ in range(2):
            file.writestr("manifest.json", content["manifest.json"])
    assert "each once" in refused(archive)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda members, manifest: manifest.update(version=99), "found memvae/archive 99"),
        (lambda members, manifest: manifest.update(format="other"), "found other"),
        (lambda members, manifest: manifest.update(targets=3), "something else than targets"),
        (lambda members, manifest: manifest["targets"][0].update(name="../x"), "something else than targets"),
        (lambda members, manifest: manifest["targets"][0].update(kind="program"), "something else than targets"),
        (lambda members, manifest: manifest["targets"][0].update(parts=[{}]), "something else than targets"),
        (lambda members, manifest: manifest["targets"][0]["parts"][0].update(inputs=["none.h5"]), "is no member"),
        (lambda members, manifest: manifest["targets"][0]["parts"][0].update(module="os:path"), "does not name"),
        (lambda members, manifest: manifest["targets"][0]["parts"][0].update(analysis="os"), "analyses.os"),
        (lambda members, manifest: manifest["targets"][0]["parts"][0].update(layout={}), "is missing"),
        (lambda members, manifest: members.pop("config/paper.yaml"), "something else than targets"),
        (lambda members, manifest: members.update({f"results/{RUN}/likelihood.h5": b"no HDF5"}), "damaged"),
        (lambda members, manifest: members.update({"config/paper.yaml": b"[]"}), "paper.yaml"),
    ],
)
def test_a_manifest_or_a_member_that_is_amiss_is_refused(archive: Path, change: Any, words: str) -> None:
    rewrite(archive, change)
    assert words in refused(archive)


def test_a_changed_member_is_named(archive: Path) -> None:
    members = members_of(archive)
    members[f"results/{RUN}/likelihood.h5"] += b"x"
    archive.write_bytes(archives._zip(members))
    assert f"results/{RUN}/likelihood.h5: missing or damaged" in refused(archive)


def test_arrays_that_would_fill_the_memory_are_refused(archive: Path) -> None:
    """A small file can hold zeros without end."""
    with h5py.File("bomb.h5", "w") as file:
        file.attrs.update({"format": "memvae/analysis/likelihood", "format_version": 1, "sha256": "0"})
        file.create_dataset("zeros", (10**9,), np.float64, compression="gzip", fillvalue=0.0)
    content = Path("bomb.h5").read_bytes()
    rewrite(archive, lambda members, _: members.update({f"results/{RUN}/likelihood.h5": content}))
    assert "expected at most" in refused(archive)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken"])
def test_what_is_no_archive_is_refused_by_the_command(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    result = project.memvae(project.ROOT, "redraw", str(tmp_path / "a.zip"), "--output", str(tmp_path / "out"))
    assert result.returncode == 2 and len(result.stderr.strip().splitlines()) == 1
    assert "damaged or no zip file" in result.stderr
