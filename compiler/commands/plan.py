"""`atoll plan`: finds the plan whose step should take the least time, for islands that need not be here."""

import argparse
import contextlib
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atoll.compiler.commands.target import load_module, load_target
from atoll.compiler.errors import UsageError
from atoll.compiler.export import frontend
from atoll.compiler.export.calling import Traced
from atoll.compiler.export.job import Job
from atoll.compiler.lowered import Lowered, lower_module
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_text, to_bytecode
from atoll.compiler.pipeline.resume import phase_of, write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.planner.planning import Told, best_plans
from atoll.compiler.topology.platforms import lowered_for
from atoll.compiler.topology.topology import Topology, topology

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import jax


def run(options: argparse.Namespace) -> int:
    """The command."""
    if options.topology is None:
        raise UsageError("no topology is given", remedy='name the islands: --topology "4 x cpu[1]"')
    islands = topology(options.topology)
    told = _progress() if sys.stderr.isatty() else lambda _: None
    with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints; standard output is for the table
        target = load_target(options)
        module = load_module(target, options) if isinstance(target, Path) else None
        if module is None:
            assert isinstance(target, Job)
            program: JobToPlan | ModuleToPlan = JobToPlan(target, islands)
        else:
            program = _module_to_plan(module, islands, options.target)
        found = best_plans(program, told)
    print(found.to_json() if options.json else found)
    return 0


def _progress() -> Told:
    """Tells on one line of the terminal what is being done, and for how long already."""
    began = time.monotonic()

    def told(what: str) -> None:
        print(f"\r\033[K{time.monotonic() - began:5.1f} s  {what[:100]}", end="", file=sys.stderr, flush=True)

    return told


@dataclass
class JobToPlan:
    """A job, traced once."""

    job: Job
    topology: Topology
    _once: "tuple[bytes, jax.stages.Traced, Sequence[Callable[..., Any]]] | None" = field(default=None, init=False)

    def exported(self) -> bytes:
        return self._traced()[0]

    def lowered(self, plan: Plan) -> Lowered:
        content, traced, callbacks = self._traced()
        module = parse_text(content)
        signature = frontend.settled_signature(self.job, traced, module, self.topology)
        write_texts(module, self.topology, plan)
        return lower_module(module, self.topology, (signature, Traced(self.job, traced)), callbacks)

    def _traced(self) -> "tuple[bytes, jax.stages.Traced, Sequence[Callable[..., Any]]]":
        if self._once is None:
            traced = frontend.trace(self.job, self.topology)
            module, callbacks = frontend.lower_traced(self.job, traced, lowered_for(self.topology))
            self._once = to_bytecode(module), traced, callbacks
        return self._once


@dataclass(frozen=True)
class ModuleToPlan:
    """A module of StableHLO."""

    content: bytes
    topology: Topology

    def exported(self) -> bytes:
        return self.content

    def lowered(self, plan: Plan) -> Lowered:
        module = parse_text(self.content)
        write_texts(module, self.topology, plan)
        return lower_module(module, self.topology)


def _module_to_plan(module: ir.Module, islands: Topology, where: str) -> ModuleToPlan:
    phase = phase_of(module)
    if phase is not None and phase.name != "stablehlo":
        what = f"the module is at phase {phase.name}, which has a plan already"
        raise UsageError(what, where, "plan the job itself, or a module of phase stablehlo")
    return ModuleToPlan(to_bytecode(module), islands)
