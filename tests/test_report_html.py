"""`snakemake --report`: opened in a real browser, wide and as on a phone; and the page of results that stands in it."""

from collections.abc import Iterator
from pathlib import Path

import browser
import project
import pytest
from browser import Browser

from memvae.report import html
from memvae.settings import targets

SIZES = {"wide": browser.WIDE, "phone": browser.PHONE}
MENU = "[...document.querySelectorAll('nav li a')].find(link => link.textContent.trim() === '{}')"
ROW = "[...document.querySelectorAll('nav tbody tr')].find(row => row.textContent.trim() === '{}')"
LEAST_FONT = 13.0  # CSS pixels; smaller is tiny on a phone
SMALLEST = """Math.min(...[...document.querySelectorAll('p, td, th, li, pre')]
    .filter(one => one.textContent.trim()).map(one => parseFloat(getComputedStyle(one).fontSize)))"""
TOO_WIDE = "document.documentElement.scrollWidth > window.innerWidth || window.innerWidth > {}"
BROKEN = "[...document.images].filter(image => !(image.complete && image.naturalWidth)).map(image => image.alt)"
DRAWN = """[...document.querySelectorAll('canvas')].some(canvas => new Set(new Uint32Array(
    canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size > 20)"""  # colours
FIGURES = {name: targets.title(project.TINY, name) for name in targets.figures(project.TINY)}
TABLES = {name: targets.title(project.TINY, name) for name in targets.tables(project.TINY)}

pytestmark = pytest.mark.xdist_group("report")  # one worker, so that it is made once


@pytest.fixture(scope="module")
def report(finished: Path) -> Path:
    result = project.tiny(finished, "--report", "report.html")
    assert result.returncode == 0, result.stderr[-3000:]
    return finished / "report.html"


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def window(request: pytest.FixtureRequest, report: Path) -> Iterator[Browser]:
    """The report in a window; afterwards nothing was reported as an error and no other address asked for."""
    with browser.opened(report, request.param) as opened:
        opened.wait("!!document.querySelector('nav')")
        yield opened
        assert opened.errors == []
        assert opened.asked == [report.resolve().as_uri()]
        assert not opened.run(TOO_WIDE.format(request.param[0]))


@browser.needs_chromium
def test_the_report_opens_with_what_it_is_and_the_rule_graph(window: Browser) -> None:
    window.wait("document.body.innerText.includes('reproduced at scale=tiny')")
    window.wait(DRAWN)
    assert "report_page" in window.run("document.querySelector('script#rulegraph').textContent")


@browser.needs_chromium
def test_the_report_has_run_times(window: Browser) -> None:
    window.wait(DRAWN)  # the graph is there before, and not after
    window.click(MENU.format("Statistics"))
    window.wait(f"document.querySelectorAll('canvas').length === 2 && {DRAWN}")
    assert "train" in window.run("document.querySelector('script#runtimes').textContent")


@browser.needs_chromium
def test_every_figure_is_shown_with_its_caption(window: Browser) -> None:
    for name, title in FIGURES.items():
        window.click(MENU.format("3. Figures"))
        window.click(f"{ROW.format(title)}?.querySelectorAll('a')[0]")
        window.wait(
            "[...document.querySelectorAll('#app > div > nav + div img')].some(image => image.naturalWidth > 300)"
        )
        assert _height_of_content(window) > 200
        window.click(f"{ROW.format(title)}?.querySelectorAll('a')[1]")
        _sees_caption(window, name)
        _home(window)


@browser.needs_chromium
def test_every_table_and_the_scorecard_can_be_saved_and_has_its_caption(window: Browser) -> None:
    for category, titles in (("4. Tables", TABLES), ("2. Scorecard", {"scorecard": targets.TITLES["scorecard"]})):
        for name, title in titles.items():
            window.click(MENU.format(category))
            link = f"{ROW.format(title)}?.querySelectorAll('a')[0]"
            window.wait(f"!!({link})")
            assert window.run(f"({link}).download") == f"{name}.csv"
            assert window.run(f"fetch(({link}).href).then(answer => answer.text())").count("\n") > 1
            window.click(f"{ROW.format(title)}?.querySelectorAll('a')[1]")
            _sees_caption(window, name)
            _home(window)


@browser.needs_chromium
def test_all_results_are_shown_within_the_report(window: Browser) -> None:
    window.click(MENU.format("1. All results on one page"))
    window.click(f"{ROW.format('Claims, figures, tables')}?.querySelectorAll('a')[0]")
    window.wait("!!document.querySelector('iframe')?.src.startsWith('data:text/html')")
    assert _height_of_content(window) > 200


@browser.needs_chromium
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_the_page_of_results_is_readable(finished: Path, size: tuple[int, int]) -> None:
    page = finished / targets.report_page(project.TINY)
    with browser.opened(page, size) as opened:
        assert opened.run("document.images.length") == len(FIGURES)
        assert opened.run(BROKEN) == []
        assert opened.run(SMALLEST) >= LEAST_FONT
        assert not opened.run(TOO_WIDE.format(size[0]))
        text = opened.run("document.body.innerText")
        links = opened.run("Promise.all([...document.links].map(link => fetch(link.href).then(got => got.text())))")
        assert links and all(content.count("\n") > 1 for content in links)
        assert (opened.errors, opened.asked) == ([], [page.resolve().as_uri()])
    for part in ("The paper's claims at a glance", "Scorecard", "How it was made", "Trainings", "data, model (sha256)"):
        assert part in text
    for mark in ("**", "](", "|--", "|:-", "`"):  # no Markdown is left
        assert mark not in text


def caption(name: str) -> str:
    """The caption of a target, beside its analysis or among those of the workflow."""
    shown = targets.shown(project.TINY)
    if name not in shown:
        return (project.ROOT / f"workflow/report/{name}.rst").read_text()
    analysis = shown[name][1]
    return (analysis.folder / f"{analysis.own(name)}.rst").read_text()


@pytest.mark.parametrize("name", [*targets.shown(project.TINY), "scorecard", "report_page"])
def test_every_target_has_a_caption(name: str) -> None:
    assert "paper" in caption(name).lower()


def test_markdown_becomes_html_that_hides_nothing() -> None:
    text = (
        "# A < B\n\n**Bold** and `a_b`, [numbers](x/n.csv), [paper](https://a.b/c), [how](m.md#why).\n\n"
        "| a | b |\n|:--|--:|\n| & | 1 |"
    )
    made = html.page(text, {"x/n.csv": b"1\n"})
    assert "<title>A &lt; B</title>" in made and "<h1>A &lt; B</h1>" in made
    assert "<strong>Bold</strong> and <code>a_b</code>" in made
    assert '<a href="data:text/csv;base64,MQo=" download="n.csv">numbers</a>' in made
    assert '<a href="https://a.b/c">paper</a>' in made and "how (docs/m.md)." in made
    assert '<th style="text-align:right">b</th>' in made and '<td style="text-align:right">1</td>' in made
    assert "&amp;</td>" in made


def test_a_picture_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        html.page("![none](x/none.png)", {})


def _home(window: Browser) -> None:
    window.click("document.querySelectorAll('nav a')[1]")
    window.wait("!!" + MENU.format("Statistics"))


def _height_of_content(window: Browser) -> float:
    return float(window.run("document.querySelector('#app > div > nav + div').clientHeight"))


def _sees_caption(window: Browser, name: str) -> None:
    """The first words of the caption's file stand in the page, in letters that can be read."""
    words = " ".join(caption(name).split()[:6])
    window.wait(f"document.querySelector('nav .prose')?.innerText.replace(/\\s+/g, ' ').includes({words!r})")
    assert window.run("parseFloat(getComputedStyle(document.querySelector('nav .prose p')).fontSize)") >= LEAST_FONT
