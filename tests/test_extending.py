"""docs/extending.md: its commands run, in a copy of the project with small numbers. The shipped files are shown."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import pandas as pd
import pytest
import yaml

from memvae.settings.config import merge

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs/extending.md").read_text()
DOCUMENTS = DOCUMENT + (ROOT / "docs/files.md").read_text()
NOT_SHOWN = "show.py"  # of the example analysis: a page long
EXAMPLES = sorted(path for path in (ROOT / "docs/example").rglob("*.*") if path.suffix in (".py", ".yaml"))
PARTS = ("config", "docs", "memvae", "profiles", "workflow")

# Nets and epochs small, one model of the appendix: the commands are those of the document, the work is not.
SMALL_NETWORK = {"hidden": [8, 8], "latent": 4, "slots": [3, 2]}
SMALL_TRAINING = {"epochs": 2, "constant_epochs": 1, "batch_size": 100}
SMALL_ANALYSES = {
    "likelihood": {"samples": 5, "images": 10, "bound_draws": 2, "train_images": 20},
    "convergence": {"samples": 5, "images": 10},
    "samples": {"samples": 64, "images": 10},
    "detail": {"draws": 5, "images": 10, "samples": 5, "bound_draws": 2},
    "encoding": {"images": 10, "samples": 5, "bound_draws": 2},
    "missing": {"iterations": 3, "burn_in": 1, "images": 10, "samples": 4},
}
SMALL_ABLATION = {"seeds": [0], "epochs": 2, "axes": {"slots": [[3, 2], 0], "attention": None, "composition": None}}
APPENDIX = [{"dataset": "mnist", "model": model, "k": 1} for model in ("vae", "mem_vae")]
SMALL_CONFIG = {
    "datasets": {"digits": {"network": SMALL_NETWORK, "training": SMALL_TRAINING}},
    "runs": {"appendix": APPENDIX},
    "analyses": {name: {"models": ["mem_vae"]} for name in ("generation", "detail", "slots", "encoding", "probing")}
    | {"imputation": {"models": ["vae", "mem_vae"]}},  # Figure 8 compares two
    "scales": {"demo": {"epochs": {"digits": 2}, "analyses": SMALL_ANALYSES, "ablations": {"memory": SMALL_ABLATION}}},
}
SMALL_STRIPES = {
    "datasets": {"stripes": {"network": SMALL_NETWORK, "training": SMALL_TRAINING}},
    "runs": {"appendix": APPENDIX},
    "scales": {"stripes": {"analyses": SMALL_ANALYSES}},
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_document_shows_the_shipped_file(path):
    language = {".yaml": "yaml", ".py": "python"}[path.suffix]
    if path.name != NOT_SHOWN:
        assert f"```{language}\n{path.read_text()}```" in DOCUMENTS
    assert f"({path.relative_to(ROOT / 'docs')})" in DOCUMENTS


def test_commands_for_a_new_model_work(tmp_path):
    commands = _commands("A new model")
    assert sum(command.startswith("snakemake ") for command in commands) == 2
    output = _run(tmp_path, commands)
    table = pd.read_csv(tmp_path / "results/demo/tables/likelihood.csv").set_index("row")
    assert table.loc["mnist-soft_mem_vae-k1", "runs"] == "digits-soft_mem_vae-k1-s0"
    assert float(table.loc["mnist-soft_mem_vae-k1", "log_likelihood"]) < 0
    assert "SOFT-MEM-VAE" in output  # the printed table
    with h5py.File(tmp_path / "results/demo/models/digits-soft_mem_vae-k1-s0.h5") as model:
        spec = model.attrs["spec"]
        slots = [model[f"weights/memory.{level}.M"].shape[0] for level in (0, 1)]
    variant = yaml.safe_load((ROOT / "docs/example/variant.yaml").read_text())["models"]["soft_mem_vae"]
    assert slots == variant["slots"] and '"attention": "softmax"' in spec and '"composition": "mlp"' in spec


def test_commands_for_new_data_work(tmp_path):
    commands = _commands("New data")
    assert sum(command.startswith("snakemake ") for command in commands) == 3
    output = _run(tmp_path, commands)
    table = pd.read_csv(tmp_path / "results/stripes/tables/likelihood.csv").set_index("row")
    assert table.loc["mnist-mem_vae-k1", "data"] == "stripes"
    assert float(table.loc["mnist-mem_vae-k1", "log_likelihood"]) < 0
    assert "figures/stripes/fig7.png" in output  # planned by the dry run
    with h5py.File(tmp_path / "data/stripes.h5") as data:  # made twice: by the function, then from the file
        assert data["train/images"].shape == (1000, 256)
        assert "stripes.h5" in data.attrs["sources"]


def test_commands_for_an_ablation_work(tmp_path):
    output = _run(tmp_path, _commands("An ablation"))
    assert "## learning rate" in output and "Memory " in output
    table = pd.read_csv(tmp_path / "results/demo/tables/ablation_memory.csv")
    rates = table[table.axis == "learning rate"]
    assert rates.label.tolist() == ["0.0003", "0.003"] and rates.equal_gain.notna().all()
    assert (tmp_path / "figures/demo/ablation_gains_memory.png").stat().st_size > 10_000


MADE = ("measurements.csv", "report/index.html", "archive.zip")


def test_an_analysis_of_ones_own_is_part_of_everything(tmp_path):
    """From one folder and one block of YAML: job, table, figure, measurements, report page, archive, trace, cost."""
    options = "--configfile docs/example/distances.yaml --config scale=demo"
    commands = [
        *_commands("A new analysis"),
        f"snakemake --cores 2 {' '.join(f'results/demo/{name}' for name in MADE)} {options}",
        "memvae redraw results/demo/archive.zip --configfile docs/example/distances.yaml --scale demo",
        "memvae trace figures/demo/distance_histogram.png --verify --scale demo",
        "memvae cost results/demo/tables/distances.csv --configfile docs/example/distances.yaml --scale demo",
        "snakemake --report report.html " + options,
    ]
    output = _run(tmp_path, commands)
    assert "| VAE | within classes |" in output and "results/demo/models/digits-vae-k1-s0.h5" in output
    measured = pd.read_csv(tmp_path / "results/demo/measurements.csv")
    assert len(measured[(measured.quantity == "distance") & (measured.unit == "latent units")]) == 4
    for path in ("tables/distances.csv", "tables/distances.tex"):
        assert (tmp_path / "redrawn" / path).read_bytes() == (tmp_path / "results/demo" / path).read_bytes()
    figure = (tmp_path / "figures/demo/distance_histogram.png").read_bytes()
    assert (tmp_path / "redrawn/figures/distance_histogram.png").read_bytes() == figure
    page = (tmp_path / "results/demo/report/index.html").read_text()
    assert "With memory the classes lie further apart" in page


def _section(title: str) -> str:
    """The text of a section of the document, up to the next heading of the same level."""
    sections = re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)
    return next(section for section in sections if section.startswith(f"{title}\n"))


def _commands(title: str) -> list[str]:
    """The commands of a section, one per line of its bash blocks, in their order."""
    blocks = re.findall(r"^```bash\n(.*?)^```", _section(title), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def _run(folder: Path, commands: list[str]) -> str:
    """Runs the commands, as they stand in the document, in a small copy of the project; what they print."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("Snakefile", "environment.yml"):
        shutil.copy(ROOT / part, folder)
    _shrink(folder / "config/config.yaml", SMALL_CONFIG)
    _shrink(folder / "docs/example/stripes.yaml", SMALL_STRIPES)
    memvae = folder / "bin/memvae"  # what installing the project puts beside its python
    memvae.parent.mkdir()
    memvae.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from memvae.__main__ import main; main()" "$@"\n')
    memvae.chmod(memvae.stat().st_mode | stat.S_IXUSR)
    path = os.pathsep.join([str(memvae.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "MEMVAE_"))}
    environment |= {"PATH": path, "MEMVAE_DEVICE": "cpu"}
    script = "\n".join(["set -e", *commands])
    result = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout


def _shrink(path: Path, changes: dict) -> None:
    path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), changes)))
