"""Asks passes what the layers of a program cost."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from math import lcm, prod

from atoll.compiler.cost.layer_costs import LayerCosts, read_layer_costs
from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, operations_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.interface import batch_dimension
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.shardings import SHARDING, on_island, spec_of
from atoll.compiler.pipeline.pass_base import step_name
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import phase_named
from atoll.compiler.pipeline.registry import pass_class, steps_of_phase
from atoll.compiler.pipeline.resume import phases_left, write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.topology.topology import Topology

_MEASURE, _BEFORE = "measure-layers", "seed-stages"
_STAGED = phase_named("staged")
_ANY_PLAN = Plan()


@dataclass(frozen=True)
class Measured:
    """What layers cost with so many examples in a microbatch; without a batch 1 stands for all there is.

    loops: how many loops over microbatches the step has.
    """

    examples: float
    costs: LayerCosts
    loops: int = 0


def batch_size(module: ir.Module) -> int | None:
    """How many examples a step takes; None if no argument has the batch."""
    main = entry_function(module)
    for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
        dimension = batch_dimension(marks)
        if dimension is not None:
            return int(ir.RankedTensorType(argument.type).shape[dimension])
    return None


def devices_of_batch(module: ir.Module, topology: Topology) -> int:
    """By how many the examples of a microbatch are to be divisible, so that devices divide it as they do the batch."""
    main, found = entry_function(module), 1
    for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
        dimension = batch_dimension(marks)
        if dimension is None or SHARDING not in marks:
            continue
        shape = ir.RankedTensorType(argument.type).shape
        for island in topology.islands:
            sizes = {axis.name: axis.size for axis in island.axes}
            if spec := on_island(spec_of(marks[SHARDING]), shape, island):
                found = lcm(found, prod(sizes[axis] for axis in spec[dimension]))
    return found


def cut_batch(module: ir.Module, topology: Topology, plan: Plan) -> None:
    """Bring a module of phase `stablehlo` or before to phase `timed`; CompileError if its batch cannot be cut so."""
    write_texts(module, topology, plan)
    for phase, steps in phases_left(module):
        if phase is _STAGED:
            break
        run_passes(module, steps)


def measured(
    program: bytes,
    topology: Topology,
    microbatches: int,
    like: Measured | None = None,
    plan: Plan = _ANY_PLAN,
    replicas: Collection[int] = (),
) -> Measured:
    """The layers of a module at phase `stablehlo` or before, with so many microbatches; it may refuse to be cut so.

    like: a count with another number of them, whose layers are taken: where least crosses depends on the size of
        microbatches, and costs of different layers say nothing of how they grow.
    plan: says whatever else may matter for how the batch is cut.
    replicas: numbers of them for which to count what they would share of the update.
    """
    module = parse_text(program)
    batch = batch_size(module) or 1
    cut_batch(module, topology, replace(plan, stages=1, microbatches=microbatches, schedule="1f1b", replicas=1))
    loops = operations_in(module.operation, mpmd.ForOp)
    names = [step_name(step) for step in steps_of_phase(_STAGED)]
    before = steps_of_phase(_STAGED)[: names.index(_BEFORE)]
    asked = {"replicas": tuple(replicas)} | ({} if like is None else {"places": like.costs.places})
    run_passes(module, [*before, pass_class(_MEASURE)(**asked)])
    return Measured(batch / microbatches, read_layer_costs(module), len(loops))
