"""An archive: the workflow's bytes come out of it, without torch; a foreign path, size or checksum is refused."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

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


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound archive of one figure, in the project's folder, the current one."""
    monkeypatch.chdir(tmp_path)
    synthetic.model(Path("results"), RUN)
    layout = synthetic.layout(synthetic.row("vae"))
    part = {"analysis": "curves", "module": "", "layout": layout, "inputs": [f"results/{RUN}/model.h5"]}
    archives.write("paper", [{"kind": "figure", "name": "training", "parts": [part]}], PAPER, Path("archive.zip"))
    return tmp_path / "archive.zip"


def rewrite(path: Path, change: Any) -> None:
    """The archive with other members; `change` gets them and the manifest, which names them all with their sha256."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    change(members, manifest)
    manifest["members"] = archives._sums(members) | manifest["members"]
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {**members, "manifest.json": json.dumps(manifest)}.items():
            file.writestr(name, content)


def test_the_workflows_bytes_come_out_without_torch_snakemake_or_scipy(finished: Path, tmp_path: Path) -> None:
    assert project.tiny(finished, "results/tiny/archive.zip").returncode == 0
    command = [sys.executable, "-c", REFUSING, "redraw", "results/tiny/archive.zip", "--output", str(tmp_path / "out")]
    result = subprocess.run(command, cwd=finished, env=project.environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != "archive.run.json"]
    assert len(files) == len(targets.all_files(project.TINY))
    for path in files:
        place = "figures/tiny" if path.parent.name == "figures" else "results/tiny"
        folder = "tables/" if path.parent.name == "tables" else ""
        assert path.read_bytes() == (finished / place / f"{folder}{path.name}").read_bytes(), path


def test_a_redrawn_file_is_traced_to_its_archive(archive: Path) -> None:
    def verified(path: str) -> tuple[int, str]:
        result = project.memvae(archive.parent, "trace", "--verify", path)
        return result.returncode, result.stdout + result.stderr

    assert project.memvae(archive.parent, "redraw", "archive.zip").returncode == 0
    for path in ("redrawn/figures/training.png", "redrawn/figures/training.pdf"):
        code, text = verified(path)
        assert code == 0 and "archive.zip" in text, text
    with open("redrawn/figures/training.pdf", "a") as file:
        file.write("0")
    code, text = verified("redrawn/figures/training.pdf")
    assert code == 2 and "redrawn/figures/training.pdf: not what was recorded" in text, text
    archive.write_bytes(archive.read_bytes() + b"0")
    code, text = verified("redrawn/figures/training.png")
    assert code == 2 and "archive.zip" in text and "not what was recorded" in text, text


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
        assert len(lineage) == 2 and trace.problems(trace.verify(lineage)) == [], name


@published
def test_the_published_analyses_are_of_the_published_models(tmp_path: Path) -> None:
    manifest = archives._unpack(PUBLISHED / "archive.zip", tmp_path)
    assert (tmp_path / targets.PAPER_VALUES).read_bytes() == PAPER.read_bytes()
    facts = [store.read(tmp_path / name).attributes for name in manifest["members"] if name.endswith(".h5")]
    analysed = {one["spec"]["run"]: one["model_sha256"] for one in facts if "model_sha256" in one}
    files = {f"{path.stem}-k1-s0": store.read(path).attributes["sha256"] for path in config.PUBLISHED.glob("*.h5")}
    assert analysed == files
    assert all(one["model_sha256"] == files[one["spec"]["run"]] for one in facts if "model_sha256" in one)


def test_a_model_is_archived_without_weights(archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        Path("curves.h5").write_bytes(file.read(f"results/{RUN}/model.curves.h5"))
    whole, rest = store.read(f"results/{RUN}/model.h5"), store.read("curves.h5")
    assert rest.attributes["model_sha256"] == whole.attributes["sha256"]
    assert set(rest.arrays) == {name for name in whole.arrays if name.startswith("curves/")}
    with pytest.raises(InputError, match="found the curves of a model without its weights"):
        models.load(Path("curves.h5"), torch.device("cpu"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda members, manifest: members.update({"../outside": b"x"}), "leaves its folder"),
        (lambda members, manifest: members.update({"/etc/passwd": b"x"}), "leaves its folder"),
        (lambda members, manifest: members.update({"large": bytes(archives.MAXIMUM)}), "MB"),
        (lambda members, manifest: manifest["members"].update({"config/paper.yaml": "0"}), "paper.yaml: .*damaged"),
        (lambda members, manifest: manifest.update(version=99), "found memvae/archive 99"),
        (lambda members, manifest: manifest["targets"][0].update(name="../x"), "not made of members"),
        (lambda members, manifest: manifest["targets"][0]["parts"][0].update(inputs=["/etc/passwd"]), "not made of"),
        (lambda members, manifest: manifest["targets"][0]["parts"][0].update(module="os:path"), "--configfile"),
        (lambda members, manifest: manifest["targets"][0].update(parts=[{}]), "module"),
    ],
)
def test_what_is_amiss_is_refused_in_one_line_before_anything_is_drawn(archive: Path, change: Any, words: str) -> None:
    rewrite(archive, change)
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(InputError, match=words) as caught:
        archives.redraw(archive, archive.parent / "redrawn")
    assert sorted(archive.parent.rglob("*")) == before
    assert str(caught.value).startswith(f"{archive}: ") and "\n" not in str(caught.value)
