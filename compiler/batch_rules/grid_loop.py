"""Reads a `while` that goes over the blocks of a grid, as Pallas writes a kernel that it interprets.

The indices of the grid are carried: the last one counts up, and where it is at its end, it begins anew and the one
before it counts. Blocks of whole arrays are taken and put where the indices say. If the first of so many equal parts of
the iterations has to do with the first part of these arrays, the next with the next, and does the same with it, then a
microbatch makes the iterations of one part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.counted_loop import Access, counters_of, ending_of, same_in, uses_in
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.scalars import Scalars
from atoll.compiler.batch_rules.states import ABSENT, SAME, Split, State

# Longer loops are not read, as each of their iterations is followed.
_MOST_ITERATIONS = 4096

_TAKES, _PUTS = "stablehlo.dynamic_slice", "stablehlo.dynamic_update_slice"
_FIRST_START = {_TAKES: 1, _PUTS: 2}  # the operand that says where a block begins along dimension 0
_VIEWS = frozenset(("stablehlo.reshape", "stablehlo.broadcast_in_dim"))


@dataclass(frozen=True)
class GridLoop:
    """A loop over a grid, by the slots of what it carries.

    forms: of each slot: in parts, or the same for all.
    ends: of the slots with indices, what they are after the last iteration.
    accesses: the operations that take or put a block of an array that is in parts.
    """

    iterations: int
    forms: tuple[State, ...]
    ends: Mapping[int, int]
    accesses: frozenset[Node]


def read_grid(node: Node, states: Sequence[State]) -> GridLoop | None:
    """The loop that a `while` is, if it goes over a grid of which each microbatch has a part; None if it is no such.

    states: of what it takes.
    """
    body = node.bodies[1]
    constants = frozenset(slot for slot, value in enumerate(body.returned) if value == body.arguments[slot])
    ending = ending_of(node, counters_of(node), constants)
    if ending is None or node.has_effect:
        return None
    iterations = ending[2]
    if iterations % node.program.parts or not node.program.parts <= iterations <= _MOST_ITERATIONS:
        return None
    outside, same = Scalars(node.program, 1), same_in(node, body, constants)
    begins = {slot: number for slot, value in enumerate(node.operands) if (number := outside.of(value)) is not None}
    followed = _followed(node, iterations, begins, same)
    known = {body.arguments[slot]: numbers[:-1] for slot, numbers in followed.items()}
    reading = _LoopReader(node, Scalars(node.program, iterations, known, same), iterations // node.program.parts)
    forms: list[State] = []
    accesses: dict[Access, int] = {}
    for slot, state in enumerate(states):
        if state == SAME and (slot in followed or slot in constants or reading.is_put_back(slot)):
            forms.append(SAME)
            continue
        dimension = reading.dimension(slot, state)
        if dimension is None:
            return None
        forms.append(Split(dimension))
        accesses.update(dict.fromkeys(reading.accesses(slot) or (), dimension))
    if not accesses or not reading.is_alike(accesses):
        return None
    ends = {slot: numbers[-1] for slot, numbers in followed.items()}
    return GridLoop(iterations, tuple(forms), ends, frozenset(one for one, _ in accesses))


def _followed(
    node: Node, iterations: int, begins: Mapping[int, list[int]], same: Mapping[int, int]
) -> dict[int, list[int]]:
    """Of the slots that count by themselves: what they are in each iteration, and after the last."""
    body = node.bodies[1]
    followed = {slot: list(begin) for slot, begin in begins.items()}
    for _ in range(iterations):
        now = Scalars(node.program, 1, {body.arguments[slot]: one[-1:] for slot, one in followed.items()}, same)
        after = {slot: now.of(body.returned[slot]) for slot in followed}
        counting = {slot: number for slot, number in after.items() if number is not None}
        if len(counting) < len(followed):  # others may have been computed of what is left out
            return _followed(node, iterations, {slot: begins[slot] for slot in counting}, same)
        for slot, number in counting.items():
            followed[slot] += number
    return followed


@dataclass(frozen=True)
class _LoopReader:
    """What goes on in the iterations of a loop.

    scalars: what its scalars are in each of them. share: how many iterations a microbatch has.
    """

    node: Node
    scalars: Scalars
    share: int

    def accesses(self, slot: int) -> list[Access] | None:
        """The operations that take blocks of an array and put them; None if it is used in any other way."""
        body = self.node.bodies[1]
        uses, found, values = uses_in(body), list[Access](), [body.arguments[slot]]
        for value in values:  # which grows: what it is after a block was put is the array as well
            is_elsewhere = any(one == value for other, one in enumerate(body.returned) if other != slot)
            for node, operand in uses.get(value, ()):
                if operand != 0 or node.name not in _FIRST_START:
                    return None
                found.append((node, operand))
                values += node.results if node.name == _PUTS else ()
            if is_elsewhere:
                return None
        return found if body.returned[slot] in values else None

    def dimension(self, slot: int, state: State) -> int | None:
        """The dimension of an array along which the microbatches have a part each."""
        accesses, shape = self.accesses(slot), self.node.operand_shape(slot)
        if not accesses or not (state in (SAME, ABSENT) or (type(state) is Split and state.blocks == 1)):
            return None
        dimensions = [state.dimension] if isinstance(state, Split) else range(len(shape))
        fitting = (one for one in dimensions if all(self._goes_along(node, one) for node, _ in accesses))
        return next(fitting, None)

    def _goes_along(self, node: Node, dimension: int) -> bool:
        """Whether the iterations of each microbatch have blocks of its own part, as those of the first have of the
        first part."""
        extent = node.operand_shape()[dimension]
        width = node.integers("slice_sizes")[dimension] if node.name == _TAKES else node.operand_shape(1)[dimension]
        starts = self.scalars.of(node.operands[_FIRST_START[node.name] + dimension])
        part, rest = divmod(extent, self.node.program.parts)
        if starts is None or rest:
            return False
        is_inside = all(start >= 0 and start + width <= part for start in starts[: self.share])
        return is_inside and all(
            start == starts[number % self.share] + number // self.share * part for number, start in enumerate(starts)
        )

    def is_put_back(self, slot: int) -> bool:
        """Whether an array stays as it is, since what is put into it are the blocks that were taken from there."""
        body, producers = self.node.bodies[1], self.node.program.producers
        value = body.returned[slot]
        while value != body.arguments[slot]:
            put = producers[value]
            if put is None or put.name != _PUTS:
                return False
            taken = self._before_views(put.operands[1])
            if taken is None or taken.name != _TAKES or taken.operands[0] != body.arguments[slot]:
                return False
            if taken.integers("slice_sizes") != list(put.operand_shape(1)):
                return False
            starts = [
                [self.scalars.of(one) for one in node.operands[_FIRST_START[node.name] :]] for node in (taken, put)
            ]
            if starts[0] != starts[1] or None in starts[0]:
                return False
            value = put.operands[0]
        return True

    def _before_views(self, value: int) -> Node | None:
        """The operation that makes a block, whatever dimensions of one place it gets then, or loses."""
        program = self.node.program
        node = program.producers[value]
        while node is not None and node.name in _VIEWS and _is_view(node):
            node = program.producers[node.operands[0]]
        return node

    def is_alike(self, accesses: Mapping[Access, int]) -> bool:
        """Whether the iterations of all microbatches do the same, but for the places of the blocks that they have.

        accesses: to arrays in parts, each with the dimension of the parts.
        """
        starts = {(node, _FIRST_START[node.name] + dimension) for (node, _), dimension in accesses.items()}
        for node in self.node.bodies[1].nodes:
            if not node.bodies and all(self.scalars.of(one) is not None for one in node.results):
                continue  # what takes it is asked
            taken = [one for index, one in enumerate(node.operands) if (node, index) not in starts]
            if any(not self._is_periodic(one) for one in (*taken, *node.captured)):
                return False
        return True

    def _is_periodic(self, value: int) -> bool:
        numbers = self.scalars.of(value)
        return numbers is None or all(one == numbers[number % self.share] for number, one in enumerate(numbers))


def _is_view(node: Node) -> bool:
    """Whether an operation leaves all elements in their order."""
    own = [size for size in node.operand_shape() if size != 1]
    return own == [size for size in node.result_shape() if size != 1] and (
        node.name == "stablehlo.reshape"
        or node.integers("broadcast_dimensions") == sorted(node.integers("broadcast_dimensions"))
    )
