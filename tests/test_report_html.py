"""`snakemake --report` opens without a network, every target has a caption, and the page of results becomes HTML."""

import re
from pathlib import Path

import project
import pytest

from memvae.report import html
from memvae.settings import targets


def test_the_report_holds_everything_that_was_made(finished: Path) -> None:
    result = project.tiny(finished, "--report", "report.html")
    assert result.returncode == 0, result.stderr[-3000:]
    text = (finished / "report.html").read_text()
    for name in (*targets.figures(project.TINY), *targets.tables(project.TINY), "scorecard"):
        assert targets.title(project.TINY, name) in text
    assert re.search(r"reproduced at <tt class=[^>]*>scale=tiny</tt>", text)


@pytest.mark.parametrize("name", [*targets.shown(project.TINY), "scorecard", "report_page"])
def test_every_target_has_a_caption(name: str) -> None:
    path = project.ROOT / f"workflow/report/{name}.rst"
    if name in targets.shown(project.TINY):
        analysis = targets.shown(project.TINY)[name][1]
        path = analysis.folder / f"{analysis.own(name)}.rst"
    assert "paper" in path.read_text().lower()


def test_markdown_becomes_html_that_hides_nothing() -> None:
    text = (
        "# A < B\n\n**Bold** and `a_b`, [numbers](x/n.csv), [paper](https://a.b/c), [how](m.md#why).\n\n"
        "| a | b |\n|:--|--:|\n| & | 1 |"
    )
    made = html.page(text, {"x/n.csv": b"1\n"})
    assert "<title>A &lt; B</title>" in made and "<h1>A &lt; B</h1>" in made
    assert "<strong>Bold</strong> and <code>a_b</code>" in made
    assert '<a href="data:text/csv;base64,MQo=" download="n.csv">numbers</a>' in made
    assert '<a href="https://a.b/c">paper</a>' in made
    assert '<td style="text-align:right">1</td>' in made and "&amp;</td>" in made
    with pytest.raises(KeyError):
        html.page("![none](x/none.png)", {})
