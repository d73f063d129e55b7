"""The memory of each island over a step, and what is alive when most of it is used."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from atoll.compiler.report.buffers import lives_of, rolled_task
from atoll.runtime.program import Count, Free, IslandProgram, Program, Receive, Run
from atoll.runtime.program_memory import device_sizes

_MOST_HELD = 200  # kinds of buffers that are told of a peak; the rest is told as one


class _Kind(NamedTuple):
    """What tells buffers apart for people; born and end are as of a `Life`."""

    what: str
    path: str
    born: str
    end: str
    size: int


def live_bytes(program: Program, island: IslandProgram) -> dict[str, Any]:
    """The most bytes on each device while each task runs, task by task; and the buffers of the worst moment.

    Values that are received count with the task that comes next.
    """
    sizes = device_sizes(island)
    live = dict.fromkeys(program.given[island.name])  # in order
    now = most = peak = sum(sizes[number] for number in live)
    points: list[tuple[str, int]] = []
    held, at = tuple(live), ""
    is_new = True  # whether the peak was reached since the last task

    def add(numbers: tuple[int, ...]) -> None:
        nonlocal now, most, peak, held, is_new
        live.update(dict.fromkeys(numbers))
        now += sum(sizes[number] for number in numbers)
        most = max(most, now)
        if now > peak:
            peak, held, is_new = now, tuple(live), True

    def take(numbers: tuple[int, ...]) -> None:
        nonlocal now
        for number in numbers:
            del live[number]
        now -= sum(sizes[number] for number in numbers)

    for one in island.instructions:
        match one:
            case Run():
                take(one.donated)
                add(one.outputs)
                points.append((one.task, most))
                at = one.task if is_new else at
                most, is_new = now, False
            case Count(buffer) | Receive(buffer):
                add((buffer,))
            case Free(buffers):
                take(buffers)
    return {"island": island.name, "peak": peak, "at": at, "points": points, "held": _told(program, island, held)}


def _told(program: Program, island: IslandProgram, held: tuple[int, ...]) -> list[dict[str, Any]]:
    """The buffers that are alive together, those of a kind as one, the largest first."""
    sizes, paths = device_sizes(island), _paths(program, island)
    lives = {life.number: life for life in lives_of(program, island, rolled_task)}
    counts = Counter(
        _Kind(str(island.buffers[one]), paths.get(one, ""), lives[one].born, lives[one].end, sizes[one]) for one in held
    )
    kinds = sorted(counts.items(), key=lambda one: -one[0].size * one[1])
    told = [
        {"what": kind.what, "path": kind.path, "born": kind.born, "end": kind.end, "count": count, "bytes": kind.size}
        for kind, count in kinds[:_MOST_HELD]
    ]
    if rest := kinds[_MOST_HELD:]:
        total, count = sum(kind.size * count for kind, count in rest), sum(count for _, count in rest)
        told.append({"what": f"{count} smaller buffers", "path": "", "born": "", "end": "", "count": 1, "bytes": total})
    return told


def _paths(program: Program, island: IslandProgram) -> Mapping[int, str]:
    """By buffer, which argument it is of."""
    return {number: one.path for one in program.inputs for name, number in one.every_place if name == island.name}
