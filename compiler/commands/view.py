"""`atoll view`: writes a page that shows what is made of a job, a module or a saved program."""

import argparse
import contextlib
import sys
import webbrowser
from pathlib import Path

from atoll.compiler import display
from atoll.compiler.commands.lowering import Asked, lower_target, open_target
from atoll.compiler.commands.target import check_no_marks
from atoll.compiler.errors import UsageError
from atoll.compiler.export.job import Job
from atoll.compiler.files import check_writable
from atoll.compiler.report.report import Report
from atoll.compiler.view.model_explorer import write_graphs
from atoll.compiler.view.page import write_page
from atoll.compiler.view.view_data import Viewed
from atoll.runtime.program_file import load_program

_PAGE = "html"


def run(options: argparse.Namespace) -> int:
    """The command."""
    asked = Asked.of(options)
    if options.open and options.format != _PAGE:
        raise UsageError("--open shows a page, and --format asks for none", remedy="leave one of them out")
    file = Path(options.output or ("view.html" if options.format == _PAGE else "view.json"))
    check_writable(file)
    with (
        display.shown(),
        contextlib.redirect_stdout(sys.stderr),
    ):  # what the user's code prints; the path is all that we do
        viewed = _viewed(options, asked)
    (write_page if options.format == _PAGE else write_graphs)(viewed, file)
    print(file)
    if options.open and not webbrowser.open(file.resolve().as_uri()):
        raise UsageError("no browser is found here", str(file), "open the file in one")
    return 0


def _viewed(options: argparse.Namespace, asked: Asked) -> Viewed:
    if options.target.endswith(".atoll"):
        return _saved(options, asked)
    target = open_target(options, asked)
    title = None if isinstance(target, Job) else Path(options.target).name
    return lower_target(target, asked).viewed(title)


def _saved(options: argparse.Namespace, asked: Asked) -> Viewed:
    """What is in a saved program: no IR, and so no lines of the user's."""
    check_no_marks(options, "a saved program is compiled")
    if asked != Asked(None, None):
        raise UsageError("a saved program has its topology and its plan", options.target, "leave them out")
    program = load_program(options.target)
    return Viewed(Path(options.target).name, program, {}, Report.from_json(program.report))
