"""What jobs ask of a scheduler is enough for every job that was measured, and comes from those measurements."""

import csv
import itertools
from pathlib import Path

import project
import pytest

from benchmarks import measured as benchmark
from memvae.errors import InputError
from memvae.operations import resources
from memvae.settings import config as configuration

CONFIG = project.ROOT / "config/config.yaml"
SCALES = ("long", "quick", "demo")
JOBS = [job for job in resources.measured() if job.scale in SCALES]


def wildcards(job: resources.Job) -> dict[str, str]:
    return {"run" if configuration.RUN_NAME.fullmatch(job.name) else "dataset": job.name}


def test_every_rule_that_computes_was_measured() -> None:
    wanted = {"train", "classifier", "likelihood", "generation", "detail", "slots", "imputation", "probing", "prepare"}
    assert wanted <= {job.rule for job in JOBS}


@pytest.mark.parametrize("rule", sorted({job.rule for job in resources.measured()}))
def test_memory_is_above_every_measured_peak_but_not_many_times(rule: str) -> None:
    peak = max(job.memory_mb for job in resources.measured() if job.rule == rule)
    asked = resources.memory_mb(rule)
    assert peak + resources.SNAKEMAKE_MB < asked < 2 * peak + 1000
    assert [resources.memory_mb(rule, attempt) for attempt in (2, 3, 9)] == [2 * asked, 3 * asked, 3 * asked]


@pytest.mark.parametrize("scale", SCALES)
def test_run_time_is_enough_for_every_measured_job_but_not_many_times(scale: str) -> None:
    """Also for a job that shared its core with others, as some of these did: the clock's seconds count here."""
    config = configuration.load(CONFIG, {"scale": scale})
    for job in (job for job in JOBS if job.scale == scale):
        asked = resources.minutes(config, job.rule, wildcards(job))
        assert job.seconds / 60 < asked <= max(resources.LEAST_MINUTES, 6 * job.cpu_seconds / 60), job


def test_estimates_of_long_jobs_are_within_a_factor_of_two_of_what_was_measured() -> None:
    for scale, jobs in itertools.groupby(JOBS, key=lambda job: job.scale):
        config = configuration.load(CONFIG, {"scale": scale})
        for job in jobs:
            estimate = resources.cost.seconds(config, job.rule, wildcards(job))
            if estimate > resources.cost.PAYS_BACK:
                assert 0.5 < job.cpu_seconds / estimate < 2, job


def test_run_time_of_a_training_is_the_same_for_each_attempt_and_the_users_limit_caps_all(monkeypatch) -> None:
    config = configuration.load(CONFIG)
    job = ("train", {"run": "mnist-mem_vae-k50-s0"})
    assert resources.minutes(config, *job, attempt=2) == resources.minutes(config, *job) > 10000  # it goes on
    other = ("likelihood", job[1])
    assert resources.minutes(config, *other, attempt=2) == 2 * resources.minutes(config, *other)
    monkeypatch.setenv("MEMVAE_MAX_MINUTES", "1200")
    assert [resources.minutes(config, *job, attempt=attempt) for attempt in (1, 2, 3)] == [1200] * 3
    assert resources.minutes(config, "slots", {"run": "mnist-vae-k1-s0"}) == resources.LEAST_MINUTES
    for wrong in ("0", "a day", "-5"):
        monkeypatch.setenv("MEMVAE_MAX_MINUTES", wrong)
        with pytest.raises(InputError, match=f"MEMVAE_MAX_MINUTES: found '{wrong}', expected the minutes"):
            resources.minutes(config, *job)


def test_benchmark_files_become_rows(tmp_path: Path, capsys, monkeypatch) -> None:
    results = tmp_path / "quick"
    row = "s\th:m:s\tmax_rss\tmax_vms\tio_in\tio_out\tmean_load\tcpu_time\n{}\t0:00:02\t{}\t-\t-\t-\t-\t{}\n"
    for path, numbers in {"train/mnist-vae-k1-s0.tsv": (301.5, 900.25, 290), "parameters.tsv": (1.5, 80, 1)}.items():
        (results / "benchmarks" / path).parent.mkdir(parents=True, exist_ok=True)
        (results / "benchmarks" / path).write_text(row.format(*numbers))
    output = tmp_path / "measured.csv"
    monkeypatch.chdir(project.ROOT)
    monkeypatch.setattr("sys.argv", ["measured", str(results), "--machine", "a, b", "--output", str(output)])
    assert benchmark.main() == 0
    parameters, train = csv.DictReader(output.open())
    assert (parameters["rule"], parameters["name"], parameters["memory_mb"]) == ("parameters", "parameters", "80.0")
    assert (train["rule"], train["scale"], train["seconds"], train["machine"]) == ("train", "quick", "301.5", "a, b")
    assert 200 < float(train["estimated_seconds"]) < 600
    monkeypatch.setattr("sys.argv", ["measured", str(tmp_path / "demo"), "--machine", "x", "--output", str(output)])
    assert benchmark.main() == 2
    assert "demo/benchmarks: found no benchmark file" in capsys.readouterr().err
