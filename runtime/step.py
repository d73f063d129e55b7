"""One run of a program: what its islands report of it, and what went wrong."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from atoll.compiler.errors import AtollError
from atoll.runtime.program import Program, Receive, Run, Send
from atoll.runtime.waiting import overdue

Link = tuple[str, str]


@dataclass(frozen=True)
class Stats:
    """What a step did.

    tasks: how many of each kind ran.
    messages, bytes_per_link: what was handed to the transport, by (source, destination).
    controller_us: time that this process's threads spent on the step, without waiting.
    order: for each island its tasks as they completed.
    live_bytes, peak_bytes: for each island, when the step ended there and at its worst moment.
    """

    tasks: dict[str, int]
    messages: int
    bytes_per_link: dict[Link, int]
    controller_us: float
    order: dict[str, tuple[str, ...]]
    live_bytes: dict[str, int]
    peak_bytes: dict[str, int]


@dataclass
class _Record:
    """What one island reports. Only its worker writes, but for `order` and `errors`, which its window does."""

    bytes_per_link: dict[Link, int] = field(default_factory=dict)
    messages: int = 0
    nanoseconds: int = 0
    live: int = 0
    peak: int = 0
    order: list[int] = field(default_factory=list)
    errors: dict[int, Exception] = field(default_factory=dict)


class Step:
    """A step that is under way or over.

    waits: for each island, what waits until its devices have ended all that was enqueued for a step.
    """

    def __init__(self, number: int, program: Program, waits: "Sequence[Callable[[Step], None]]") -> None:
        self.number = number
        self._waits = waits
        self.caller_nanoseconds = 0
        self._program = program
        self._records = {island.name: _Record() for island in program.islands}
        self._under_way = len(program.islands)
        self._changed = threading.Condition()

    def count(self, island: str, link: Link, size: int) -> None:
        record = self._records[island]
        record.messages += 1
        record.bytes_per_link[link] = record.bytes_per_link.get(link, 0) + size

    def observe(self, island: str, index: int, error: Exception | None) -> None:
        """A task has completed."""
        record = self._records[island]
        record.order.append(index)
        if error is not None:
            record.errors[index] = error

    def end(self, island: str, nanoseconds: int, live: int, peak: int) -> None:
        """An island has carried out its last instruction; its devices may still be at work."""
        record = self._records[island]
        record.nanoseconds, record.live, record.peak = nanoseconds, live, peak
        with self._changed:
            self._under_way -= 1
            if not self._under_way:
                self._changed.notify_all()

    def wait(self, patience: float) -> None:
        """Wait until every island has carried out its last instruction, and its devices too."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._under_way, patience):
                raise overdue(f"step {self.number} has not been enqueued on {self._under_way} islands", patience)
        for wait in self._waits:
            wait(self)

    def stats(self) -> Stats:
        """Of a step that is over."""
        records = self._records
        tasks: Counter[str] = Counter()
        order = {}
        bytes_per_link: Counter[Link] = Counter()
        for island in self._program.islands:
            record = records[island.name]
            runs = [one for index in record.order if isinstance(one := island.instructions[index], Run)]
            tasks.update(run.name.kind for run in runs)
            order[island.name] = tuple(run.task for run in runs)
            bytes_per_link.update(record.bytes_per_link)
        nanoseconds = self.caller_nanoseconds + sum(record.nanoseconds for record in records.values())
        return Stats(
            tasks=dict(tasks),
            messages=sum(record.messages for record in records.values()),
            bytes_per_link=dict(bytes_per_link),
            controller_us=nanoseconds / 1000,
            order=order,
            live_bytes={name: record.live for name, record in records.items()},
            peak_bytes={name: record.peak for name, record in records.items()},
        )

    def explain(self, island: str, buffer: int, error: Exception, patience: float) -> AtollError:
        """Why a value could not be computed: the task, on whichever island, that failed without a failed input.

        The devices carry errors along with the data, so that most tasks that fail are not to blame.
        """
        self.wait(patience)
        guilty = self._failed_before(island, (buffer,))
        if guilty is None:
            return AtollError(f"island {island} could not compute a value: {reason(error)}")
        while (earlier := self._failed_before(guilty[0], self._run(*guilty).inputs)) is not None:
            guilty = earlier
        name, index = guilty
        return task_error(self._program, name, index, self._records[name].errors[index])

    def _failed_before(self, island: str, buffers: Sequence[int]) -> tuple[str, int] | None:
        """The nearest failed task that buffers were computed from."""
        places = deque((island, buffer) for buffer in buffers)
        seen = set(places)
        while places:
            name, buffer = places.popleft()
            match self._definitions[name].get(buffer):
                case (index, Run(inputs=inputs)):
                    if index in self._records[name].errors:
                        return name, index
                    before = [(name, one) for one in inputs]
                case (_, Receive(source=source, tag=tag)):
                    before = [(source, self._sent[source, name, tag])]
                case _:
                    continue
            places.extend(place for place in before if place not in seen)
            seen.update(before)
        return None

    @cached_property
    def _definitions(self) -> dict[str, dict[int, tuple[int, Run | Receive]]]:
        """For each island what defines a buffer, with its index."""
        found: dict[str, dict[int, tuple[int, Run | Receive]]] = {}
        for island in self._program.islands:
            here = found[island.name] = {}
            for index, one in enumerate(island.instructions):
                if isinstance(one, Run):
                    here.update((buffer, (index, one)) for buffer in one.outputs)
                elif isinstance(one, Receive):
                    here[one.buffer] = index, one
        return found

    @cached_property
    def _sent(self) -> dict[tuple[str, str, int], int]:
        """The buffer that is sent, by source, destination and tag."""
        return {
            (island.name, one.to, one.tag): one.buffer
            for island in self._program.islands
            for one in island.instructions
            if isinstance(one, Send)
        }

    def _run(self, island: str, index: int) -> Run:
        run = next(one for one in self._program.islands if one.name == island).instructions[index]
        assert isinstance(run, Run)
        return run


def task_error(program: Program, island: str, index: int, error: Exception) -> AtollError:
    """The error of a task that failed, in the user's words."""
    run = next(one for one in program.islands if one.name == island).instructions[index]
    assert isinstance(run, Run)
    code = program.codes[run.code]
    scopes = f" ({code.scopes})" if code.scopes else ""
    made = AtollError(
        f"task {run.task}, fragment {code.name}{scopes}, failed on island {island}: {reason(error)}", code.where
    )
    made.__cause__ = error
    return made


def reason(error: BaseException) -> str:
    """The sentence that says it: XLA puts the exception of a host callback last, below a traceback."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    traced = next((index for index, line in enumerate(lines) if "Traceback (most recent call last)" in line), None)
    if traced is None:
        said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
        return said.rstrip(".")
    raised = [line for line in str(error).splitlines()[traced + 1 :] if line[:1].strip() and ":" in line]
    return (raised[0] if raised else lines[-1]).strip().rstrip(".")
