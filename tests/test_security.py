"""What comes from outside is data: it is never run, and never writes where it should not."""

import ast
import pickle
import re
from pathlib import Path
from typing import Any

import faults
import h5py
import numpy as np
import project
import pytest
import yaml

from memvae.data import formats, loaders
from memvae.errors import InputError
from memvae.files import store
from memvae.report import archive

SOURCES = sorted(
    path
    for folder in ("memvae", "benchmarks", "profiles", "workflow", "docs/example")
    for path in (project.ROOT / folder).rglob("*.py")
)
RULES = [project.ROOT / "Snakefile", *sorted((project.ROOT / "workflow/rules").glob("*.smk"))]
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle"}
UNSAFE_CALLS |= {"os.system", "os.popen", "eval", "exec", "compile", "__import__"}


# ---- the package's own code -----------------------------------------------------------------------------------------
def unsafe(source: str) -> list[str]:
    """Everything in a Python source that runs what it is given: pickles, eval, a shell."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            found += [name for name in modules if name.split(".")[0] in UNSAFE_MODULES]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            allowed = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name in UNSAFE_CALLS or allowed.get("shell") == "True":
                found.append(name)
            if name in ("np.load", "numpy.load") and allowed.get("allow_pickle", "False") != "False":
                found.append(name)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(project.ROOT)))
def test_no_code_loads_a_pickle_or_runs_what_it_is_given(path: Path) -> None:
    assert unsafe(path.read_text()) == []


def test_every_value_in_a_shell_command_is_quoted() -> None:
    """Names of tables, figures and analyses are constants of the code; everything else has `:q`."""
    constants = {"params.table", "params.card", "params.figure", "params.options"}  # the last quotes each word itself
    source = "\n\n".join(path.read_text() for path in RULES) + "\n\n"
    shells = re.findall(r"\n +shell:\n(.*?)\n\n", source, re.DOTALL)
    assert len(shells) == source.count("shell:")
    fields = [field for text in shells for field in re.findall(r"(?<!\{)\{([^{}]+)\}", text)]
    assert len(fields) > 30
    assert {field for field in fields if not field.endswith(":q")} <= constants


# ---- hostile names ---------------------------------------------------------------------------------------------------
HOSTILE = "$(touch pwned1) `touch pwned2`; touch pwned3 & 'a' \"b\" | touch pwned4 > pwned5 *"


def pwned(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("pwned[0-9]*")]


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, str]:
    """A project in a folder of a hostile name, with own data of a hostile file name and title; its changes, YAML."""
    folder = project.make(tmp_path / HOSTILE)
    images = np.random.default_rng(0).integers(0, 256, (120, 4, 4), dtype=np.uint8)
    path = folder / f"{HOSTILE}.h5"
    with h5py.File(path, "w") as file:
        file["train/images"], file["test/images"] = images, images[:20]
    entry = {
        "title": f"{HOSTILE} {{log}} {{0}} {{{{",
        "loader": "hdf5",
        "file": path.name,
        "image": [4, 4],
        "likelihood": "bernoulli",
        "binarise": "each_epoch",
        "network": {"hidden": [6], "latent": 3, "slots": [4]},
        "training": {"epochs": 2, "batch_size": 20, "constant_epochs": 1},
    }
    changes = {
        "data_folder": str(folder),
        "datasets": {"own": entry},
        "models": {"mem_vae": {"title": HOSTILE}},
        "runs": {"own": [{"dataset": "own", "model": "mem_vae", "k": 1}]},
        "scales": {"tiny": {"title": HOSTILE}},
    }
    return folder, yaml.safe_dump(changes)


TARGETS = ("results/tiny/evaluation/own-mem_vae-k1-s0/likelihood.h5", "results/tiny/tables/table3.md")


def test_hostile_names_run_nothing(hostile: tuple[Path, str]) -> None:
    folder, changes = hostile
    with faults.injected("hostile folder, file name and titles", "workflow"):
        result = project.tiny(folder, *TARGETS, changes=changes)
        assert result.returncode == 0, result.stderr[-3000:]
        assert store.read(folder / TARGETS[0], "analysis/likelihood").attributes["spec"]["dataset"] == "own"
        assert not pwned(folder.parent, project.ROOT)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["results/models/$(touch pwned1)-vae-k1-s0.h5"], "$(touch pwned1)-vae-k1-s0"),
        (["figures/$(touch pwned1).png"], "$(touch pwned1).png"),
        (["--config", "scale=$(touch pwned1)"], "$(touch pwned1)"),
        (["--config", "datasets={'x;touch pwned1': {}}"], "x;touch pwned1"),
        (["--config", "datasets={'digits': {'file': '{input} $(touch pwned1)'}}"], "{input} $(touch pwned1)"),
    ],
)
def test_a_hostile_target_or_option_is_refused_before_any_job(tmp_path: Path, words: list[str], expected: str) -> None:
    folder = project.make(tmp_path / "project")
    with faults.injected("hostile target or option", "workflow"):
        result = project.snakemake(folder, *words)
        assert result.returncode != 0 and expected in result.stderr and "Traceback" not in result.stderr
        assert not pwned(folder, project.ROOT) and not (folder / "results").exists()


# ---- hostile files ---------------------------------------------------------------------------------------------------
class Payload:
    """Unpickled, it makes the file `pwned1`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("pwned1", "w")


def npy_with_pickle(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.array([Payload()], dtype=object), allow_pickle=True)


READERS = {
    "store": lambda path: store.read(path),
    "own data": lambda path: loaders.load({"loader": "hdf5", "file": str(path)}, path.parent),
    "mat": formats.frey_mat,
    "idx": formats.idx_images,
    "rows": lambda path: formats.binary_rows(path, 16),
    "archive": lambda path: archive.redraw(path, path.parent / "redrawn"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pickle", "npy"])
def test_a_pickle_in_the_place_of_any_file_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.mat"
    if kind == "npy":
        npy_with_pickle(path)
    else:
        path.write_bytes(pickle.dumps(Payload()))
    with faults.injected(f"{kind} that runs code", reader):
        with pytest.raises(InputError, match=re.escape(str(path))):
            READERS[reader](path)
        assert not pwned(tmp_path)


def external_storage(file: h5py.File, other: Path) -> None:
    file.create_dataset("train/images", (3, 16), "u1", external=[(str(other), 0, 48)])


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((3, 16), "u1")
    layout[:] = h5py.VirtualSource(str(other), "images", (3, 16))
    file.create_virtual_dataset("train/images", layout)


def external_link(file: h5py.File, other: Path) -> None:
    file["train/images"] = h5py.ExternalLink(str(other), "images")


def references(file: h5py.File, other: Path) -> None:
    file.create_dataset("train/images", (3,), h5py.ref_dtype)


def objects(file: h5py.File, other: Path) -> None:
    file.create_dataset("train/images", data=["some", "text"], dtype=h5py.string_dtype())


@pytest.mark.parametrize("make", [external_storage, virtual, external_link, references, objects])
def test_own_data_with_anything_but_numbers_of_its_own_are_refused(tmp_path: Path, make: Any) -> None:
    """A checksum of the file would not be one of the data, and the data could be any file of this machine."""
    other, path = tmp_path / "other.h5", tmp_path / "own.h5"
    with h5py.File(other, "w") as file:
        file["images"] = np.ones((3, 16), np.uint8)
    with h5py.File(path, "w") as file:
        file["test/images"] = np.ones((3, 16), np.uint8)
        make(file, other)
    with faults.injected(f"HDF5 {make.__name__.replace('_', ' ')}", "own data"):
        with pytest.raises(InputError, match="train/images") as caught:
            loaders.load({"loader": "hdf5", "file": str(path)}, tmp_path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_own_data_that_claim_more_memory_than_there_is_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "train/images", (1 << 24, 1 << 24), "u1", chunks=(1, 1 << 16)
        )  # 256 TB, of which none is there
    with faults.injected("HDF5 array of 256 TB", "own data"), pytest.raises(InputError, match=r"own\.h5"):
        loaders.load({"loader": "hdf5", "file": str(path)}, tmp_path)
