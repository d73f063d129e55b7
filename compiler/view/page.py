"""The page: the data of a program and the code that shows it, in one file that asks nothing of any host."""

import base64
import html
import json
import zlib
from pathlib import Path
from typing import Any

from atoll.compiler.errors import PATH_FAULTS, path_fault
from atoll.compiler.view.view_data import Viewed

_HERE = Path(__file__).parent
# What the browser itself is told to hold to: nothing is loaded, not even by mistake.
_NO_NETWORK = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main id="page"><noscript>This page needs JavaScript.</noscript></main>
<script type="application/json" id="atoll-ir">{ir}</script>
<script type="text/plain" id="atoll-data">{data}</script>
<script>{code}</script>
</body>
</html>
"""


def write_page(viewed: Viewed, path: str | Path) -> None:
    """Write the page of a program; UsageError if it cannot be written."""
    text = page(viewed)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except PATH_FAULTS as error:
        raise path_fault("write", path, error, "name another file") from None


def page(viewed: Viewed) -> str:
    """The text of the page."""
    return _PAGE.format(
        policy=_NO_NETWORK,
        title=html.escape(f"{viewed.title} - atoll"),
        style=_built("view.css"),
        ir=_inline(viewed.ir_data()),
        data=base64.b64encode(zlib.compress(_json(viewed.to_data()).encode(), 9)).decode(),
        code=_built("view.js"),
    )


def _built(name: str) -> str:
    """A file that `make bundle` has made of the folder `view/`."""
    return (_HERE / name).read_text(encoding="utf-8")


def _inline(data: dict[str, Any]) -> str:
    """Data as JSON that can stand in a script of a page: nothing in it ends the script."""
    return _json(data).replace("<", "\\u003c")


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"))
