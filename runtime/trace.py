"""Records when tasks ran and values crossed, and writes it as trace events, which Perfetto and Chrome show.

While a step is traced, each island has a thread that waits for what it does: before a task until all that the task
takes is there, after it until its results are, and after a send until the value has arrived. So what is recorded is
when the devices worked, as that thread sees it, and a task's time includes what it costs to enqueue it. Tracing changes
two things: an island enqueues nothing ahead of its devices, and does not compute while it sends.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from atoll.compiler.task_name import RESHARD, TaskName
from atoll.runtime.program import Instruction, IslandProgram, Program, Receive, Run, Send
from atoll.runtime.store import Failure, Frame

# The tracks of an island.
_TASKS, _TRANSFERS = 0, 1
_CONTROLLER = 0  # the number of its process; islands follow


class Recorded(NamedTuple):
    """What an island has carried out: an instruction of a step. start, end: by `time.perf_counter_ns`."""

    island: str
    step: int
    number: int
    start: int
    end: int


class Fetched(NamedTuple):
    """An argument that was brought from another island when a step began."""

    island: str
    step: int
    source: str
    buffer: int
    start: int
    end: int


class TracedTask(NamedTuple):
    """A task, and when it ran, in seconds."""

    task: str
    island: str
    start: float
    end: float


class Trace:
    """What the steps that were started while it was active did. Every thread may append to it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._islands = {island.name: island for island in program.islands}
        self._began = time.perf_counter_ns()
        self._recorded: list[Recorded] = []
        self._fetched: list[Fetched] = []
        self._started: list[tuple[int, int, int]] = []  # a step, and when its call began and returned
        self._last: dict[tuple[str, int], int] = {}  # when an island last ended an instruction of a step

    def started(self, step: int, start: int) -> None:
        """The controller has asked for a step."""
        self._started.append((step, start, time.perf_counter_ns()))

    def carry_out(self, island: IslandProgram, index: int, act: Callable[[Frame], Any], frame: Frame) -> None:
        """Carry out an instruction, wait for what it does, and record it."""
        instruction = island.instructions[index]
        if not isinstance(instruction, (Run, Send, Receive)):
            act(frame)
            return
        key = island.name, frame.step.number
        if isinstance(instruction, Run):
            _wait(frame.values[number] for number in instruction.inputs)
        start = time.perf_counter_ns()
        if isinstance(instruction, Receive):
            start = self._last.get(key, start)  # since then the island had nothing else to do
        try:
            sent = act(frame)
            _wait(_made(instruction, frame, sent))
        finally:  # what fails has taken its time as well
            self._last[key] = end = time.perf_counter_ns()
            self._recorded.append(Recorded(*key, index, start, end))

    def fetched(self, island: str, source: str, number: int, start: int, frame: Frame, value: Any) -> None:  # noqa: ANN401
        """An argument comes from another island."""
        _wait([value])
        self._fetched.append(Fetched(island, frame.step.number, source, number, start, time.perf_counter_ns()))

    def last_step(self) -> list[TracedTask]:
        """The tasks of the last step that was traced."""
        last = max((one.step for one in self._recorded), default=None)
        return [
            TracedTask(run.task, one.island, one.start / 1e9, one.end / 1e9)
            for one in self._recorded
            if one.step == last and isinstance(run := self._instruction(one), Run)
        ]

    def to_json(self) -> str:
        """The events as Chrome's trace-event format has them; times in microseconds since tracing began."""
        return json.dumps({"traceEvents": list(self._events()), "displayTimeUnit": "ms"})

    def _instruction(self, one: Recorded) -> Instruction:
        return self._islands[one.island].instructions[one.number]

    def _events(self) -> Iterator[dict[str, Any]]:
        yield from _track(_CONTROLLER, "controller", {0: "steps"})
        for step, start, end in self._started:
            yield self._slice(_CONTROLLER, 0, f"step {step}", "controller", start, end, {"step": step})
        for island in self._islands.values():
            yield from _track(self._process(island.name), island.name, {_TASKS: "tasks", _TRANSFERS: "transfers"})
        values = {name: _Values(self._program, island) for name, island in self._islands.items()}
        for one in self._recorded:
            instruction = self._instruction(one)
            if isinstance(instruction, Run):
                yield self._task(one, instruction)
            elif isinstance(instruction, (Send, Receive)):
                yield from self._transfer(one, instruction, values)
        for fetched in self._fetched:
            value = values[fetched.island]
            args = {"step": fetched.step, "from": fetched.source, "bytes": value.bytes(fetched.buffer)}
            name = f"argument {value.name(fetched.buffer)} from {fetched.source}"
            process = self._process(fetched.island)
            yield self._slice(process, _TRANSFERS, name, "transfer", fetched.start, fetched.end, args)

    def _process(self, island: str) -> int:
        return _CONTROLLER + 1 + list(self._islands).index(island)

    def _slice(
        self, process: int, track: int, name: str, category: str, start: int, end: int, args: dict[str, Any]
    ) -> dict[str, Any]:
        times = {"ts": self._microseconds(start), "dur": (end - start) / 1000}
        return {"ph": "X", "pid": process, "tid": track, "name": name, "cat": category, **times, "args": args}

    def _microseconds(self, nanoseconds: int) -> float:
        return (nanoseconds - self._began) / 1000

    def _task(self, one: Recorded, run: Run) -> dict[str, Any]:
        code, buffers = self._program.codes[run.code], self._islands[one.island].buffers
        args = {
            "step": one.step,
            **_position(run.name),
            "fragment": code.name,
            "scopes": code.scopes,
            "where": code.where,
            "bytes": sum(buffers[number].bytes for number in run.outputs),
            "donated bytes": sum(buffers[number].bytes for number in run.donated),
        }
        return self._slice(self._process(one.island), _TASKS, run.task, run.name.kind, one.start, one.end, args)

    def _transfer(
        self, one: Recorded, instruction: Send | Receive, values: "dict[str, _Values]"
    ) -> Iterator[dict[str, Any]]:
        """A slice, and one end of the arrow from the send to the receive."""
        process, own = self._process(one.island), values[one.island]
        if isinstance(instruction, Send):
            source, target = one.island, instruction.to
            arrow = {"ph": "s", "ts": self._microseconds(one.start)}
        else:
            source, target = instruction.source, one.island
            arrow = {"ph": "f", "bp": "e", "ts": self._microseconds(one.end)}
        number = values[source].sent[target, instruction.tag]
        made, maker = values[source].name(number), values[source].maker(number)
        name = f"send {made} to {target}" if source == one.island else f"receive {made} from {source}"
        args = {
            "step": one.step,
            **(_position(maker) if maker is not None else {}),
            "from": source,
            "to": target,
            "tag": instruction.tag,
            "bytes": own.bytes(instruction.buffer),
        }
        yield self._slice(process, _TRANSFERS, name, "transfer", one.start, one.end, args)
        yield {
            **arrow,
            "id": f"{one.step} {source} {target} {instruction.tag}",
            "name": made,
            "cat": "transfer",
            "pid": process,
            "tid": _TRANSFERS,
        }


class _Values:
    """What an island's buffers are called: after the task that makes them, or as the argument that they are.

    A value that is only divided differently keeps its name.
    """

    def __init__(self, program: Program, island: IslandProgram) -> None:
        self._buffers = island.buffers
        self._names = {
            number: one.path for one in program.inputs for name, number in one.every_place if name == island.name
        }
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
            elif isinstance(one, Send):
                self.sent[one.to, one.tag] = one.buffer

    def name(self, number: int) -> str:
        return self._names[number]

    def maker(self, number: int) -> TaskName | None:
        """The task that makes a buffer; None if none does on this island."""
        return self._makers.get(number)

    def bytes(self, number: int) -> int:
        return self._buffers[number].bytes


def _track(process: int, name: str, threads: dict[int, str]) -> Iterator[dict[str, Any]]:
    """What the viewer shows beside the tracks, and their order."""
    yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": name}}
    yield {"ph": "M", "pid": process, "name": "process_sort_index", "args": {"sort_index": process}}
    for thread, title in threads.items():
        yield {"ph": "M", "pid": process, "tid": thread, "name": "thread_name", "args": {"name": title}}
        yield {"ph": "M", "pid": process, "tid": thread, "name": "thread_sort_index", "args": {"sort_index": thread}}


def _position(task: TaskName) -> dict[str, Any]:
    """Where a task stands in the program: its loop, unless that is the last, its microbatch and its stage."""
    stage = None if task.stage is None else str(task.stage)
    said = {"loop": task.loop, "microbatch": task.microbatch, "stage": stage}
    return {name: value for name, value in said.items() if value is not None}


def _made(instruction: Run | Send | Receive, frame: Frame, sent: Any) -> list[Any]:  # noqa: ANN401 (a value)
    """What an instruction gives, here or at the other end of a link."""
    if isinstance(instruction, Run):
        return [frame.values[number] for number in instruction.outputs]
    return [sent if isinstance(instruction, Send) else frame.values[instruction.buffer]]


def _wait(values: Iterable[Any]) -> None:
    """Wait until values are there. An error of one is told where it is read."""
    for value in values:
        if isinstance(value, Failure):
            continue
        try:
            value.block_until_ready()
        except Exception:  # its task failed; or the island that it was sent to has donated it by now
            continue
