"""Away from its own folder: in a folder of the user's own, and as a module of the user's own workflow."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import project
import pytest
import scipy.io
import yaml

from memvae.settings import config as configuration
from memvae.settings import readme, targets

TINY = yaml.safe_load((project.ROOT / "tests/tiny.yaml").read_text())
CODE = "0.0.0.clone"  # the version of the clone's code; another one is installed
FIG7, TABLE4 = "figures/tiny/fig7.png", "results/tiny/tables/table4.csv"
WORKFLOW = """
rule first:
    input:
        {result!r},
    output:
        "first.txt",
    shell:
        "head -n 2 {{input}} > {{output}}"


module paper:
    snakefile:
        "memvae/Snakefile"
    {prefix}
    config:
        {config!r}


use rule * from paper as paper_*
"""


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A folder of the user's own, with a clone in it that has another version than the code that is installed."""
    clone = project.make(tmp_path / "user/memvae")
    (clone / "memvae").unlink()
    shutil.copytree(project.ROOT / "memvae", clone / "memvae", ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "memvae/__init__.py").write_text(f'{(clone / "memvae/__init__.py").read_text()}\n__version__ = "{CODE}"\n')
    return clone.parent


def snakemake(user: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return project.snakemake(user, *arguments, PYTHONPATH="")


def as_module(user: Path, config: Any = TINY, prefix: str = "", result: str = TABLE4) -> None:
    """Writes the user's own workflow."""
    line = f"prefix: {prefix!r}" if prefix else ""
    (user / "Snakefile").write_text(WORKFLOW.format(config=config, prefix=line, result=f"{prefix}{result}"))


def code_of(path: Path) -> str:
    """The version of the code that made an HDF5 file."""
    with h5py.File(path) as file:
        return str(file.attrs["code_version"])


# ---- in a folder of the user's own -----------------------------------------------------------------------------------
def test_results_are_made_in_the_users_folder_by_the_clones_code(user: Path, finished: Path, tmp_path: Path) -> None:
    clone, folder = user / "memvae", user / "mine"
    (folder / "config").mkdir(parents=True)
    (folder / "config/config.yaml").write_text(yaml.safe_dump(TINY))  # laid over the clone's
    before = sorted(clone.iterdir())
    where = ("--snakefile", str(clone / "Snakefile"), "--directory", str(folder))
    made = snakemake(tmp_path, *where, FIG7, TABLE4)
    assert made.returncode == 0, made.stderr[-3000:]
    project.same_bytes(folder, finished, [FIG7])
    assert code_of(folder / "results/tiny/models/digits-vis_mem_vae-k1-s0.h5").startswith(CODE)
    assert sorted(clone.iterdir()) == before and not (tmp_path / "results").exists()

    report = snakemake(tmp_path, *where, FIG7, "--report", "report.html")  # of what is there
    assert report.returncode == 0, report.stderr[-3000:]
    page = (folder / "report.html").read_text()
    assert "Figure 7" in page and (project.ROOT / "workflow/report/style.css").read_text()[:200] in page
    unnamed = snakemake(tmp_path, *where, "--report", "other.html")
    assert "marked for report but does not exist" in unnamed.stderr

    planned = snakemake(tmp_path, *where, "results/quick/tables/table3.csv", "-n", "--config", "scale=quick")
    assert planned.returncode == 0, planned.stderr  # the command line wins over the folder's configuration


def test_the_command_line_finds_the_configuration_in_any_folder(tmp_path: Path, monkeypatch: Any) -> None:
    result = project.memvae(tmp_path, "cost", "figures/demo/fig7.png", "--scale", "demo", PYTHONPATH=str(project.ROOT))
    assert result.returncode == 0 and "scale=demo" in result.stdout, result.stderr
    monkeypatch.chdir(tmp_path)
    assert configuration.load().scale == "paper"
    Path("config").mkdir()
    Path("config/config.yaml").write_text("scale: quick\nseeds: [0, 1]")
    assert configuration.load().scale == "quick" and len(configuration.load().runs("appendix")) == 12


# ---- as a module -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("prefix", ["", "paper/"])
def test_a_rule_of_the_users_own_uses_a_result(user: Path, finished: Path, prefix: str) -> None:
    as_module(user, prefix=prefix)
    made = snakemake(user)  # the user's first rule is the default target
    assert made.returncode == 0, made.stderr[-3000:]
    assert (user / "first.txt").read_text().splitlines() == (finished / TABLE4).read_text().splitlines()[:2]
    model = "results/tiny/models/digits-vis_mem_vae-k1-s0.h5"
    assert code_of(user / f"{prefix}{model}").startswith(CODE)
    assert sorted(path.name for path in user.iterdir() if not path.name.startswith(".")) == sorted(
        ["Snakefile", "first.txt", "memvae", *(["paper"] if prefix else ["data", "logs", "results"])]
    )
    again = snakemake(user, "-n")
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.release
def test_below_a_prefix_every_target_is_made(user: Path, finished: Path) -> None:
    as_module(user, prefix="paper/")
    wanted = [*targets.all_files(project.TINY), targets.report_page(project.TINY), "results/tiny/archive.zip"]
    made = snakemake(user, *(f"paper/{path}" for path in wanted), f"paper/{targets.PAGE}")
    assert made.returncode == 0, made.stderr[-3000:]
    project.same_bytes(user / "paper", finished, [path for path in wanted if path.endswith((".png", ".tex"))])
    drawn = project.memvae(user, "redraw", "paper/results/tiny/archive.zip", PYTHONPATH=str(user / "memvae"))
    assert drawn.returncode == 0, drawn.stderr
    assert (user / "redrawn/tables/table4.csv").read_bytes() == (finished / TABLE4).read_bytes()


def test_below_a_prefix_raw_files_are_put_and_found(user: Path) -> None:
    faces = np.zeros((560, 1965), np.uint8)
    (user / "raw").mkdir()
    scipy.io.savemat(user / "raw/frey_rawface.mat", {"ff": faces})
    sha256 = hashlib.sha256((user / "raw/frey_rawface.mat").read_bytes()).hexdigest()
    dataset = {"files": {"frey_rawface.mat": {"sha256": sha256}}}
    as_module(user, {"data_folder": "raw", "datasets": {"frey_faces": dataset}}, "of paper/", "data/frey_faces.h5")
    made = snakemake(user, "of paper/data/frey_faces.h5")
    assert made.returncode == 0, made.stderr[-3000:]
    assert (user / "of paper/data/raw/frey_faces/frey_rawface.mat").exists() and not (user / "data").exists()


def test_a_file_of_the_users_own_is_not_looked_for_below_the_prefix(user: Path) -> None:
    with h5py.File(user / "mine.h5", "w") as file:
        for part in ("train", "test"):
            file[f"{part}/images"] = np.zeros((200, 28, 28), np.uint8)
    dataset = {"loader": "hdf5", "file": "mine.h5"}
    as_module(user, {**TINY, "datasets": {"digits": dataset}}, "paper/", "data/digits.h5")
    planned = snakemake(user, "-n")
    assert planned.returncode == 0, planned.stderr[-3000:]
    assert str(user / "mine.h5") in planned.stdout + planned.stderr


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"scale": "dmeo"}, ["scale", "'dmeo'", "demo"]),
        ({"sedes": [1]}, ["unknown key 'sedes'", "seeds"]),
        (["demo"], ["the module's config", "['demo']", "mapping"]),
    ],
)
def test_a_wrong_config_of_a_module_is_refused_in_one_line(user: Path, config: Any, expected: list[str]) -> None:
    as_module(user, config)
    result = snakemake(user, "-n")
    lines = [line for line in result.stderr.splitlines() if line.startswith("memvae: ")]
    assert result.returncode == 2 and len(lines) == 1 and "Traceback" not in result.stderr, result.stderr
    for words in expected:
        assert words in lines[0]


# ---- what the catalogue of workflows reads ---------------------------------------------------------------------------
def test_the_readme_of_the_configuration_is_up_to_date() -> None:
    written = (project.ROOT / readme.README).read_text()
    assert written == readme.text(), "write it again: python -m memvae.settings.readme"


def test_the_readme_has_the_meaning_of_every_key() -> None:
    rows = [line.split(" | ") for line in readme.text().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    for row in rows:
        assert len(row) == 4 and all(cell.strip(" |") for cell in row), row
