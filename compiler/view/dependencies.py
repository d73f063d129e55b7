"""Which task needs what another one makes, over all islands, as the streams of a program say."""

from collections.abc import Mapping
from typing import NamedTuple

from atoll.runtime.program import IslandProgram, Program, Receive, Run, Send


class PlacedTask(NamedTuple):
    """A task of a step on its island, where no other one has its name but for parts of one exchange."""

    island: str
    task: str


# For each task the tasks whose results it takes, with the bytes that crossed to it; 0 where nothing crosses.
Dependencies = Mapping[PlacedTask, Mapping[PlacedTask, int]]


def dependencies_of(program: Program) -> Dependencies:
    """What the tasks of a step wait for. What is an argument is there from the beginning."""
    islands = {island.name: _Streams(island) for island in program.islands}
    needs: dict[PlacedTask, dict[PlacedTask, int]] = {}
    for name, streams in islands.items():
        for run in streams.runs:
            taken = needs.setdefault(PlacedTask(name, run.task), {})
            for number in run.inputs:
                maker, crossed = _maker(islands, name, number)
                if maker is not None:
                    taken[maker] = taken.get(maker, 0) + crossed
    return needs


class _Streams:
    """What the instructions of an island make, receive and send."""

    def __init__(self, island: IslandProgram) -> None:
        self.buffers = island.buffers
        self.runs = [one for one in island.instructions if isinstance(one, Run)]
        self.made = {number: PlacedTask(island.name, one.task) for one in self.runs for number in one.outputs}
        self.sent = {(one.to, one.tag): one.buffer for one in island.instructions if isinstance(one, Send)}
        self.received = {one.buffer: (one.source, one.tag) for one in island.instructions if isinstance(one, Receive)}


def _maker(islands: Mapping[str, _Streams], island: str, number: int) -> tuple[PlacedTask | None, int]:
    """The task that makes a buffer, also through islands that only send it on; and the bytes that cross last."""
    crossed, here = 0, island
    while number in islands[here].received:
        crossed = crossed or islands[here].buffers[number].bytes
        source, tag = islands[here].received[number]
        number = islands[source].sent[here, tag]
        here = source
    return islands[here].made.get(number), crossed
