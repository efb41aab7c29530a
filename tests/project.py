"""A copy of the project to run the workflow in, and the ways to run it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memvae.settings import config as configuration

ROOT = Path(__file__).resolve().parents[1]
TINY = configuration.load(ROOT / "config/config.yaml", extra=[ROOT / "tests/tiny.yaml"])
needs_compiler = pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="torch.compile needs g++")
PARTS = ("Snakefile", "config", "environment.yml", "memvae", "profiles", "workflow")


def make(folder: Path) -> Path:
    """Links everything that the workflow needs into an empty folder, so that its results stay there."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)
    return folder


def environment(**variables: str) -> dict[str, str]:
    """The environment of a user: this python first in PATH, no leftover settings of the project."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MEMVAE_", "PYTEST_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"PATH": path, "OMP_NUM_THREADS": "1", "MEMVAE_DEVICE": "cpu"} | variables


def run(folder: Path, *command: str, timeout: float = 1800, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=timeout
    )


def snakemake(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Targets and options as on a command line; two cores unless the options say otherwise."""
    cores = [] if "--cores" in arguments else ["--cores", "2"]
    return run(folder, sys.executable, "-m", "snakemake", *arguments, *cores, **variables)


def memvae(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(folder, sys.executable, "-m", "memvae", *arguments, **variables)


def tiny(folder: Path, *arguments: str, changes: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """The workflow on the tiny overlay; `changes`: YAML, laid over it."""
    overlays = [str(ROOT / "tests/tiny.yaml")]
    if changes:
        (folder / "changes.yaml").write_text(changes)
        overlays.append("changes.yaml")
    return snakemake(folder, *arguments, "--configfile", *overlays, **variables)


def same_bytes(folder: Path, finished: Path, paths: list[str]) -> None:
    """These files are the same in both folders."""
    for path in paths:
        assert (folder / path).read_bytes() == (finished / path).read_bytes(), path


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str] | None = None, seconds: float = 120) -> None:
    """Fails after so many seconds, or when the process has ended before."""
    deadline = time.monotonic() + seconds
    while not true():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
