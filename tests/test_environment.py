"""environment.yml, requirements.lock and the Dockerfile install the same versions."""

import tomllib
from collections.abc import Iterable

import project
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = project.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
PIP = CONDA[-1]["pip"]
PYTHON = dict(entry.split("=") for entry in CONDA[:-1])["python"]


def _pins(lines: Iterable[str]) -> dict[str, str]:
    """The exact version of each package; markers are left out."""
    requirements = map(Requirement, lines)
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in requirements}


LOCK = _pins(line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#"))


def test_the_pip_part_has_the_locks_versions() -> None:
    assert {name: LOCK[name] for name in _pins(PIP)} == _pins(PIP)
    direct = {canonicalize_name(Requirement(entry).name) for entry in PROJECT["dependencies"]}
    assert direct <= set(_pins(PIP))


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_the_lock_satisfies_every_direct_requirement(extra: str) -> None:
    for requirement in map(Requirement, EXTRAS[extra] if extra else PROJECT["dependencies"]):
        if requirement.name != PROJECT["name"]:  # else an extra that brings other extras
            assert LOCK[canonicalize_name(requirement.name)] in requirement.specifier


def test_python_is_the_same_everywhere() -> None:
    assert PROJECT["requires-python"] == f">={PYTHON}"
    assert f"FROM python:{PYTHON}-slim" in (ROOT / "Dockerfile").read_text()
