"""environment.yml, requirements.lock, the Dockerfile and .ci/run install the same versions; CITATION.cff fits them."""

import csv
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path, PurePosixPath

import project
import pytest
import slurm
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import memvae

ROOT = project.ROOT
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
CONDA = [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
PIP = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
PYTHON = dict(entry.split("=") for entry in CONDA)["python"]
LOCK_TEXT = (ROOT / "requirements.lock").read_text()
LOCK_LINES = [line for line in LOCK_TEXT.splitlines() if not line.startswith("#")]
CI = (ROOT / ".ci/run").read_text()
DEBIAN_LINES = (ROOT / ".ci/packages.txt").read_text().splitlines()
DEBIAN = [line.split("#")[0].strip() for line in DEBIAN_LINES]
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
COPIED = [source for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for source in line.split()[:-1]]
DOCKERIGNORE = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]


def _pins(lines: Iterable[str]) -> dict[str, str]:
    """The version of each package, by its normalised name; markers are left out."""
    pins = {}
    for requirement in map(Requirement, lines):
        (exact,) = requirement.specifier
        assert exact.operator == "==", str(requirement)
        pins[canonicalize_name(requirement.name)] = exact.version
    return pins


def _closure(entries: Iterable[str]) -> dict[str, list[Requirement]]:
    """Every package that the entries bring, as installed here, with all that is asked of it."""
    asked: dict[str, list[Requirement]] = {}
    followed = set()
    waiting = [Requirement(entry) for entry in entries]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        asked.setdefault(name, []).append(requirement)
        for extra in ("", *requirement.extras):
            if (name, extra) not in followed:
                followed.add((name, extra))
                needed = map(Requirement, metadata.requires(name) or [])
                waiting += [one for one in needed if one.marker is None or one.marker.evaluate({"extra": extra})]
    return asked


def _only_with_cuda(name: str) -> bool:
    return name.startswith(("nvidia-", "cuda-")) or name == "triton"


LOCK = _pins(LOCK_LINES)


# ---- environment.yml -------------------------------------------------------------------------------------------------
def test_the_environment_has_condas_keys():
    assert set(ENVIRONMENT) == {"name", "channels", "dependencies"}
    assert ENVIRONMENT["name"] == PROJECT["name"]
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]
    assert len(PIP) == 1 and ENVIRONMENT["dependencies"][-1] == {"pip": PIP[0]}  # conda wants the pip part last


def test_conda_gives_python_pip_and_graphviz_pinned():
    pins = dict(entry.split("=") for entry in CONDA)
    assert set(pins) == {"python", "pip", "graphviz"}
    assert all(re.fullmatch(r"\d+(\.\d+)*", version) for version in pins.values())


def test_python_is_the_oldest_that_the_project_takes():
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(f">={PYTHON}")


def test_pip_gives_the_projects_dependencies_first_and_then_the_others_by_name():
    names = list(_pins(PIP[0]))
    direct = [canonicalize_name(Requirement(entry).name) for entry in PROJECT["dependencies"]]
    assert names[: len(direct)] == direct
    assert names[len(direct) :] == sorted(names[len(direct) :])
    assert len(names) == len(PIP[0])


def test_snakemakes_report_needs_no_extra():
    """snakemake.report imports pygments, which Snakemake itself does not bring."""
    assert "pygments" in _closure(PROJECT["dependencies"])


def test_pip_gives_all_that_the_dependencies_need_and_no_more():
    needed = {name for name in _closure(PROJECT["dependencies"]) if not _only_with_cuda(name)}
    assert set(_pins(PIP[0])) == needed


@pytest.mark.parametrize("name, version", _pins(PIP[0]).items())
def test_pip_gives_the_locked_version(name: str, version: str):
    assert version == LOCK[name]


# ---- requirements.lock -----------------------------------------------------------------------------------------------
def test_the_lock_has_one_exact_version_per_package_by_name():
    assert list(LOCK) == sorted(LOCK)
    assert len(LOCK) == len(LOCK_LINES)


def test_the_lock_names_no_address_option_or_hash():
    assert "://" not in LOCK_TEXT
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [^#]+)?", line) for line in LOCK_LINES)


@pytest.mark.parametrize(
    "entry", [*PROJECT["dependencies"], *(entry for entries in EXTRAS.values() for entry in entries)]
)
def test_the_lock_satisfies_every_direct_requirement(entry: str):
    requirement = Requirement(entry)
    if requirement.name == PROJECT["name"]:  # an extra that brings other extras of the project
        assert requirement.extras <= set(EXTRAS)
    else:
        assert LOCK[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_lock_satisfies_all_that_the_tests_environment_needs():
    others = [entry for entry in EXTRAS["test"] if Requirement(entry).name != PROJECT["name"]]
    closure = _closure([*PROJECT["dependencies"], *others, *EXTRAS["slurm"], *EXTRAS["cluster-generic"]])
    assert len(closure) > 90  # it looked further than the direct ones
    for name, requirements in closure.items():
        for requirement in requirements:
            assert requirement.specifier.contains(LOCK[name], prereleases=True), f"{requirement}: {LOCK[name]}"


def test_the_documented_command_makes_the_lock_for_the_oldest_python_and_every_extra():
    (command,) = re.findall(r"^uv pip compile .+$", (ROOT / "docs/running.md").read_text(), re.MULTILINE)
    assert f" --python-version {PYTHON} " in command
    assert " --all-extras " in command and " --universal " in command


# ---- continuous integration and the image ----------------------------------------------------------------------------
def test_every_debian_package_has_a_reason():
    assert all(re.fullmatch(r"[a-z0-9+.-]+ +# .+", line) for line in DEBIAN_LINES)
    assert len(set(DEBIAN)) == len(DEBIAN)


def test_the_list_has_what_the_tests_on_slurm_need():
    assert set(slurm.PROGRAMS.values()) <= set(DEBIAN)


def test_ci_and_the_image_install_debians_packages_from_one_list():
    assert ".ci/packages.txt" in CI and ".ci/packages.txt" in COPIED
    assert not [name for name in DEBIAN for text in (CI, DOCKERFILE) if f" {name} " in text]


def test_ci_and_the_image_install_the_same_extras_with_the_lock():
    *_, last = re.findall(r"^install_project '\.\[(.+)\]'", CI, re.MULTILINE)
    (image,) = re.findall(r"pip install --no-cache-dir -c requirements\.lock -e '\.\[(.+)\]'", DOCKERFILE)
    assert image == last
    assert set(image.split(",")) <= set(EXTRAS)
    assert "-c requirements.lock" in CI


@pytest.mark.parametrize("refuses", [False, True])
def test_ci_asks_for_the_missing_debian_packages_and_says_when_it_cannot_have_them(tmp_path: Path, refuses: bool):
    programs = {
        "dpkg-query": f'[ "${{@: -1}}" = {DEBIAN[0]} ] && echo -n installed',
        "apt-get": f'echo "$@" >> "{tmp_path}/asked"; [ {int(refuses)} = 0 ]',
        "python3": "exit 7",  # no further than the packages
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    result = project.run(ROOT, ".ci/run", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert result.returncode == 7, result.stderr
    missing = " ".join(DEBIAN[1:])
    asked = (tmp_path / "asked").read_text().splitlines()
    if refuses:
        assert asked == ["-qq update"]
        assert result.stdout.startswith(f"could not install {missing} (")
    else:
        assert asked == ["-qq update", f"-qq install --no-install-recommends {missing}"]
        assert result.stdout == ""


def test_the_image_has_the_environments_python():
    assert re.findall(r"^FROM (.+)$", DOCKERFILE, re.MULTILINE) == [f"python:{PYTHON}-slim-bookworm"]


@pytest.mark.parametrize("source", COPIED)
def test_the_image_copies_what_exists_and_is_not_ignored(source: str):
    assert (ROOT / source).exists()
    assert not _ignored(source)


def test_the_image_installs_dependencies_before_it_copies_the_sources():
    install, everything = DOCKERFILE.index("pip install"), DOCKERFILE.index("COPY . .")
    assert install < everything
    assert re.findall(r"^COPY (memvae\S*) ", DOCKERFILE[:install], re.MULTILINE) == ["memvae/__init__.py"]


def test_the_image_makes_the_folder_of_each_package_before_pip_looks_for_it():
    (made,) = re.findall(r"^RUN mkdir (.+?) *&&", DOCKERFILE, re.MULTILINE)
    folders = [name.replace(".", "/") for name in PYPROJECT["tool"]["setuptools"]["packages"]]
    assert ["memvae", *made.split()] == folders


def test_the_image_ignores_what_git_ignores():
    patterns = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    rooted = [pattern[1:] if pattern.startswith("/") else f"**/{pattern}" for pattern in patterns]
    assert sorted(DOCKERIGNORE) == sorted([".git", *rooted])


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a clone: git says which files belong to the project")
def test_the_image_gets_every_file_of_the_project():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "memvae/data/prepare.py" in tracked  # not lost with the folder data
    assert not list(filter(_ignored, tracked))


def _ignored(path: str) -> bool:
    """Whether .dockerignore has a pattern for the path or a folder above it; patterns start at the root or with **."""
    levels = [PurePosixPath(path), *PurePosixPath(path).parents]
    return any(
        fnmatch(level.name if pattern.startswith("**/") else str(level), pattern.removeprefix("**/"))
        for level in levels
        for pattern in DOCKERIGNORE
    )


# ---- installing ------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_pip_part_alone_installs_and_makes_table3(tmp_path: Path):
    fresh = tmp_path / "fresh"
    subprocess.run([sys.executable, "-m", "venv", fresh], check=True)
    folder = project.make(tmp_path / "project")
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        (folder / part).symlink_to(ROOT / part)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        path = f"{fresh / 'bin'}:{project.environment()['PATH']}"
        return project.run(folder, str(fresh / "bin" / command[0]), *command[1:], PATH=path, PYTHONPATH="")

    def successful(*command: str) -> str:
        result = run(*command)
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
        return result.stdout

    any_package = ("--ignore-installed", "--no-deps", "--retries", "0", "--timeout", "15", "pip")
    index = run("pip", "install", "--dry-run", *any_package)
    if index.returncode != 0:
        pytest.skip(f"pip can reach no package index: {index.stderr.strip().splitlines()[-1]}")
    successful("pip", "install", *PIP[0])
    installed = json.loads(successful("pip", "list", "--format", "json"))
    versions = {canonicalize_name(one["name"]): one["version"].split("+")[0] for one in installed}  # 2.13.0+cpu
    others = {name: version for name, version in versions.items() if name != "pip" and not _only_with_cuda(name)}
    assert others == _pins(PIP[0])
    assert "No broken requirements" in successful("pip", "check")
    successful("pip", "install", "--no-deps", ".")
    assert "usage: memvae" in successful("memvae", "--help")
    successful("snakemake", "--cores", "1", "results/tables/table3.csv")
    with open(folder / "results/tables/table3.csv", newline="") as file:
        counts = {row["row"]: row["parameters"] for row in csv.DictReader(file)}
    assert counts["mnist-vae"] == "1440984" and counts["mnist-mem_vae"] == "1550084"


# ---- the citation ----------------------------------------------------------------------------------------------------
def test_the_citation_names_the_authors_and_the_paper():
    assert CITATION["authors"] == [{"name": "the memvae authors"}] == PROJECT["authors"]
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["version"] == memvae.__version__
    (paper,) = CITATION["references"]
    assert paper["title"] == "Learning to Generate with Memory" and paper["year"] == 2016
    names = [f"{author['given-names']} {author['family-names']}" for author in paper["authors"]]
    assert names == ["Chongxuan Li", "Jun Zhu", "Bo Zhang"]
    assert {"type": "other", "value": "arXiv:1602.07416", "description": "arXiv preprint"} in paper["identifiers"]
