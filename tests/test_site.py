"""The documentation: links lead somewhere, names exist, the site builds without a warning."""

import importlib
import re
import sys
from functools import reduce
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import project
import pytest

DOCS = project.ROOT / "docs"
PAGES = sorted(path for path in DOCS.glob("*.md") if not path.stem.startswith("results-"))
MARKDOWN = [
    *project.ROOT.glob("*.md"),
    project.ROOT / "benchmarks/README.md",
    project.ROOT / "config/README.md",
    DOCS / "results/README.md",
    *PAGES,
]
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
FORMULA = re.compile(r"\$\$.+?\$\$|(?<!\$)\$[^$\n]+\$", re.DOTALL)
needs_sphinx = pytest.mark.skipif(
    not all(map(find_spec, ("sphinx", "myst_parser", "furo"))), reason="needs the extra docs: pip install -e '.[docs]'"
)
pytestmark = pytest.mark.xdist_group("site")  # one worker, so that it is built once


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; every warning is an error."""
    output = tmp_path_factory.mktemp("site")
    command = ("-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(output / ".doctrees"), str(DOCS), str(output))
    result = project.run(project.ROOT, sys.executable, *command)
    assert result.returncode == 0, result.stderr[:4000]
    return output


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(project.ROOT)))
def test_links_in_the_repository_lead_to_files_and_headings(path: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
    for link in LINK.findall(text):
        target = urlsplit(link)
        file = path.parent / unquote(target.path) if target.path else path
        assert target.scheme or file.exists(), link
        if target.fragment and file.suffix == ".md":
            titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert target.fragment in anchors, link


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(project.ROOT)))
def test_sources_that_a_document_names_exist(path: Path) -> None:
    named = re.findall(r"`((?:memvae|workflow|config|profiles|tests|benchmarks)/[\w./-]+\.[a-z]+)`", path.read_text())
    assert [name for name in named if not (project.ROOT / name).exists()] == []


def test_functions_that_the_method_names_exist() -> None:
    names = re.findall(r"`([\w.]+):(\w[\w.]*)`", (DOCS / "method.md").read_text())
    assert len(names) > 30
    for module, name in names:
        if module != "module":
            reduce(getattr, name.split("."), importlib.import_module(f"memvae.{module}"))


@needs_sphinx
def test_every_module_is_in_the_reference(site: Path) -> None:
    files = [path.relative_to(project.ROOT).with_suffix("") for path in (project.ROOT / "memvae").rglob("*.py")]
    modules = {".".join(path.parts).removesuffix(".__init__") for path in files if path.name != "__main__"}
    assert [name for name in modules if not (site / f"reference/{name}.html").exists()] == []


@needs_sphinx
def test_every_equation_is_rendered(site: Path) -> None:
    formulas = FORMULA.findall(re.sub(r"`[^`\n]*`", "", (DOCS / "method.md").read_text()))
    text = (site / "method.html").read_text()
    assert len(formulas) > 50 and text.count("<math") == len(formulas)
    assert "\\" not in re.sub(r"<(script|code|math)\b.*?</\1>", "", text, flags=re.DOTALL)
