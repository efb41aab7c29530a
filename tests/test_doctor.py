"""The doctor names what is missing, and fails where the demo cannot run."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import project
import pytest

from memvae.errors import InputError
from memvae.model import device as computing
from memvae.operations import doctor


def test_a_machine_that_can_run_the_demo_is_fine_and_what_is_missing_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(computing, "compiling_fails", lambda kind: "")  # it takes seconds; see tests/test_step.py
    monkeypatch.chdir(tmp_path)
    doctor.report(project.TINY)
    assert not list(tmp_path.iterdir())
    real = metadata.version

    def version(name: str) -> str:
        if name == "scipy":
            raise metadata.PackageNotFoundError(name)
        return "1.0" if name == "numpy" else real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    assert any(one.what == "numpy" and "expected 2.4.6" in one.problem for one in doctor.examine(project.TINY))
    with pytest.raises(InputError) as caught:
        doctor.report(project.TINY)
    scipy, lock = str(caught.value).splitlines()
    assert "scipy: not installed" in scipy and "snakemake --unlock" in lock


def test_it_runs_where_not_one_package_is_installed() -> None:
    result = subprocess.run(
        [sys.executable, "-S", "-m", "memvae", "doctor"], cwd=project.ROOT, capture_output=True, text=True
    )
    assert result.returncode == 2, result.stderr
    assert "not installed" in result.stdout and "the demo cannot run: torch" in result.stderr
