"""Two profiles for clusters, with stand-ins in the place of the clusters: the same bytes as on one machine, failed jobs
sent again with more memory, cancelling, and what each scheduler is told and says."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import kube_api
import project
import pytest
import scheduler
import yaml

from memvae import resources, targets

pytestmark = project.on_the_tiny_dag
RUN = "digits-vis_mem_vae-k1-s0"
MODEL, TARGET = f"results/tiny/models/{RUN}.h5", "results/tiny/tables/slots.csv"
QUICK = ("--seconds-between-status-checks", "1", "--latency-wait", "20")


# ---- cluster-generic: any scheduler ----------------------------------------------------------------------------------
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


def same_bytes(folder: Path, finished: Path, paths: list[str]) -> None:
    for path in paths:
        assert (folder / path).read_bytes() == (finished / path).read_bytes(), path


def test_profile_is_set_for_the_first_block_alone() -> None:
    loaded = yaml.safe_load((PROFILE / "config.yaml").read_text())
    chosen = {key: value for key, value in loaded.items() if key.startswith("cluster-generic-")}
    assert chosen == commands("sge")
    assert all(set(commands(name)) == set(chosen) for name in TITLES)


@pytest.mark.slow
def test_whole_dag_through_a_blocking_submit_command_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    folder = project.make(tmp_path / "project")
    result = project.run(
        folder, sys.executable, "-m", "snakemake", "--executor", "cluster-generic", "--cluster-generic-submit-cmd",
        "bash", "--jobs", "2", "--configfile", str(project.ROOT / "tests/tiny.yaml"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    same_bytes(folder, finished, targets.all_files(project.TINY))


@pytest.mark.slow
@pytest.mark.parametrize("name", TITLES)
def test_each_schedulers_block_runs_a_training_and_its_table(finished: Path, tmp_path: Path, name: str) -> None:
    folder = prepared(tmp_path / "project", finished, name)
    process = generic(folder, name, TARGET)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed[-4000:]
    same_bytes(folder, finished, [MODEL, TARGET])
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
    first_wish = resources.memory_mb("train", attempt=1)
    process = generic(folder, "sge", MODEL, JOB_NEEDS=f"model={first_wish + 1}")
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed[-4000:]
    first, second = scheduler.jobs(folder)
    assert (first["code"], second["code"]) == (scheduler.KILLED, 0)
    assert f"mem_free={first_wish}M" in first["resources"]
    assert f"mem_free={resources.memory_mb('train', attempt=2)}M" in second["resources"]
    assert "Trying to restart job" in printed
    same_bytes(folder, finished, [MODEL])


def test_ctrl_c_cancels_the_jobs_and_the_same_command_continues(finished: Path, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "project", finished, "sge")
    process = generic(folder, "sge", MODEL, epochs=20, MEMVAE_SAVE_SECONDS="0")
    log = folder / f"logs/tiny/train/{RUN}.log"
    wait_until(lambda: log.exists() and "epoch 2/20" in log.read_text(), process)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    (job,) = scheduler.jobs(folder)
    assert job["code"] == scheduler.KILLED and not (folder / MODEL).exists()
    wait_until(lambda: not is_alive(job["pid"]))
    process = generic(folder, "sge", MODEL, epochs=20)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed[-4000:]
    assert "continues after epoch" in log.read_text()


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str] | None = None, seconds: float = 120) -> None:
    """Fails after so many seconds, or when the process has ended before."""
    deadline = time.monotonic() + seconds
    while not true():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


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


# ---- kubernetes ------------------------------------------------------------------------------------------------------
def missing() -> str:
    """What a run through the Kubernetes executor lacks here."""
    for package in ("snakemake-executor-plugin-kubernetes", "snakemake-storage-plugin-fs"):
        try:
            version(package)
        except PackageNotFoundError:
            return f"{package} is not installed: pip install -e '.[kubernetes]'"
    lacking = [program for program in ("rsync", "git") if not shutil.which(program)]
    return f"no program {lacking[0]}, which the storage plugin needs" if lacking else ""


needs_kubernetes = pytest.mark.skipif(bool(missing()), reason=missing() or "all there")
KUBERNETES = project.ROOT / "profiles/kubernetes"


class Kubernetes:
    """A stand-in cluster with a volume, and on the volume a clone of the project with the tiny overlay."""

    def __init__(self, folder: Path, finished: Path, epochs: int) -> None:
        self.volume, self.project = folder / "volume", folder / "volume/memvae"
        self.project.mkdir(parents=True)
        for part in project.PARTS:
            source = project.ROOT / part
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, self.project / part)
        shutil.copy2(project.ROOT / "tests/tiny.yaml", self.project)
        (self.project / "epochs.yaml").write_text(f"scales: {{tiny: {{epochs: {{digits: {epochs}}}}}}}")
        assert project.run(self.project, "sh", "-c", "git init -q && git add .").returncode == 0
        (self.project / "data").mkdir()
        shutil.copy2(finished / "data/digits.h5", self.project / "data")
        programs = folder / "bin"  # of the image: the plugins are in it, so there is nothing to install
        programs.mkdir()
        (programs / "pip").write_text('#!/bin/sh\n[ "$*" = "install --target .snakemake/pip-deployments $PLUGINS" ]\n')
        (programs / "pip").chmod(0o755)
        path = f"{programs}{os.pathsep}{project.environment()['PATH']}"
        image = project.environment(PATH=path, PLUGINS="snakemake-storage-plugin-fs", MEMVAE_SAVE_SECONDS="0")
        del image["MEMVAE_DEVICE"]
        self.cluster = kube_api.Cluster("memvae", image, folder)
        self.kubeconfig: Path | None = None  # as long as the API is served

    @property
    def log(self) -> Path:
        """Of the training, while it runs: the copy on the volume."""
        return self.volume / f"copies/fs{self.project}/logs/tiny/train/{RUN}.log"

    @property
    def environment(self) -> dict[str, str]:
        return project.environment(KUBECONFIG=str(self.kubeconfig))

    def start(self, *arguments: str, copies: str = "", **variables: str) -> subprocess.Popen[str]:
        """Snakemake with the profile, whose /shared is this volume; copies: where pods work, else on the volume."""
        options = {
            "kubernetes-persistent-volumes": f"memvae:{self.volume}",
            "default-storage-prefix": str(self.project),
            "remote-job-local-storage-prefix": copies or str(self.volume / "copies"),
        }
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        command = [sys.executable, "-m", "snakemake", *arguments, "--workflow-profile", "profiles/kubernetes"]
        return subprocess.Popen(
            [*command, *words, *QUICK, "--configfile", "tiny.yaml", "epochs.yaml"],
            cwd=self.project,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def kubernetes(finished: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kubernetes]:
    made = Kubernetes(tmp_path, finished, epochs=getattr(request, "param", 2))
    with kube_api.serve(made.cluster) as made.kubeconfig:
        yield made


def manifests() -> dict[str, dict[str, Any]]:
    """The documents of driver.yaml by kind."""
    return {document["kind"]: document for document in yaml.safe_load_all((KUBERNETES / "driver.yaml").read_text())}


@pytest.mark.slow
@needs_kubernetes
def test_pods_train_and_evaluate_to_the_same_bytes(kubernetes: Kubernetes, finished: Path) -> None:
    process = kubernetes.start(TARGET)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed[-4000:]
    same_bytes(kubernetes.project, finished, [MODEL, TARGET, f"results/tiny/evaluation/{RUN}/slots.h5"])
    cluster = kubernetes.cluster
    assert len(cluster.submitted) == 2  # the table is drawn beside Snakemake
    assert not cluster.pods and not cluster.secrets, "Snakemake left something behind"
    for job in cluster.submitted:
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"] == yaml.safe_load((KUBERNETES / "config.yaml").read_text())["container-image"]
        assert container["workingDir"] == "/workdir"
        assert {"name": "memvae", "mountPath": str(kubernetes.volume)} in container["volumeMounts"]
        assert {"name": "memvae", "persistentVolumeClaim": {"claimName": "memvae"}} in pod["volumes"]
        assert job["spec"]["backoffLimit"] == 0  # Snakemake itself tries again
        asked = container["resources"]
        assert asked["limits"]["memory"] == asked["requests"]["memory"] and asked["limits"]["cpu"] == "1000m"
        assert int(asked["limits"]["ephemeral-storage"].removesuffix("M")) <= 2000
        assert asked["limits"].get("nvidia.com/gpu", "0") == "0"


@pytest.mark.slow
@needs_kubernetes
def test_a_gpu_job_asks_for_a_gpu_and_gets_the_device(kubernetes: Kubernetes) -> None:
    process = kubernetes.start(MODEL, "--envvars", "MEMVAE_DEVICE", "--retries", "0", MEMVAE_DEVICE="cuda")
    process.communicate(timeout=300)
    (container,) = kubernetes.cluster.container_of("train")
    asked = container["resources"]
    assert asked["limits"]["nvidia.com/gpu"] == asked["requests"]["nvidia.com/gpu"] == "1"
    (pod,) = kubernetes.cluster.pods.values()
    assert pod.exit_code() != 0
    assert "MEMVAE_DEVICE: found cuda" in (kubernetes.project / f"logs/tiny/train/{RUN}.log").read_text()


@pytest.mark.slow
@needs_kubernetes
@pytest.mark.parametrize("kubernetes", [40], indirect=True)
@pytest.mark.parametrize("how", ["disappears", "fails"])
def test_a_training_goes_on_from_its_state_after_its_pod(kubernetes: Kubernetes, tmp_path: Path, how: str) -> None:
    """A pod that disappears is replaced. One that fails ends Snakemake (plugin 0.5.1); the driver starts it again."""
    undisturbed = project.make(tmp_path / "undisturbed")
    shutil.copytree(kubernetes.project / "data", undisturbed / "data")
    assert project.tiny(undisturbed, MODEL, changes=(kubernetes.project / "epochs.yaml").read_text()).returncode == 0

    process = kubernetes.start(MODEL)
    wait_until(lambda: kubernetes.log.exists() and "epoch 5/40" in kubernetes.log.read_text(), process)
    (name,) = kubernetes.cluster.pods
    if how == "disappears":
        kubernetes.cluster.evict(name)
    else:
        kubernetes.cluster.pods[name].kill()
        printed, _ = process.communicate(timeout=120)
        assert process.returncode != 0 and "previous terminated container" in printed
        clear = [sys.executable, str(KUBERNETES / "clear_jobs.py"), "memvae"]
        assert subprocess.run(clear, env=kubernetes.environment).returncode == 0
        assert not kubernetes.cluster.pods
        process = kubernetes.start(MODEL)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed[-4000:]
    assert len(kubernetes.cluster.container_of("train")) == 2
    assert "continues after epoch" in kubernetes.log.read_text()
    same_bytes(kubernetes.project, undisturbed, [MODEL])


@pytest.mark.slow
@needs_kubernetes
@pytest.mark.parametrize("kubernetes", [40], indirect=True)
def test_without_copies_on_the_volume_a_training_starts_again(kubernetes: Kubernetes) -> None:
    """As with an object store alone: the state ends with the pod."""
    process = kubernetes.start(MODEL, copies=".snakemake/storage")
    pods = kubernetes.cluster.pods
    wait_until(lambda: any("localrule train" in pod.log for pod in list(pods.values())), process)
    (name,) = pods
    log = (
        next(iter(pods.values())).folder
        / f"workdir/.snakemake/storage/fs{kubernetes.project}/logs/tiny/train/{RUN}.log"
    )
    wait_until(lambda: log.exists() and "epoch 5/40" in log.read_text(), process)
    kubernetes.cluster.evict(name)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed[-4000:]
    text = (kubernetes.project / f"logs/tiny/train/{RUN}.log").read_text()
    assert "epoch 1/40" in text and "continues after epoch" not in text


@pytest.mark.slow
@needs_kubernetes
def test_drivers_role_allows_what_snakemake_calls_and_nothing_else(kubernetes: Kubernetes) -> None:
    kubernetes.start(TARGET).communicate(timeout=600)
    kubernetes.start(MODEL, "-F", "--envvars", "MEMVAE_DEVICE", MEMVAE_DEVICE="cuda").communicate(timeout=300)
    clear = [sys.executable, str(KUBERNETES / "clear_jobs.py"), "memvae"]
    assert subprocess.run(clear, env=kubernetes.environment).returncode == 0
    rules = manifests()["Role"]["rules"]
    allowed = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert allowed == kubernetes.cluster.calls


def test_driver_and_profile_name_the_same_volume_folder_image_and_namespace() -> None:
    profile = yaml.safe_load((KUBERNETES / "config.yaml").read_text())
    found = manifests()
    claim, path = profile["kubernetes-persistent-volumes"].split(":")
    pod = found["Job"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]
    assert claim == found["PersistentVolumeClaim"]["metadata"]["name"] == volume["persistentVolumeClaim"]["claimName"]
    assert mount["mountPath"] == path and mount["name"] == volume["name"]
    assert container["workingDir"] == profile["default-storage-prefix"]
    assert profile["default-storage-prefix"].startswith(f"{path}/")
    assert profile["remote-job-local-storage-prefix"].startswith(f"{path}/")
    assert container["image"] == profile["container-image"]
    assert pod["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]
    namespaces = {entry["metadata"].get("namespace") for kind, entry in found.items() if kind != "Namespace"}
    assert namespaces == {profile["kubernetes-namespace"]} == {found["Namespace"]["metadata"]["name"]}
    assert f"clear_jobs.py {profile['kubernetes-namespace']}" in container["args"][0]


@needs_kubernetes
def test_driver_manifests_have_only_fields_that_kubernetes_knows() -> None:
    from kubernetes.client import models

    classes = {"ServiceAccount": "V1ServiceAccount", "Job": "V1Job", "Role": "V1Role", "Namespace": "V1Namespace"}
    classes |= {"PersistentVolumeClaim": "V1PersistentVolumeClaim", "RoleBinding": "V1RoleBinding"}

    def check(value: Any, kind: str, where: str) -> None:
        inner = re.fullmatch(r"(?:list\[|dict\(str, )(\w+)[\])]", kind)
        if inner:
            values = value.items() if kind.startswith("dict") else enumerate(value)
            for key, entry in values:
                check(entry, inner.group(1), f"{where}.{key}")
        elif hasattr(models, kind):
            model = getattr(models, kind)
            names = {json_name: name for name, json_name in model.attribute_map.items()}
            for key, entry in value.items():
                assert key in names, f"{where}.{key}: no field of {kind}"
                check(entry, model.openapi_types[names[key]], f"{where}.{key}")
        else:
            assert isinstance(value, {"str": str, "int": int}[kind]), f"{where}: found {value!r}, expected {kind}"

    found = manifests()
    assert set(found) == set(classes)
    for kind, document in found.items():
        check(document, classes[kind], kind)
