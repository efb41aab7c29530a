"""A thousand runs: planned, and drawn by the rules' own commands. A command line alone holds some hundred."""

import json
import os
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import project
import pytest
import synthetic

from memvae.settings import config as configuration

pytestmark = pytest.mark.release  # most of it is writing thousands of files
RUNS = 1000
LONGEST_ARGUMENT = 128 * 1024  # bytes of one word of a command line on Linux
ROOT = "results/quick"


def overlay(folder: Path, **changes: Any) -> configuration.Config:
    """The configuration of scale=quick with some changes, which the workflow finds in `changes.json`."""
    (folder / "changes.json").write_text(json.dumps({"scale": "quick"} | changes))
    return configuration.load(project.ROOT / "config/config.yaml", extra=[folder / "changes.json"])


def draw(folder: Path, **wanted: str) -> None:
    """Runs these rules, and no others, on the files that there are; rule=its target."""
    options = ("--configfile", "changes.json", "--rerun-triggers", "mtime", "--allowed-rules", *wanted)
    result = project.snakemake(folder, *wanted.values(), *options)
    assert result.returncode == 0, result.stderr[-3000:]


def plan(folder: Path, target: str) -> Path:
    (path,) = (folder / ".snakemake/memvae/plans/quick").glob(f"{target}-*.json")
    return path


def model(folder: Path, run: str, level: float) -> None:
    written = synthetic.model(folder / "written", run, level)
    (folder / ROOT / "models").mkdir(exist_ok=True, parents=True)
    written.rename(folder / ROOT / "models" / f"{run}.h5")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose files need not survive a power cut: waiting for the disk is most of writing thousands."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    return project.make(tmp_path / "project")


def test_table_and_figure_of_a_thousand_models_are_drawn(folder: Path) -> None:
    own = [{"dataset": "mnist", "model": "mem_vae", "k": k} for k in range(2, RUNS + 2)]
    config = overlay(folder, runs={"own": own})
    runs = config.runs("appendix", "own")
    for place, run in enumerate(runs):
        synthetic.likelihood(folder / ROOT / "evaluation", run, np.array([-90.0, -91.0, -92.0]) + place / RUNS)
        model(folder, run, -90 + place / RUNS)
    draw(folder, table_likelihood=f"{ROOT}/tables/likelihood.csv", figure_training="figures/quick/training.png")
    table = pd.read_csv(folder / ROOT / "tables/likelihood.csv")
    assert (table.kind == "value").sum() == len(runs) == RUNS + 6
    assert table.log_likelihood[: len(runs)].iloc[-1] == pytest.approx(-91 + (len(runs) - 1) / RUNS)
    high, wide = matplotlib.image.imread(folder / "figures/quick/training.png").shape[:2]
    assert high < wide, "the legend is as long as the list of runs"
    for target in ("likelihood", "training"):
        assert plan(folder, target).stat().st_size > LONGEST_ARGUMENT


def test_scorecard_of_a_thousand_runs_is_their_mean_and_spread(folder: Path) -> None:
    seeds = 200  # of six models
    config = overlay(folder, seeds=list(range(seeds)))
    assert len(config.runs("appendix")) >= RUNS
    evaluation = folder / ROOT / "evaluation"
    for row in config.rows("appendix"):
        for seed, run in enumerate(row.runs):
            synthetic.likelihood(evaluation, run, np.array([-90.0, -92.0]) + seed)
    for row in config.analysis_rows("probing"):
        for run in row.runs:
            synthetic.probing(evaluation, run, right=36, right_svc=36)
    for row in config.analysis_rows("slots"):
        for seed, run in enumerate(row.runs):
            synthetic.slots(evaluation, run, seed=seed)
    synthetic.parameters(evaluation, {"mnist-vae": 100})
    draw(folder, scorecard=f"{ROOT}/scorecard.csv")
    card = pd.read_csv(folder / ROOT / "scorecard.csv")
    (line,) = card[(card.table == "likelihood") & (card.row == "mnist-vae-k1")].to_dict("records")
    assert line["seeds"] == seeds
    assert float(line["ours"]) == pytest.approx(-91 + (seeds - 1) / 2)
    assert line["spread"] == pytest.approx(np.arange(seeds).std(ddof=1))
    assert plan(folder, "scorecard").stat().st_size > LONGEST_ARGUMENT
