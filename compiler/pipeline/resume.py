"""Goes on with a module from the phase that it is at: IR that was dumped and perhaps edited is IR like any other."""

from collections.abc import Sequence
from itertools import chain

from atoll.compiler.mlir.attributes import text_of
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.marks import FILLED, PHASE, PLAN, TOPOLOGY
from atoll.compiler.module.planned import asked_plan_of
from atoll.compiler.pipeline.pass_base import Step, step_name
from atoll.compiler.pipeline.pipeline import PHASES, Phase, phase_named
from atoll.compiler.pipeline.registry import steps_of_phase, steps_of_text
from atoll.compiler.plan.plan import Plan
from atoll.compiler.topology.topology import Topology

_RESOLVE = "resolve-plan"
_RESOLVING = next(phase for phase in PHASES if _RESOLVE in phase.passes)


def write_texts(module: ir.Module, islands: Topology | None, plan: Plan | None) -> None:
    """Write topology and plan into the module, so that a dump can be resumed.

    A given plan replaces the module's own; and on other islands, what that left open may have another answer.
    """
    attributes = module.operation.attributes
    if plan is None and islands is not None and PLAN in attributes:
        plan = asked_plan_of(module)
    if plan is not None and FILLED in attributes:
        del attributes[FILLED]
    with module.context:
        for name, value in {TOPOLOGY: islands, PLAN: plan}.items():
            if value is not None:
                attributes[name] = ir.StringAttr.get(str(value))


def phase_of(module: ir.Module) -> Phase | None:
    """The phase that the module says it is at; None if it says nothing, as before the first."""
    reached = text_of(module.operation, PHASE)
    return None if reached is None else phase_named(reached)


def phases_left(module: ir.Module) -> list[tuple[Phase, Sequence[Step]]]:
    """The steps to each phase from the module's own on."""
    reached = phase_of(module)
    if reached is None:
        return [(phase, steps_of_phase(phase)) for phase in PHASES]
    # Its phase's verifier once more: the module may have been edited by hand since, or its plan given anew.
    is_resolved = PHASES.index(reached) >= PHASES.index(_RESOLVING)
    checks = (reached, [*(steps_of_text(_RESOLVE) if is_resolved else ()), *steps_of_phase(reached)[-1:]])
    return [checks, *((phase, steps_of_phase(phase)) for phase in PHASES[PHASES.index(reached) + 1 :])]


def steps_to_plan(module: ir.Module) -> list[Step]:
    """Those of them up to where the plan says all that is asked of it."""
    steps = list(chain.from_iterable(steps for _, steps in phases_left(module)))
    return steps[: [step_name(one) for one in steps].index(_RESOLVE) + 1]
