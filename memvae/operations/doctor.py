"""What this machine has, what is missing, and what to do. Standard library only: it runs where nothing is installed.

`memvae doctor`; `python -m memvae doctor` also where not one package is installed.
"""

import importlib
import os
import re
import shutil
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from memvae.data import download
from memvae.errors import InputError
from memvae.operations import cost
from memvae.settings import targets
from memvae.settings.config import ROOT, Config

OK, MISSING, WRONG = "ok", "missing", "wrong"
INSTALL = "pip install -c requirements.lock -e ."
FOLDERS = ("results", "figures", "data", "logs", ".snakemake")
PROGRAMS = {  # program -> what it is for
    "dot": "the target `rulegraph` cannot run; install graphviz",
    "sbatch": "needed on a Slurm cluster alone (profiles/slurm)",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report. demo: without it the demo cannot run."""

    state: str  # OK | MISSING | WRONG
    what: str
    found: str
    follows: str = ""  # from what is missing or wrong, and what to do
    demo: bool = False

    def __str__(self) -> str:
        return f"{self.state:7}  {self.what:20}  {self.found}" + (f"; {self.follows}" if self.follows else "")


def examine(config: Config | None, folder: Path = Path()) -> Iterator[Finding]:
    """Everything that the workflow and its stages ask of this machine and of the project's folder.

    config: None where it cannot be read; then data files are not looked at.
    """
    version = ".".join(map(str, sys.version_info[:3]))
    newer = "everything was tried with 3.11; numbers may differ in their last digits"
    yield Finding(*((WRONG, "Python", version, newer) if sys.version_info[:2] > (3, 11) else (OK, "Python", version)))
    yield from _packages()
    yield from _torch()
    yield from _compiler()
    for program, follows in PROGRAMS.items():
        path = shutil.which(program)
        yield Finding(OK, program, path) if path else Finding(MISSING, program, "not found", follows)
    yield from _machine(folder)
    yield from _folder(folder)
    if config is None:
        yield Finding(MISSING, "data", "not looked at", "the configuration cannot be read without pyyaml")
    else:
        yield from _data(config, folder)


def report(config: Config | None) -> None:
    """Prints the findings. Raises InputError, with a line for each, when some of them keep the demo from running."""
    blocking = []
    for one in examine(config):
        print(one, flush=True)
        if one.demo and one.state != OK:
            blocking.append(f"the demo cannot run: {one.what}: {one.found}; {one.follows}")
    if blocking:
        raise InputError("\n".join(blocking))


def _packages() -> Iterator[Finding]:
    """Each package that memvae names, against requirements.lock."""
    if not (ROOT / "requirements.lock").exists():
        yield Finding(MISSING, "requirements.lock", f"not in {ROOT}/", "packages are not compared; work in a clone")
        return
    locked = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\n]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in (re.split(r"[=<>\[]", line)[0] for line in project["dependencies"]):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(MISSING, name, "not installed", f"expected {locked[name]}: `{INSTALL}`", demo=True)
            continue
        expected = f"expected {locked[name]} (requirements.lock): `{INSTALL}`; results may differ"
        same = found.partition("+")[0] == locked[name]
        yield Finding(OK, name, found) if same else Finding(WRONG, name, found, expected)


def _torch() -> Iterator[Finding]:
    """The build of torch, the GPUs that it sees, and whether it compiles."""
    try:
        torch: Any = importlib.import_module("torch")
    except ModuleNotFoundError:
        return  # named among the packages
    except Exception as error:  # a broken installation raises anything
        reason = f"cannot be imported ({type(error).__name__}: {' '.join(str(error).split())[:100]})"
        yield Finding(WRONG, "build of torch", reason, "nothing can be computed", demo=True)
        return
    from memvae.model import device as computing

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    yield Finding(OK, "build of torch", f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU")
    if os.environ.get("MEMVAE_DEVICE") == "cuda" and not gpus:
        yield Finding(WRONG, "GPU", "none, and MEMVAE_DEVICE=cuda asks for one", "unset it; every job refuses to run")
    else:
        none = Finding(MISSING, "GPU", "none that torch sees", "everything runs on the CPU")
        yield Finding(OK, "GPU", ", ".join(gpus)) if gpus else none
    device = torch.device("cuda" if gpus else "cpu")
    slower = Finding(MISSING, "bf16 instructions", "none", "products are in float32, as the jobs say; slower")
    yield Finding(OK, "bf16 instructions", device.type) if computing.has_bf16(device) else slower
    if reason := computing.compiling_fails(device.type):
        yield Finding(WRONG, "torch.compile", reason, "long work runs uncompiled, about half as fast; see below")
    else:
        yield Finding(OK, "torch.compile", "a function and its gradient were compiled")


def _compiler() -> Iterator[Finding]:
    """What torch.compile asks for."""
    compiler = os.environ.get("CXX", "g++")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    for what, found, package in (
        ("C++ compiler", shutil.which(compiler), f"{compiler} (or set CXX)"),
        ("Python's headers", str(header) if header.exists() else None, "python3-dev"),
    ):
        missing = Finding(MISSING, what, "not found", f"long work runs uncompiled; install {package}")
        yield Finding(OK, what, found) if found else missing


def _machine(folder: Path) -> Iterator[Finding]:
    """Cores, memory and disk, beside what the measured jobs took."""
    yield Finding(OK, "cores", f"{len(os.sched_getaffinity(0))}, a job takes one")
    jobs, memory, disk = cost.measured(), _memory(), shutil.disk_usage(folder).free / 1e6
    demo = [job for job in jobs if job.scale == "demo"]
    for what, free, needed, most, advice in (
        (
            "memory",
            memory,
            max(job.memory_mb for job in demo),
            max(job.memory_mb for job in jobs),
            "end other programs",
        ),
        ("disk", disk, sum(job.disk_mb for job in demo), 0.0, "make room"),
    ):
        if free < needed:
            follows = f"the demo takes {needed:.0f} MB; {advice}"
            yield Finding(WRONG, what, f"{free:.0f} MB free", follows, demo=True)
        elif free < most:
            yield Finding(WRONG, what, f"{free:.0f} MB free", f"the largest measured job takes {most:.0f} MB; {advice}")
        else:
            yield Finding(OK, what, f"{free / 1000:.1f} GB free; `memvae cost TARGET` says what a target needs")


def _folder(folder: Path) -> Iterator[Finding]:
    """Whether files can be made where the workflow makes them, and what a killed Snakemake left."""
    refused = []
    for name in FOLDERS:
        place = folder / name if (folder / name).is_dir() else folder
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            refused.append(f"{place}/ ({error.strerror})")
    if refused:
        found = f"cannot write into {', '.join(dict.fromkeys(refused))}"
        yield Finding(WRONG, "permissions", found, "change them or work in another clone", demo=True)
    else:
        yield Finding(OK, "permissions", f"files can be made for {', '.join(FOLDERS)}")
    if locks := sorted((folder / ".snakemake/locks").glob("*")):
        follows = "a snakemake runs here, or was killed: then `snakemake --unlock`"
        yield Finding(WRONG, "Snakemake's lock", f"{len(locks)} files in .snakemake/locks", follows, demo=True)


def _data(config: Config, folder: Path) -> Iterator[Finding]:
    """The raw files of each data set: in data/raw/, else in the user's folder; else they are downloaded."""
    given = download.data_folder(config.data_folder)
    if given is not None:
        follows = f"expected an existing folder; change {download.FOLDER_VARIABLE} or the config key data_folder"
        none = Finding(WRONG, "data folder", f"{given} is none", follows)
        yield Finding(OK, "data folder", str(given)) if given.is_dir() else none
    for dataset, entry in config.datasets.items():
        files = entry.get("files", {})
        there = sum(_is_there(dataset, name, rule, folder, given) for name, rule in files.items())
        if there < len(files):
            follows = "what is missing is downloaded when it is needed; the demo needs no data"
            yield Finding(MISSING, f"data {dataset}", f"{there} of {len(files)} files", follows)
        elif files:
            yield Finding(OK, f"data {dataset}", f"{there} files")


def _is_there(dataset: str, name: str, rule: Any, folder: Path, given: Path | None) -> bool:
    """Whether a raw file is in data/raw/ as the configuration has it, or in the user's folder."""
    path = folder / targets.raw_file(dataset, name)
    if path.is_file():
        return download.checksum(path, rule) == download.expected(rule)
    return given is not None and given.is_dir() and download.in_folder(dataset, name, given) is not None


def _memory() -> float:
    """MB that this process may still take: of the machine, or of its control group where that allows less."""
    fields = dict(re.findall(r"^(\w+):\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE))
    free, group = int(fields["MemAvailable"]) / 1e3, Path("/sys/fs/cgroup")
    try:
        used = int((group / "memory.current").read_text())
        return min(free, (int((group / "memory.max").read_text()) - used) / 1e6)
    except (OSError, ValueError):  # no control group, or one without a limit
        return free
