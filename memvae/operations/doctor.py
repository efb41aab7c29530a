"""What this machine has, what is missing, and what to do: `memvae doctor`.

Standard library only, so `python -m memvae doctor` also runs when no package is installed.
"""

import importlib
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from memvae.data import download
from memvae.errors import InputError
from memvae.operations import cost
from memvae.settings.config import ROOT, Config

INSTALL = "pip install -c requirements.lock -e ."


class Finding(NamedTuple):
    """One line of the report. problem: what follows and what to do, empty where all is well."""

    what: str
    found: str
    problem: str = ""
    demo: bool = False  # without it the demo cannot run


def report(config: Config | None) -> None:
    """Prints the findings. Raises InputError, with a line for each, when some of them keep the demo from running."""
    blocking = []
    for one in examine(config):
        print(f"{'see' if one.problem else 'ok':4} {one.what:16} {'; '.join(filter(None, one[1:3]))}", flush=True)
        if one.problem and one.demo:
            blocking.append(f"the demo cannot run: {one.what}: {one.found}; {one.problem}")
    if blocking:
        raise InputError("\n".join(blocking))


def examine(config: Config | None, folder: Path = Path()) -> Iterator[Finding]:
    """What the workflow asks of this machine and of the project's folder. config: None where it cannot be read."""
    newer = "everything was tried with 3.11; numbers may differ" if sys.version_info[:2] > (3, 11) else ""
    yield Finding("Python", sys.version.split()[0], newer)
    yield from _packages()
    yield from _torch()
    memory = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    free = {"memory": int(memory[1]) / 1e3 if memory else 0.0, "disk": shutil.disk_usage(folder).free / 1e6}
    demo = [job for job in cost.measured() if job.scale == "demo"]
    needed = {"memory": max(job.memory_mb for job in demo), "disk": sum(job.disk_mb for job in demo)}
    for what, most in needed.items():
        problem = f"the demo takes {most:.0f} MB" if free[what] < most else ""
        yield Finding(what, f"{free[what]:.0f} MB free", problem, demo=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield Finding("permissions", "files can be written here")
    except OSError as error:
        yield Finding("permissions", f"no file can be written here ({error.strerror})", "work elsewhere", True)
    if any((folder / ".snakemake/locks").glob("*")):
        yield Finding("Snakemake's lock", "taken", "one runs here, or was killed: then `snakemake --unlock`", True)
    try:
        given = download.data_folder(config.data_folder if config else "")
        yield Finding("data folder", str(given or "none: data are downloaded when needed; the demo needs none"))
    except InputError as error:
        yield Finding("data folder", "none", str(error))


def _packages() -> Iterator[Finding]:
    """Each package that memvae names, against requirements.lock."""
    if not (ROOT / "requirements.lock").exists():
        yield Finding("requirements.lock", f"not in {ROOT}/", "packages are not compared; work in a clone")
        return
    locked = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\n]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in (re.split(r"[=<>\[]", line)[0] for line in project["dependencies"]):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, "not installed", f"expected {locked[name]}: `{INSTALL}`", demo=True)
            continue
        same = found.partition("+")[0] == locked[name]
        yield Finding(name, found, "" if same else f"expected {locked[name]}: `{INSTALL}`; results may differ")


def _torch() -> Iterator[Finding]:
    """The build of torch, the GPUs that it sees, and whether it compiles."""
    try:
        torch: Any = importlib.import_module("torch")
    except ModuleNotFoundError:
        return  # named among the packages
    except Exception as error:  # a broken installation raises anything
        yield Finding("build of torch", f"{type(error).__name__}: {error}", "nothing can be computed", demo=True)
        return
    from memvae.model import device as computing

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    yield Finding("build of torch", f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU")
    yield Finding("GPU", ", ".join(gpus) or "none that torch sees: everything runs on the CPU")
    reason = computing.compiling_fails("cuda" if gpus else "cpu")
    slower = f"{reason}: long work takes about twice as long; it needs g++ and Python's headers"
    yield Finding("torch.compile", "fails" if reason else "works", slower if reason else "")
