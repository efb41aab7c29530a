"""The documentation: links lead somewhere, names exist, the site builds without a warning and works offline."""

import importlib
import re
import sys
from functools import reduce
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import browser
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
LEADS_TO = re.compile(r"<(?:a|link)\b[^>]*?\bhref=\"([^\"]+)\"|<(?:script|img|iframe)\b[^>]*?\bsrc=\"([^\"]+)\"")
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
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_leads_only_to_what_is_there_and_loads_nothing_from_elsewhere(site: Path, page: Path) -> None:
    for tag in LEADS_TO.finditer((site / f"{page.stem}.html").read_text()):
        link = unescape(tag[1] or tag[2])
        target = urlsplit(link)
        if target.scheme or target.netloc:
            assert tag[0].startswith("<a"), link
            continue
        file = site / (unquote(target.path) or f"{page.stem}.html")
        assert file.exists(), link
        if target.fragment:
            assert f'id="{unquote(target.fragment)}"' in file.read_text(), link


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


@needs_sphinx
@browser.needs_chromium
@pytest.mark.parametrize("size", [browser.WIDE, browser.PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("page", ["index", "method", "reference", "results"])
def test_a_page_is_readable_in_a_browser(site: Path, page: str, size: tuple[int, int]) -> None:
    with browser.opened(site / f"{page}.html", size) as opened:
        for image in range(opened.run("document.images.length")):  # they load when they come into view
            opened.run(f"document.images[{image}].scrollIntoView()")
            opened.wait(f"document.images[{image}].naturalWidth > 0")
        assert opened.errors == []
        assert [address for address in opened.asked if not address.startswith("file:")] == []
        assert opened.run("document.documentElement.scrollWidth <= window.innerWidth")
        assert opened.run("window.innerWidth") == size[0]
        assert opened.run("parseFloat(getComputedStyle(document.querySelector('article p')).fontSize)") >= 14
