"""The doctor names what is there, what is missing and what to do, and fails where the demo cannot run."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import project
import pytest

from memvae.data import download
from memvae.errors import InputError
from memvae.model import device as computing
from memvae.operations import doctor


@pytest.fixture(autouse=True)
def no_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes seconds; the probe itself is tested in tests/test_step.py."""
    monkeypatch.setattr(computing, "compiling_fails", lambda kind: "")
    monkeypatch.delenv(download.FOLDER_VARIABLE, raising=False)


def findings(folder: Path) -> dict[str, doctor.Finding]:
    return {one.what: one for one in doctor.examine(project.TINY, folder)}


def test_a_machine_that_can_run_the_demo_is_fine(tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert not [one for one in found.values() if one.demo]
    assert found["permissions"].state == found["torch.compile"].state == doctor.OK
    assert "a job takes one" in found["cores"].found and not list(tmp_path.iterdir())


def test_another_version_and_a_missing_package_say_what_to_install(tmp_path: Path, monkeypatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "scipy":
            raise metadata.PackageNotFoundError(name)
        return "1.0" if name == "numpy" else real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    found = findings(tmp_path)
    assert found["numpy"].state == doctor.WRONG and "expected 2.4.6" in found["numpy"].follows
    assert found["scipy"].state == doctor.MISSING and "pip install" in found["scipy"].follows
    assert not found["numpy"].demo and found["scipy"].demo


def test_a_broken_torch_is_named_with_its_reason(tmp_path: Path, monkeypatch) -> None:
    def broken(name: str) -> None:
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    found = findings(tmp_path)["build of torch"]
    assert found.state == doctor.WRONG and found.demo and "libgomp.so.1" in found.found


@pytest.mark.parametrize(("memory", "state"), [(1.0, doctor.WRONG), (1e6, doctor.OK)])
def test_memory_is_compared_with_measured_jobs(tmp_path: Path, monkeypatch, memory: float, state: str) -> None:
    monkeypatch.setattr(doctor, "_memory", lambda: memory)
    assert findings(tmp_path)["memory"].state == state


def test_what_keeps_the_demo_from_running_ends_with_exit_code_2(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    with pytest.raises(InputError, match=r"the demo cannot run: Snakemake's lock.*snakemake --unlock"):
        doctor.report(project.TINY)


def test_data_are_looked_for_in_both_places(tmp_path: Path, monkeypatch) -> None:
    given = tmp_path / "given"
    (given / "frey_faces").mkdir(parents=True)
    (given / "frey_faces/frey_rawface.mat").write_bytes(b"x")
    monkeypatch.setenv(download.FOLDER_VARIABLE, str(given))
    found = findings(tmp_path)
    assert found["data frey_faces"].state == doctor.OK and found["data mnist"].state == doctor.MISSING
    monkeypatch.setenv(download.FOLDER_VARIABLE, str(tmp_path / "none"))
    assert findings(tmp_path)["data folder"].state == doctor.WRONG


def test_it_runs_where_not_one_package_is_installed() -> None:
    result = subprocess.run(
        [sys.executable, "-S", "-m", "memvae", "doctor"], cwd=project.ROOT, capture_output=True, text=True
    )
    assert result.returncode == 2, result.stderr
    assert "not installed" in result.stdout and "the demo cannot run: torch" in result.stderr
