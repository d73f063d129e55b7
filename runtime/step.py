"""One run of a program: what its islands report of it, and what went wrong."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from atoll.compiler.errors import AtollError
from atoll.runtime.failure import Failure, task_failure
from atoll.runtime.program import Program, Receive, Run, Send
from atoll.runtime.record import Link, Record
from atoll.runtime.waiting import overdue

if TYPE_CHECKING:
    from atoll.runtime.trace import Trace


@dataclass(frozen=True)
class Stats:
    """What a step did.

    tasks: how many of each kind ran.
    messages, bytes_per_link: what was handed to the transport, by (source, destination).
    controller_us: time that this process's threads spent on the step, without waiting.
    order: for each island its tasks as they completed.
    live_bytes, peak_bytes: for each island, on each of its devices, when the step ended there and at its worst moment.
    host_bytes: for each island, in the memory of the host for each device, at its worst moment.
    stalls: how often it had to wait for memory.
    control: how many messages asked for the step and told of it: `Start` from the controller to a host, `StepEnded`
        back, `Offer` between hosts.
    """

    tasks: dict[str, int]
    messages: int
    bytes_per_link: dict[Link, int]
    controller_us: float
    order: dict[str, tuple[str, ...]]
    live_bytes: dict[str, int]
    peak_bytes: dict[str, int]
    host_bytes: dict[str, int]
    stalls: int
    control: dict[str, int]


class Step:
    """A step that is under way or over.

    key: the number of the program, and of the step.
    trace: where what is recorded of it goes, if it is traced.
    """

    def __init__(self, key: tuple[int, int], program: Program, trace: "Trace | None" = None) -> None:
        self.key = key
        self.number = key[1]
        self.trace = trace
        self.caller_nanoseconds = 0
        self.stalls = 0  # whether it has waited for memory
        self.starts = 0  # how many hosts were asked for it
        self.at_end: list[Callable[[], None]] = []  # what is called when it is over
        self._program = program
        self._records: dict[str, Record] = {}
        self.broken: Failure | None = None  # why it will never be over
        self._changed = threading.Condition()

    def end(self, record: Record) -> bool:
        """An island's devices have ended the step; whether it is over now."""
        if self.trace is not None:
            self.trace.add(record.traced)
        with self._changed:
            self._records[record.island] = record
            is_over = self.is_over
            if is_over:
                self._changed.notify_all()
        if is_over:
            self.call_at_end()
        return is_over

    def needs(self, islands: Collection[str]) -> bool:
        """Whether any of these islands carries out a part of it."""
        return any(island.name in islands for island in self._program.islands)

    def break_off(self, why: Failure) -> None:
        """A host can do nothing more, so it will never be over."""
        with self._changed:
            self.broken = replace(why, what=f"step {self.number} cannot end: {why.what}") if why.is_loss else why
            self._changed.notify_all()
        self.call_at_end()

    def call_at_end(self) -> None:
        """It is over, or will not be asked for."""
        while self.at_end:
            self.at_end.pop()()

    @property
    def is_over(self) -> bool:
        return len(self._records) == len(self._program.islands)

    def wait(self, patience: float) -> None:
        """Wait until the devices of every island have ended it."""
        with self._changed:
            in_time = self._changed.wait_for(lambda: self.is_over or self.broken is not None, patience)
            if self.broken is not None:
                raise self.broken.error
            if not in_time:
                waiting = [island.name for island in self._program.islands if island.name not in self._records]
                raise overdue(f"step {self.number} has not ended on {_islands(waiting)}", patience)

    def stats(self) -> Stats:
        """Of a step that is over."""
        records = {island.name: self._records[island.name] for island in self._program.islands}
        tasks: Counter[str] = Counter()
        order = {}
        bytes_per_link: Counter[Link] = Counter()
        for island in self._program.islands:
            record = records[island.name]
            runs = [one for index in record.order if isinstance(one := island.instructions[index], Run)]
            tasks.update(run.name.kind for run in runs)
            order[island.name] = tuple(run.task for run in runs)
            bytes_per_link.update(record.bytes_per_link)
        offers = sum(record.offers for record in records.values())
        nanoseconds = self.caller_nanoseconds + sum(record.nanoseconds for record in records.values())
        return Stats(
            tasks=dict(tasks),
            messages=sum(record.messages for record in records.values()),
            bytes_per_link=dict(bytes_per_link),
            controller_us=nanoseconds / 1000,
            order=order,
            live_bytes={name: record.live for name, record in records.items()},
            peak_bytes={name: record.peak for name, record in records.items()},
            host_bytes={name: record.host_peak for name, record in records.items()},
            stalls=self.stalls,
            control={"Start": self.starts, "StepEnded": len(records), "Offer": offers},
        )

    def explain(self, island: str, buffer: int, why: str, patience: float) -> AtollError:
        """Why a value could not be computed: the task, on whichever island, that failed without a failed input.

        The devices pass errors on with the data, so most of the tasks that fail are not to blame.
        """
        self.wait(patience)
        guilty = self._failed_before(island, (buffer,))
        if guilty is None:
            return AtollError(f"island {island} could not compute a value: {why}")
        while (earlier := self._failed_before(guilty[0], self._run(*guilty).inputs)) is not None:
            guilty = earlier
        name, index = guilty
        return task_failure(self._program, name, index, self._records[name].errors[index]).error

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


def _islands(names: Sequence[str]) -> str:
    return f"island{'s' if len(names) > 1 else ''} {', '.join(names)}"
