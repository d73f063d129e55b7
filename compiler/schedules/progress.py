"""Islands that each run the blocks of a row in order: what can run after what, and which islands wait for ever."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

_Task = TypeVar("_Task", bound=Hashable)


class Progress(Generic[_Task]):
    """How far the islands have come.

    Values are sent when they are made and wait where they are needed, under their own names. So an island waits only
    for values that it receives, never for a receiver, and islands wait for ever exactly if they do so here.

    rows: of each island the blocks that it runs; the tasks of a block begin together.
    needs: the tasks that must have ended before one begins.
    ended: the tasks that have.
    """

    def __init__(self, rows: Sequence[Sequence[Sequence[_Task]]], needs: Callable[[_Task], Iterable[_Task]]) -> None:
        self.rows = rows
        self.ended: set[_Task] = set()
        self._needs = needs
        self._position = [0] * len(rows)

    def run(self) -> Iterator[tuple[int, int]]:
        """The blocks that can run, each after all that it needs: its island, and its number in the row."""
        waiting: defaultdict[_Task, list[int]] = defaultdict(list)
        runnable = list(range(len(self.rows) - 1, -1, -1))
        while runnable:
            island = runnable.pop()
            row, start = self.rows[island], self._position[island]
            for at, block in enumerate(islice(row, start, None), start):
                missing = self.missing(block)
                if missing is not None:
                    waiting[missing].append(island)
                    break
                self._position[island] = at + 1
                self.ended.update(block)
                for task in block:
                    if task in waiting:
                        runnable += waiting.pop(task)
                yield island, at

    def missing(self, block: Sequence[_Task]) -> _Task | None:
        """The first task outside of a block that it needs and that has not ended."""
        for task in block:
            for need in self._needs(task):
                if need not in self.ended and need not in block:
                    return need
        return None

    def stuck(self) -> dict[int, int]:
        """The islands that have not come to the end of their rows, and at which block they stand."""
        return {island: at for island, at in enumerate(self._position) if at < len(self.rows[island])}
