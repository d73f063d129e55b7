"""The life of every buffer of a program: what makes it, what ends it, and how many bytes are alive at once."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from atoll.runtime.program import (
    Count,
    Free,
    Instruction,
    IslandProgram,
    Program,
    Receive,
    Run,
    Send,
)
from atoll.runtime.program_memory import changes, device_sizes


def rolled_task(run: Run) -> str:
    """The task without its microbatch: `F0` for `F3@0`."""
    return str(run.name.rolled)


def _own_task(run: Run) -> str:
    return run.task


@dataclass(frozen=True)
class Life:
    """One buffer on one island.

    number: as the instructions call it.
    born: the task that makes it, `argument`, `from island1` or `count`.
    end: what becomes of it: `donated to B0@0`, `freed after B0@0`, `freed when sent`, `result`, or `kept` until the end
        of the step because nothing on the island takes it.
    """

    number: int
    born: str
    end: str


def lives_of(program: Program, island: IslandProgram, task_of: Callable[[Run], str] = _own_task) -> list[Life]:
    """The life of every buffer of an island, in order of birth. task_of: what a task is called."""
    results = {number for one in program.outputs for name, number in one.every_place if name == island.name}
    births = {number: "argument" for one in program.inputs for name, number in one.every_place if name == island.name}
    ends: dict[int, str] = {}
    before: Instruction | None = None
    for one in island.instructions:
        match one:
            case Run():
                births.update(dict.fromkeys(one.outputs, task_of(one)))
                ends.update(dict.fromkeys(one.donated, f"donated to {task_of(one)}"))
            case Count(buffer):
                births[buffer] = "count"
            case Receive(buffer, source):
                births[buffer] = f"from {source}"
            case Free(buffers):
                ends.update(dict.fromkeys(buffers, _freeing(before, task_of)))
        before = one
    return [Life(one, born, ends.get(one, "result" if one in results else "kept")) for one, born in births.items()]


def _freeing(before: Instruction | None, task_of: Callable[[Run], str]) -> str:
    if isinstance(before, Run):
        return f"freed after {task_of(before)}"
    return "freed when sent" if isinstance(before, Send) else "freed at once"


@dataclass(frozen=True, kw_only=True)
class BufferGroup:
    """The buffers of one island that are made and ended by the same tasks, those of all microbatches together.

    buffer: what each of them is: `float32[4, 16]`.
    born, end: as of a `Life`, without microbatches.
    count: how many there are; alive: how many of them at the same time, at most.
    bytes: of one of them, on each device that has it.
    """

    island: str
    buffer: str
    born: str
    end: str
    count: int
    alive: int
    bytes: int


def groups_of(program: Program, island: IslandProgram) -> list[BufferGroup]:
    """Every buffer of an island is in one group."""
    lives = {life.number: life for life in lives_of(program, island, rolled_task)}
    keys = {
        number: (str(island.buffers[number]), life.born, life.end, size)
        for (number, life), size in zip(lives.items(), map(device_sizes(island).__getitem__, lives), strict=True)
    }
    most: Counter[tuple[str, str, str, int]] = Counter()
    live: Counter[tuple[str, str, str, int]] = Counter()
    for number, change in changes(island, program.given[island.name]):
        live[keys[number]] += change
        most[keys[number]] = max(most[keys[number]], live[keys[number]])
    counts = Counter(keys.values())
    return [
        BufferGroup(
            island=island.name,
            buffer=buffer,
            born=born,
            end=end,
            count=count,
            alive=most[buffer, born, end, size],
            bytes=size,
        )
        for (buffer, born, end, size), count in counts.items()
    ]
