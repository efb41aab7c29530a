"""environment.yml has the shape that conda reads, and states the versions of pyproject.toml; CITATION.cff fits them."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import memvae

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
CONDA = [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
PIP = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]


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
    version = dict(entry.split("=") for entry in CONDA)["python"]
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(f">={version}")


def test_pip_gives_the_projects_dependencies_and_no_other():
    assert [Requirement(entry).name for entry in PIP[0]] == [
        Requirement(entry).name for entry in PROJECT["dependencies"]
    ]


@pytest.mark.parametrize("entry", PIP[0])
def test_every_pip_package_is_pinned_as_the_project_has_it(entry):
    pinned = Requirement(entry)
    (exact,) = pinned.specifier
    assert exact.operator == "=="
    wanted = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == pinned.name).specifier
    if any(one.operator == "==" for one in wanted):
        assert pinned.specifier == wanted
    else:
        assert exact.version in wanted


def test_the_citation_names_the_authors_and_the_paper():
    assert CITATION["authors"] == [{"name": "the memvae authors"}] == PROJECT["authors"]
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["version"] == memvae.__version__
    (paper,) = CITATION["references"]
    assert paper["title"] == "Learning to Generate with Memory" and paper["year"] == 2016
    names = [f"{author['given-names']} {author['family-names']}" for author in paper["authors"]]
    assert names == ["Chongxuan Li", "Jun Zhu", "Bo Zhang"]
    assert {"type": "other", "value": "arXiv:1602.07416", "description": "arXiv preprint"} in paper["identifiers"]
