"""One thread per process: the tests run side by side, and results are those of a job (memvae/compute.py)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faults
import project
import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
for name in ("MEMVAE_THREADS", "MEMVAE_COMPILE", "MEMVAE_DEVICE"):  # a test that needs one sets it
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the whole tiny DAG has run once in this process; a test leaves its files as they are."""
    made = project.make(tmp_path_factory.mktemp("finished"))
    result = project.tiny(made)
    assert result.returncode == 0, result.stderr[-4000:]
    return made


@pytest.fixture
def double() -> Iterator[None]:
    """float64 by default, for comparisons with the numpy reference."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its counts of faults to the process that prints them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = [(*key, vars(counts)) for key, counts in faults.COUNTS.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for fault, where, counts in getattr(node, "workeroutput", {}).get("faults", []):
        faults.COUNTS[fault, where].add(**counts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The faults that were injected, and what came of them (docs/files.md)."""
    if faults.COUNTS:
        terminalreporter.section(f"faults, seed {faults.SEED}")
        terminalreporter.write_line("\n".join(faults.summary()))
