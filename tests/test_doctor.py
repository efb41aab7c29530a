"""The doctor names what is there, what is missing and what to do, and fails where the demo cannot run."""

import contextlib
import errno
import gzip
import os
import subprocess
import sys
from pathlib import Path

import project
import pytest

from memvae.data import download
from memvae.errors import InputError
from memvae.model import device as compute
from memvae.operations import doctor


def findings(folder: Path) -> dict[str, doctor.Finding]:
    return {one.what: one for one in doctor.examine(project.TINY, folder)}


@pytest.fixture(autouse=True)
def no_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes seconds; the probe itself is tested in tests/test_step.py."""
    monkeypatch.setattr(compute, "compiling_fails", lambda kind: "")
    monkeypatch.delenv(download.FOLDER_VARIABLE, raising=False)


def test_this_environment_is_that_of_the_lock(tmp_path: Path) -> None:
    found = findings(tmp_path)
    for package in ("torch", "snakemake", "numpy", "h5py", "pyyaml"):
        assert found[package].state == doctor.OK, found[package]
    assert found["build of torch"].found.startswith(sys.modules["torch"].__version__)
    assert "a job takes one" in found["cores"].found and "GB free" in found["disk"].found
    assert found["permissions"].state == found["file locks"].state == doctor.OK
    assert not list(tmp_path.iterdir())


def test_another_version_and_a_missing_package_say_what_to_install(tmp_path: Path, monkeypatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: {"numpy": "1.0", "scipy": None}.get(name, real(name)))
    found = findings(tmp_path)
    assert str(found["numpy"]).startswith("wrong ") and "expected 2.4.6" in found["numpy"].follows
    assert str(found["scipy"]).startswith("missing ") and "pip install -c requirements.lock" in found["scipy"].follows
    assert not found["numpy"].demo and found["scipy"].demo


def test_a_broken_torch_is_named_with_its_reason(tmp_path: Path, monkeypatch) -> None:
    def broken(name: str) -> None:
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    found = findings(tmp_path)["build of torch"]
    assert found.state == doctor.WRONG and found.demo and "libgomp.so.1" in found.found


def test_a_gpu_that_is_asked_for_and_not_there_is_wrong(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(compute.torch.cuda, "device_count", lambda: 0)
    assert findings(tmp_path)["GPU"].state == doctor.MISSING
    monkeypatch.setenv("MEMVAE_DEVICE", "cuda")
    found = findings(tmp_path)["GPU"]
    assert found.state == doctor.WRONG and "MEMVAE_DEVICE=cuda" in found.found


def test_compiling_that_fails_does_not_keep_the_demo_from_running(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(compute, "compiling_fails", lambda kind: "InvalidCxxCompiler: none")
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = findings(tmp_path)
    assert found["torch.compile"].state == doctor.WRONG and "InvalidCxxCompiler" in found["torch.compile"].found
    assert found["C++ compiler"].state == doctor.MISSING and not found["torch.compile"].demo


def test_leftovers_of_killed_work_are_named(tmp_path: Path) -> None:
    for path in (".snakemake/locks/0.input.lock", "results/demo/models/digits-vae-k1-s0.state.h5.aside-1"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("x")
    found = findings(tmp_path)
    assert "snakemake --unlock" in found["Snakemake's lock"].follows and found["Snakemake's lock"].demo
    assert "results/demo/models/digits-vae-k1-s0.state.h5.aside-1" in found["states set aside"].found


def test_file_locks_that_keep_nobody_out_are_noticed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(doctor.fcntl, "flock", lambda file, how: None)
    assert "a second holder came in" in findings(tmp_path)["file locks"].found


def test_a_folder_that_cannot_be_written_keeps_the_demo_from_running(tmp_path: Path, monkeypatch) -> None:
    """Root may write into any folder, so the refusal is made up."""
    (tmp_path / "results").mkdir()

    def refused(dir: Path) -> None:
        if dir == tmp_path / "results":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", lambda dir: refused(dir) or contextlib.nullcontext())
    found = findings(tmp_path)["permissions"]
    assert found.state == doctor.WRONG and found.demo
    assert found.found == f"cannot write into {tmp_path / 'results'}/ (Read-only file system)"


def test_a_copy_without_the_lock_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assert findings(tmp_path)["requirements.lock"].state == doctor.MISSING


def test_a_full_disk_and_little_memory_are_compared_with_the_measured_demo(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("", (), {"free": 1e6}))
    monkeypatch.setattr(doctor, "_memory", lambda: 1e8)
    found = findings(tmp_path)
    assert found["disk"].demo and "the demo takes" in found["disk"].follows
    assert found["memory"].demo and "the demo takes" in found["memory"].follows
    monkeypatch.setattr(doctor, "_memory", lambda: 1e9)
    found = findings(tmp_path)
    assert found["memory"].state == doctor.WRONG and not found["memory"].demo


# ---- data ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The content that the configuration expects of frey_faces' only file."""
    content = b"a\nb\n"
    rule = project.TINY.datasets["frey_faces"]["files"]["frey_rawface.mat"]
    monkeypatch.setitem(rule, "sha256", doctor.download.hashlib.sha256(content).hexdigest())
    return content


def test_raw_files_are_looked_for_and_checked_where_the_workflow_takes_them(tmp_path: Path, rows, monkeypatch) -> None:
    assert findings(tmp_path)["data frey_faces"].found == "0 of 1 files here"
    raw = tmp_path / "data/raw/frey_faces/frey_rawface.mat"
    raw.parent.mkdir(parents=True)
    raw.write_bytes(rows)
    assert findings(tmp_path)["data frey_faces"].state == doctor.OK
    raw.write_bytes(rows + b"c\n")
    found = findings(tmp_path)["data frey_faces"]
    assert found.state == doctor.WRONG and str(raw) in found.found and not found.demo


def test_a_packed_file_in_the_users_folder_counts(tmp_path: Path, rows, monkeypatch) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "frey_rawface.mat.gz").write_bytes(gzip.compress(rows))
    monkeypatch.setenv(download.FOLDER_VARIABLE, str(given))
    found = findings(tmp_path)
    assert found["data folder"].found == str(given) and found["data frey_faces"].state == doctor.OK
    (given / "frey_rawface.mat.gz").write_bytes(b"no gz")
    assert findings(tmp_path)["data frey_faces"].state == doctor.WRONG
    monkeypatch.setenv(download.FOLDER_VARIABLE, str(tmp_path / "none"))
    assert findings(tmp_path)["data folder"].state == doctor.WRONG


# ---- the command -----------------------------------------------------------------------------------------------------
def test_what_keeps_the_demo_from_running_is_a_line_each(monkeypatch, capsys) -> None:
    found = [
        doctor.Finding(doctor.MISSING, "numpy", "not installed", "expected 2.4.6", demo=True),
        doctor.Finding(doctor.MISSING, "GPU", "none", "slower"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda config: iter(found))
    with pytest.raises(InputError, match=r"^the demo cannot run: numpy: not installed; expected 2\.4\.6$"):
        doctor.tell(None)
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr(doctor, "examine", lambda config: iter(found[1:]))
    doctor.tell(None)


def test_it_runs_where_no_package_is_installed(tmp_path: Path) -> None:
    folder = project.make(tmp_path / "project")
    bare = [sys._base_executable, "-S", "-m", "memvae"]  # without site-packages

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*bare, command], cwd=folder, env={"PATH": "/bin"}, capture_output=True, text=True)

    result = run("doctor")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert {"missing  torch", "missing  snakemake"} <= {line[:18].rstrip() for line in result.stdout.splitlines()}
    assert "memvae doctor: the demo cannot run: snakemake: not installed" in result.stderr
    result = run("train")
    assert (
        result.returncode == 2 and "python -m memvae doctor" in result.stderr and len(result.stderr.splitlines()) == 1
    )


def test_the_command_succeeds_here(tmp_path: Path) -> None:
    result = project.memvae(project.make(tmp_path / "project"), "doctor")
    assert result.returncode == 0, result.stderr
    assert "torch.compile" in result.stdout
