"""`atoll plan`: finds the plan whose step should take the least time, for islands that need not be here."""

import argparse
import contextlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atoll.compiler import display
from atoll.compiler.activity import announce
from atoll.compiler.commands.lowering import Asked, lower_target, open_target
from atoll.compiler.commands.topology_option import topology_asked
from atoll.compiler.errors import UsageError
from atoll.compiler.export import frontend
from atoll.compiler.export.job import Job
from atoll.compiler.lowered import Lowered, lower_traced
from atoll.compiler.mlir.ir_text import parse_text, to_bytecode
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.resume import phase_of
from atoll.compiler.plan.plan import Plan
from atoll.compiler.planner.plans import best_plans
from atoll.compiler.topology.platforms import lowered_for
from atoll.compiler.topology.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import jax


def run(options: argparse.Namespace) -> int:
    """The command."""
    islands = topology_asked(options)
    with contextlib.redirect_stdout(sys.stderr), display.shown():  # what the user's code prints; ours is the table
        found = best_plans(open_program(options, islands), announce)
    print(found.to_json() if options.json else found)
    return 0


def open_program(options: argparse.Namespace, islands: Topology) -> "JobTarget | ModuleTarget":
    """The job, or the module that has no plan yet, that a TARGET names."""
    target = open_target(options, Asked(islands, None))
    if isinstance(target, Job):
        return JobTarget(target, islands)
    phase = phase_of(target)
    if phase is not None and phase is not PHASES[0]:
        what = f"the module is at phase {phase.name}, and has a plan already"
        raise UsageError(what, options.target, f"take the job, or a module of phase {PHASES[0].name}")
    return ModuleTarget(to_bytecode(target), islands)


@dataclass
class JobTarget:
    """A job, traced once."""

    job: Job
    topology: Topology
    _once: "tuple[bytes, jax.stages.Traced, Sequence[Callable[..., Any]]] | None" = field(default=None, init=False)

    def exported(self) -> bytes:
        return self._traced()[0]

    def lowered(self, plan: Plan) -> Lowered:
        content, traced, callbacks = self._traced()
        return lower_traced(self.job, traced, (parse_text(content), callbacks), self.topology, plan)

    def _traced(self) -> "tuple[bytes, jax.stages.Traced, Sequence[Callable[..., Any]]]":
        if self._once is None:
            traced = frontend.trace(self.job, self.topology)
            module, callbacks = frontend.lower_traced(self.job, traced, lowered_for(self.topology))
            self._once = to_bytecode(module), traced, callbacks
        return self._once


@dataclass(frozen=True)
class ModuleTarget:
    """A module of StableHLO."""

    content: bytes
    topology: Topology

    def exported(self) -> bytes:
        return self.content

    def lowered(self, plan: Plan) -> Lowered:
        return lower_target(parse_text(self.content), Asked(self.topology, plan))
