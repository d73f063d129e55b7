"""A host: islands with their devices, and the thread that carries them. It knows others by what they say."""

import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count
from typing import Any

import jax
from atoll.compiler.errors import CompileError
from atoll.runtime.compilation import compile_program
from atoll.runtime.devices import Devices
from atoll.runtime.failure import Failure, reason
from atoll.runtime.flags import without_flags
from atoll.runtime.fragment import Executable
from atoll.runtime.inbox import Inbox
from atoll.runtime.island import RunningIsland
from atoll.runtime.loaded_program import LoadedProgram
from atoll.runtime.mailbox import Mailbox
from atoll.runtime.messages import (
    Close,
    CompileFailed,
    Compiling,
    Drop,
    Fetch,
    GoesWithout,
    HostFailed,
    Load,
    Loaded,
    Lose,
    Offer,
    Ping,
    Put,
    Start,
    StepEnded,
    ToController,
    ToHost,
    Told,
)
from atoll.runtime.ready_task import ready_tasks
from atoll.runtime.record import Record
from atoll.runtime.side_thread import SideThread
from atoll.runtime.site import Call, Errand, SharedIslandError, Site
from atoll.runtime.transport import Transport

_numbers = count()
# The hosts of this process, by their numbers.
_here: "weakref.WeakValueDictionary[int, Host]" = weakref.WeakValueDictionary()


class Host:
    """Does what messages ask for, one after the other, and calls its islands with what happens to them.

    What happens on its own thread, such as a value that one of its islands sends to another, waits in a queue of its
    own, which costs a hundredth of a message between threads. No island is called from inside another. While no program
    is loaded there is no thread: then whoever brings a message sees to it. So does whoever `bring`s one while nobody
    carries the islands.

    tell: takes what is said to the controller; from any thread.
    say: takes what is said to another host, by its number.
    number: its own, if whoever makes it knows hosts elsewhere; otherwise it is given one of this process.
    """

    def __init__(
        self,
        meshes: Mapping[str, jax.sharding.Mesh],
        devices: Devices,
        tell: Callable[[ToController], None],
        say: "Callable[[int, Offer], None] | None" = None,
        number: int | None = None,
    ) -> None:
        self.number = next(_numbers) if number is None else number
        _here[self.number] = self
        self._devices = devices
        self._tell = tell
        self._say = say or say_near
        self._inbox: Inbox[Call] = Inbox()
        self._calls: deque[Call] = deque()  # those that its own thread has to make
        self._sites = {
            name: Site(name, mesh, self._end, self._deliver, self._calls.append, self._make_or_leave)
            for name, mesh in meshes.items()
        }
        self._programs: dict[int, LoadedProgram] = {}
        self._streams: tuple[RunningIsland, ...] = ()  # of all programs
        self._sequences: dict[int, int] = {}  # by sender, the number of the last of its messages
        self._pause: float | None = None  # in how many seconds its thread looks at devices again
        self._thread: threading.Thread | None = None
        self._ident: int | None = None  # of the thread that carries the islands at this moment, or did so last
        self._carrying = threading.Lock()  # held by that thread

    # What others call.

    def receive(self, message: ToHost | Offer) -> None:
        """Take a message; from any thread, and from a destructor in the midst of anything."""
        if isinstance(message, Load):
            self._load(message)  # on this thread: settings of jax's that its caller has made hold there alone
        elif isinstance(message, Drop) and message.can_wait:
            self._inbox.leave((self._obey, message))
        elif isinstance(message, GoesWithout) and message.program in self._programs:
            self._bring(message)  # on this thread: its own may wait, in a collective, for the process that says so
        elif not (isinstance(message, Fetch) and self._is_answered(message)):
            self._inbox.put((self._obey, message))
        self._go_on_without_thread()

    def bring(self, message: ToHost | Offer) -> None:
        """The same for a thread that has nothing else to do until it returns: what follows from a message of a step it
        does itself, if no other thread carries the islands.
        """
        if isinstance(message, Offer):
            self._make_or_leave((self._bring, message))
        elif isinstance(message, Start):
            self._make_or_leave((self._obey, message))
        else:
            self.receive(message)

    def _make_or_leave(self, call: Call) -> None:
        """Make a call, and those that follow, if no thread carries the islands: to wake the host's takes longer."""
        if self._thread is None or not self._carrying.acquire(blocking=False):
            self._inbox.put(call)
            self._go_on_without_thread()
            return
        try:
            if len(self._inbox):  # what came before it is first
                self._inbox.leave(call)
            else:
                self._calls.append(call)
            del call  # it would keep arrays alive
            self._make_calls()
            if self._thread is not None and not self._streams:  # the last program is over, and with it the thread
                self._inbox.put((_do_nothing, None))
        except BaseException as error:
            self._inbox.put((_raise, error))  # which ends the thread, and with it all that the host does
        finally:
            self._carrying.release()

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return self._thread is None and not self._has_more

    def owned(self) -> Mapping[int, Sequence[Any]]:
        """The values that its islands keep, by the programs that they belong to."""
        found: defaultdict[int, list[Any]] = defaultdict(list)
        for program, values in chain.from_iterable(site.store.owned().items() for site in self._sites.values()):
            found[program] += values
        return found

    def join(self, patience: float) -> None:
        """Wait until no program is loaded any more."""
        if (thread := self._thread) is not None:
            thread.join(patience)

    def _load(self, load: Load) -> None:
        try:
            executables = compile_program(
                load.code, load.islands, load.meshes, self._devices, load.callbacks, self._note_compiling
            )
        except CompileError as error:
            self._tell(CompileFailed(load.program, self.number, Failure.of(error)))
            return
        self._inbox.put((self._add, (load, executables)))
        made = sum(not one.is_found for its in executables.values() for one in its.values())
        self._tell(Loaded(load.program, self.number, made))

    def _note_compiling(self, island: str, fragment: str, is_ready: bool) -> None:
        self._tell(Compiling(island, fragment, is_ready))

    @property
    def _title(self) -> str:
        first, *others = self._sites
        return f"atoll {first}" + (f" and {len(others)} more" if others else "")

    def _is_answered(self, fetch: Fetch) -> bool:
        """Whether a value is here that is asked for, so that nobody has to wait for the thread."""
        value = self._sites[fetch.island].store.look(fetch.handle)
        if value is not None:
            self._tell(Told(fetch.request, value))
        return value is not None

    # Its thread.

    def _work(self) -> None:
        try:
            with without_flags():
                self._carry_islands()
        except BaseException as error:
            self.fail(error)
            raise
        self._go_on_without_thread()

    def fail(self, error: BaseException) -> None:
        """Tell that it can do nothing more."""
        names = ", ".join(self._sites)
        if isinstance(error, SharedIslandError):
            failure = Failure.loss(f"island {names} was lost: one of its processes could not go on: {reason(error)}")
        else:
            what = f"the host of island {names} has failed: {type(error).__name__}: {reason(error)}"
            failure = Failure(what, remedy="this is a defect of atoll; please report it")
        self._tell(HostFailed(self.number, failure))

    def _carry_islands(self) -> None:
        while True:
            with self._carrying:  # another thread may bring a message at this moment
                self._make_calls()
                if not self._has_more:
                    self._thread = None
                    break
                left = self._left
            self._inbox.wait(left)

    @property
    def _has_more(self) -> bool:
        return bool(self._calls or len(self._inbox) or self._streams)

    def _go_on_without_thread(self) -> None:
        # Without waiting for the lock: a destructor may be here. Whoever has it looks again after giving it back.
        while len(self._inbox) and self._thread is None and self._carrying.acquire(blocking=False):
            try:
                self._make_calls(lambda: self._thread is None)
            finally:
                self._carrying.release()

    def _make_calls(self, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Do all that can be done, as long as this thread is the one for it."""
        self._ident = threading.get_ident()
        while goes_on() and (found := self._calls.popleft() if self._calls else self._next()):
            call, argument = found
            del found  # it would keep arrays alive, as would the argument
            call(argument)
            del argument

    def _next(self) -> Call | None:
        """What happens next, if it is known; else devices that have something to do are watched, or soon looked at."""
        busy = [site for site in self._sites.values() if site.window.pending or site.window.is_awaited]
        for site in busy:
            site.window.retire_ready()
        if self._calls:
            return self._calls.popleft()
        for site in busy:
            if site.window.is_awaited and site.window.has_room():
                return site.go_on, None
        is_own = self._thread is not None and self._ident == self._thread.ident  # which comes back when time is over
        if not len(self._inbox):
            pauses = [pause for site in busy if (pause := site.window.watch(is_own)) is not None]
            self._pause = min(pauses) if pauses else None
        if len(self._inbox):
            return self._inbox.get()
        if not is_own:
            return None
        return next(((RunningIsland.give_up, one) for one in self._streams if one.is_watched and one.left <= 0), None)

    @property
    def _left(self) -> float | None:
        """For how many seconds its thread may wait if nothing comes; None if it may take any time.

        While it waits other threads may carry the islands. So it looks again when one that waits for nothing now could
        have waited for too long.
        """
        if self._pause is not None or not self._streams:
            return self._pause
        return max(0.0, min(one.left if one.is_watched else one.patience for one in self._streams))

    # Messages.

    def _obey(self, message: ToHost | Offer) -> None:
        match message:
            case Start():
                self._start(message)
            case Offer() | GoesWithout():
                self._bring(message)
            case Drop(island, handle, _):
                self._sites[island].store.drop(handle)
            case Put(program, island, _, handle, value, size):
                self._sites[island].store.put(handle, program, value, size)
            case Fetch(request, island, handle):
                self._sites[island].store.wait(handle, lambda value: self._tell(Told(request, value)))
            case Ping(request):
                self._tell(Told(request, {stream.name: stream.waits_for for stream in self._streams}))
            case Lose(islands, failure):
                for stream in self._streams:
                    stream.lose(islands, failure)
            case Close(program):
                if (loaded := self._programs.get(program)) is not None:
                    loaded.is_closing = True
                    self._forget_closed(program)

    def _bring(self, message: Offer | GoesWithout) -> None:
        if (program := self._programs.get(message.program)) is not None:
            stream = program.streams[message.to]
            stream.arrive(message) if isinstance(message, Offer) else stream.go_without(message)

    def _add(self, loading: tuple[Load, Mapping[str, Mapping[int, Executable]]]) -> None:
        load, executables = loading
        transport = Transport(load.code, load.meshes, self._devices.mover)
        kept = load.code.kept
        sides = {name: SideThread(f"atoll {name}, beside") for name in load.islands}
        streams = {
            island.name: RunningIsland(
                load.program,
                load.code,
                island,
                ready_tasks(island, executables[island.name], kept[island.name]),
                transport,
                self._sites[island.name],
                load.patience,
                self._enqueued,
                self._inbox.put,
                sides[island.name].call,
                Mailbox(load.program, island.name, self._tell if self._sites[island.name].is_shared else None),
            )
            for island in load.code.islands
            if island.name in load.islands
        }
        self._programs[load.program] = LoadedProgram(transport, load.hosts, streams, tuple(sides.values()))
        self._note_streams()
        if streams and self._thread is None:  # which nobody else changes meanwhile: this is who carries the islands
            thread = threading.Thread(target=self._work, name=self._title, daemon=True)
            thread.start()  # it waits for its turn
            self._thread = thread  # only now, as whoever sees it may join it

    def _note_streams(self) -> None:
        self._streams = tuple(chain.from_iterable(one.streams.values() for one in self._programs.values()))

    def _start(self, start: Start) -> None:
        if start.sequence <= self._sequences.get(start.sender, -1):
            return  # it came before: after Ctrl-C the controller repeats what it is not sure of
        self._sequences[start.sender] = start.sequence
        program = self._programs[start.program]
        for name, order in start.orders.items():
            if name in program.streams:
                program.under_way += 1
                program.streams[name].order(start.step, order, traced=start.traced)
            else:
                self._sites[name].reserve(start.program, order)
                self._sites[name].queue(Errand(self._sites[name], program.transport, order.forwards))

    def _deliver(self, offer: Offer) -> None:
        program = self._programs.get(offer.program)
        if program is None:  # it was closed, and nobody waits for the value
            return
        number = program.hosts[offer.to]
        if number != self.number:
            program.offers[offer.step] += 1
            self._say(number, offer)
        elif threading.get_ident() == self._ident:
            self._calls.append((self._bring, offer))
        else:
            self._inbox.put((self._bring, offer))

    # The end of a step.

    def _enqueued(self, record: Record) -> None:
        record.is_enqueued = True
        if not self._sites[record.island].window.holds(record):
            self._end(record)

    def _end(self, record: Record) -> None:
        program = self._programs[record.program]
        record.offers = program.offers.pop(record.step, 0)
        self._tell(StepEnded(record.program, record.step, record.island, record))
        program.under_way -= 1
        self._forget_closed(record.program)

    def _forget_closed(self, number: int) -> None:
        program = self._programs[number]
        if program.is_closing and not program.under_way:
            del self._programs[number]
            self._note_streams()
            for side in program.sides:
                side.stop()
            for stream in program.streams.values():
                stream.feeding.stop()
            if not self._streams:
                for site in self._sites.values():
                    site.window.stop()


def say_near(number: int, offer: Offer) -> None:
    """Tell another host of this process."""
    if (host := _here.get(number)) is not None:
        host.receive(offer)


def _do_nothing(_: None) -> None:
    pass


def _raise(error: BaseException) -> None:
    raise error
