"""`scale=published` takes the models of models/ where other scales train."""

import re

import pandas as pd
import project
import pytest
from test_data_prepare import real_folder

from memvae.settings import config

PUBLISHED = config.load(overrides={"scale": "published"})
PAPER = config.load(overrides={"scale": "paper"})
FILES = sorted(config.PUBLISHED.glob("*.h5"))
OCR = "ocr_letters-vae-k1-s0"


def test_its_runs_are_those_of_the_published_files_and_of_the_papers_specification():
    runs = PUBLISHED.runs("appendix", "extended")
    assert sorted(runs) == sorted(f"{path.stem}-k1-s0" for path in FILES) and runs
    assert [row.model for row in PUBLISHED.rows("appendix")] == [row.model for row in PAPER.rows("appendix")]
    for run in runs:
        assert PUBLISHED.spec(run) == PAPER.spec(run)
    assert not PUBLISHED.plans  # an ablation has no published models


def test_nothing_is_trained(tmp_path):
    folder = project.make(tmp_path / "published")
    result = project.snakemake(folder, "-n", "--config", "scale=published")
    assert result.returncode == 0, result.stderr
    jobs = dict(line.split() for line in result.stdout.splitlines() if line.startswith(("published ", "train ")))
    assert jobs == {"published": str(len(FILES))}


@pytest.mark.parametrize("run", ["ocr_letters-vae-k1-s1", "ocr_letters-vae-k5-s0"])
def test_a_run_without_a_published_model_is_refused_by_name(tmp_path, run):
    folder = project.make(tmp_path / "published")
    wanted = f"{run}: found no published model, expected one of"
    result = project.snakemake(folder, f"results/published/models/{run}.h5", "--config", "scale=published")
    assert result.returncode == 2 and wanted in result.stderr and OCR in result.stderr
    result = project.memvae(folder, "published", run, "--scale", "published")
    assert result.returncode == 2 and wanted in result.stderr


def test_a_model_of_another_specification_is_refused_by_its_first_difference(tmp_path):
    folder = project.make(tmp_path / "published")
    (folder / "own.yaml").write_text("datasets: {ocr_letters: {network: {slots: 9}}}\ntraining: {decay: 0.99}\n")
    result = project.memvae(folder, "published", OCR, "--scale", "published", "--configfile", "own.yaml")
    assert result.returncode == 2
    assert "found spec.training.decay 0.998 where the configuration has 0.99; expected" in result.stderr
    assert not (folder / "results").exists()


@pytest.mark.slow
def test_tables_come_from_a_published_model_and_trace_ends_in_it(tmp_path):
    """On the real data, with few images; the log-likelihood is the card's within what few images leave open."""
    if not all((real_folder() / name).is_dir() for name in ("mnist", "ocr_letters")):
        pytest.skip("no real data; name a folder of downloaded files in MEMVAE_DATA_FOLDER")
    folder = project.make(tmp_path / "published")
    (folder / "few.yaml").write_text("scales: {published: {analyses: {likelihood: {images: 40, train_images: 40}}}}\n")
    table = "results/published/tables/likelihood.csv"
    options = ["--configfile", "few.yaml", "--config", "scale=published"]
    result = project.snakemake(folder, table, *options, MEMVAE_DATA_FOLDER=str(real_folder()))
    assert result.returncode == 0, result.stderr[-3000:]
    assert (folder / f"results/published/models/{OCR}.h5").read_bytes() == (
        config.PUBLISHED / "ocr_letters-vae.h5"
    ).read_bytes()
    rows = pd.read_csv(folder / table, index_col="row")
    row = rows.loc["ocr_letters-vae-k1"]
    assert abs(float(row.log_likelihood) + 30.37) < 4 * float(row.standard_error)  # the card's, of 10,000 images
    traced = project.memvae(folder, "trace", table, "--json")
    assert traced.returncode == 0, traced.stderr
    assert re.search(r'"(?!results/)[^"]*models/ocr_letters-vae\.h5"', traced.stdout)
