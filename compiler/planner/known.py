"""What is known of a program before any plan is chosen: what its layers cost, and how its batch is divided."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

from atoll.compiler.errors import CompileError
from atoll.compiler.lowered import Lowered
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.plan.plan import Plan
from atoll.compiler.planner.measuring import batch_size, devices_of_batch, measured
from atoll.compiler.planner.model import Model
from atoll.compiler.planner.settings import replicas_allowed
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import first_line

# The sizes of microbatches with which layers are counted: the batch in so many parts, as near as there is such a size.
_COUNTED_WITH = (2, 8)

Told = Callable[[str], None]


class Target(Protocol):
    """A program that has no plan yet."""

    @property
    def topology(self) -> Topology:
        """The islands."""

    def exported(self) -> bytes:
        """Its module, before any pass has asked for a plan."""

    def lowered(self, plan: Plan) -> Lowered:
        """The program for a plan."""


@dataclass(frozen=True)
class Known:
    """What is known of a program.

    batch: its examples, if any argument has them. notes: what limits the choice of plans. devices: how many divide the
        batch.
    """

    topology: Topology
    model: Model
    batch: int | None
    notes: tuple[str, ...] = ()
    devices: int = 1

    @property
    def is_cut(self) -> bool:
        """Whether its batch can be divided."""
        return not self.notes

    def without_limits(self) -> "Known":
        """The same on islands with any memory."""
        return replace(self, model=replace(self.model, limits=(inf,) * len(self.model.forms)))


def known_of(program: Target, told: Told) -> Known:
    """Count what the layers of a program cost."""
    told("counting what layers cost")
    exported, topology = program.exported(), program.topology
    module = parse_text(exported)
    batch, devices = batch_size(module), devices_of_batch(module, topology)
    parts = [one for one in range(2, (batch or 0) + 1) if (batch or 0) % one == 0]
    sizes = [one for one in parts if (batch or 0) % (one * devices) == 0] or parts
    if batch is None:
        note = "one microbatch and one replica, as no argument has the batch"
    elif not sizes:
        note = f"one microbatch and one replica, as the batch of {batch} is not to be divided"
    else:
        chosen = [min(sizes, key=lambda one: abs(one - wanted)) for wanted in _COUNTED_WITH]
        try:
            replicas = [one for one in replicas_allowed(topology) if one > 1 and batch % one == 0]
            first = measured(exported, topology, chosen[0], replicas=replicas)
            other = measured(exported, topology, chosen[1], first)
            whole = measured(exported, topology, 1, first)
            return Known(topology, Model.of(topology, first, other, whole), batch, devices=devices)
        except CompileError as error:
            note = f"one microbatch and one replica, as the batch cannot be cut: {first_line(error)}"
    whole = measured(exported, topology, 1)
    return Known(topology, Model.of(topology, whole, whole), batch, (note,))
