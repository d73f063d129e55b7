"""What a trace shows: tracks with slices of time on them, each with a name, what it tells, and its flows.

Records and the program go in, plain data comes out. `trace_file` writes it in a format that viewers read.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from atoll.compiler.task_name import RESHARD, TaskName
from atoll.runtime.program import Count, IslandProgram, Program, Receive, Run, Send
from atoll.runtime.trace import (
    Cause,
    Fetched,
    ForArgument,
    ForRoom,
    ForStep,
    ForValue,
    Recorded,
    Started,
    Traced,
    Waited,
)


class Track(NamedTuple):
    """A line of the picture.

    island: whose it is; None for the controller.
    part: its name; empty for the one that the others of its island are in.
    """

    island: str | None
    part: str = ""

    @property
    def title(self) -> str:
        return self.part or self.island or "controller"


# What is sent: the step, the islands that it leaves and reaches, and its tag.
Flow = tuple[int, str, str, int]


class Slice(NamedTuple):
    """Something that took its time. leaves, arrives: the arrow that begins or ends here, if there is one."""

    track: Track
    name: str
    category: str
    start: int
    end: int
    told: dict[str, Any]
    leaves: Flow | None = None
    arrives: Flow | None = None


def tracks(program: Program) -> list[Track]:
    """All tracks, from the top; each behind the one that it is in."""
    found = [Track(None), Track(None, "steps")]
    for island in program.islands:
        found += [Track(island.name, part) for part in ("", "tasks", "transfers", "waits")]
    return found


def slices(program: Program, records: Sequence[Traced]) -> list[Slice]:
    """What was recorded, as it is shown."""
    return [*_Slices(program).of(records), *_steps(records)]


def _steps(records: Sequence[Traced]) -> Iterator[Slice]:
    """A slice for each step, from when it is started to the last that an island does for it."""
    ends: dict[int, int] = {}
    for one in records:
        if not isinstance(one, Waited):
            ends[one.step] = max(ends.get(one.step, 0), one.end)
    for one in records:
        if isinstance(one, Started):
            yield Slice(Track(None, "steps"), f"step {one.step}", "step", one.start, ends[one.step], {"step": one.step})


class _Slices:
    """Makes slices of records: names what these only number."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._islands = {island.name: island for island in program.islands}
        self._values = {name: _Values(program, island) for name, island in self._islands.items()}

    def of(self, records: Iterable[Traced]) -> Iterator[Slice]:
        for one in records:
            match one:
                case Started(step, start, end):
                    yield Slice(Track(None), f"start step {step}", "controller", start, end, {"step": step})
                case Recorded(island, _, number):
                    instruction = self._islands[island].instructions[number]
                    if isinstance(instruction, Run):
                        yield self._task(one, instruction)
                    elif isinstance(instruction, (Send, Receive)):
                        yield self._transfer(one, instruction)
                case Fetched():
                    yield self._fetched(one)
                case Waited(island, step, cause, start, end):
                    name, told = self._cause(island, cause)
                    yield Slice(Track(island, "waits"), name, "wait", start, end, {"step": step, **told})

    def _task(self, one: Recorded, run: Run) -> Slice:
        code, buffers = self._program.codes[run.code], self._islands[one.island].buffers
        told = {
            "step": one.step,
            **_position(run.name),
            "fragment": code.name,
            "scopes": code.scopes,
            "where": code.where,
            "bytes": sum(buffers[number].bytes for number in run.outputs),
            "donated bytes": sum(buffers[number].bytes for number in run.donated),
        }
        return Slice(Track(one.island, "tasks"), run.task, run.name.kind, one.start, one.end, told)

    def _transfer(self, one: Recorded, instruction: Send | Receive) -> Slice:
        match instruction:
            case Send(buffer, target, tag):
                made, position = self._crossing(one.island, target, tag)
                source, name = one.island, f"send {made} to {target}"
            case Receive(buffer, source, tag):
                made, position = self._crossing(source, one.island, tag)
                target, name = one.island, f"receive {made} from {source}"
        size, flow = self._values[one.island].bytes(buffer), (one.step, source, target, tag)
        told = {"step": one.step, **position, "from": source, "to": target, "tag": tag, "bytes": size}
        found = Slice(Track(one.island, "transfers"), name, "transfer", one.start, one.end, told)
        return found._replace(leaves=flow) if isinstance(instruction, Send) else found._replace(arrives=flow)

    def _fetched(self, one: Fetched) -> Slice:
        values = self._values[one.island]
        told = {"step": one.step, "from": one.source, "bytes": values.bytes(one.buffer)}
        name = f"{values.described(one.buffer)} from {one.source}"
        return Slice(Track(one.island, "transfers"), name, "transfer", one.start, one.end, told)

    def _cause(self, island: str, cause: Cause) -> tuple[str, dict[str, Any]]:
        """What an island waited for, in words, and what there is to tell of it."""
        values = self._values[island]
        match cause:
            case ForValue(source, tag):
                made, position = self._crossing(source, island, tag)
                told = {"for": "value", **position, "from": source, "tag": tag}
                return f"value {made} from {source}", told
            case ForArgument(buffer, source):
                where = "" if source == island else f" from {source}"
                told = {"for": "argument", "from": source, "bytes": values.bytes(buffer)}
                return f"{values.described(buffer)}{where}", told
            case ForRoom(number, ahead):
                run = self._islands[island].instructions[number]
                assert isinstance(run, Run)
                return f"room: {ahead} tasks are enqueued ahead", {"for": "room", "task": run.task, "ahead": ahead}
            case ForStep():
                return "the next step", {"for": "step"}

    def _crossing(self, source: str, target: str, tag: int) -> tuple[str, dict[str, Any]]:
        """What a value is called that one island sends another, and where in the program it is made."""
        values = self._values[source]
        number = values.sent[target, tag]
        maker = values.maker(number)
        return values.name(number), {} if maker is None else _position(maker)


class _Values:
    """What an island's buffers are called: after the task that makes them, or as the argument that they are.

    A value that is only divided differently keeps its name.
    """

    def __init__(self, program: Program, island: IslandProgram) -> None:
        self._buffers = island.buffers
        self._names = {
            number: one.path for one in program.inputs for name, number in one.every_place if name == island.name
        }
        self._arguments = frozenset(self._names)
        self._makers: dict[int, TaskName] = {}
        self.sent: dict[tuple[str, int], int] = {}  # by destination and tag
        for one in island.instructions:
            if isinstance(one, Run):
                source = one.inputs[0] if one.name.kind == RESHARD else None
                maker = one.name if source is None else self._makers.get(source)
                made = one.task if source is None else self._names[source]
                self._names.update(dict.fromkeys(one.outputs, made))
                if maker is not None:
                    self._makers.update(dict.fromkeys(one.outputs, maker))
            elif isinstance(one, Receive):
                self._names[one.buffer] = f"a value of {one.source}"  # that is sent on from here
            elif isinstance(one, Count):
                self._names[one.buffer] = f"the number of microbatch {one.microbatch}"
            elif isinstance(one, Send):
                self.sent[one.to, one.tag] = one.buffer

    def name(self, number: int) -> str:
        return self._names[number]

    def described(self, number: int) -> str:
        return f"argument {self.name(number)}" if number in self._arguments else self.name(number)

    def maker(self, number: int) -> TaskName | None:
        """The task that makes a buffer; None if none does on this island."""
        return self._makers.get(number)

    def bytes(self, number: int) -> int:
        return self._buffers[number].bytes


def _position(task: TaskName) -> dict[str, Any]:
    """Where a task stands in the program: its loop, unless that is the last, its microbatch and its stage."""
    stage = None if task.stage is None else str(task.stage)
    said = {"loop": task.loop, "microbatch": task.microbatch, "stage": stage}
    return {name: value for name, value in said.items() if value is not None}
