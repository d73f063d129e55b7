"""Asks passes what the layers of a program cost."""

from dataclasses import dataclass

from atoll.compiler.cost.layer_costs import LayerCosts, read_layer_costs
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import argument_attributes, arguments_of
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.interface import batch_dimension
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.pipeline.pass_base import step_name
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import PHASES, phase_named
from atoll.compiler.pipeline.registry import pass_class, steps_of_phase
from atoll.compiler.pipeline.resume import write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.topology.topology import Topology

_MEASURE, _BEFORE = "measure-layers", "seed-stages"


@dataclass(frozen=True)
class Measured:
    """What layers cost with so many examples in a microbatch; without a batch 1 stands for all there is."""

    examples: float
    costs: LayerCosts


def batch_size(module: ir.Module) -> int | None:
    """How many examples a step takes; None if no argument has the batch."""
    main = entry_function(module)
    for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
        dimension = batch_dimension(marks)
        if dimension is not None:
            return int(ir.RankedTensorType(argument.type).shape[dimension])
    return None


def measured(program: bytes, topology: Topology, microbatches: int, like: Measured | None = None) -> Measured:
    """The layers of a module at phase `stablehlo` or before, with so many microbatches; it may refuse to be cut so.

    like: a count with another number of them, whose layers are taken: where least crosses depends on the size of
        microbatches, and costs of different layers say nothing of how they grow.
    """
    module = parse_text(program)
    batch = batch_size(module) or 1
    write_texts(module, topology, Plan(stages=1, microbatches=microbatches, replicas=1))
    staged = phase_named("staged")
    for phase in PHASES[: PHASES.index(staged)]:
        run_passes(module, steps_of_phase(phase))
    names = [step_name(step) for step in steps_of_phase(staged)]
    before = steps_of_phase(staged)[: names.index(_BEFORE)]
    places = {} if like is None else {"places": like.costs.places}
    run_passes(module, [*before, pass_class(_MEASURE)(**places)])
    return Measured(batch / microbatches, read_layer_costs(module))
