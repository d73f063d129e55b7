"""Islands at their hosts, as the controller knows them: where messages go, and what comes back."""

import logging
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, Protocol

from atoll.compiler.activity import announce, piece_ended
from atoll.compiler.errors import AtollError, CompileError
from atoll.runtime.budget import Budget, Held, Shortage
from atoll.runtime.failure import Failure
from atoll.runtime.ground import Ground, HostEnd
from atoll.runtime.inbox import Inbox
from atoll.runtime.messages import (
    Apply,
    ApplyAnswer,
    Close,
    CompileFailed,
    Compiling,
    HostFailed,
    Load,
    Loaded,
    Lose,
    Ping,
    StepEnded,
    ToController,
    ToHost,
    Told,
)
from atoll.runtime.step import Step
from atoll.runtime.waiting import overdue

log = logging.getLogger(__name__)

_numbers = count()

# How many seconds a host may take to compile a program.
_COMPILING = 3600.0


class HostedProgram(Protocol):
    """A program on a hosted."""

    patience: float

    def close(self, *, hurry: bool = False) -> None:
        """Wait for the steps that are under way, and let its hosts forget it."""


class HostedIslands:
    """Programs on it share its islands, each of which carries out their steps in one order.

    ground: what they stand on.
    limits: of islands that have one, the bytes that each device may hold.
    """

    def __init__(self, ground: Ground, limits: Mapping[str, int] | None = None) -> None:
        self.number = next(_numbers)
        self.ground = ground
        # Held while a step is asked for, so that all hosts get the steps of all programs in one order.
        self.admission = threading.Lock()
        self.sequence = count()
        self.members: weakref.WeakSet[HostedProgram] = weakref.WeakSet()  # the programs on it
        self.budget = Budget(limits or {})
        self.owner: Callable[[], object] = lambda: None  # with which the islands end, when nobody holds it any more
        self.holding: set[threading.Event] = set()  # which the islands have to last for, beside the steps of programs
        self.stalls = 0  # how often a step has waited for memory
        self._memory = threading.Lock()  # of the budget, but for what a destructor does
        self._changed: set[Inbox[bool]] = set()  # whom to tell when there may be more memory
        self._requests = count()
        self._asked: dict[int, tuple[int, Inbox[Any]]] = {}  # by request, the host
        self._loading: dict[tuple[int, int], Inbox[Loaded | CompileFailed | Failure]] = {}  # by program and host
        self._steps: dict[tuple[int, int], Step] = {}  # that are under way, by program and number
        self._failed: dict[int, Failure] = {}  # why a host can do nothing more
        self.hosts: Mapping[str, int] = {}
        self._ends: Mapping[str, HostEnd] = {}
        self._ends = ground.connect(self.receive)  # from here on hosts may tell anything
        self.hosts = {name: end.number for name, end in self._ends.items()}

    def send(self, island: str, message: ToHost) -> None:
        """Tell the host of an island."""
        self._ends[island].receive(message)

    def tell_hosts(self, numbers: Collection[int], message: ToHost) -> None:
        """Tell some of the hosts."""
        for end in set(self._ends.values()):
            if end.number in numbers:
                end.receive(message)

    def each_host(self, islands: Iterable[str]) -> dict[int, tuple[str, ...]]:
        """By the number of each host, those of these islands that it has."""
        found: dict[int, tuple[str, ...]] = {}
        for name in islands:
            number = self.hosts[name]
            found[number] = (*found.get(number, ()), name)
        return found

    def close(self, *, hurry: bool = False) -> None:
        """Close its programs, once their steps are over, and wait for the threads of its hosts."""
        members = list(self.members)
        try:
            for member in members:
                member.close(hurry=hurry)
            for over in tuple(self.holding) if not hurry else ():
                over.wait()
            self.join(max((member.patience for member in members), default=0.0))
        finally:
            self.ground.close()

    def join(self, patience: float) -> None:
        for end in set(self._ends.values()):
            end.join(patience)

    # Memory.

    @property
    def has_limits(self) -> bool:
        """Whether any island's memory has a limit."""
        return bool(self.budget.limits)

    @property
    def is_idle(self) -> bool:
        """Whether no step is under way that the budget counts."""
        with self._memory:
            return self.budget.is_idle

    def let_go(self, island: str, program: int, size: int) -> None:
        """A program's array is not kept any more; from any thread, and from a destructor in the midst of anything."""
        self.budget.change(island, program, -size)
        self._tell_changed()

    def shortage(self, program: int, needs: Mapping[str, int], own: Mapping[str, Held]) -> Shortage | None:
        """Why a step does not fit, if it does not; as `Budget` has it."""
        with self._memory:
            return self.budget.shortage(program, needs, own)

    def begin_work(self, step: Step, working: Mapping[str, int]) -> None:
        """A step is under way that works with so much."""
        with self._memory:
            self.budget.begin(step.key[0], working)
        step.at_end.append(partial(self._end_work, step.key[0], working))

    def _end_work(self, program: int, working: Mapping[str, int]) -> None:
        with self._memory:
            self.budget.end(program, working)
        self._tell_changed()

    @contextmanager
    def watched(self) -> Iterator[Inbox[bool]]:
        """What is put into the inbox whenever there may be more memory."""
        bell: Inbox[bool] = Inbox()
        self._changed.add(bell)
        try:
            yield bell
        finally:
            self._changed.discard(bell)

    def _tell_changed(self) -> None:
        for bell in tuple(self._changed):
            bell.put(True)

    # Asking.

    def ask(self, island: str, make: Callable[[int], ToHost], patience: float) -> Any:  # noqa: ANN401 (the answer)
        """Ask the host of an island, and wait for the answer; None if it has not come in so many seconds."""
        request, number = next(self._requests), self.hosts[island]
        answers: Inbox[Any] = Inbox()
        self._asked[request] = number, answers
        try:
            self.send(island, make(request))
            return self._failed.get(number) or answers.get(patience)
        finally:
            del self._asked[request]

    def apply(self, island: str, function: Callable[[Any], Any], patience: float, handle: int | None = None) -> Any:  # noqa: ANN401
        """What a function returns in each process of an island elsewhere, as `Apply` says; a failure in its place."""
        answer = self.ask(island, lambda request: Apply(request, island, handle, function), patience)
        if answer is None:
            raise overdue(f"island {island} has not answered", patience)
        return answer.results if isinstance(answer, ApplyAnswer) else answer

    def check_works(self, islands: Iterable[str]) -> None:
        """Raises the error of a host of these islands that can do nothing more; of several, that of the first."""
        hosts = self.each_host(islands)
        for number, failure in tuple(self._failed.items()):
            if number in hosts:
                raise failure.error

    def settle(self, patience: float) -> dict[str, str]:
        """Wait until hosts have done what they were told before this: what was let go of is gone then.

        What each island is doing, if its host has said so in so many seconds.
        """
        asked = [name for number, (name, *_) in self.each_host(self._ends).items() if number not in self._failed]
        told = [self.ask(name, Ping, patience) for name in asked]
        return {name: doing for one in told if isinstance(one, dict) for name, doing in one.items()}

    def load(self, load: Callable[[tuple[str, ...]], Load], islands: Sequence[str]) -> list[Loaded]:
        """Have each host load a program for those of the islands that it has, all at once; the error of the first that
        cannot, or that of one which is lost meanwhile."""
        hosts = self.each_host(islands)
        messages = {number: load(here) for number, here in hosts.items()}
        keys = {number: (message.program, number) for number, message in messages.items()}
        self._loading.update((key, Inbox()) for key in keys.values())
        try:
            self.check_works(islands)
            for number, message in messages.items():
                self.send(hosts[number][0], message)
            told = {number: self._loading[key].get(_COMPILING) for number, key in keys.items()}
        finally:
            for key in keys.values():
                del self._loading[key]
        for number, answer in told.items():
            if not isinstance(answer, Loaded):
                self.tell_hosts(keys, Close(messages[number].program))  # some may have loaded it, or be about to
                raise _why_not_loaded(hosts[number][0], answer)
        return [one for one in told.values() if isinstance(one, Loaded)]

    def begin(self, step: Step) -> None:
        """From now on, what islands tell of a step is for this one."""
        self._steps[step.key] = step
        for number, failure in tuple(self._failed.items()):
            self._break_off(number, failure)

    # What hosts tell.

    def receive(self, message: ToController) -> None:
        """From any thread."""
        match message:
            case Compiling(is_ready=True):
                piece_ended()
            case Compiling(island, fragment):
                log.info("compiling fragment %s for island %s", fragment, island)
                announce(f"compiling fragment {fragment} for island {island}")
            case Told(request, answer):
                if request in self._asked:
                    self._asked[request][1].put(answer)
            case StepEnded(program, number, _, record):
                step = self._steps.get((program, number))
                if step is not None and step.end(record):
                    del self._steps[program, number]
            case HostFailed(number, failure):
                self._fail(number, failure)
            case Loaded() | CompileFailed():
                if (told := self._loading.get((message.program, message.host))) is not None:
                    told.put(message)

    def _fail(self, number: int, failure: Failure) -> None:
        """Tell all that wait for a host that it can do nothing more, and other hosts that nothing comes from it."""
        if number in self._failed:
            return
        self._failed[number] = failure
        for asked, answers in tuple(self._asked.values()):
            if asked == number:
                answers.put(failure)
        loading = tuple(self._loading.items())
        needing = {program for (program, host), _ in loading if host == number}
        for (program, _), told in loading:
            if program in needing:
                told.put(failure)
        islands = self._break_off(number, failure)
        self.tell_hosts(set(self.hosts.values()) - self._failed.keys(), Lose(islands, failure))

    def _break_off(self, number: int, failure: Failure) -> tuple[str, ...]:
        """End the steps that need a host which can do nothing more; its islands."""
        islands = tuple(name for name, host in self.hosts.items() if host == number)
        for key, step in tuple(self._steps.items()):
            if step.needs(islands) and self._steps.pop(key, None) is not None:
                step.break_off(failure)
        return islands


def _why_not_loaded(island: str, answer: CompileFailed | Failure | None) -> AtollError:
    match answer:
        case CompileFailed(failure=failure):
            return CompileError(failure.what, failure.where)
        case Failure():
            return answer.error
        case None:
            return overdue(f"the host of island {island} has not compiled its fragments", _COMPILING)
