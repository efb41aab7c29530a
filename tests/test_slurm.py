"""The workflow on a real Slurm of two nodes (tests/slurm.py): the shipped profile, killed jobs, and who may train."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import project
import pytest
import yaml
from slurm import Slurm, missing

from memvae.settings import targets

pytestmark = [
    pytest.mark.xdist_group("slurm"),  # one worker, so that there is one cluster
    pytest.mark.skipif(bool(missing()), reason=missing()),
]
RUN, OTHER = "digits-mem_vae-k1-s0", "digits-vae-k1-s0"
LONGER = "scales: {tiny: {epochs: {digits: 150}}}"
# Only waiting is shorter than in the profile; and this Slurm has no accounting.
PROFILE = ("--workflow-profile", "profiles/slurm")
QUICK = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2")
OVERLAYS = ("--configfile", str(project.ROOT / "tests/tiny.yaml"))


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with Slurm(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def longer(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which two longer trainings ran on this machine, undisturbed."""
    folder = _with_data(tmp_path_factory.mktemp("longer"), finished)
    result = project.tiny(folder, _model(RUN), _model(OTHER), changes=LONGER)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_the_whole_dag_on_two_nodes_gives_the_bytes_of_a_local_run(
    slurm: Slurm, finished: Path, tmp_path: Path
) -> None:
    folder = project.make(tmp_path / "project")
    before = len(slurm.jobs())
    result = project.run(folder, *_command(), **slurm.environment)
    assert result.returncode == 0, result.stderr[-4000:]
    for path in _products(finished):
        assert (folder / path).read_bytes() == (finished / path).read_bytes(), path
    jobs = slurm.jobs()[before:]
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert {job["NodeList"] for job in jobs} == {"n1", "n2"}
    assert len(jobs) == 5  # the classifier, and one job for each model and its analyses
    assert {job["NumCPUs"] for job in jobs} == {"1"}
    hosts = {path.name: re.findall(r'"host": "(\w+)"', path.read_text()) for path in _records(folder, "models")}
    assert {name for names in hosts.values() for name in names} == {"n1", "n2"}, hosts  # models trained on both


@pytest.mark.release
def test_a_requeued_and_a_cancelled_training_go_on_and_give_the_same_bytes(
    slurm: Slurm, finished: Path, longer: Path, tmp_path: Path
) -> None:
    """Slurm starts a preempted job again, Snakemake a failed one, with more memory; both go on from their state."""
    folder = _with_data(tmp_path / "project", finished)
    before = len(slurm.jobs())
    with _started(folder, slurm, _model(RUN), _model(OTHER)) as snakemake:
        slurm.run("scontrol", "requeue", _running(slurm, folder, RUN))
        slurm.run("scancel", _running(slurm, folder, OTHER))
        assert snakemake.wait(timeout=600) == 0, (folder / "snakemake.txt").read_text()[-4000:]
    for run in (RUN, OTHER):
        assert "continues after epoch" in _log(folder, run).read_text()
        assert (folder / _model(run)).read_bytes() == (longer / _model(run)).read_bytes()
    jobs = slurm.jobs()[before:]
    requeued, cancelled, again = (
        next(job for job in jobs if job["Restarts"] == "1"),
        next(job for job in jobs if job["JobState"] == "CANCELLED"),
        jobs[-1],
    )
    assert len(jobs) == 3 and requeued["JobState"] == again["JobState"] == "COMPLETED"
    assert _memory(again) == 2 * _memory(cancelled)


@pytest.mark.release
def test_a_workflow_started_again_after_scancel_and_ctrl_c_resumes_to_the_same_bytes(
    slurm: Slurm, finished: Path, longer: Path, tmp_path: Path
) -> None:
    folder = _with_data(tmp_path / "project", finished)
    with _started(folder, slurm, _model(RUN), "--retries", "0") as snakemake:
        slurm.run("scancel", _running(slurm, folder, RUN))
        assert snakemake.wait(timeout=600) == 1
    assert not (folder / _model(RUN)).exists()
    assert (folder / _model(RUN)).with_suffix(".state.h5").exists()
    with _started(folder, slurm, _model(RUN)) as snakemake:
        job = _running(slurm, folder, RUN)
        snakemake.send_signal(signal.SIGINT)
        assert snakemake.wait(timeout=600) != 0
    assert next(one for one in slurm.jobs() if one["JobId"] == job)["JobState"] in ("CANCELLED", "COMPLETING")
    result = project.run(folder, *_command(_model(RUN), changes=True), **slurm.environment)
    assert result.returncode == 0, result.stderr[-4000:]
    assert "continues after epoch" in _log(folder, RUN).read_text()
    assert (folder / _model(RUN)).read_bytes() == (longer / _model(RUN)).read_bytes()


@pytest.mark.release
def test_two_nodes_never_train_into_one_state(slurm: Slurm, finished: Path, longer: Path, tmp_path: Path) -> None:
    """A job that outlived its snakemake holds the state; another job on another node ends at once and says so."""
    folder = _with_data(tmp_path / "project", finished)
    with _started(folder, slurm, _model(RUN)) as snakemake:
        orphan = _running(slurm, folder, RUN)
        os.killpg(snakemake.pid, signal.SIGKILL)
        snakemake.wait()
    node = next(job for job in slurm.jobs() if job["JobId"] == orphan)["NodeList"]
    other = "n2" if node == "n1" else "n1"
    assert slurm.run("squeue", "-h", "-j", orphan, "-o", "%T").strip() == "RUNNING"
    train = f"{sys.executable} -m memvae train {RUN} --configfile {OVERLAYS[1]} changes.yaml --output {_model(RUN)}"
    second = project.run(folder, "srun", "-w", other, "sh", "-c", train, **slurm.environment)
    assert second.returncode == 2, second.stderr
    assert "another process is training into" in second.stderr and f"on {node}" in second.stderr
    slurm.run("scancel", orphan)
    assert project.run(folder, *_command("--unlock", changes=True), **slurm.environment).returncode == 0
    result = project.run(folder, *_command(_model(RUN), changes=True), **slurm.environment)
    assert result.returncode == 0, result.stderr[-4000:]
    assert (folder / _model(RUN)).read_bytes() == (longer / _model(RUN)).read_bytes()


@pytest.mark.release
def test_a_gpu_job_takes_one_gpu_and_the_partition_that_has_it(slurm: Slurm, finished: Path, tmp_path: Path) -> None:
    """The GPU is pretended, so the job computes on the processor: what is tested is what Slurm is asked for."""
    folder = _with_data(tmp_path / "project", finished)
    partitions = folder / "partitions.yaml"
    made = project.run(folder, "generate-slurm-partition-config", "-o", str(partitions), **slurm.environment)
    assert made.returncode == 0, made.stderr
    limits = yaml.safe_load(partitions.read_text())
    limits["partitions"]["gpu"]["max_gpu"] = 2  # without accounting Slurm does not tell it
    partitions.write_text(yaml.safe_dump(limits))
    wanted = [targets.analysis_file(project.TINY, RUN, name) for name in ("likelihood", "generation", "probing")]
    gpu = [f"{rule}:gpu=1" for rule in ("train", "analyse")]
    options = ("--slurm-partition-config", str(partitions), "--set-resources", *gpu)
    result = project.run(folder, *_command(*wanted, *options), **slurm.environment)
    assert result.returncode == 0, result.stderr[-4000:]
    job = slurm.jobs()[-1]
    assert (job["Partition"], job["NodeList"]) == ("gpu", "n2")
    assert job["TresPerJob"] == "gres:gpu:1"
    for path in (_model(RUN), *wanted):
        assert (folder / path).read_bytes() == (finished / path).read_bytes(), path


def _command(*arguments: str, changes: bool = False) -> tuple[str, ...]:
    overlays = (*OVERLAYS, "changes.yaml") if changes else OVERLAYS
    return (sys.executable, "-m", "snakemake", *arguments, *PROFILE, *QUICK, *overlays)


class _started:
    """`snakemake` on targets of the longer training, in the background; its whole group is gone afterwards."""

    def __init__(self, folder: Path, slurm: Slurm, *arguments: str):
        (folder / "changes.yaml").write_text(LONGER)
        environment = project.environment(MEMVAE_SAVE_SECONDS="0", **slurm.environment)
        with open(folder / "snakemake.txt", "w") as output:
            self.process = subprocess.Popen(
                _command(*arguments, changes=True),
                cwd=folder,
                env=environment,
                start_new_session=True,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _running(slurm: Slurm, folder: Path, run: str) -> str:
    """The number of the job that trains `run`, once it is in the middle of its training."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        log = _log(folder, run)
        done = re.findall(r"epoch (\d+)/150", log.read_text()) if log.exists() else []
        if done and int(done[-1]) >= 5:
            number = re.search(r"job (\d+)", _holder(folder, run))[1]
            if number in {job["JobId"] for job in slurm.jobs() if job["JobState"] == "RUNNING"}:
                assert int(done[-1]) < 140, "the training ended before it could be disturbed"
                return number
        time.sleep(0.1)
    raise AssertionError((folder / "snakemake.txt").read_text()[-4000:])


def _with_data(folder: Path, finished: Path) -> Path:
    """A project with the prepared data set and the classifier of a finished one."""
    project.make(folder)
    (folder / "data").mkdir()
    (folder / "data/digits.h5").write_bytes((finished / "data/digits.h5").read_bytes())
    return folder


def _products(folder: Path) -> list[str]:
    """Every file that must not differ between two runs."""
    evaluated = [path.relative_to(folder) for path in sorted((folder / "results/tiny").rglob("*.h5"))]
    kept = [str(path) for path in evaluated if not path.name.endswith(".state.h5")]
    return ["data/digits.h5", *kept, *targets.all_files(project.TINY)]


def _records(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / "results/tiny" / kind).glob("*.run.json"))


def _model(run: str) -> str:
    return targets.model_file(project.TINY, run)


def _holder(folder: Path, run: str) -> str:
    """Who trains into the state of `run`, as its lock file says."""
    return (folder / _model(run)).with_suffix(".state.h5.lock").read_text()


def _log(folder: Path, run: str) -> Path:
    return folder / f"logs/tiny/train/{run}.log"


def _memory(job: dict[str, str]) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([MG])", job["MinMemoryNode"]).groups()
    return float(number) * {"M": 1, "G": 1000}[unit]
