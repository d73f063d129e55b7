"""Islands at their hosts, as the controller knows them: where messages go, and what comes back."""

import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import jax
from atoll.compiler.errors import CompileError
from atoll.runtime.budget import Budget, Shortage
from atoll.runtime.devices import Devices
from atoll.runtime.host import Host
from atoll.runtime.inbox import Inbox
from atoll.runtime.messages import (
    Close,
    CompileFailed,
    HostFailed,
    Load,
    Loaded,
    Ping,
    StepEnded,
    ToController,
    ToHost,
    Told,
)
from atoll.runtime.step import Step
from atoll.runtime.turn import Turn
from atoll.runtime.waiting import overdue

if TYPE_CHECKING:
    from atoll.runtime.failure import Failure

_numbers = count()

# How many seconds a host may take to compile a program.
_COMPILING = 3600.0


class HostedProgram(Protocol):
    """A program on a hosted."""

    patience: float

    def close(self) -> None:
        """Wait for the steps that are under way, and let its hosts forget it."""


class HostEnd(Protocol):
    """The controller's end of the way to a host."""

    @property
    def number(self) -> int:
        """Of the host."""

    def receive(self, message: ToHost) -> None:
        """Take a message; from any thread, and from a destructor in the midst of anything."""

    def join(self, patience: float) -> None:
        """Wait until no program is loaded at the host any more."""


# Makes the hosts of islands, and gives for each island the end of the way to its host. The last argument takes what
# they say.
Hosts = Callable[[Mapping[str, jax.sharding.Mesh], Devices, Callable[[ToController], None]], Mapping[str, HostEnd]]


def one_host(
    meshes: Mapping[str, jax.sharding.Mesh], devices: Devices, tell: Callable[[ToController], None]
) -> Mapping[str, HostEnd]:
    """In this process, one host has all islands."""
    return dict.fromkeys(meshes, Host(meshes, devices, tell))


class HostedIslands:
    """Programs on it share its islands, each of which carries out their steps in one order.

    meshes: the devices of each island.
    limits: of islands that have one, the bytes that each device may hold.
    hosts: makes them; without it, one host of this process has all islands.
    """

    def __init__(
        self,
        meshes: Mapping[str, jax.sharding.Mesh],
        devices: Devices,
        limits: Mapping[str, int] | None = None,
        hosts: "Hosts | None" = None,
    ) -> None:
        self.number = next(_numbers)
        self.meshes = meshes
        self.turns = {name: Turn(mesh) for name, mesh in meshes.items()}
        # Held while a step is asked for, so that all hosts get the steps of all programs in one order.
        self.admission = threading.Lock()
        self.sequence = count()
        self.members: weakref.WeakSet[HostedProgram] = weakref.WeakSet()  # the programs on it
        self.budget = Budget(limits or {})
        self.stalls = 0  # how often a step has waited for memory
        self._memory = threading.Lock()  # of the budget, but for what a destructor does
        self._changed: set[Inbox[bool]] = set()  # whom to tell when there may be more memory
        self._ends: Mapping[str, HostEnd] = (hosts or one_host)(meshes, devices, self.receive)
        self.hosts = {name: end.number for name, end in self._ends.items()}
        self._requests = count()
        self._asked: dict[int, Inbox[Any]] = {}
        self._loading: dict[int, Inbox[Loaded | CompileFailed]] = {}
        self._steps: dict[tuple[int, int], Step] = {}  # that are under way, by program and number
        self._broken: Failure | None = None  # why a host can do nothing more

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

    def close(self) -> None:
        """Close its programs, once their steps are over, and wait for the threads of its hosts."""
        members = list(self.members)
        for member in members:
            member.close()
        self.join(max((member.patience for member in members), default=0.0))

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

    def let_go(self, island: str, size: int) -> None:
        """An array is not kept any more; from any thread, and from a destructor in the midst of anything."""
        self.budget.change(island, -size)
        self._tell_changed()

    def shortage(self, program: int, needs: Mapping[str, int], own: Mapping[str, int]) -> Shortage | None:
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
        request: int = next(self._requests)
        answers = self._asked[request] = Inbox()
        try:
            self.send(island, make(request))
            return self._broken or answers.get(patience)
        finally:
            del self._asked[request]

    def check_works(self) -> None:
        """Raises the error of a host that can do nothing more."""
        if self._broken is not None:
            raise self._broken.error

    def settle(self, patience: float) -> dict[str, str]:
        """Wait until hosts have done what they were told before this: what was let go of is gone then.

        What each island is doing, if its host has said so in so many seconds.
        """
        told = [self.ask(name, Ping, patience) for name, *_ in self.each_host(self._ends).values()]
        return {name: doing for one in told if isinstance(one, dict) for name, doing in one.items()}

    def load(self, load: Callable[[tuple[str, ...]], Load], islands: Iterable[str]) -> list[Loaded]:
        """Have each host load a program for those of the islands that it has; the error of the first that cannot."""
        told: list[Loaded] = []
        for here in self.each_host(islands).values():
            message = load(here)
            answers = self._loading[message.program] = Inbox()
            try:
                self.send(here[0], message)
                answer = answers.get(_COMPILING)
            finally:
                del self._loading[message.program]
            if isinstance(answer, Loaded):
                told.append(answer)
                continue
            self.tell_hosts([one.host for one in told], Close(message.program))
            if answer is None:
                raise overdue(f"the host of island {here[0]} has not compiled its fragments", _COMPILING)
            raise CompileError(answer.failure.what, answer.failure.where)
        return told

    def begin(self, step: Step) -> None:
        """From now on, what islands tell of a step is for this one."""
        self._steps[step.key] = step

    # What hosts tell.

    def receive(self, message: ToController) -> None:
        """From any thread."""
        match message:
            case Told(request, answer):
                if (answers := self._asked.get(request)) is not None:
                    answers.put(answer)
            case StepEnded(program, number, _, record):
                step = self._steps.get((program, number))
                if step is not None and step.end(record):
                    del self._steps[program, number]
            case HostFailed(_, failure):
                self._broken = failure
                for answers in tuple(self._asked.values()):
                    answers.put(failure)
                for step in tuple(self._steps.values()):
                    step.break_off(failure)
            case Loaded() | CompileFailed():
                if (told := self._loading.get(message.program)) is not None:
                    told.put(message)
