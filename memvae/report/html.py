"""The page of results as one self-contained HTML file: pictures and numbers are inside, no script, no network.

Text fits the width of the window and wide tables scroll separately, so the page is readable on a phone.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import PurePosixPath

from markdown_it import MarkdownIt
from markdown_it.token import Token

MIME = {".png": "image/png", ".csv": "text/csv"}
STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 0 1rem 2rem; color: #222;
  overflow-wrap: anywhere; }
h1, h2 { line-height: 1.25; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
img { max-width: 100%; height: auto; background: #fff; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .875rem; overflow-wrap: normal; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #ddd; vertical-align: top; min-width: 4rem; }
th { border-bottom: 2px solid #888; }
code { font-size: .875em; }
"""


def page(markdown: str, files: Mapping[str, bytes]) -> str:
    """The page in HTML.

    markdown: as `memvae.report.page` writes it: headings, paragraphs, tables, pictures, `**bold**`, code and links.
    files: what it shows or links to, path in the text -> content. A link to another page of the documentation, which is
    not inside, becomes its words.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", lambda *_: '<div class="table"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    tokens = parser.parse(markdown)
    for inline in (token for token in tokens if token.children):
        inline.children = list(_with_contents(inline.children or [], files))
    title = markdown.partition("\n")[0].lstrip("# ")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    body = parser.renderer.render(tokens, parser.options, {})
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}</body></html>\n'


def _with_contents(tokens: Sequence[Token], files: Mapping[str, bytes]) -> Iterator[Token]:
    """The tokens of a line, with the files that pictures and links name inside them. Raises KeyError for a picture
    that is not among the files."""
    elsewhere = False  # within a link to a page that is not inside
    for token in tokens:
        if token.type == "image":
            token.attrs["src"] = _data(str(token.attrs["src"]), files)
        elif token.type == "link_open":
            target = str(token.attrs["href"])
            elsewhere = target not in files and "://" not in target
            if target in files:
                token.attrs |= {"download": PurePosixPath(target).name, "href": _data(target, files)}
        if not (elsewhere and token.type in ("link_open", "link_close")):
            yield token


def _data(path: str, files: Mapping[str, bytes]) -> str:
    content = base64.b64encode(files[path]).decode()
    return f"data:{MIME[PurePosixPath(path).suffix]};base64,{content}"
