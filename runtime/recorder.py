"""Records what an island does in a step that is traced.

While a step is traced, what carries out its instructions waits for what they do: before a task until all that the task
takes is there, after it until its results are, and after a send until the value has arrived. So what is recorded is
when the devices worked, as that thread sees it, and a task's time includes what it costs to enqueue it. Tracing changes
two things: an island enqueues nothing ahead of its devices, and does not compute while it sends.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from atoll.runtime.failure import Failure
from atoll.runtime.frame import Frame
from atoll.runtime.program import Instruction, Receive, Run, Send
from atoll.runtime.record import Record
from atoll.runtime.trace import Cause, Fetched, ForArgument, ForStep, Recorded, Waited


def carry_out(instruction: Instruction, index: int, act: Callable[[Frame], Any], frame: Frame) -> None:
    """Carry out an instruction, wait for what it does, and record it."""
    record = frame.record
    while frame.fetched:
        source, number, start = frame.fetched.pop()
        _wait(frame.values[number] for _ in range(number in frame.values))
        record.traced.append(Fetched(record.island, record.step, source, number, start, time.perf_counter_ns()))
    if not isinstance(instruction, (Run, Send, Receive)):
        act(frame)
        return
    if isinstance(instruction, Run):
        _wait_for_inputs(instruction, frame)
    start = time.perf_counter_ns()
    try:
        sent = act(frame)
        _wait(_made(instruction, frame, sent))
    finally:  # what fails has taken its time as well
        record.traced.append(Recorded(record.island, record.step, index, start, time.perf_counter_ns()))


def _wait_for_inputs(run: Run, frame: Frame) -> None:
    """Arguments: an earlier step may still compute them. All else is there, as this step has waited for it."""
    record = frame.record
    for number in run.inputs:
        value = frame.values[number]
        if _is_there(value):
            continue
        start = time.perf_counter_ns()
        _wait([value])
        cause = ForArgument(number, record.island)
        record.traced.append(Waited(record.island, record.step, cause, start, time.perf_counter_ns()))


class Waits:
    """Finds the waits of an island, which tells it whenever it pauses; and it pauses more often than a wait begins."""

    def __init__(self, island: str) -> None:
        self._island = island
        self._open: tuple[Cause | None, int] = ForStep(), 0  # the cause, and the step; at first it waits for one
        self._start = 0
        self._record: Record | None = None

    def note(self, cause: Cause | None, step: int, record: Record | None, resumed: int, now: int) -> None:
        """The island has gone on at `resumed`, and pauses now; without a cause if it is at work beside its thread.

        record: that of the step; None if it is not traced, or nobody knows yet.
        """
        if (cause, step) == self._open:
            return
        ended, of_step = self._open
        # Whether a step is traced is known once it has been asked for, so only at the end of the wait for it.
        into = self._record or (record if of_step == step else None)
        if ended is not None and into is not None:
            into.traced.append(Waited(self._island, of_step, ended, self._start, resumed))
        self._open, self._start, self._record = (cause, step), now, record


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


def _is_there(value: Any) -> bool:  # noqa: ANN401 (a value)
    """Whether nothing is to be waited for."""
    return isinstance(value, Failure) or bool(value.is_deleted() or value.is_ready())
