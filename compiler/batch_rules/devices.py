"""Rules for what devices of several replicas do in a `shard_map` that is written for all of them.

A value there is each device's own, and whatever a device does by itself it does in its replica as well. What devices
of several replicas add up is a part of the sum in each replica, as it is where a replica is a part of the batch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.decision import DecidedBody, Decision, Entry, Mixed
from atoll.compiler.batch_rules.interpretation import Interpretation, Rule
from atoll.compiler.batch_rules.local import Values
from atoll.compiler.batch_rules.local_block import Builder, LocalBlock
from atoll.compiler.batch_rules.nodes import Node, kind_of_body
from atoll.compiler.batch_rules.replica_axis import PARTITION_ID, ReplicaAxis
from atoll.compiler.batch_rules.states import DEVICE_OWN, SAME, DeviceOwn, Partial, Same, Split, State

# Operations whose rules say of each value by itself what becomes of it.
_VALUE_BY_VALUE = frozenset(
    ("stablehlo.while", "stablehlo.case", "stablehlo.if", "stablehlo.optimization_barrier", "sdy.manual_computation")
)


@dataclass(frozen=True)
class DeviceRule:
    """An operation of devices along an axis that replicas divide, beside its rule for microbatches."""

    usual: Rule | None
    axis: ReplicaAxis
    operations: tuple[str, ...] = ()
    says: str = ""
    takes_batch_in_regions: bool = True

    def forward(self, scope: Interpretation, node: Node, states: Sequence[State]) -> Decision:
        if node.name == PARTITION_ID:
            return Decision((), (DEVICE_OWN,))
        if self.axis.crosses(node):
            return self._told_each_other(node, states)
        if self.axis.asks_for_another_axis(node):
            return Decision(tuple(states), (SAME,))
        if node.name in _VALUE_BY_VALUE or any(isinstance(state, Partial) for state in states):
            if self.usual is None:
                raise Mixed(node, "has no rule that says what it does with a sum over replicas")
            return self.usual.forward(scope, node, states)
        if any(scope.state(value) != SAME for value in node.captured):
            raise Mixed(node, "takes what devices have into its region")
        return Decision(tuple(states), (DEVICE_OWN,) * len(node.results))

    def _told_each_other(self, node: Node, states: Sequence[State]) -> Decision:
        kind = kind_of_sum(node)
        if not kind or not self.axis.sums_over_all(node):
            why = f"has devices of several replicas meet, which have axis {self.axis.name} among them"
            raise Mixed(node, why, f"let devices meet along {self.axis.name} in sums over all of it alone")
        if not all(isinstance(state, Same | DeviceOwn) or state == Partial(kind) for state in states):
            raise Mixed(node, f"needs a whole sum over {self.axis.name}, which is complete behind the loop around it")
        return Decision(tuple(states), (Partial(kind),) * len(node.results))

    def backward(self, _scope: Interpretation, _node: Node, _wanted: Mapping[int, Split]) -> Decision | None:
        return None

    def without_batch(self, scope: Interpretation, node: Node, decision: Decision) -> Decision:
        if node.name not in _VALUE_BY_VALUE or self.usual is None:
            return decision  # where a device is along another axis
        return self.usual.without_batch(scope, node, decision)

    def build(self, local: LocalBlock, node: Node, decision: Decision, operands: Values) -> Values:
        return DeviceBuilder(self.usual).build(local, node, decision, operands)


@dataclass(frozen=True)
class DeviceRules(Mapping[str, Rule]):
    """The table for devices along an axis: every operation has a rule, as a device may do anything by itself."""

    usual: Mapping[str, Rule]
    axis: ReplicaAxis

    def __getitem__(self, name: str) -> Rule:
        return DeviceRule(self.usual.get(name), self.axis)

    def __iter__(self) -> Iterator[str]:
        return iter(self.usual)

    def __len__(self) -> int:
        return len(self.usual)


@dataclass(frozen=True)
class DeviceBuilder:
    """The half of these rules that makes operations: what a device does by itself is as it was."""

    usual: Builder | None

    def build(self, local: LocalBlock, node: Node, decision: Decision, operands: Values) -> Values:
        is_usual = node.name in _VALUE_BY_VALUE or any(isinstance(form, Partial) for form in decision.operands)
        if is_usual and self.usual is not None:
            return self.usual.build(local, node, decision, operands)
        return list(local.clone(node, decision, operands).results)


@dataclass(frozen=True)
class DeviceBuilders(Mapping[str, Builder]):
    """The same half of the table."""

    usual: Mapping[str, Builder]

    def __getitem__(self, name: str) -> Builder:
        return DeviceBuilder(self.usual.get(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.usual)

    def __len__(self) -> int:
        return len(self.usual)


def devices_that_differ(axis: ReplicaAxis, nodes: Iterable[Node]) -> frozenset[int]:
    """The operations that differ from replica to replica whatever they take, with those around them."""
    return frozenset(
        node.number
        for node in nodes
        if any(one.name == PARTITION_ID or axis.crosses(one) for one in (node, *node.inner()))
    )


def summed_again(decided: DecidedBody, axis: ReplicaAxis) -> frozenset[int]:
    """The sums over all devices of what is such a sum already: in one replica they are that many times smaller."""
    found = set[int]()
    for node in decided.body.nodes:
        decision = decided.decisions.get(node.number)
        if decision is None:
            continue
        is_again = any(isinstance(form, Partial) for form in decision.operands) and kind_of_sum(node) == "add"
        if is_again and axis.crosses(node):
            found.add(node.number)
        found.update(*(summed_again(body, axis) for body in decision.bodies))
    return frozenset(found)


def kind_of_sum(node: Node) -> str:
    """How a collective combines what devices have; empty if it does anything else."""
    return kind_of_body(node) if node.name == "stablehlo.all_reduce" else ""


def check_joined_once(decided: DecidedBody) -> None:
    """Refuse what is joined to a sum over replicas: each of them would join it."""
    for entry in decided.entries:
        value, form = entry.derived or (0, SAME)
        if isinstance(form, Partial) and not decided.body.nodes[0].program.is_identity(value, form.kind):
            node = _user(decided, entry)
            raise Mixed(node, "joins a sum over devices with what is the same for all of them")
        for inner in entry.decision.bodies if entry.decision is not None else ():
            check_joined_once(inner)


def _user(decided: DecidedBody, entry: Entry) -> Node:
    """The operation that takes a form of a value."""
    assert entry.derived is not None
    takers = (one.node for one in decided.entries if one.derived is None and entry.derived in one.needs())
    return next((node for node in takers if node is not None), entry.node or decided.body.nodes[-1])
