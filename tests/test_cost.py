"""Planning: what jobs take, what they ask of a scheduler, and that no list of analyses stands in the way."""

from pathlib import Path

import project
import pytest

from memvae.errors import InputError
from memvae.operations import cost
from memvae.settings import config as configuration
from memvae.settings.work import PAYS_BACK, training_seconds

CONFIG = configuration.load(project.ROOT / "config/config.yaml")
QUICK = configuration.load(project.ROOT / "config/config.yaml", {"scale": "quick"})


def test_every_measured_job_of_length_is_estimated_within_a_factor_of_three() -> None:
    """Scales, models and machines differ; `memvae cost` promises a factor of two for the usual job."""
    shipped = [
        job
        for job in cost.measured()
        if job.cpu_seconds >= cost.LONG and job.scale in ("paper", "long", "quick", "demo")
    ]
    assert len(shipped) > 20
    for job in shipped:
        config = configuration.load(project.ROOT / "config/config.yaml", {"scale": job.scale})
        assert 1 / 3 < cost.seconds(config, job.rule, job.name) / job.cpu_seconds < 3, job


def test_work_grows_with_epochs_samples_and_images() -> None:
    assert cost.seconds(CONFIG, "train", "mnist-vae-k1-s0") > 20 * cost.seconds(QUICK, "train", "mnist-vae-k1-s0")
    assert cost.seconds(CONFIG, "train", "mnist-vae-k50-s0") > 5 * cost.seconds(CONFIG, "train", "mnist-vae-k5-s0")
    assert cost.seconds(CONFIG, "likelihood", "mnist-vae-k1-s0") > 3 * cost.seconds(
        QUICK, "likelihood", "mnist-vae-k1-s0"
    )


def test_every_analysis_has_a_cost_and_asks_for_memory_and_time() -> None:
    for name, analysis in CONFIG.registered.items():
        run = "mnist-mem_vae-k1-s0" if analysis.declared.of == "run" else name
        assert cost.seconds(CONFIG, name, run) > 0
        assert cost.memory_mb(name) >= 500 and cost.minutes(CONFIG, name, run) >= cost.LEAST_MINUTES


def test_what_was_never_measured_gets_defaults() -> None:
    assert cost.memory_mb("new_analysis") == 500 * -(-(cost.MEMORY_MARGIN * cost.UNMEASURED_MB + 400) // 500)
    assert cost.minutes(CONFIG, "new_analysis", "mnist-mem_vae-k1-s0") == cost.LEAST_MINUTES


def test_another_attempt_asks_for_more_but_a_training_for_the_same_time() -> None:
    assert [cost.memory_mb("train", attempt) // cost.memory_mb("train") for attempt in (1, 2, 3, 4)] == [1, 2, 3, 3]
    run = "mnist-mem_vae-k1-s0"
    assert cost.minutes(CONFIG, "train", run, 3) == cost.minutes(CONFIG, "train", run)
    assert cost.minutes(CONFIG, "likelihood", run, 3) == 3 * cost.minutes(CONFIG, "likelihood", run)


@pytest.mark.parametrize("value", ["", "0", "-1", "ten", "9" * 30, "\u00b2"])
def test_a_cap_on_minutes_is_a_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MEMVAE_MAX_MINUTES", value)
    if not value:
        assert cost.minutes(CONFIG, "train", "mnist-vae-k1-s0") > 60
        return
    with pytest.raises(InputError, match="MEMVAE_MAX_MINUTES: found"):
        cost.minutes(CONFIG, "train", "mnist-vae-k1-s0")


@pytest.mark.parametrize(
    ("rule", "wildcards", "expected"),
    [
        ("analyse", {"analysis": "slots", "run": "a-b-k1-s0"}, ("slots", "a-b-k1-s0")),
        ("analyse_networks", {"analysis": "parameters"}, ("parameters", "parameters")),
        ("train", {"run": "a-b-k1-s0"}, ("train", "a-b-k1-s0")),
        ("table_likelihood", {}, ("table", "likelihood")),
        ("table3", {}, ("table", "table3")),
        ("figure_training", {}, ("figure", "training")),
        ("scorecard", {}, ("scorecard", "scorecard")),
        ("download", {"dataset": "mnist", "file": "x.gz"}, ("download", "mnist-x.gz")),
        ("classifier", {"dataset": "mnist"}, ("classifier", "mnist")),
    ],
)
def test_a_job_is_named_as_its_benchmark_file(rule: str, wildcards: dict[str, str], expected: tuple) -> None:
    assert cost.kind(rule, wildcards) == expected


def test_which_trainings_are_compiled_is_fixed_by_their_specification() -> None:
    """A change of the planning must not change the last bits of a model; so the decisions stand here."""
    for scale, compiled in (("paper", True), ("long", True), ("quick", True), ("demo", False)):
        config = configuration.load(project.ROOT / "config/config.yaml", {"scale": scale})
        for run in config.runs("appendix"):
            images = cost.IMAGES[config.spec(run).dataset][0]
            assert (training_seconds(config.spec(run), images) >= PAYS_BACK) == compiled, run


def test_the_command_plans_without_running(finished: Path) -> None:
    options = ("--configfile", str(project.ROOT / "tests/tiny.yaml"))
    result = project.memvae(finished, "cost", "results/tiny/tables/likelihood_extended.csv", *options)
    assert result.returncode == 0, result.stderr
    assert "trainings" in result.stdout and "train" in result.stdout and "GB are free" in result.stdout
    assert "nothing to be done" in project.memvae(finished, "cost", "figures/tiny/fig7.png", *options).stdout
    refused = project.memvae(finished, "cost", "figures/tiny/fig9.png", *options)
    assert refused.returncode == 2 and "found no such target" in refused.stderr
