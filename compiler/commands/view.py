"""`atoll view`: writes a page that shows what is made of a job, a module or a saved program."""

import argparse
import contextlib
import sys
import webbrowser
from pathlib import Path

from atoll.compiler.commands.target import check_no_marks, load_module, load_target
from atoll.compiler.errors import UsageError
from atoll.compiler.lowered import lower, lower_module
from atoll.compiler.module.planned import topology_of
from atoll.compiler.pipeline.resume import write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.report.report import Report
from atoll.compiler.topology.devices import reserve_cpu_devices
from atoll.compiler.topology.topology import Topology, topology
from atoll.compiler.view.model_explorer import write_graphs
from atoll.compiler.view.page import write_page
from atoll.compiler.view.view_data import Viewed
from atoll.runtime.program_file import load_program

_PAGE, _GRAPHS = FORMATS = ("html", "model-explorer")


def run(options: argparse.Namespace) -> int:
    """The command."""
    islands = None if options.topology is None else topology(options.topology)
    plan = None if options.plan is None else Plan.parse(options.plan)
    if options.open and options.format != _PAGE:
        raise UsageError("--open shows a page, and --format asks for none", remedy="leave one of them out")
    file = Path(options.output or ("view.html" if options.format == _PAGE else "view.json"))
    with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints; the path is all that we do
        viewed = _viewed(options, islands, plan)
    (write_page if options.format == _PAGE else write_graphs)(viewed, file)
    print(file)
    if options.open and not webbrowser.open(file.resolve().as_uri()):
        raise UsageError("no browser is found here", str(file), "open the file in one")
    return 0


def _viewed(options: argparse.Namespace, islands: Topology | None, plan: Plan | None) -> Viewed:
    text: str = options.target
    if text.endswith(".atoll"):
        return _saved(options, islands, plan)
    if islands is not None:
        reserve_cpu_devices(islands)  # before the user's file is loaded, as it may use jax
    elif ".py:" in text:
        raise UsageError("no topology is given", remedy='name the islands: --topology "2 x cpu[1]"')
    target = load_target(options)
    if isinstance(target, Path):
        module = load_module(target, options)
        write_texts(module, islands, plan)
        return lower_module(module, topology_of(module)).viewed(target.name)
    assert islands is not None
    return lower(target, topology=islands, plan=plan or Plan()).viewed()


def _saved(options: argparse.Namespace, islands: Topology | None, plan: Plan | None) -> Viewed:
    """What is in a saved program: no IR, and so no lines of the user's."""
    check_no_marks(options, "a saved program is compiled")
    if islands is not None or plan is not None:
        raise UsageError("a saved program has its topology and its plan", options.target, "leave them out")
    program = load_program(options.target)
    return Viewed(Path(options.target).name, program, {}, Report.from_json(program.report))
