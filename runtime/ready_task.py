"""The tasks of an island, made ready: all that can be known before they run."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from atoll.runtime.fragment import Executable
from atoll.runtime.program import IslandProgram, Run


@dataclass(frozen=True)
class ReadyTask:
    """A `Run` made ready."""

    index: int
    executable: Executable
    run: Run
    size: int  # bytes of its outputs, less those of what it donates
    token: int  # which of its results tells when it has ended
    published: tuple[int, ...]  # those of its outputs that are the step's


def ready_tasks(
    island: IslandProgram, executables: Mapping[int, Executable], kept: Collection[int]
) -> dict[int, ReadyTask]:
    """The tasks by the index of their instruction.

    executables: what runs each code, by its number.
    kept: the buffers that are results of the step.
    """
    runs = {index: one for index, one in enumerate(island.instructions) if isinstance(one, Run)}
    given_away = {number for run in runs.values() for number in run.donated}
    sizes = [buffer.bytes for buffer in island.buffers]

    def task(index: int, run: Run) -> ReadyTask:
        # The token: a result that is not donated, as one that is gone cannot tell when the task has ended; of these the
        # smallest, as the window keeps it alive until then.
        by_size = sorted(
            range(len(run.outputs)), key=lambda one: (run.outputs[one] in given_away, sizes[run.outputs[one]])
        )
        size = sum(sizes[number] for number in run.outputs) - sum(sizes[number] for number in run.donated)
        published = tuple(number for number in run.outputs if number in kept)
        return ReadyTask(index, executables[run.code], run, size, by_size[0] if by_size else 0, published)

    return {index: task(index, run) for index, run in runs.items()}
