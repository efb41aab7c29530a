"""The command line: one subcommand per stage, and expected failures in one line with exit code 2."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import project
import pytest

from memvae.files import store
from memvae.settings import registry
from memvae.settings.spec import STAGES as VERSIONS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return project.make(tmp_path / "project")


def refused(folder: Path, *arguments: str, **variables: str) -> str:
    """The one line with which a command fails."""
    result = project.memvae(folder, *arguments, **variables)
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 2 and len(lines) == 1, result.stderr
    assert lines[0].startswith((f"memvae {arguments[0]}: ", f"memvae {arguments[1]}: "))
    return lines[0]


def test_help_lists_every_stage_and_the_analyses(folder: Path) -> None:
    result = project.memvae(folder, "--help")
    assert set(VERSIONS) < set(re.findall(r"^    (\w+)\b", result.stdout, re.MULTILINE))
    listed = project.memvae(folder, "analyse", "--help").stdout
    assert all(name in listed for name in registry.shipped())


def test_an_analysis_is_a_subcommand_too(folder: Path) -> None:
    line = refused(folder, "slots", "digits-mem_vae-k1-s0", "--scale", "demo")
    assert "results/demo/models/digits-mem_vae-k1-s0.h5" in line
    assert "expected one of" in refused(folder, "analyse", "nothing", "digits-mem_vae-k1-s0").replace("nothing", "")


def test_a_missing_data_set_says_how_to_make_it(folder: Path) -> None:
    line = refused(folder, "train", "mnist-vae-k1-s0")
    assert "data/mnist.h5" in line and "snakemake" in line


def test_a_raw_file_outside_its_folder_is_refused(folder: Path) -> None:
    entry = '{"sha256": "%s", "homes": []}' % ("0" * 64)
    line = refused(folder, "download", "mnist", "--file", "../../x", "--spec", entry)
    assert "--file" in line and "'../../x', expected the name of a file" in line


def test_an_unknown_table_figure_or_scorecard_names_those_there_are(folder: Path) -> None:
    for command, known in (("table", "likelihood"), ("figure", "fig7"), ("scorecard", "scorecard_extended")):
        assert known in refused(folder, command, "nothing")


def test_outside_the_project_its_configuration_is_found_beside_the_code(tmp_path: Path) -> None:
    assert "data/mnist.h5: not found" in refused(tmp_path, "train", "mnist-vae-k1-s0", PYTHONPATH=str(project.ROOT))


def test_without_the_project_the_configuration_is_asked_for(tmp_path: Path) -> None:
    shutil.copytree(project.ROOT / "memvae", tmp_path / "installed/memvae")
    alone = str(tmp_path / "installed")
    assert "config/config.yaml: not found" in refused(tmp_path, "train", "mnist-vae-k1-s0", PYTHONPATH=alone)


def test_a_model_and_data_that_do_not_belong_together_are_refused(folder: Path) -> None:
    """A likelihood on other data than the model was trained on would look right and be wrong."""
    options = ("--configfile", str(project.ROOT / "tests/tiny.yaml"))
    assert project.memvae(folder, "prepare", "digits", *options).returncode == 0
    assert project.memvae(folder, "train", "digits-vae-k1-s0", *options).returncode == 0
    data = store.read(folder / "data/digits.h5", "dataset")
    arrays = data.arrays | {"test/images": np.flip(data.arrays["test/images"], 1)}
    kept = {key: value for key, value in data.attributes.items() if key not in ("format", "format_version", "sha256")}
    store.write(folder / "data/digits.h5", "dataset", arrays, kept)
    assert "sha256" in refused(folder, "likelihood", "digits-vae-k1-s0", *options)
    assert not (folder / "results/tiny/evaluation").exists()


def test_a_reader_that_has_seen_enough_ends_a_command_silently(folder: Path) -> None:
    """As `| head` does."""
    words = [sys.executable, "-m", "memvae", "cost", "results/tables/table3.csv"]
    with subprocess.Popen(
        words, cwd=folder, env=project.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE
