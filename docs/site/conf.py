"""How Sphinx makes the site: `make site`.

The pages are the Markdown files as they are read in the repository: README.md is the first one, and docs/index.md lists
all others. The lists of links there are the navigation, so that a new page needs one line, which people read as well.
"""

import re
from pathlib import Path
from typing import Any

from pygments.lexer import RegexLexer
from pygments.token import Comment, Keyword, Name, Number, String, Text
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
FIRST, CONTENTS = "README", ROOT / "docs" / "index.md"

project = "atoll"
extensions = ["myst_parser"]
root_doc = FIRST
include_patterns = ["*.md", "docs/**.md", "examples/**README.md", "ir_tests/README.md"]
html_theme = "furo"
html_title = "atoll"
html_show_sphinx = False
html_copy_source = False
myst_heading_anchors = 6

_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\(([^)#:]+)\)")
_SECTION = re.compile(r"^## (.*)\n", re.MULTILINE)


class MlirLexer(RegexLexer):  # type: ignore[misc] # has no types
    """Colours for MLIR, which Pygments does not know."""

    name = "MLIR"
    tokens = {  # noqa: RUF012 (as Pygments wants it)
        "root": [
            (r"//.*", Comment),
            (r'"[^"\n]*"', String),
            (r"[%@#^!][\w.$#-]+", Name.Variable),
            (r"\b(module|func|return|attributes|loc|tensor)\b", Keyword),
            (r"\b\d[\w.+-]*", Number),
            (r"[\w.$]+|\s+|.", Text),
        ]
    }


def read_source(_: Sphinx, name: str, source: list[str]) -> None:
    """Make the navigation of the list of pages, and plain text of links to folders, which are no pages."""
    here = (ROOT / name).parent
    source[0] = _LINK.sub(lambda link: link[1] if (here / link[2]).is_dir() else link[0], source[0])
    if name == FIRST:
        source[0] += navigation()


def navigation() -> str:
    """Lists of pages for the sidebar, one for each section of the contents."""
    _, *parts = _SECTION.split(CONTENTS.read_text(encoding="utf-8"))
    sections = [("", ["docs/index"])]
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        pages = [(CONTENTS.parent / link[2]).resolve().relative_to(ROOT) for link in _LINK.finditer(text)]
        sections.append((title, [str(page.with_suffix("")) for page in pages if page.suffix == ".md"]))
    return "".join(_toctree(title, pages) for title, pages in sections)


def _toctree(title: str, pages: list[str]) -> str:
    caption = f":caption: {title}\n" if title else ""
    return f"\n```{{toctree}}\n:hidden:\n{caption}\n" + "\n".join(pages) + "\n```\n"


def write_start(app: Sphinx, error: Exception | None) -> None:
    """Let the site's folder begin with the first page."""
    if error is None:
        (Path(app.outdir) / "index.html").write_text(f'<meta http-equiv="refresh" content="0; url={FIRST}.html">\n')


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_lexer("mlir", MlirLexer)
    app.connect("source-read", read_source)
    app.connect("build-finished", write_start)
    return {"parallel_read_safe": True}
