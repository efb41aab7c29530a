"""The profile for Kubernetes, with a stand-in of its API: pods train to the same bytes and go on after one is lost."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import kube_api
import project
import pytest
import yaml

RUN = "digits-vis_mem_vae-k1-s0"
MODEL, TARGET = f"results/tiny/models/{RUN}.h5", "results/tiny/tables/slots.csv"
QUICK = ("--seconds-between-status-checks", "1", "--latency-wait", "20")


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


@pytest.mark.release
@needs_kubernetes
def test_pods_train_and_evaluate_to_the_same_bytes(kubernetes: Kubernetes, finished: Path) -> None:
    process = kubernetes.start(TARGET)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed[-4000:]
    project.same_bytes(kubernetes.project, finished, [MODEL, TARGET, f"results/tiny/evaluation/{RUN}/slots.h5"])
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


@pytest.mark.release
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


@pytest.mark.release
@needs_kubernetes
@pytest.mark.parametrize("kubernetes", [40], indirect=True)
@pytest.mark.parametrize("how", ["disappears", "fails"])
def test_a_training_goes_on_from_its_state_after_its_pod(kubernetes: Kubernetes, tmp_path: Path, how: str) -> None:
    """A pod that disappears is replaced. One that fails ends Snakemake (plugin 0.5.1); the driver starts it again."""
    undisturbed = project.make(tmp_path / "undisturbed")
    shutil.copytree(kubernetes.project / "data", undisturbed / "data")
    assert project.tiny(undisturbed, MODEL, changes=(kubernetes.project / "epochs.yaml").read_text()).returncode == 0

    process = kubernetes.start(MODEL)
    project.wait_until(lambda: kubernetes.log.exists() and "epoch 5/40" in kubernetes.log.read_text(), process)
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
    project.same_bytes(kubernetes.project, undisturbed, [MODEL])


@pytest.mark.release
@needs_kubernetes
@pytest.mark.parametrize("kubernetes", [40], indirect=True)
def test_without_copies_on_the_volume_a_training_starts_again(kubernetes: Kubernetes) -> None:
    """As with an object store alone: the state ends with the pod."""
    process = kubernetes.start(MODEL, copies=".snakemake/storage")
    pods = kubernetes.cluster.pods
    project.wait_until(lambda: any("localrule train" in pod.log for pod in list(pods.values())), process)
    (name,) = pods
    log = (
        next(iter(pods.values())).folder
        / f"workdir/.snakemake/storage/fs{kubernetes.project}/logs/tiny/train/{RUN}.log"
    )
    project.wait_until(lambda: log.exists() and "epoch 5/40" in log.read_text(), process)
    kubernetes.cluster.evict(name)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed[-4000:]
    text = (kubernetes.project / f"logs/tiny/train/{RUN}.log").read_text()
    assert "epoch 1/40" in text and "continues after epoch" not in text


@pytest.mark.release
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
