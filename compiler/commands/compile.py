"""`atoll compile`: compiles a job, or a module at any phase, for islands that need not be here, and reports on it."""

import argparse
import contextlib
import sys
from pathlib import Path

from atoll.compiler.commands.target import load_module, load_target
from atoll.compiler.errors import UsageError
from atoll.compiler.lowered import Lowered, lower, lower_module
from atoll.compiler.module.planned import topology_of
from atoll.compiler.pipeline.resume import write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.topology.devices import reserve_cpu_devices
from atoll.compiler.topology.topology import Topology, topology


def run(options: argparse.Namespace) -> int:
    """The command. A plan that does not fit is an error, for which the exit status is 1."""
    islands = None if options.topology is None else topology(options.topology)
    plan = None if options.plan is None else Plan.parse(options.plan)
    if islands is not None:
        reserve_cpu_devices(islands)  # before the user's file is loaded, as it may use jax
    with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints; standard output is for the report
        lowered = _lowered(options, islands, plan)
    with lowered.compile() as compiled:
        print(compiled.report())
        if options.save is not None:
            compiled.save(options.save)
    return 0


def _lowered(options: argparse.Namespace, islands: Topology | None, plan: Plan | None) -> Lowered:
    target = load_target(options)
    if isinstance(target, Path):
        module = load_module(target, options)
        write_texts(module, islands, plan)
        return lower_module(module, topology_of(module))
    if islands is None:
        raise UsageError("no topology is given", remedy='name the islands: --topology "2 x v5e[2x2]"')
    return lower(target, topology=islands, plan=plan or Plan())
