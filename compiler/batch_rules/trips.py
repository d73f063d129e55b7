"""A loop whose iterations are the batch: each microbatch makes its part of the trips.

A user's own accumulation of gradients is one: the batch is reshaped to `(k, B / k)`, and a scan over it adds up what
comes of each piece. In such a trip all examples are of one microbatch, so any operation may be done with them; what
counts is how anything gets out of a trip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.counted_loop import CountedLoop, Stack, read_loop
from atoll.compiler.batch_rules.decision import Decision, Entry, Mixed
from atoll.compiler.batch_rules.local import Values
from atoll.compiler.batch_rules.local_block import LocalBlock
from atoll.compiler.batch_rules.local_loop import make_loop
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.states import ABSENT, KIND_OF, SAME, Partial, Split, State, identity
from atoll.compiler.mlir.bindings import ir

# More trips in one microbatch stay a loop; fewer stand one after the other, so that each can be cut into stages.
_MOST_UNROLLED = 8

# It hands on each of its values as it is.
_BARRIER = "stablehlo.optimization_barrier"

_Value = ir.Value[ir.Type]


def loop_over_batch(node: Node, states: Sequence[State]) -> CountedLoop | None:
    """The loop that a `while` is, if it takes a part of the batch in each iteration."""
    if not any(isinstance(state, Split) for state in states):
        return None
    loop = read_loop(node)
    if isinstance(loop, str):
        return None
    return loop if any(states[slot] == Split(stack.dimension) for slot, stack in loop.stacks.items()) else None


def decide_trips(loop: CountedLoop, states: Sequence[State], captured: Sequence[State]) -> Decision:
    """The forms in which such a loop takes and gives what it carries; raises Mixed."""
    node = loop.node
    if loop.iterations % node.program.parts:
        why = f"takes the batch in {loop.iterations} pieces, which {node.program.parts} parts cannot share evenly"
        raise Mixed(node, why, f"choose microbatches and replicas whose product divides {loop.iterations}")
    forms = [_form(loop, slot) for slot in range(len(states))]
    if ABSENT in forms:
        why = "takes a piece of the batch in each iteration, and hands on from one to the next what is no sum of theirs"
        raise Mixed(node, why, "add up what comes of the pieces, or stack it, and use it after the loop")
    is_whole = [state not in (SAME, form) for state, form in zip(states, forms, strict=True)]
    if any(is_whole) or any(state != SAME for state in captured):
        raise Mixed(node, "takes a piece of the batch in each iteration, and another array of the batch whole")
    return Decision(tuple(forms), tuple(forms))


def _form(loop: CountedLoop, slot: int) -> State:
    """In which form a slot is carried; `ABSENT` if in none."""
    if slot in loop.stacks:
        return Split(loop.stacks[slot].dimension)
    if slot in loop.counters or slot in loop.constants or _stays(loop, slot):
        return SAME
    kind = _kind(loop, slot)
    return ABSENT if kind is None else Partial(kind)


def _stays(loop: CountedLoop, slot: int) -> bool:
    """Whether a slot is handed on as it is, as in the backward loop of a checkpointed one, through a barrier."""
    body = loop.node.bodies[1]
    value = body.returned[slot]
    while (node := loop.node.program.producers[value]) is not None and _leaves_as_it_is(node):
        value = node.operands[node.results.index(value)]
    return value == body.arguments[slot]


def _kind(loop: CountedLoop, slot: int) -> str | None:
    """How what a slot carries is combined: from iteration to iteration, and used for nothing else; else None."""
    body = loop.node.bodies[1]
    value, kinds = body.arguments[slot], set[str]()
    while value != body.returned[slot]:
        users = [one for one in body.nodes if value in (*one.operands, *one.captured)]
        if len(users) != 1 or users[0].operands.count(value) != 1 or value in body.returned:
            return None
        kind = _kind_of_step(users[0], value)
        if kind is None:
            return None
        kinds.add(kind)
        value = users[0].results[users[0].operands.index(value) if users[0].name == _BARRIER else 0]
    is_used_again = any(value in (*one.operands, *one.captured) for one in body.nodes)
    if is_used_again or body.returned.count(value) != 1:
        return None
    kinds.discard("")
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    return kind if identity(kind, loop.node.program.tensor(value)) is not None else None


def _kind_of_step(node: Node, carried: int) -> str | None:
    """How an operation goes on with what is carried; "" if it leaves that as it is, None if it does anything else."""
    if _leaves_as_it_is(node):
        return ""
    if node.name == "stablehlo.subtract" and node.operands[0] == carried:
        return "add"
    return KIND_OF.get(node.name)


def _leaves_as_it_is(node: Node) -> bool:
    is_idle = node.name == "stablehlo.convert" and node.operand_type(0) == node.result_type()
    return is_idle or node.name == _BARRIER


def build_trips(local: LocalBlock, node: Node, decision: Decision, operands: Values) -> Values:
    """Make a microbatch's trips."""
    loop = read_loop(node)
    assert isinstance(loop, CountedLoop)
    kept = [slot for slot, form in enumerate(decision.results) if form != ABSENT]
    carried = dict(zip(kept, operands, strict=True))
    if ABSENT not in decision.results:
        carried |= _Trips.of(loop, local).make(carried)
    results = []
    for slot in kept:
        if slot in loop.counters:
            counter = loop.counters[slot]
            type_ = node.program.tensor(node.results[slot])
            results.append(local.number(counter.first + counter.step * loop.iterations, type_, node.location))
        else:
            results.append(carried[slot])
    return results


@dataclass(frozen=True)
class _Trips:
    """The trips of one microbatch.

    count: how many there are.
    nodes: what a trip does that is needed, in order.
    handed: the slots that one trip hands to the next, and its counters that are needed.
    """

    loop: CountedLoop
    local: LocalBlock
    count: int
    nodes: tuple[Node, ...]
    handed: tuple[int, ...]

    @classmethod
    def of(cls, loop: CountedLoop, local: LocalBlock) -> "_Trips":
        needed = _needed(loop)
        body = loop.node.bodies[1]
        nodes = tuple(one for one in body.nodes if any(value in needed for value in one.results))
        written = [slot for slot, stack in loop.stacks.items() if stack.is_written]
        counters = [slot for slot in loop.counters if body.arguments[slot] in needed]
        handed = tuple(sorted((*loop.carried, *written, *counters)))
        return cls(loop, local, local.share(loop.iterations), nodes, handed)

    def make(self, carried: Mapping[int, _Value]) -> dict[int, _Value]:
        """What is carried after the last of them."""
        begin = {**carried, **{slot: self._count_from(slot) for slot in self.loop.counters if slot in self.handed}}
        if self.count > _MOST_UNROLLED:
            return self._looped(begin)
        index = ir.RankedTensorType.get([], ir.IntegerType.get_signless(32))
        for number in range(self.count):
            trip = self.local.inside(self.local.point.block)
            begin |= self._make_trip(trip, begin, trip.number(number, index, self.loop.node.location))
        return begin

    def _count_from(self, slot: int) -> _Value:
        """Where this microbatch begins to count; a loop that goes backwards makes the last microbatch's trips first."""
        counter, node = self.loop.counters[slot], self.loop.node
        type_ = node.program.tensor(node.results[slot])
        step = self.count * counter.step
        offset = self.local.offset(abs(step), node.location)
        offset = self.local.one("stablehlo.convert", type_, [offset], node.location)
        is_up = (step > 0) != self.loop.is_reverse
        first = counter.first + (0 if not self.loop.is_reverse else step * (node.program.parts - 1))
        start = self.local.number(first, type_, node.location)
        return self.local.one("stablehlo.add" if is_up else "stablehlo.subtract", type_, [start, offset], node.location)

    def _looped(self, begin: Mapping[int, _Value]) -> dict[int, _Value]:
        """The trips as a loop, which counts them from 0."""

        def make(body: LocalBlock, number: _Value, values: Sequence[_Value]) -> list[_Value]:
            after = self._make_trip(body, {**begin, **dict(zip(self.handed, values, strict=True))}, number)
            return [after[slot] for slot in self.handed]

        carried = [begin[slot] for slot in self.handed]
        made = make_loop(self.local, self.count, carried, self.loop.node.location, make)
        return {**begin, **dict(zip(self.handed, made, strict=True))}

    def _make_trip(self, trip: LocalBlock, begin: Mapping[int, _Value], number: _Value) -> dict[int, _Value]:
        """One trip, of what is carried into it; what it hands on. number: which of the microbatch's trips it is."""
        body, starts = self.loop.node.bodies[1], dict[int, _Value]()
        for slot, value in begin.items():
            trip.values[body.arguments[slot], SAME] = value
        for node in self.nodes:
            accessed = _accessed(self.loop, node)
            if accessed is None:
                trip.make(Entry(node))
                continue
            stack, where = accessed
            if stack.width not in starts:
                starts[stack.width] = self._start(trip, stack, number)
            self._make_access(trip, node, where, starts[stack.width])
        return {slot: trip.get((body.returned[slot], SAME)) for slot in self.handed}

    def _start(self, trip: LocalBlock, stack: Stack, number: _Value) -> _Value:
        """Where the rows of a trip begin among the microbatch's own."""
        type_, location = ir.RankedTensorType(number.type), self.loop.node.location
        if self.loop.is_reverse:
            last = trip.number(self.count - 1, type_, location)
            number = trip.one("stablehlo.subtract", type_, [last, number], location)
        if stack.width == 1:
            return number
        return trip.one("stablehlo.multiply", type_, [number, trip.number(stack.width, type_, location)], location)

    def _make_access(self, trip: LocalBlock, node: Node, where: int, start: _Value) -> None:
        """A row is taken from, or put into, those that the microbatch has."""
        index = node.operand_type(where)
        if start.type != index:
            start = trip.one("stablehlo.convert", index, [start], node.location)
        copy = node.operation.clone(ip=trip.point)
        for number, value in enumerate(node.operands):
            copy.operands[number] = start if number == where else trip.get((value, SAME))
        if node.name == "stablehlo.dynamic_update_slice":
            copy.results[0].set_type(copy.operands[0].type)
        trip.values[node.results[0], SAME] = copy.results[0]


def _accessed(loop: CountedLoop, node: Node) -> tuple[Stack, int] | None:
    """The stack of which an operation takes or puts a row, and the operand that says which."""
    for stack in loop.stacks.values():
        for one, where in stack.accesses:
            if one is node:
                return stack, where
    return None


def _needed(loop: CountedLoop) -> set[int]:
    """The values of a trip that what it hands on is made of; where rows begin is known without them."""
    body = loop.node.bodies[1]
    ends = {slot for slot in range(len(body.returned)) if slot not in loop.counters and slot not in loop.constants}
    needed = {body.returned[slot] for slot in ends - {slot for slot, one in loop.stacks.items() if not one.is_written}}
    while True:
        before = len(needed)
        for node in reversed(body.nodes):
            if any(value in needed for value in node.results):
                accessed = _accessed(loop, node)
                where = None if accessed is None else accessed[1]
                needed.update(value for number, value in enumerate(node.operands) if number != where)
                needed.update(node.captured)
        needed.update(body.returned[slot] for slot in loop.counters if body.arguments[slot] in needed)
        if len(needed) == before:
            return needed
