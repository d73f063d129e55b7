"""Which fragments a module in phase `staged` comes to, and what replicas exchange between them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.loop_roles import loop_role
from atoll.compiler.module.marking import read_marks
from atoll.compiler.module.marks import EXCHANGE, STAGE, SWEEP
from atoll.compiler.module.planned import plan_of, stage_islands, stages_of
from atoll.compiler.module.slots import slot
from atoll.compiler.module.tasks import OWN_SHARE
from atoll.compiler.task_name import BACKWARD, FORWARD, INITIAL, UPDATE, TaskName, loop_in_names

# What the sweeps of a function without loops are for: forward, backward, and all later ones update. A free placement is
# no pipeline: it goes over the islands as often as it needs to, forward each time.
_PIPELINE = FORWARD + BACKWARD + UPDATE
_FREE = FORWARD


@dataclass
class FragmentPlan:
    """The operations of one stage in one sweep of a region, with the values that enter and leave.

    name: of its task.
    """

    region: int
    stage: int
    sweep: int
    island: int
    name: TaskName
    operations: list[int] = field(default_factory=list)
    inputs: dict[int, None] = field(default_factory=dict)
    outputs: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class PlacedExchange:
    """An operation that stands for an exchange between replicas, on the island where it is made."""

    operation: ir.OpView
    region: int
    island: int
    operand: int
    result: int

    @property
    def is_own_share(self) -> bool:
        return text_attribute(self.operation.operation.attributes, EXCHANGE) == OWN_SHARE


@dataclass(frozen=True)
class Dataflow:
    """What a graph comes to.

    fragments: those of all regions, in the order of their slots.
    exchanges: those of what is no sum of a loop, in order.
    """

    graph: Graph
    fragments: Sequence[FragmentPlan]
    exchanges: Sequence[PlacedExchange]

    @classmethod
    def of(cls, module: ir.Module, graph: Graph) -> "Dataflow":
        islands = stage_islands(module)
        kinds = _kinds(graph, is_pipeline=plan_of(module).placement is None)
        return cls(graph, _fragments(graph, islands, stages_of(module), kinds), _exchanges(graph, islands))

    def fragments_in(self, region: int) -> list[FragmentPlan]:
        return [fragment for fragment in self.fragments if fragment.region == region]

    def own_shares_of(self, value: int) -> list[PlacedExchange]:
        """What takes of a value the share of a replica."""
        return [one for one in self.exchanges if one.operand == value and one.is_own_share]

    def island_of_makers(self) -> Mapping[int, int]:
        """Where each value is made that leaves what makes it."""
        made = {value: fragment.island for fragment in self.fragments for value in fragment.outputs}
        return made | {exchange.result: exchange.island for exchange in self.exchanges}

    def users(self) -> dict[int, dict[tuple[int, int], None]]:
        """The regions and islands that take each value, in the order in which they need it."""
        users: dict[int, dict[tuple[int, int], None]] = {}
        for fragment in self.fragments:
            for value in fragment.inputs:
                users.setdefault(value, {})[fragment.region, fragment.island] = None
        for exchange in self.exchanges:
            users.setdefault(exchange.operand, {})[exchange.region, exchange.island] = None
        makers = self.island_of_makers()
        for loop in self.graph.loops:
            for one in loop.carried:
                if not one.is_part:
                    users.setdefault(one.initial, {})[loop.region - 1, makers[one.yielded]] = None
        return users


def _fragments(graph: Graph, islands: Sequence[int], stages: int, kinds: Sequence[str]) -> list[FragmentPlan]:
    """islands: that of each stage; kinds: in each region what its sweeps are for, and all later ones like the last."""
    found: dict[tuple[int, int], FragmentPlan] = {}
    fragment_of: list[FragmentPlan | None] = []  # what replicas exchange is in none
    marks = zip(graph.region, read_marks(graph, STAGE), read_marks(graph, SWEEP), strict=True)
    for index, (region, stage, sweep) in enumerate(marks):
        assert stage is not None
        assert sweep is not None
        if graph.is_exchange[index]:
            fragment_of.append(None)
            continue
        key = region, slot(stage, sweep, stages)
        if key not in found:
            kind = kinds[region][min(sweep, len(kinds[region]) - 1)]
            name = TaskName(kind, stage, loop=_loop_in_names(graph, region))
            found[key] = FragmentPlan(region, stage, sweep, islands[stage], name)
        found[key].operations.append(index)
        fragment_of.append(found[key])
    is_returned = set(graph.returned) | {one for one, is_yielded in enumerate(graph.is_yielded) if is_yielded}
    begins = {one.initial for loop in graph.loops for one in loop.carried}  # goes on as it is
    for index, own in enumerate(fragment_of):
        if own is None:
            continue
        for value in graph.operands[index]:
            if graph.producer[value] == ARGUMENT or fragment_of[graph.producer[value]] is not own:
                own.inputs[value] = None
        for value in graph.results[index]:
            is_kept = value in is_returned or value in begins
            if is_kept or any(fragment_of[user] is not own for user in graph.users[value]):
                own.outputs.append(value)
    fragments = [found[number] for number in sorted(found)]
    turns: Counter[TaskName] = Counter()
    for fragment in fragments:
        name = fragment.name
        fragment.name = name._replace(turn=turns[name])
        turns[name] += 1
    return fragments


def _exchanges(graph: Graph, islands: Sequence[int]) -> list[PlacedExchange]:
    found = []
    for index, stage in enumerate(read_marks(graph, STAGE)):
        if graph.is_exchange[index]:
            (operand,), (result,) = graph.operands[index], graph.results[index]
            found.append(
                PlacedExchange(graph.operations[index], graph.region[index], islands[stage or 0], operand, result)
            )
    return found


def _kinds(graph: Graph, *, is_pipeline: bool) -> list[str]:
    """For each region the kinds of task of its sweeps."""
    if not graph.loops:
        return [_PIPELINE if is_pipeline else _FREE]
    return [*(kinds for loop in graph.loops for kinds in (INITIAL, loop_role(loop.operation))), UPDATE]


def _loop_in_names(graph: Graph, region: int) -> int | None:
    """Of what stands before a loop, that loop; of what is behind the last, none."""
    return loop_in_names(min(region // 2, len(graph.loops) - 1), len(graph.loops))
