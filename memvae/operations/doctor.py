"""What this machine has, what is missing, and what to do. Standard library only: it runs where nothing is installed.

`memvae doctor`; `python -m memvae doctor` also where not one package is installed.
"""

import fcntl
import gzip
import importlib
import os
import re
import shutil
import sys
import sysconfig
import tempfile
import tomllib
import zlib
from collections.abc import Iterator, Mapping
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
ABSENT = "not installed"
INSTALL = "pip install -c requirements.lock -e ."
EXECUTORS = {
    "slurm": "profiles/slurm",
    "cluster-generic": "profiles/cluster-generic",
    "kubernetes": "profiles/kubernetes",
}
SLURM = ("sbatch", "squeue", "scancel", "sacct")
FOLDERS = ("results", "figures", "data", "logs", ".snakemake")
MEGABYTE = 1e6


@dataclass(frozen=True)
class Finding:
    """One line of the report. demo: without it the demo cannot run."""

    state: str  # OK | MISSING | WRONG
    what: str
    found: str
    follows: str = ""  # from what is missing or wrong, and what to do
    demo: bool = False

    def __str__(self) -> str:
        return f"{self.state:7}  {self.what:22}  {self.found}" + (f"; {self.follows}" if self.follows else "")


def examine(config: Config | None, folder: Path = Path()) -> Iterator[Finding]:
    """Everything that the workflow and its stages ask of this machine and of the project's folder, finding by finding.

    config: None where it cannot be read; then data files are not looked at.
    """
    yield _python()
    yield from _packages()
    yield from _torch()
    yield from _compiler()
    yield from _programs()
    yield from _plugins()
    yield from _machine(folder)
    yield from _writable(folder)
    yield _locks(folder)
    yield from _left_over(folder)
    if config is None:
        yield Finding(
            MISSING, "data", "not looked at", "the configuration cannot be read without pyyaml and jsonschema"
        )
    else:
        yield from _data(config, folder)


def tell(config: Config | None) -> None:
    """Prints the findings. Raises InputError, with a line for each, when some of them keep the demo from running."""
    blocking = []
    for one in examine(config):
        print(one, flush=True)
        if one.demo and one.state != OK:
            blocking.append(f"the demo cannot run: {one.what}: {one.found}; {one.follows}")
    if blocking:
        raise InputError("\n".join(blocking))


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] > (3, 11):
        return Finding(
            WRONG, "Python", found, "everything was tried with 3.11; numbers may differ in their last digits"
        )
    return Finding(OK, "Python", f"{found} in {sys.prefix}")


def _packages() -> Iterator[Finding]:
    """Each package that memvae names, and in one line those that these bring, against requirements.lock."""
    if not (ROOT / "requirements.lock").exists():
        yield Finding(MISSING, "requirements.lock", f"not in {ROOT}/", "packages are not compared; work in a clone")
        return
    locked = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\n]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = [re.split(r"[=<>\[]", line)[0] for line in project["dependencies"]]
    for name in direct:
        found = _version(name)
        if found is None:
            yield Finding(MISSING, name, ABSENT, f"expected {locked[name]}: `{INSTALL}`", demo=True)
        elif found.partition("+")[0] != locked[name]:
            yield Finding(
                WRONG, name, found, f"expected {locked[name]} (requirements.lock): `{INSTALL}`; results may differ"
            )
        else:
            yield Finding(OK, name, found)
    others = {name: found for name in locked if name not in direct and (found := _version(name))}
    wrong = {name: found for name, found in others.items() if found.partition("+")[0] != locked[name]}
    for name, found in wrong.items():
        yield Finding(WRONG, name, found, f"expected {locked[name]} (requirements.lock): `{INSTALL}`")
    yield Finding(
        OK, "other packages", f"{len(others) - len(wrong)} installed as in requirements.lock, which has {len(locked)}"
    )


def _torch() -> Iterator[Finding]:
    """The build of torch, the GPUs that it sees, and the processor's instructions for bf16."""
    torch: Any = _imported("torch")
    if isinstance(torch, str):
        broken = torch != ABSENT  # an absent one is named above
        yield Finding(WRONG if broken else MISSING, "build of torch", torch, "nothing can be computed", demo=broken)
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    yield Finding(OK, "build of torch", f"{torch.__version__}, {build}")
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    if os.environ.get("MEMVAE_DEVICE") == "cuda" and not gpus:
        yield Finding(WRONG, "GPU", "none, and MEMVAE_DEVICE=cuda asks for one", "unset it; every job refuses to run")
    elif gpus:
        yield Finding(OK, "GPU", ", ".join(gpus))
    else:
        why = "torch is the CPU build" if not torch.version.cuda else "torch sees none"
        yield Finding(MISSING, "GPU", why, "everything runs on the CPU; no GPU time has been measured")
    from memvae.model import device as compute

    device = torch.device("cuda" if gpus else "cpu")
    if compute.has_bf16(device):
        yield Finding(OK, "bf16 instructions", f"of the {'GPU' if gpus else 'processor'}")
    else:
        yield Finding(MISSING, "bf16 instructions", "none", "products are in float32, as the jobs say; slower")
    if reason := compute.compiling_fails(device.type):
        yield Finding(
            WRONG, "torch.compile", reason, "long work runs uncompiled, about half as fast; see the next lines"
        )
    else:
        yield Finding(OK, "torch.compile", "a function and its gradient were compiled")


def _compiler() -> Iterator[Finding]:
    """What torch.compile asks for."""
    compiler = os.environ.get("CXX", "g++")
    if path := shutil.which(compiler):
        yield Finding(OK, "C++ compiler", path)
    else:
        yield Finding(MISSING, "C++ compiler", f"no {compiler}", "long work runs uncompiled; install g++ (or set CXX)")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if header.exists():
        yield Finding(OK, "Python's headers", str(header))
    else:
        yield Finding(MISSING, "Python's headers", f"no {header}", "long work runs uncompiled; install python3-dev")


def _programs() -> Iterator[Finding]:
    if path := shutil.which("dot"):
        yield Finding(OK, "graphviz", path)
    else:
        yield Finding(MISSING, "graphviz", "no `dot`", "the target `rulegraph` cannot run; install graphviz")
    if absent := [name for name in SLURM if not shutil.which(name)]:
        follows = "needed on a Slurm cluster alone (profiles/slurm)"
        yield Finding(MISSING, "Slurm", f"no {', '.join(absent)}", follows)
    else:
        yield Finding(OK, "Slurm", f"{', '.join(SLURM)} in {Path(shutil.which('sbatch') or '').parent}")


def _plugins() -> Iterator[Finding]:
    """Snakemake's executor plugins, each for a profile."""
    for name, profile in EXECUTORS.items():
        if not (ROOT / profile).is_dir():
            continue
        if found := _version(f"snakemake-executor-plugin-{name}"):
            yield Finding(OK, f"executor {name}", f"{found}, for {profile}")
        else:
            follows = f"needed for {profile} alone: `{INSTALL.removesuffix('.')}'.[{name}]'`"
            yield Finding(MISSING, f"executor {name}", ABSENT, follows)


def _machine(folder: Path) -> Iterator[Finding]:
    """Cores, memory and disk, beside what the largest measured job and the measured demo took."""
    cores = len(os.sched_getaffinity(0))
    yield Finding(OK, "cores", f"{cores}, a job takes one")
    jobs = cost.measured()
    memory = _memory()
    largest = max(jobs, key=lambda job: job.memory_mb)
    demo = max(job.memory_mb for job in jobs if job.scale == "demo")
    found = f"{memory / 1e9:.1f} GB free"
    if memory < demo * MEGABYTE:
        yield Finding(WRONG, "memory", found, f"the demo takes {demo:.0f} MB; end other programs", demo=True)
    elif memory < largest.memory_mb * MEGABYTE:
        follows = (
            f"the largest measured job ({largest.rule} {largest.name}) takes {largest.memory_mb:.0f} MB; end others"
        )
        yield Finding(WRONG, "memory", found, follows)
    else:
        together = int(memory // (largest.memory_mb * MEGABYTE))
        yield Finding(OK, "memory", f"{found}, for {together} of the largest measured job ({largest.memory_mb:.0f} MB)")
    disk = shutil.disk_usage(folder).free
    needed = sum(job.disk_mb for job in jobs if job.scale == "demo")
    if disk < needed * MEGABYTE:
        yield Finding(
            WRONG, "disk", f"{disk / 1e9:.1f} GB free", f"the demo takes {needed:.0f} MB; make room", demo=True
        )
    else:
        yield Finding(OK, "disk", f"{disk / 1e9:.1f} GB free; `memvae cost TARGET` says what a target needs")


def _writable(folder: Path) -> Iterator[Finding]:
    """Whether files can be made where the workflow makes them, or where it makes those folders."""
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


def _locks(folder: Path) -> Finding:
    """Whether a lock on a file keeps a second holder out, on the file system of results/."""
    place = folder / "results" if (folder / "results").is_dir() else folder
    try:
        with tempfile.NamedTemporaryFile(dir=place) as first, open(first.name) as second:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Finding(OK, "file locks", f"work in {place}/")
            found = "a second holder came in"
    except OSError as error:
        found = str(error.strerror)
    follows = "start one workflow at a time; a second training into a state is noticed only when it writes"
    return Finding(WRONG, "file locks", f"do not work in {place}/ ({found})", follows)


def _left_over(folder: Path) -> Iterator[Finding]:
    """What a killed Snakemake and trainings of other settings left."""
    if locks := sorted((folder / ".snakemake/locks").glob("*")):
        follows = "a snakemake runs here, or was killed: then `snakemake --unlock`"
        yield Finding(WRONG, "Snakemake's lock", f"{len(locks)} files in .snakemake/locks", follows, demo=True)
    else:
        yield Finding(OK, "Snakemake's lock", "none left")
    aside = sorted((folder / "results").rglob("*.state.h5.aside-*"))
    if aside:
        size = sum(path.stat().st_size for path in aside) / MEGABYTE
        found = f"{len(aside)}, {size:.0f} MB, the first {aside[0].relative_to(folder)}"
        yield Finding(WRONG, "states set aside", found, "damaged or of other settings; delete them when you are sure")
    else:
        yield Finding(OK, "states set aside", "none")


def _data(config: Config, folder: Path) -> Iterator[Finding]:
    """The raw files of each data set: in data/raw/, else in the user's folder; else they are downloaded."""
    given = download.data_folder(config.data_folder)
    if given is not None and not given.is_dir():
        follows = f"expected an existing folder; change {download.FOLDER_VARIABLE} or the config key data_folder"
        yield Finding(WRONG, "data folder", f"{given} is none", follows)
    elif given is not None:
        yield Finding(OK, "data folder", str(given))
    for dataset, entry in config.datasets.items():
        if not (files := entry.get("files", {})):
            continue
        states = {name: _raw_file(dataset, name, rule, folder, given) for name, rule in files.items()}
        wrong = {name: state for name, state in states.items() if state not in (OK, MISSING)}
        there = sum(state == OK for state in states.values())
        if wrong:
            place = next(iter(wrong.values()))
            yield Finding(
                WRONG, f"data {dataset}", f"{place} is not the file of the configuration", "delete or replace it"
            )
        elif there < len(states):
            follows = "what is not is downloaded when it is needed; the demo needs no data"
            yield Finding(MISSING, f"data {dataset}", f"{there} of {len(states)} files here", follows)
        else:
            yield Finding(OK, f"data {dataset}", f"{there} files, each with the sha256 of the configuration")


def _raw_file(dataset: str, name: str, rule: Mapping[str, Any], folder: Path, given: Path | None) -> str:
    """OK, MISSING, or the path of a file that is another one."""
    path = folder / targets.raw_file(dataset, name)
    if not path.is_file():
        found = download.in_folder(dataset, name, given) if given is not None and given.is_dir() else None
        if found is None:
            return MISSING
        path = found
    return OK if _is_the_one(path, path.name != name, rule) else str(path)


def _is_the_one(path: Path, packed: bool, rule: Mapping[str, Any]) -> bool:
    try:
        if not packed:
            return download.checksum(path, rule) == download.expected(rule)
        with gzip.open(path) as source, tempfile.NamedTemporaryFile() as unpacked:
            unpacked.write(source.read(download.LIMIT))
            unpacked.flush()
            return download.checksum(Path(unpacked.name), rule) == download.expected(rule)
    except (OSError, EOFError, zlib.error):
        return False


def _memory() -> float:
    """Bytes that this process may still take: of the machine, or of its control group where that allows less."""
    fields = dict(re.findall(r"^(\w+):\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE))
    free = 1024.0 * int(fields["MemAvailable"])
    group = Path("/sys/fs/cgroup")
    try:
        return min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no control group, or one without a limit
        return free


def _imported(name: str) -> Any:
    """The module, or why it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return ABSENT
    except Exception as error:  # a broken installation raises anything
        return f"cannot be imported ({type(error).__name__}: {' '.join(str(error).split())[:100]})"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
