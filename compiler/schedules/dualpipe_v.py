"""`dualpipe-v`: a V whose forward and backward tasks overlap (DeepSeek-AI 2025).

With P islands, M >= 2P microbatches and F = B = W = 1 it takes 3M + P - 1 and keeps the activations of P + 1/2
microbatches. A forward and a whole backward task of unlike microbatches run as one block, which hides the transfers of
each behind the other; what a block makes is there when it ends. Backward tasks are split only in the first and the
last microbatches.
"""

from atoll.compiler.schedules.order import RowOrder
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT


def dualpipe_v(islands: int, microbatches: int, _chunks: int) -> RowOrder:
    """The rows of all islands, and which tasks are joined to blocks."""
    rows, joined = [], set()
    for island in range(islands):
        writer = _Writer((island, 2 * islands - 1 - island))
        _write(writer, island, islands - 1 - island, microbatches - 2 * islands)
        rows.append(writer.row)
        joined |= writer.joined
    return RowOrder(rows, frozenset(joined))


def _write(writer: "_Writer", before: int, behind: int, extra: int) -> None:
    """One island's row; so many islands are before it and behind it, and so many microbatches beyond 2P there are."""
    for _ in range(2 * behind):
        writer.forward(0)
    for _ in range(before + 1):
        writer.forward(0)
        writer.forward(1)
    for _ in range(behind):
        writer.backward(1)
        writer.weight()
        writer.forward(1)
    # The main part. On the last island the first forward task feeds the backward task that would be its partner.
    for index in range(extra + before + 1):
        writer.overlapped(0, 1, apart=index == 0 and behind == 0)
        writer.overlapped(1, 0)
    for _ in range(behind):
        writer.whole_backward(1)
        writer.overlapped(1, 0)
    # From the middle on weight tasks are put off, to fill the pauses of the last microbatches.
    for index in range(before + 1):
        for chunk in (1, 0):
            if 2 * index + (1 - chunk) > before:
                writer.backward(chunk)
            else:
                writer.whole_backward(chunk)
    for _ in range(behind):
        writer.weight()
        writer.backward(0)
    for _ in range(before + 1):
        writer.weight()


class _Writer:
    """Writes one island's row; it counts the microbatches of each chunk and direction."""

    def __init__(self, stages: tuple[int, int]) -> None:
        self.row: list[Task] = []
        self.joined: set[Task] = set()
        self._stages = stages
        self._forwards = [0, 0]
        self._backwards = [0, 0]
        self._weights: list[Task] = []

    def forward(self, chunk: int) -> None:
        self.row.append(Task(FORWARD, self._stages[chunk], self._forwards[chunk]))
        self._forwards[chunk] += 1

    def backward(self, chunk: int) -> None:
        """The weight task is put off."""
        self.row.append(Task(BACKWARD, self._stages[chunk], self._backwards[chunk]))
        self._weights.append(Task(WEIGHT, self._stages[chunk], self._backwards[chunk]))
        self._backwards[chunk] += 1

    def weight(self) -> None:
        self.row.append(self._weights.pop(0))

    def whole_backward(self, chunk: int) -> None:
        self.backward(chunk)
        weight = self._weights.pop()
        self.row.append(weight)
        self.joined.add(weight)

    def overlapped(self, forward: int, backward: int, apart: bool = False) -> None:
        self.forward(forward)
        if not apart:
            self.joined.add(Task(BACKWARD, self._stages[backward], self._backwards[backward]))
        self.whole_backward(backward)
