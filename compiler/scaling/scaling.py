"""How a program scales: weakly, where every copy of its islands brings a batch; and strongly, where all share one."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from atoll.compiler.activity import announce, expect, piece_ended
from atoll.compiler.errors import AtollError, CompileError, UsageError
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from atoll.compiler.planner.measuring import batch_size, measured
from atoll.compiler.scaling.copies import plan_of_copies, topology_of_copies
from atoll.compiler.scaling.failures import Failures
from atoll.compiler.scaling.losses import Losses, losses_of
from atoll.compiler.scaling.scale import CopiesAsked, Scale, predicted, scheduled, settled
from atoll.compiler.text.quantities import bytes_text, seconds_text
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import first_line


class GrowingTarget(Protocol):
    """A program that can be made for larger batches."""

    @property
    def topology(self) -> Topology:
        """The islands of one copy."""

    @property
    def grows(self) -> bool:
        """Whether its batch can be made larger."""

    def exported(self, copies: int) -> bytes:
        """Its module for a batch so many times as large, before any pass has asked for a plan."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """weak, strong: a row for each number of copies. losses: what failures leave. notes: what was left out, and why."""

    topology: str
    plan: str
    weak: tuple[Scale, ...]
    strong: tuple[Scale, ...]
    losses: Losses | None
    notes: tuple[str, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    def __str__(self) -> str:
        first, *more = self.topology.splitlines()
        rows = [f"topology  {first}", *(f"          {line}" for line in more), f"plan      {self.plan}"]
        for title, scales in (
            ("weak scaling: every copy of the topology brings a batch", self.weak),
            ("strong scaling: all copies share one batch", self.strong),
        ):
            if scales:
                rows += ["", title, _HEAD, *map(_row, scales)]
        if self.losses is not None:
            rows += ["", str(self.losses)]
        return "\n".join([*rows, *(["", *(f"note      {one}" for one in self.notes)] if self.notes else [])])


# Of the first row: when devices do more than this many times its operations again, a note says so.
_MUCH = 1.5

_HEAD = (
    f"{'copies':>6}{'replicas':>9}{'devices':>9}{'batch':>8}{'step':>10}{'examples/s':>12}{'efficiency':>11}"
    f"{'busy':>6}{'MFU':>6}{'HFU':>6}{'memory':>11}   bound by"
)


def _row(one: Scale) -> str:
    speed = "-" if one.batch is None else f"{one.batch / one.step:.4g}"
    batch = "-" if one.batch is None else str(one.batch)
    memory = "-" if one.memory is None else bytes_text(one.memory)
    parts = "".join(f"{_percent(part):>6}" for part in (one.busy, one.mfu, one.hfu))
    return (
        f"{one.copies:>6}{one.replicas:>9}{one.devices:>9}{batch:>8}{seconds_text(one.step):>10}{speed:>12}"
        f"{_percent(one.efficiency):>11}{parts}{memory:>11}   {one.binds}"
    )


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.0f}%"


def scaling(
    program: GrowingTarget, plan: Plan, copies: Sequence[int], failures: Failures | None, seed: int = 0
) -> Scaling:
    """What is predicted of the program by its plan for one copy of its topology, on so many copies.

    Refuses what no number of copies can run.
    """
    islands = program.topology.islands
    if failures is not None:
        failures.check(max(copies) * sum(island.size for island in islands), max(copies) * len(islands))
    base = program.exported(1)
    batch = batch_size(parse_text(base))
    rows = _Rows(program, settled(base, program.topology, plan), batch)
    ways = [(weak, one) for weak in (True, False) for one in copies if batch is not None or one == 1]
    ways = [(weak, one) for weak, one in ways if program.grows or not weak]
    expect(len(ways), alike=True)
    for weak, one in ways:
        announce(f"{'weak' if weak else 'strong'} scaling, {one} cop{'y' if one == 1 else 'ies'}")
        rows.add(one, is_weak=weak)
        piece_ended()
    expect(0, alike=False)
    notes = list(rows.notes)
    if batch is None:
        notes.append("one copy alone, as no argument has the batch")
    elif not program.grows:
        notes.append("weak scaling is left out, as a module has the batch that it was made with: give the job")
    if not rows.weak and not rows.strong:
        raise rows.fault or UsageError("there is nothing to predict", remedy="ask for one copy: --copies 1")
    announce("going through a year of failures")
    losses = None if failures is None else losses_of(rows.weak or rows.strong, failures, seed)
    return Scaling(
        topology=str(program.topology),
        plan=(rows.weak or rows.strong)[0].plan,
        weak=tuple(rows.weak),
        strong=tuple(rows.strong),
        losses=losses,
        notes=tuple(dict.fromkeys(notes)),
    )


class _Rows:
    """The rows that have been made, and why others could not be."""

    def __init__(self, program: GrowingTarget, plan: Plan, batch: int | None) -> None:
        self.weak: list[Scale] = []
        self.strong: list[Scale] = []
        self.notes: list[str] = []
        self.fault: AtollError | None = None
        self._program, self._plan, self._batch = program, plan, batch
        self._islands = len(program.topology.islands)
        self._forward, self._trains = _operations(program, resolved(plan, self._islands).microbatches)

    def add(self, copies: int, *, is_weak: bool) -> None:
        """The row for so many copies, or a note that says why there is none."""
        made = self.weak if is_weak else self.strong
        which = f"{copies} cop{'y' if copies == 1 else 'ies'}, {'weak' if is_weak else 'strong'}"
        try:
            row = self._row(copies, lambda: made[0] if made else None, is_weak)
        except AtollError as error:
            self.fault = self.fault or error
            self.notes.append(f"{which}: {first_line(error)}")
            return
        made.append(row)
        if row.repeated > _MUCH * made[0].repeated:
            more = row.repeated / made[0].repeated
            self.notes.append(
                f"{which}: each device does {more:.2g} times its part, as shardings do not divide so small a microbatch"
            )

    def _row(self, copies: int, first: Callable[[], Scale | None], is_weak: bool) -> Scale:
        topology = topology_of_copies(self._program.topology, copies)
        larger = copies if is_weak else 1
        batch = None if self._batch is None else self._batch * larger
        plan = plan_of_copies(self._plan, self._islands, copies, self._batch, is_weak=is_weak)
        module = scheduled(self._program.exported(larger), topology, plan)
        asked = CopiesAsked(copies, topology, plan, batch, self._forward * larger, self._trains)
        return predicted(module, asked, first)


def _operations(program: GrowingTarget, microbatches: int) -> tuple[float, bool]:
    """Those of the forward part for the batch of one copy, and whether there is a backward part."""
    announce("counting what the model computes")
    content = program.exported(1)
    try:
        costs = measured(content, program.topology, microbatches).costs
    except CompileError:  # it cannot be cut so; the row says why
        microbatches = 1
        costs = measured(content, program.topology, 1).costs
    return float(costs.operations) * microbatches, costs.has_backward
