"""The profile for any scheduler, with stand-ins in place of the schedulers: the same bytes as on one machine, jobs
sent again with more memory, cancelling, and what each scheduler is told and says."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import project
import pytest
import scheduler
import yaml

from memvae.operations import cost
from memvae.settings import targets

RUN = "digits-vis_mem_vae-k1-s0"
MODEL, TARGET = f"results/tiny/models/{RUN}.h5", "results/tiny/tables/slots.csv"
QUICK = ("--seconds-between-status-checks", "1", "--latency-wait", "20")

TITLES = {"sge": "Grid Engine", "pbs": "PBS Pro", "torque": "Torque", "lsf": "LSF"}
PROFILE = project.ROOT / "profiles/cluster-generic"
STATUS = PROFILE / "status.py"


def commands(name: str) -> dict[str, str]:
    """The submit, status and cancel commands of a scheduler: its block of the profile, without the comment signs."""
    text = (PROFILE / "config.yaml").read_text()
    (block,) = re.findall(rf"^# ---- {TITLES[name]}.*?(?=^# ----)", text, re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"^# (?=cluster-generic|  )", "", line) for line in block.splitlines()]
    return dict(yaml.safe_load("\n".join(line for line in lines if not line.startswith("#"))))


def generic(folder: Path, name: str, *arguments: str, epochs: int = 2, **variables: str) -> subprocess.Popen[str]:
    """The tiny workflow, started with the profile; the scheduler's commands are the stand-ins in `folder/bin`."""
    (folder / "epochs.yaml").write_text(f"scales: {{tiny: {{epochs: {{digits: {epochs}}}}}}}")
    options = [word for key, value in commands(name).items() for word in (f"--{key}", value)]
    path = f"{folder / 'bin'}{os.pathsep}{project.environment()['PATH']}"
    command = [sys.executable, "-m", "snakemake", *arguments, "--workflow-profile", "profiles/cluster-generic"]
    return subprocess.Popen(
        [*command, *options, *QUICK, "--configfile", str(project.ROOT / "tests/tiny.yaml"), "epochs.yaml"],
        cwd=folder,
        env=project.environment(PATH=path, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def prepared(folder: Path, finished: Path, name: str) -> Path:
    """An empty project with the data set and the stand-ins of a scheduler."""
    project.make(folder)
    scheduler.install(folder, name)
    (folder / "data").mkdir()
    shutil.copy2(finished / "data/digits.h5", folder / "data/digits.h5")
    return folder


def test_profile_is_set_for_the_first_block_alone() -> None:
    loaded = yaml.safe_load((PROFILE / "config.yaml").read_text())
    chosen = {key: value for key, value in loaded.items() if key.startswith("cluster-generic-")}
    assert chosen == commands("sge")
    assert all(set(commands(name)) == set(chosen) for name in TITLES)


@pytest.mark.release
def test_whole_dag_through_a_blocking_submit_command_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    folder = project.make(tmp_path / "project")
    result = project.run(
        folder, sys.executable, "-m", "snakemake", "--executor", "cluster-generic", "--cluster-generic-submit-cmd",
        "bash", "--jobs", "2", "--configfile", str(project.ROOT / "tests/tiny.yaml"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    project.same_bytes(folder, finished, targets.all_files(project.TINY))


@pytest.mark.release
@pytest.mark.parametrize("name", TITLES)
def test_each_schedulers_block_runs_a_training_and_its_table(finished: Path, tmp_path: Path, name: str) -> None:
    folder = prepared(tmp_path / "project", finished, name)
    process = generic(folder, name, TARGET)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed[-4000:]
    project.same_bytes(folder, finished, [MODEL, TARGET])
    (job,) = scheduler.jobs(folder)  # the training and its analysis; the table is drawn beside Snakemake
    assert job["code"] == 0 and "gpu" not in job["resources"]
    output = folder / job["output"]
    assert output.parent == folder / "logs/cluster" and "2 of 2 steps (100%) done" in output.read_text()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sge", "slots=3 mem_free=1000M h_rt=480 gpu=1"),
        ("pbs", "walltime=480 select=1:ncpus=3:mem=3000mb:ngpus=1"),
        ("torque", "walltime=480 mem=3000mb nodes=1:ppn=3:gpus=1"),
        ("lsf", "mem=3000MB time=8 n=3 gpu num=1"),
    ],
)
def test_scheduler_is_told_threads_memory_minutes_and_gpu(
    finished: Path, tmp_path: Path, name: str, expected: str
) -> None:
    """MEMVAE_DEVICE=cuda reaches the job: it asks for a GPU and, where torch sees none, says so and ends."""
    folder = prepared(tmp_path / "project", finished, name)
    wanted = ("--set-threads", "train=3", "--set-resources", "train:mem_mb=3000", "train:runtime=8", "--cores", "3")
    process = generic(folder, name, MODEL, *wanted, "--retries", "0", MEMVAE_DEVICE="cuda", MEMVAE_THREADS="3")
    printed, _ = process.communicate(timeout=300)
    (job,) = scheduler.jobs(folder)
    assert job["resources"] == expected
    assert process.returncode != 0 and job["code"] != 0
    assert "MEMVAE_DEVICE: found cuda" in printed  # --show-failed-logs


def test_a_killed_job_is_sent_again_with_more_memory(finished: Path, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "project", finished, "sge")
    first_wish = cost.memory_mb("train", attempt=1)
    process = generic(folder, "sge", MODEL, JOB_NEEDS=f"model={first_wish + 1}")
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed[-4000:]
    first, second = scheduler.jobs(folder)
    assert (first["code"], second["code"]) == (scheduler.KILLED, 0)
    assert f"mem_free={first_wish}M" in first["resources"]
    assert f"mem_free={cost.memory_mb('train', attempt=2)}M" in second["resources"]
    assert "Trying to restart job" in printed
    project.same_bytes(folder, finished, [MODEL])


EPOCHS = 400  # so many that the training outlasts the time that Snakemake takes to cancel it


def test_ctrl_c_cancels_the_jobs_and_the_same_command_continues(finished: Path, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "project", finished, "sge")
    process = generic(folder, "sge", MODEL, epochs=EPOCHS, MEMVAE_SAVE_SECONDS="0")
    log = folder / f"logs/tiny/train/{RUN}.log"
    project.wait_until(lambda: log.exists() and f"epoch 2/{EPOCHS}" in log.read_text(), process)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    project.wait_until(lambda: scheduler.jobs(folder)[0]["code"] is not None)
    (job,) = scheduler.jobs(folder)
    assert job["code"] == scheduler.KILLED and not (folder / MODEL).exists()
    project.wait_until(lambda: not is_alive(job["pid"]))
    process = generic(folder, "sge", MODEL, epochs=EPOCHS)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed[-4000:]
    assert "continues after epoch" in log.read_text()


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# What the schedulers print: their formats, as their manuals and public sites show them.
QSTAT = """job-ID  prior   name       user         state submit/start at     queue                slots ja-task-ID
-------------------------------------------------------------------------------------------------------
     12 0.55500 snakejob.t user         {state:5} 11/22/2026 18:00:00 all.q@node1              1
"""
QACCT = """==============================================================
qname        all.q
jobname      snakejob.train.3.sh
jobnumber    12
failed       {failed}
exit_status  {status}
ru_wallclock 12.3s
"""
PBS = """Job Id: 12.server
    Job_Name = snakejob.train.
    job_state = {state}
    Variable_List = PBS_O_HOME=/home/user,
\tPBS_O_WORKDIR=/home/user/memvae
"""


def answer(text: str = "", code: int = 0, error: str = "") -> dict[str, Any]:
    return {"text": text, "code": code, "error": error}


def pbs(state: str, exit_line: str = "") -> dict[str, Any]:
    return {"qstat": answer(PBS.format(state=state) + (f"    {exit_line}\n" if exit_line else ""))}


def sge(failed: str, status: str, before: str = "") -> dict[str, Any]:
    return {"qstat": answer(), "qacct": answer(before + QACCT.format(failed=failed, status=status))}


@pytest.mark.parametrize(
    ("name", "answers", "expected"),
    [
        ("sge", {"qstat": answer(QSTAT.format(state="qw"))}, "running"),
        ("sge", {"qstat": answer(QSTAT.format(state="r"))}, "running"),
        ("sge", {"qstat": answer(QSTAT.format(state="Rr"))}, "running"),
        ("sge", {"qstat": answer(QSTAT.format(state="Eqw"))}, "failed"),
        ("sge", {"qstat": answer(code=1, error="error: unable to contact qmaster using port 6444")}, "running"),
        ("sge", sge("0", "0"), "success"),
        ("sge", sge("0    ", "1"), "failed"),
        ("sge", sge("100 : assumedly after job", "137                  (Killed)"), "failed"),
        ("sge", sge("37  : qmaster enforced h_rt, h_cpu, or h_vmem limit", "0"), "failed"),
        ("sge", sge("0", "0", before=QACCT.format(failed="25  : rescheduling", status="0")), "success"),
        ("sge", {"qstat": answer(), "qacct": answer(code=1, error="error: job id 12 not found")}, "failed"),
        ("pbs", pbs("Q"), "running"),
        ("pbs", pbs("E"), "running"),
        ("pbs", pbs("F", "Exit_status = 0"), "success"),
        ("pbs", pbs("F", "Exit_status = 271"), "failed"),
        ("pbs", pbs("F"), "failed"),
        ("pbs", {"qstat": answer(code=153, error="qstat: Unknown Job Id 12.server")}, "failed"),
        ("pbs", {"qstat": answer(code=255, error="Connection refused\nqstat: cannot connect to server")}, "running"),
        ("torque", pbs("R"), "running"),
        ("torque", pbs("C", "exit_status = 0"), "success"),
        ("torque", pbs("C", "exit_status = -11"), "failed"),
        ("lsf", {"bjobs": answer("PEND\n")}, "running"),
        ("lsf", {"bjobs": answer("USUSP\n")}, "running"),
        ("lsf", {"bjobs": answer("DONE\n")}, "success"),
        ("lsf", {"bjobs": answer("EXIT\n")}, "failed"),
        ("lsf", {"bjobs": answer(code=255, error="Job <12> is not found")}, "failed"),
        ("lsf", {"bjobs": answer(code=255, error="LSF is down. Please wait ...")}, "running"),
    ],
)
def test_status_is_read_from_what_each_scheduler_prints(
    tmp_path: Path, name: str, answers: dict[str, Any], expected: str
) -> None:
    for command, given in answers.items():
        (tmp_path / f"{command}.txt").write_text(given["text"])
        lines = ["#!/bin/sh", f"cat {tmp_path / command}.txt", f"echo '{given['error']}' >&2", f"exit {given['code']}"]
        (tmp_path / command).write_text("\n".join(lines))
        (tmp_path / command).chmod(0o755)
    command = [sys.executable, str(STATUS), name, "--patience", "0", "12"]
    environment = project.environment(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.stdout == f"{expected}\n", result.stderr
    unknown = any("not found" in given["error"] or "Unknown Job" in given["error"] for given in answers.values())
    assert ("has known no job 12" in result.stderr) == unknown


def test_bsub_prints_the_number_alone_and_fails_where_there_is_none(tmp_path: Path) -> None:
    for printed, code, expected in (
        ("Job <4711> is submitted to queue <normal>.", 0, "4711\n"),
        ("Job not submitted.", 0, ""),
        ("", 255, ""),
    ):
        (tmp_path / "bsub").write_text(f"#!/bin/sh\necho '{printed}'\nexit {code}\n")
        (tmp_path / "bsub").chmod(0o755)
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        result = project.run(tmp_path, "sh", str(PROFILE / "bsub_id.sh"), "-n", "1", "job.sh", PATH=path)
        assert (result.stdout, result.returncode == 0) == (expected, bool(expected))
