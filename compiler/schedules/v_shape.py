"""Schedules whose stages go along the islands and back: `zb-v`, `v-half`, `v-min`.

Each is one pattern, the tasks of one microbatch at fixed distances, that is repeated every six ticks: two chunks of
forward, backward and weight task, all of one tick. The distances decide how long activations live and so the memory;
the pauses that they leave before the first and after the last microbatches then close up. (Qi et al. 2024.)

With P islands, M >= P microbatches and F = B = W = 1: zb-v takes 3M + (P - 1)/2, no island pauses once it has started
if M is at least 2P - 1, and an island keeps the activations of P microbatches. v-half keeps those of (P + 2)//2 and
takes about 3M + 3P/2 (with P = 4 one less), v-min keeps those of (P + 4)//3 and takes about 3M + 2P.
"""

from dataclasses import dataclass

from atoll.compiler.schedules.filling import fill
from atoll.compiler.schedules.order import RowOrder, zigzag
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import BACKWARD, FORWARD

_PERIOD = 6


@dataclass(frozen=True, kw_only=True)
class _Pattern:
    """The ticks from each task of a microbatch to its next, which is on the neighbouring island except at a turn.

    Tasks of different microbatches must not meet on an island: modulo the period, the times of the tasks that one
    microbatch has on an island have to differ, which is what decides the turns.
    """

    forward: int
    turn: int  # on the last island, from the first chunk to the second
    forward_back: int
    turn_to_backward: int  # on island 0
    backward: int
    turn_back: int  # on the last island
    backward_back: int

    def rows(self, islands: int, microbatches: int) -> list[list[Task]]:
        """For each island its forward and backward tasks, in the order in which the repeated pattern has them."""
        starts: list[list[tuple[int, Task]]] = [[] for _ in range(islands)]
        homes = zigzag(islands, 2)
        tick = 0
        for kind, stage, distance in self._steps(islands):
            tick += distance
            starts[homes[stage]] += [
                (tick + _PERIOD * index, Task(kind, stage, index)) for index in range(microbatches)
            ]
        return [[task for _, task in sorted(row)] for row in starts]

    def _steps(self, islands: int) -> list[tuple[str, int, int]]:
        """One microbatch's way: each task with the ticks from the one before to it."""
        hops = range(islands - 1)
        distances = [self.forward for _ in hops] + [self.turn] + [self.forward_back for _ in hops]
        steps = [(FORWARD, stage, distance) for stage, distance in enumerate([0, *distances])]
        distances = [self.backward for _ in hops] + [self.turn_back] + [self.backward_back for _ in hops]
        stages = range(2 * islands - 1, -1, -1)
        return steps + [
            (BACKWARD, stage, distance)
            for stage, distance in zip(stages, [self.turn_to_backward, *distances], strict=True)
        ]


_ZB_V = _Pattern(forward=4, turn=1, forward_back=2, turn_to_backward=1, backward=4, turn_back=1, backward_back=2)
_V_HALF_EVEN = _Pattern(forward=2, turn=4, forward_back=1, turn_to_backward=1, backward=2, turn_back=5, backward_back=1)
# For 4 islands there is a closer one, of which two ticks fewer are left over at both ends.
_V_HALF_FOUR = _Pattern(forward=2, turn=3, forward_back=2, turn_to_backward=1, backward=2, turn_back=3, backward_back=2)
_V_HALF_ODD = _Pattern(forward=2, turn=1, forward_back=1, turn_to_backward=1, backward=2, turn_back=2, backward_back=1)
_V_MIN = _Pattern(forward=1, turn=1, forward_back=1, turn_to_backward=1, backward=1, turn_back=1, backward_back=1)
# For 3 | P: with the usual turns, tasks of different microbatches would meet on an island.
_V_MIN_THREES = _Pattern(
    forward=1, turn=3, forward_back=1, turn_to_backward=1, backward=1, turn_back=3, backward_back=1
)


def zb_v(islands: int, microbatches: int, _chunks: int) -> RowOrder:
    """No pauses, at the memory of 1f1b. At the start islands run forward tasks ahead of the pattern."""
    rows = _ZB_V.rows(islands, microbatches)
    return RowOrder(fill(rows, 2 * islands, microbatches, most=2 * islands, early_stages=islands))


def v_half(islands: int, microbatches: int, _chunks: int) -> RowOrder:
    """Half the memory of 1f1b."""
    pattern = _V_HALF_ODD if islands % 2 else _V_HALF_FOUR if islands == 4 else _V_HALF_EVEN
    rows = pattern.rows(islands, microbatches)
    return RowOrder(fill(rows, 2 * islands, microbatches, most=2 * ((islands + 2) // 2)))


def v_min(islands: int, microbatches: int, _chunks: int) -> RowOrder:
    """A third of the memory of 1f1b."""
    pattern = _V_MIN if islands % 3 else _V_MIN_THREES
    rows = pattern.rows(islands, microbatches)
    return RowOrder(fill(rows, 2 * islands, microbatches, most=2 * ((islands + 4) // 3)))
