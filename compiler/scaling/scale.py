"""What is predicted of a program on so many copies of its islands: of its module, as reports read it.

The IR speaks of one replica alone. So a module for 64 replicas is made as soon as that for one, unless it is emitted.
"""

from collections.abc import Callable
from dataclasses import dataclass

from atoll.compiler.cost.devices import capacity_of, stated_operations
from atoll.compiler.cost.task_costs import operations_of_devices, task_costs, time_spent
from atoll.compiler.emit.emit import emit, signature_of_module
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.planned import asked_plan_of, leaves_division_open, segments_of
from atoll.compiler.module.replicas import check_replicas, replicas_of
from atoll.compiler.pipeline.partial_compilation import run_first
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.resume import phases_left, steps_to_plan, write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from atoll.compiler.report.prediction import calls_of_functions
from atoll.compiler.report.step_parts import parts_of_step, predictions
from atoll.compiler.topology.topology import Topology
from atoll.runtime.program_memory import peak_bytes

# What is emitted has the streams of all replicas: with more replicas and segments than this it takes long.
_EMITTED = 8


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A program on some copies of its topology.

    batch: how many examples a step takes; None if nothing has a batch.
    step: seconds. Its parts, of the busiest island: in which products take the time (`compute`), in which memory does
        (`traffic`), and collectives within it; then what links between stages cost (`transfers`), what replicas
        exchange without any task that hides it, and the rest, in which the pipeline fills and empties (`bubble`).
    busy: the part of the step in which an island works, on average.
    efficiency: the examples that a device gets done in a second, of what one does in the first row.
    mfu, hfu: as in the ranking of plans.
    repeated: how often an island's devices together do each of its operations: more than once where shardings leave
        several with the same.
    memory: the most bytes that a device needs for values, and limit: what it has; None for what is not known.
    """

    copies: int
    replicas: int
    islands: int
    devices: int
    batch: int | None
    plan: str
    step: float
    compute: float
    traffic: float
    collectives: float
    transfers: float
    exchange: float
    bubble: float
    busy: float
    efficiency: float
    mfu: float | None
    hfu: float | None
    repeated: float
    memory: int | None
    limit: int | None

    @property
    def parts(self) -> dict[str, float]:
        """The parts of the step, by what they are called."""
        return {
            "compute": self.compute,
            "memory traffic": self.traffic,
            "collectives": self.collectives,
            "transfers": self.transfers,
            "exchange": self.exchange,
            "bubble": self.bubble,
        }

    @property
    def binds(self) -> str:
        """What takes most of the step, and how much of it; or that it does not fit."""
        if self.memory is not None and self.limit is not None and self.memory > self.limit:
            return "does not fit"
        name, most = max(self.parts.items(), key=lambda one: one[1])
        return f"{name} {most / self.step:.0%}" if self.step else name


@dataclass(frozen=True)
class CopiesAsked:
    """What is to be predicted. forward: the operations of the model's forward part for the whole batch, on all devices;
    trains: whether there is a backward part."""

    copies: int
    topology: Topology
    plan: Plan
    batch: int | None
    forward: float
    trains: bool


def scheduled(content: bytes, topology: Topology, plan: Plan) -> ir.Module:
    """The module of a program at its last phase; a refusal if there is no such program."""
    check_replicas(resolved(plan, len(topology.islands)).replicas, topology)
    module = parse_text(content)
    write_texts(module, topology, plan)
    for _, steps in phases_left(module):
        run_passes(module, steps)
    return module


def settled(content: bytes, topology: Topology, plan: Plan) -> Plan:
    """The plan for one copy of a program, with the planner's division of the batch if it leaves that open."""
    module = parse_text(content)
    write_texts(module, topology, plan)
    if not leaves_division_open(module):
        return plan
    return asked_plan_of(run_first(module, steps_to_plan(module)))


def predicted(module: ir.Module, asked: CopiesAsked, first: Callable[[], "Scale | None"]) -> Scale:
    """What is predicted. first: the row that efficiency is relative to, if this is not it."""
    topology, functions = asked.topology, calls_of_functions(module)
    parts, replicas = parts_of_step(*predictions(module), topology), replicas_of(module)
    busiest, spent = max(time_spent(module, functions).items(), key=lambda one: sum(one[1]))
    (island,) = (one for one in topology.islands if one.name == busiest)
    devices = sum(island.size for island in topology.islands)
    peak = stated_operations(topology.islands)
    costs = task_costs(module, functions)
    limits = [limit for limit in map(capacity_of, topology.islands) if limit is not None]
    row = first()
    examples = (asked.batch or 1) / devices
    return Scale(
        copies=asked.copies,
        replicas=replicas,
        islands=len(topology.islands),
        devices=devices,
        batch=asked.batch,
        plan=str(asked_plan_of(module)),
        step=parts.step,
        compute=spent.computing,
        traffic=spent.moving,
        collectives=spent.collectives,
        transfers=parts.links,
        exchange=parts.exchange,
        bubble=parts.rest,
        busy=1 - parts.bubble,
        efficiency=1.0 if row is None else examples / parts.step * row.step * row.devices / (row.batch or 1),
        mfu=None if peak is None else asked.forward * (3 if asked.trains else 1) / (parts.step * peak),
        hfu=None if peak is None else sum(costs.values()) * replicas / (parts.step * peak),
        repeated=operations_of_devices(module, functions)[busiest] * island.size / (costs[busiest] or 1),
        memory=_memory(module, replicas),
        limit=min(limits, default=None),
    )


def _memory(module: ir.Module, replicas: int) -> int | None:
    if replicas * segments_of(module) > _EMITTED:
        return None
    program = emit(module, signature_of_module(module))
    return max(peak_bytes(program, island) for island in program.islands)
