"""The documentation: the site builds without a warning, works offline and on a phone, and links lead somewhere."""

import re
import sys
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import browser
import project
import pytest

DOCS = project.ROOT / "docs"
PAGES = sorted(path for path in DOCS.glob("*.md") if not path.stem.startswith("results-"))
MARKDOWN = [project.ROOT / "README.md", project.ROOT / "CONTRIBUTING.md", project.ROOT / "benchmarks/README.md", *PAGES]
LOADED = re.compile(r"<(?:script|img|iframe)\b[^>]*?\bsrc=\"([^\"]+)\"|<link\b[^>]*?\bhref=\"([^\"]+)\"")
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
    assert result.returncode == 0, result.stderr[-4000:]
    return output


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(project.ROOT)))
def test_links_in_the_repository_lead_to_files_and_headings(path: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
    for link in LINK.findall(text):
        target = urlsplit(link)
        if target.scheme:
            continue
        file = path.parent / unquote(target.path) if target.path else path
        assert file.exists(), link
        if target.fragment and file.suffix == ".md":
            assert target.fragment in _headings(file), link


@needs_sphinx
def test_the_reference_has_every_module(site: Path) -> None:
    files = [path.relative_to(project.ROOT).with_suffix("") for path in (project.ROOT / "memvae").rglob("*.py")]
    modules = {".".join(path.parts).removesuffix(".__init__") for path in files if path.name != "__main__"}
    missing = [name for name in modules if not (site / f"reference/{name}.html").exists()]
    assert not missing


def test_the_index_leads_to_every_page() -> None:
    listed = re.findall(r"^[a-z]+$", (DOCS / "index.md").read_text(), re.MULTILINE)
    assert sorted([*listed, "index"]) == [path.stem for path in PAGES]


@needs_sphinx
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_asks_for_nothing_outside_the_site(site: Path, page: Path) -> None:
    text = (site / f"{page.stem}.html").read_text()
    loaded = [first or second for first, second in LOADED.findall(text)]
    assert loaded
    for address in loaded:
        target = urlsplit(address)
        assert not target.scheme and not target.netloc, address
        assert not target.path or (site / unquote(target.path)).exists(), address


@needs_sphinx
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_to_their_headings(site: Path, page: Path) -> None:
    for link in re.findall(r"<a\b[^>]*?\bhref=\"([^\"]+)\"", (site / f"{page.stem}.html").read_text()):
        target = urlsplit(unescape(link))
        if target.scheme or target.netloc:
            continue
        file = site / (unquote(target.path) or f"{page.stem}.html")
        assert file.exists(), link
        if target.fragment:
            assert f'id="{unquote(target.fragment)}"' in file.read_text(), link


@needs_sphinx
def test_every_equation_is_rendered(site: Path) -> None:
    formulas = FORMULA.findall(re.sub(r"`[^`\n]*`", "", (DOCS / "method.md").read_text()))
    text = (site / "method.html").read_text()
    assert len(formulas) > 50 and text.count("<math") == len(formulas)
    assert "\\" not in re.sub(r"<(script|code|math)\b.*?</\1>", "", text, flags=re.DOTALL)


@needs_sphinx
def test_the_reference_shows_signatures_and_shapes(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "reference/memvae.training.objective.html").read_text())
    assert "memvae.training.objective." in text and "[K, B" in text


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


def _headings(path: Path) -> set[str]:
    """The anchors of a file's headings, as a repository's page and MyST make them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
