"""Reads a `while` as a loop that counts: how long it is, and which arrays have a row for each of its iterations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from atoll.compiler.batch_rules.nodes import Body, Node, NodeTree
from atoll.compiler.batch_rules.scalars import Scalars

# A loop over microbatches.
MICROBATCHES = "mpmd.for"

# A row that is taken or put: the operation, and the operand that says where.
Access = tuple[Node, int]


@dataclass(frozen=True)
class Counter:
    """A carried integer that grows by the same step in each iteration."""

    first: int
    step: int


@dataclass(frozen=True)
class Stack:
    """A carried array of which iteration i uses the i-th block along a dimension, or the i-th from the end.

    width: the size of a block.
    accesses: the operations of the body that take or put a block, and which of their operands says where it begins.
    is_written: whether the loop puts blocks into it.
    """

    dimension: int
    width: int
    is_reverse: bool
    accesses: tuple[Access, ...]
    is_written: bool


@dataclass(frozen=True, kw_only=True)
class CountedLoop:
    """A loop of known length, by the slots of what it carries.

    bound: the operation of the condition that compares, and its operand that says where the loop ends.
    counting: the counter that it compares.
    constants: slots that are handed on as they are.
    """

    node: Node
    iterations: int
    counters: Mapping[int, Counter]
    counting: int
    bound: Access
    stacks: Mapping[int, Stack]
    constants: frozenset[int]
    is_reverse: bool

    @property
    def carried(self) -> list[int]:
        """The slots whose values one iteration hands to the next."""
        others = {*self.counters, *self.stacks, *self.constants}
        return [slot for slot in range(len(self.node.operands)) if slot not in others]


def read_loop(node: Node) -> CountedLoop | str:
    """The loop over rows that a `while` is, or a clause that says why it is none."""
    loop = counted(node)
    if isinstance(loop, CountedLoop) and not loop.stacks:
        return "no array has a row for each of its iterations"
    return loop


def counted(node: Node) -> CountedLoop | str:
    """The same where no array need have a row for each iteration."""
    condition, body = node.bodies
    if any(one.has_effect for one in condition.nodes):
        return "its condition has an effect, which would happen once more for each part of the loop"
    constants = frozenset(slot for slot, value in enumerate(body.returned) if value == body.arguments[slot])
    counters = counters_of(node)
    ending = ending_of(node, counters, constants)
    if ending is None:
        return "its length depends on data"
    counting, bound, iterations = ending
    if iterations < 2:
        return f"it has {iterations} iterations"
    known = {
        body.arguments[slot]: [one.first + one.step * i for i in range(iterations)] for slot, one in counters.items()
    }
    scalars = Scalars(node.program, iterations, known, same_in(node, body, constants))
    # What `counters_of` tried is a sample; here the count is followed to the end.
    for slot, one in counters.items():
        if scalars.of(body.returned[slot]) != [one.first + one.step * (i + 1) for i in range(iterations)]:
            return "it counts in another way than by equal steps"
    uses = uses_in(body)
    found = {
        slot: stack
        for slot, argument in enumerate(body.arguments)
        if (stack := _stack(body, slot, uses.get(argument, []), scalars, slot in constants)) is not None
    }
    is_reverse = _most_are_reverse(node, found)
    stacks = {slot: one for slot, one in found.items() if one.is_reverse == is_reverse}
    return CountedLoop(
        node=node,
        iterations=iterations,
        counters=counters,
        counting=counting,
        bound=bound,
        stacks=stacks,
        constants=constants - stacks.keys(),
        is_reverse=is_reverse,
    )


def _most_are_reverse(node: Node, stacks: Mapping[int, Stack]) -> bool:
    """Which way the loop goes over its rows: that of most elements. What goes the other way is not taken for a
    stack."""
    elements = {False: 0, True: 0}
    for slot, stack in stacks.items():
        count = 1
        for size in node.operand_shape(slot):
            count *= size
        elements[stack.is_reverse] += count
    return elements[True] > elements[False]


def counters_of(node: Node) -> dict[int, Counter]:
    """The slots that count: from a constant on, by a constant step."""
    _, body = node.bodies
    outside = Scalars(node.program, 1)
    found = {}
    for slot, value in enumerate(body.returned):
        first = outside.of(node.operands[slot])
        # From 0 the next number is the step; from 1 and from 1000 it has to be as much more as these are.
        at = [
            Scalars(node.program, 1, {body.arguments[slot]: [number]}).of(value) if first is not None else None
            for number in (0, 1, 1000)
        ]
        if first is not None and all(one is not None for one in at):
            zero, one, thousand = (numbers[0] for numbers in at if numbers is not None)
            if one == zero + 1 and thousand == zero + 1000 and zero:
                found[slot] = Counter(first[0], zero)
    return found


def ending_of(node: Node, counters: Mapping[int, Counter], constants: frozenset[int]) -> tuple[int, Access, int] | None:
    """The counter that the condition compares, the operand that says where to end, and how many iterations there
    are."""
    condition, _ = node.bodies
    if len(condition.returned) != 1:
        return None
    compare = node.program.producers[condition.returned[0]]
    if (
        compare is None
        or compare.name != "stablehlo.compare"
        or " LT>" not in str(compare.operation.attributes["comparison_direction"])
    ):
        return None
    counted, limit = compare.operands
    slots = {value: slot for slot, value in enumerate(condition.arguments)}
    bound = Scalars(node.program, 1, same=same_in(node, condition, constants)).of(limit)
    counter = counters.get(slots.get(counted, -1))
    if bound is None or counter is None or counter.step < 1:
        return None
    return slots[counted], (compare, 1), max(0, -(-(bound[0] - counter.first) // counter.step))


def same_in(node: Node, body: Body, constants: frozenset[int]) -> dict[int, int]:
    """For arguments that are handed on as they are, the loop's operands."""
    return {body.arguments[slot]: node.operands[slot] for slot in constants}


def uses_in(body: Body) -> dict[int, list[Access]]:
    """The operations that take each value, and as which operand; -1 if something in their regions takes it."""
    uses: dict[int, list[Access]] = {}
    for node in body.nodes:
        for access in _taken(node):
            uses.setdefault(access[0], []).append((node, access[1]))
    return uses


def _taken(node: Node) -> Iterator[tuple[int, int]]:
    for index, value in enumerate(node.operands):
        yield value, index
    for value in node.captured:
        yield value, -1


def _stack(body: Body, slot: int, uses: list[Access], scalars: Scalars, is_constant: bool) -> Stack | None:
    """The slot as a stack, if it is one: each iteration takes only its own block, and puts back only its own block."""
    argument, returned = body.arguments[slot], body.returned[slot]
    is_handed_on_once = body.returned.count(returned) == 1 and (is_constant or argument not in body.returned)
    # Used once more after a block was put, it would be used whole.
    is_used_behind = any(returned in (*node.operands, *node.captured) for node in body.nodes)
    if not is_handed_on_once or (is_used_behind and not is_constant):
        return None
    rows = []
    for node, operand in uses:
        is_put = node.name == "stablehlo.dynamic_update_slice" and node.results == (returned,)
        is_read = node.name == "stablehlo.dynamic_slice"
        row = _row(node, scalars) if operand == 0 and (is_read or is_put) else None
        if row is None:
            return None
        rows.append((node, row))
    # Every use goes over the same dimension, by blocks of one size, and one way.
    is_written = any(node.results == (returned,) for node, _ in rows)
    if is_written == is_constant or len({row[:3] for _, row in rows}) != 1:
        return None
    dimension, width, is_reverse, _ = rows[0][1]
    return Stack(dimension, width, is_reverse, tuple((node, row[3]) for node, row in rows), is_written)


def _row(node: Node, scalars: Scalars) -> tuple[int, int, bool, int] | None:
    """The dimension along which a block is taken or put, its size, whether it counts from the end, and the operand
    that says where it begins; None if it is not the block of the iteration."""
    whole = node.operand_shape(0)
    is_read = node.name == "stablehlo.dynamic_slice"
    taken = tuple(node.integers("slice_sizes")) if is_read else node.operand_shape(1)
    first_start = 1 if is_read else 2
    partial = [dimension for dimension, size in enumerate(taken) if size != whole[dimension]]
    if len(partial) != 1:
        return None
    (dimension,) = partial
    width = taken[dimension]
    starts = scalars.of(node.operands[first_start + dimension])
    if starts is None or whole[dimension] != width * len(starts):
        return None
    forward = [number * width for number in range(len(starts))]
    if starts not in (forward, forward[::-1]):
        return None
    return dimension, width, starts != forward, first_start + dimension


def loops_of(program: NodeTree) -> "Iterator[tuple[Node, CountedLoop | str]]":
    """Each `while` that stands directly in @main, or in a loop over microbatches, with what it is."""
    for node in program.body.nodes:
        for one in node.bodies[0].nodes if node.name == MICROBATCHES else (node,):
            if one.name == "stablehlo.while":
                yield one, read_loop(one)
