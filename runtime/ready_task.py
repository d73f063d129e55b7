"""The tasks of an island, made ready: all that can be known before they run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from atoll.runtime.fragment import Executable
from atoll.runtime.program import IslandProgram, Run
from atoll.runtime.program_memory import Bytes, sizes_of_buffers, total

# As many executions as an island may have under way, or more: whether a task covers those before them nobody asks.
_REACH = 32


@dataclass(frozen=True)
class ReadyTask:
    """A `Run` made ready."""

    index: int
    executable: Executable
    run: Run
    size: Bytes  # of its outputs, less those of what it donates
    token: int  # which of its results tells when it has ended
    published: tuple[int, ...]  # those of its outputs that are the step's
    covers: int = 0  # how many of the tasks right before it have ended if it has: it needs what comes of them


def ready_tasks(
    island: IslandProgram, executables: Mapping[int, Executable], kept: Collection[int]
) -> dict[int, ReadyTask]:
    """The tasks by the index of their instruction.

    executables: what runs each code, by its number.
    kept: the buffers that are results of the step.
    """
    runs = {index: one for index, one in enumerate(island.instructions) if isinstance(one, Run)}
    given_away = {number for run in runs.values() for number in run.donated}
    whole, sizes = [buffer.bytes for buffer in island.buffers], sizes_of_buffers(island)
    covered = dict(zip(runs, count_covered(tuple(runs.values())), strict=True))

    def task(index: int, run: Run) -> ReadyTask:
        # The token: a result that is not donated, as one that is gone cannot tell when the task has ended; of these the
        # smallest, as the window keeps it alive until then.
        by_size = sorted(
            range(len(run.outputs)), key=lambda one: (run.outputs[one] in given_away, whole[run.outputs[one]])
        )
        made, taken = (total(sizes[number] for number in numbers) for numbers in (run.outputs, run.donated))
        size = Bytes(made.device - taken.device, made.host - taken.host)
        published = tuple(number for number in run.outputs if number in kept)
        token = by_size[0] if by_size else 0
        return ReadyTask(index, executables[run.code], run, size, token, published, covered[index])

    return {index: task(index, run) for index, run in runs.items()}


def count_covered(runs: Sequence[Run]) -> list[int]:
    """For each of these tasks, how many of those right before it, one after the other, it needs, if not by itself.

    What a task needs is kept as a number, whose bits stand for the tasks before it, the lowest for the last.
    """
    needed: list[int] = []
    made: dict[int, int] = {}  # which task a buffer comes of
    for position, run in enumerate(runs):
        needs = 0
        for number in run.inputs:
            back = position - made.get(number, -_REACH - 1)
            if back <= _REACH:
                needs |= (needed[position - back] << 1 | 1) << back - 1
        needed.append(needs & (1 << _REACH) - 1)
        made.update(dict.fromkeys(run.outputs, position))
    # As many as the lowest bit that is not set has below it.
    return [(~needs & needs + 1).bit_length() - 1 for needs in needed]
