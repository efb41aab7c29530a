"""The documentation site: `sphinx-build -W --keep-going docs site`. Pages are those of docs/, the reference docstrings.

Sphinx with MyST: both are maintained, and pages stay plain Markdown that a repository shows as it is. Equations become
MathML when the site is built, so a page loads nothing from elsewhere and works offline.
"""

import re
import shutil
from pathlib import Path

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import memvae

# autosummary does not descend into pages that an earlier, unfinished build left
shutil.rmtree(Path(__file__).parent / "reference", ignore_errors=True)

project, author, release = "memvae", "the memvae authors", memvae.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["results/README.md", "results/published/*", "example/*", "explore.ipynb"]  # for a folder
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
suppress_warnings = ["misc.highlighting_failure"]  # a command may have a <placeholder>
html_theme = "furo"
html_math_renderer = "mathml"
html_copy_source = False
pygments_style, pygments_dark_style = "default", "github-dark"


def inline_math(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_mathml(node))
    raise nodes.SkipNode


def block_math(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math" style="overflow-x: auto; padding: .5em 0">{_mathml(node)}</div>\n')
    raise nodes.SkipNode


def _mathml(node: nodes.math | nodes.math_block) -> str:
    """The formula in MathML; what cannot be converted raises, and so fails the build."""
    formula = re.sub(r"\\dots\b", r"\\ldots", node.astext())
    formula = re.sub(r"\\log\s+(?!\()", r"\\log\\,", formula)  # MathML has no space of its own here
    return str(latex2mathml.tex2mathml(formula, as_block=isinstance(node, nodes.math_block)))


def plain_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with code in single backticks; a paragraph with indented lines stays as it is."""
    shown = []
    for paragraph in "\n".join(lines).strip("\n").split("\n\n"):
        rows = paragraph.splitlines()
        if any(row.startswith(" ") for row in rows):
            shown += ["::", "", *(f"    {row}" for row in rows), ""]
        else:
            shown += [*(re.sub(r"`[^`]*`|[\\*|_]", _escaped, row) for row in rows), ""]
    lines[:] = shown


def _escaped(match: re.Match[str]) -> str:
    return f"`{match[0]}`" if match[0].startswith("`") else f"\\{match[0]}"


def name_of_other_page(app: Sphinx, page: str, source: list[str]) -> None:
    """A Markdown file beside docs/ is no page of the site: a link to it becomes its name."""
    source[0] = re.sub(r"\[([^]]*)\]\(\.\./([\w/]+\.md)[^)]*\)", r"\1 (`\2`)", source[0])


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", inline_renderers=(inline_math, None), block_renderers=(block_math, None))
    app.connect("source-read", name_of_other_page)
    app.connect("autodoc-process-docstring", plain_docstring)
