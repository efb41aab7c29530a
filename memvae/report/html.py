"""The page of results as one HTML file that needs nothing beside it: pictures and numbers are inside, no script, no
network. Text runs to the window's width and wide tables scroll by themselves, so a phone shows it too.
"""

import base64
import re
from collections.abc import Mapping
from html import escape
from pathlib import PurePosixPath

MIME = {".png": "image/png", ".csv": "text/csv"}
STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 0 1rem 2rem; color: #222;
  overflow-wrap: anywhere; }
h1, h2 { line-height: 1.25; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
img { max-width: 100%; height: auto; background: #fff; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .875rem; overflow-wrap: normal; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; min-width: 4rem; }
th { border-bottom: 2px solid #888; } .right { text-align: right; }
code { font-size: .875em; }
"""


def page(markdown: str, files: Mapping[str, bytes]) -> str:
    """The page in HTML.

    markdown: as `memvae.report.page` writes it: headings, paragraphs, tables, pictures, `**bold**`, code and links.
    files: what it shows or links to, path in the text -> content. A link to another page of the documentation, which is
    not inside, becomes words that name it.
    """
    blocks = [_block(block, files) for block in markdown.strip().split("\n\n")]
    title = markdown.partition("\n")[0].lstrip("# ")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(blocks) + "\n</body></html>\n"


def _block(text: str, files: Mapping[str, bytes]) -> str:
    if heading := re.fullmatch(r"(#+) (.*)", text):
        level = len(heading[1])
        return f"<h{level}>{_inline(heading[2], files)}</h{level}>"
    if text.startswith("|"):
        return _table(text.splitlines(), files)
    return f"<p>{_inline(text, files)}</p>"


def _table(lines: list[str], files: Mapping[str, bytes]) -> str:
    """A table with pipes, whose second line says how columns are aligned."""
    head, align, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    marks = [' class="right"' if cell.endswith(":") else "" for cell in align]

    def row(cells: list[str], tag: str) -> str:
        inside = (f"<{tag}{mark}>{_inline(cell, files)}</{tag}>" for cell, mark in zip(cells, marks, strict=True))
        return f"<tr>{''.join(inside)}</tr>"

    body = "\n".join(row(cells, "td") for cells in rows)
    return f'<div class="table"><table><thead>{row(head, "th")}</thead>\n<tbody>{body}</tbody></table></div>'


def _inline(text: str, files: Mapping[str, bytes]) -> str:
    text = escape(text, quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"!\[([^]]*)\]\(([^)]+)\)", lambda m: f'<img alt="{m[1]}" src="{_data(m[2], files)}">', text)
    return re.sub(r"\[([^]]*)\]\(([^)]+)\)", lambda m: _link(m[1], m[2], files), text)


def _link(text: str, target: str, files: Mapping[str, bytes]) -> str:
    path = PurePosixPath(target.partition("#")[0])
    if target in files:
        return f'<a download="{path.name}" href="{_data(target, files)}">{text}</a>'
    if "://" in target:
        return f'<a href="{target}">{text}</a>'
    return text if path.name in text else f"{text} (docs/{path})"


def _data(path: str, files: Mapping[str, bytes]) -> str:
    content = base64.b64encode(files[path]).decode()
    return f"data:{MIME[PurePosixPath(path).suffix]};base64,{content}"
