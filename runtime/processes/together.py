"""What the processes of an island tell, as one host would tell it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from atoll.runtime.failure import Failure
from atoll.runtime.messages import ApplyAnswer, CompileFailed, Loaded, StepEnded, ToController, Told
from atoll.runtime.processes.tiles import Tiled, whole
from atoll.runtime.record import Record


class Together:
    """Each process tells of everything, so what they tell is known once the last of `count` has told it."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._told: dict[tuple[Any, ...], dict[int, Any]] = {}

    def take(self, index: int, message: ToController) -> ToController | None:
        """What they tell together, if the process with this index is the last to tell it."""
        key = _subject(message)
        told = self._told.setdefault(key, {})
        told[index] = message
        if len(told) < self._count:
            return None
        del self._told[key]
        return _as_one([told[one] for one in range(self._count)])


def _subject(message: ToController) -> tuple[Any, ...]:
    match message:
        case Told(request):
            return Told, request
        case StepEnded(program, step):
            return StepEnded, program, step
        case Loaded(program) | CompileFailed(program):
            return Loaded, program
    raise TypeError(f"processes do not tell {message} together")


def _as_one(messages: Sequence[Any]) -> ToController:
    first = messages[0]
    match first:
        case Told():
            return replace(first, answer=_answer([one.answer for one in messages]))
        case StepEnded():
            return replace(first, record=_record([one.record for one in messages]))
    failed: ToController = next((one for one in messages if isinstance(one, CompileFailed)), first)
    return failed


def _answer(answers: Sequence[Any]) -> Any:  # noqa: ANN401 (a value, or what the islands are doing)
    if failure := next((one for one in answers if isinstance(one, Failure)), None):
        return failure
    if isinstance(answers[0], Tiled):
        return whole(answers)
    if isinstance(answers[0], ApplyAnswer):
        return ApplyAnswer(tuple(result for one in answers for result in one.results))
    return {name: "; ".join(dict.fromkeys(one[name] for one in answers if name in one)) for name in answers[0]}


def _record(records: Sequence[Record]) -> Record:
    """Each has counted all bytes that the island sends, and carried out all instructions."""
    first = records[0]
    first.nanoseconds = max(one.nanoseconds for one in records)
    for count in ("live", "peak", "host_peak"):
        setattr(first, count, max(getattr(one, count) for one in records))
    for one in records:
        first.errors |= one.errors
    return first
