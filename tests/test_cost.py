"""What a target still needs, and what each number comes from: own benchmarks first, then those of the shipped table."""

import json
from dataclasses import replace
from pathlib import Path

import project
import pytest

from memvae.files import store
from memvae.operations import cost, forecast, resources
from memvae.settings import config as configuration
from memvae.settings import targets

PAPER = configuration.load(project.ROOT / "config/config.yaml")
RUN = "mnist-mem_vae-k1-s0"
TRAIN = ("train", {"run": RUN})
FORMULA = cost.seconds(PAPER, *TRAIN)
JOB = resources.Job("train", RUN, "long", 400.0, 300.0, 1000.0, 200.0, 20.0, "a machine")


def need(*jobs: tuple[str, dict[str, str]], own=(), others=(JOB,)) -> forecast.Need:
    (found,) = forecast.needs(PAPER, list(jobs or [TRAIN]), list(own), list(others))
    return found


def test_the_formula_is_scaled_by_the_processor_time_of_the_median_measured_job() -> None:
    slower = replace(JOB, name="mnist-vae-k1-s0", cpu_seconds=320.0)
    resumed = replace(JOB, name="mnist-large_vae-k1-s0", cpu_seconds=130.0)  # measured from its last start alone
    found = need(others=(JOB, slower, resumed))
    assert found.seconds == pytest.approx(1.5 * FORMULA)
    assert found.source == "formula times 1.50, as 3 measured elsewhere"


def test_a_short_job_says_nothing_about_the_formula() -> None:
    """Snakemake samples processor times, so that those of short jobs are too small."""
    found = need(others=(replace(JOB, seconds=160.0, cpu_seconds=30.0),))
    assert found.seconds == FORMULA and found.source.startswith("formula alone")


def test_own_jobs_of_a_rule_come_before_those_of_another_machine() -> None:
    found = need(own=[replace(JOB, scale="quick", cpu_seconds=150.0)])
    assert found.seconds == pytest.approx(0.75 * FORMULA)
    assert found.source == "formula times 0.75, as 1 measured here"


def test_long_jobs_that_ran_on_both_machines_scale_what_was_measured_elsewhere() -> None:
    probing = replace(JOB, rule="probing")
    figure = replace(JOB, rule="figure", name="fig7", seconds=2.0)
    short = replace(JOB, rule="slots", cpu_seconds=3.0)
    own = [replace(probing, cpu_seconds=900.0), replace(short, cpu_seconds=90.0, seconds=900.0)]
    found = need(own=own, others=(JOB, probing, short))
    assert found.seconds == pytest.approx(3 * 1.5 * FORMULA)
    assert found.source.endswith("elsewhere, times 3.00 (1 jobs ran on both machines)")
    assert need(("fig7", {}), own=own, others=(figure, probing)).seconds == pytest.approx(6.0)


def test_disk_is_that_of_the_same_model_whatever_its_seed_else_the_largest() -> None:
    other = replace(JOB, name="mnist-vae-k1-s0", disk_mb=30.0)
    assert need(("train", {"run": "mnist-mem_vae-k5-s3"}), others=(JOB, other)).disk_mb == 20.0
    assert need(("train", {"run": "ocr_letters-vae-k1-s0"}), others=(JOB, other)).disk_mb == 30.0
    assert need(others=(replace(JOB, disk_mb=0.0),)).disk_mb is None


def test_analyses_are_told_from_their_tables() -> None:
    jobs = [
        ("likelihood", {"run": RUN}),
        ("table_likelihood", {}),
        ("table3", {}),
        ("figure_training", {}),
        ("fig7", {}),
    ]
    jobs += [("scorecard", {}), ("download", {"dataset": "mnist", "file": "a.gz"}), ("all", {})]
    found = {one.kind: one.jobs for one in forecast.needs(PAPER, jobs, [], list(resources.measured()))}
    assert found == {"likelihood": 1, "table": 2, "figure": 2, "scorecard": 1, "download": 1}


def test_the_shipped_table_has_the_size_of_every_job_but_those_that_kept_no_file() -> None:
    without = {job.name for job in resources.measured() if not job.disk_mb}
    assert without == {"mnist-mem_vae-k5-s0", "mnist-mem_vae-k50-s0"}
    sizes = {job.name: job.disk_mb for job in resources.measured() if (job.rule, job.scale) == ("train", "quick")}
    assert 20 < sizes[RUN] < 30  # a model and its state, docs/scaling.md


@pytest.mark.parametrize(
    ("record", "count"),
    [
        ({"processor": store.processor()}, 1),
        ({"processor": store.processor(), "epochs_earlier": 0}, 1),
        ({"processor": store.processor(), "epochs_earlier": 20}, 0),
        ({"processor": "another"}, 0),
        ({}, 0),
        (None, 0),
    ],
)
def test_benchmarks_count_where_the_record_of_their_file_names_this_machine_and_a_whole_training(
    tmp_path: Path, record, count: int
) -> None:
    results = tmp_path / "results/quick"
    for place, text in {
        f"benchmarks/train/{RUN}.tsv": "s\tmax_rss\tcpu_time\n300.0\t900.0\t290.0\n",
        "benchmarks/train/mnist-gone-k1-s0.tsv": "s\tmax_rss\tcpu_time\n300.0\t900.0\t290.0\n",
        "benchmarks/figure/fig7.tsv": "s\tmax_rss\tcpu_time\n0.5\tNA\tNA\n",
        f"models/{RUN}.h5": "x" * 1000,
    }.items():
        (results / place).parent.mkdir(parents=True, exist_ok=True)
        (results / place).write_text(text)
    (tmp_path / "results/gone/benchmarks").mkdir(parents=True)
    if record is not None:
        (results / f"models/{RUN}.h5.run.json").write_text(json.dumps(record))
    config = project.ROOT / "config/config.yaml"
    found = forecast.here(tmp_path / "results", lambda scale: configuration.load(config, {"scale": scale}))
    assert len(found) == count
    for job in found:
        assert (job.name, job.scale, job.seconds, job.cpu_seconds, job.disk_mb) == (RUN, "quick", 300.0, 290.0, 0.001)


def test_a_job_leaves_the_files_that_the_targets_name() -> None:
    every = [("table", name) for name in targets.TABLES] + [("figure", name) for name in targets.FIGURES]
    every.append(("scorecard", "scorecard"))
    named = {path for kind, name in every for path in targets.files(PAPER, kind, name)}
    assert named == set(targets.all_files(PAPER))


def test_cost_tells_jobs_time_disk_and_source_of_a_target(tmp_path: Path) -> None:
    result = project.memvae(project.make(tmp_path / "project"), "cost", "figures/fig7.png")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "8 jobs, 1 of them trainings" in lines[1] and "MB of" in lines[1] and "on a GPU: not measured" in lines[1]
    assert {line.split()[1] for line in lines[3:8]} == {"download", "prepare", "train", "slots", "figure"}
    assert all("measured elsewhere" in line for line in lines[3:8])
