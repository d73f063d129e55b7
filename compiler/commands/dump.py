"""`atoll dump`: prints the IR of a job, or of a module that was dumped before, at any phase or after any pass."""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from atoll.compiler import display
from atoll.compiler.commands.target import load_module, load_target
from atoll.compiler.errors import UsageError
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import print_module
from atoll.compiler.module.marks import TOPOLOGY
from atoll.compiler.pipeline.dump_folder import DumpFolder
from atoll.compiler.pipeline.partial_compilation import run_first
from atoll.compiler.pipeline.pass_base import Step, step_name
from atoll.compiler.pipeline.pass_manager import Observer
from atoll.compiler.pipeline.pipeline import PHASES, Phase, phase_named
from atoll.compiler.pipeline.resume import phases_left, write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from atoll.compiler.text.language import known_names, shown
from atoll.compiler.topology.topology import Topology, topology


def run(options: argparse.Namespace) -> int:
    """The command."""
    islands = None if options.topology is None else topology(options.topology)
    plan = None if options.plan is None else Plan.parse(options.plan)
    goal = None if options.phase is None else phase_named(options.phase)
    with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints; standard output is for the IR
        target = load_target(options)
        module = load_module(target, options) if isinstance(target, Path) else _exported(target, islands, plan)
    write_texts(module, islands, plan)
    steps = _steps_to(module, goal or _last_phase(module))
    if options.all is not None:
        source = target if isinstance(target, Path) else None
        with display.shown():
            run_first(module, steps, lambda first: _observer(first, Path(options.all), source, options.debug_info))
        return 0
    if options.after is not None:
        steps = _steps_until(steps, options.after)
    with display.shown():
        module = run_first(module, steps)
    print(print_module(module, options.debug_info), end="")
    return 0


def _exported(job: Job, islands: Topology | None, plan: Plan | None) -> ir.Module:
    # Only a job needs jax.
    from atoll.compiler.export.alone.job import as_planned
    from atoll.compiler.export.frontend import export

    decided = resolved(plan or Plan(), None if islands is None else len(islands.islands))
    return export(as_planned(job, decided), islands)


def _last_phase(module: ir.Module) -> Phase:
    """How far the module can go: without a topology there is nothing to divide it among."""
    has_topology = TOPOLOGY in module.operation.attributes
    return [phase for phase in PHASES if has_topology or not phase.needs_topology][-1]


def _steps_to(module: ir.Module, goal: Phase) -> Sequence[Step]:
    """The passes between the module's phase, which its attribute tells, and the goal."""
    left = phases_left(module)
    phases = [phase for phase, _ in left]
    if goal not in phases:
        what = f"the module is at phase {phases[0].name}, which comes after {goal.name}"
        raise UsageError(what, remedy="dump the job itself, or a module of an earlier phase")
    return [step for _, steps in left[: phases.index(goal) + 1] for step in steps]


def _steps_until(steps: Sequence[Step], last: str) -> Sequence[Step]:
    names = [step_name(step) for step in steps]
    if last not in names:
        raise UsageError(f"no pass {shown(last)} runs here", remedy=known_names(last, names))
    return steps[: names.index(last) + 1]


def _observer(module: ir.Module, path: Path, source: Path | None, debug_info: bool) -> Observer:
    """What writes the IR after each pass into a folder; that before all passes is there when it is made."""
    folder = DumpFolder(path, source)
    print(folder.write("input", print_module(module, debug_info)))
    return lambda step, now: print(folder.write(step_name(step), print_module(now, debug_info)))
