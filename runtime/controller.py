"""Runs a program: asks the hosts of its islands for one step after the other."""

import atexit
import os
import sys
import threading
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any

import jax
from atoll.compiler.errors import AtollError, IslandLost, TopologyError, UsageError
from atoll.runtime.admission import Admission
from atoll.runtime.arguments import check_arguments, check_donations
from atoll.runtime.array import Array
from atoll.runtime.budget import Shortage
from atoll.runtime.devices import Devices
from atoll.runtime.fed import for_processes
from atoll.runtime.feeder import Feeder
from atoll.runtime.fragment import Callback, sharding_at
from atoll.runtime.ground import OwnDevices
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.messages import Close, Load, Order, Start
from atoll.runtime.program import Division, Program
from atoll.runtime.program_memory import peak_bytes, sizes_of_buffers
from atoll.runtime.promise import Promise
from atoll.runtime.step import Stats, Step
from atoll.runtime.trace import Trace
from atoll.runtime.waiting import is_cut_short

_numbers = count()

# How many seconds hosts have to end what is under way, if nobody waits for it any more.
_GRACE = 2.0

# How many seconds a step waits for memory where no step is under way that could give some back.
_STALLING = 10.0


class Controller:
    """Has a program compiled for the devices of its islands, and runs it, step after step.

    islands: the devices of each, with the axes that the program was made for; or what has the islands, if several
        programs share them.
    steps_ahead: how many steps may be under way; `start` waits for the oldest if there are more.
    timeout: how many seconds any wait may take.
    callbacks: the host functions that the program calls, from the lowering that it was compiled from; a program that
        was loaded from a file has none.
    devices: what runs tasks and moves values; jax's, unless a test or a benchmark brings its own.
    """

    def __init__(
        self,
        program: Program,
        islands: Mapping[str, jax.sharding.Mesh] | HostedIslands,
        *,
        steps_ahead: int = 2,
        timeout: float = 600.0,
        callbacks: Sequence[Callback] = (),
        devices: Devices = Devices(),  # noqa: B008 (frozen)
    ) -> None:
        self.program = program
        self.compilations = 0
        self._number = next(_numbers)
        self._islands = [island.name for island in program.islands]
        self.patience = timeout
        self._callbacks = tuple(callbacks)
        self._steps_ahead = steps_ahead
        self._is_alone = not isinstance(islands, HostedIslands)
        self._hosted = islands if isinstance(islands, HostedIslands) else HostedIslands(OwnDevices(islands, devices))
        self._meshes = self._hosted.ground.meshes_for(program)
        self._hosts = {name: self._hosted.hosts[name] for name in self._islands}
        known: dict[Division, Division] = {}  # equal ones become one object, which is compared in no time
        self._inputs = [(one, known.setdefault(its := program.division(one), its)) for one in program.inputs]
        self._outputs = [(one, known.setdefault(its := program.division(one), its)) for one in program.outputs]
        self._sizes = {island.name: sizes_of_buffers(island) for island in program.islands}
        self._needs = {island.name: peak_bytes(program, island) for island in program.islands}
        self._check_memory()
        self._hosted.members.add(self)
        place = self._hosted.ground.placing(program)
        sharding = partial(sharding_at, program, self._meshes)  # arrays keep it, and are not to keep this
        self._feeder = Feeder(self._inputs, self._hosted, self._number, place, self._sizes, sharding, timeout)
        self._loaded: dict[HostedIslands, set[int]] = {}  # the hosts that know the program
        self._callers = threading.Lock()
        self._under_way: deque[Step] = deque()
        self._completed: Step | None = None
        self._trace: Trace | None = None
        self._next_step = 0
        self._closed = False
        self._process = os.getpid()

    def _check_memory(self) -> None:
        for name, limit in self._hosted.budget.limits.items():
            short = Shortage(self._number, name, limit, {}, {}, self._needs.get(name, 0))
            if short.never_fits:
                remedy = "cut into more stages or microbatches, or give the island more memory"
                raise TopologyError(f"a step can never run here: {short}", remedy=remedy)

    def __enter__(self) -> "Controller":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(hurry=is_cut_short(kind))

    # Compiling.

    def compile(self) -> None:
        """Compile every fragment for every island that runs it, once. `start` does so if nobody did before."""
        with self._callers:
            self._compile()

    def _compile(self) -> None:
        if self._hosted in self._loaded or self._closed:
            return
        told = self._hosted.load(self._load, self._islands)
        self.compilations += sum(one.compilations for one in told)
        self._loaded[self._hosted] = {one.host for one in told}
        # Hosts do not know the controller, so it can be forgotten without being closed.
        self._forget = weakref.finalize(self, _stop, self._loaded, self._number)
        self._forget.atexit = False
        # When the process exits no thread must be inside XLA.
        self._at_exit = partial(_close, weakref.ref(self))
        atexit.register(self._at_exit)

    def _load(self, islands: tuple[str, ...]) -> Load:
        """The message to a host that has these of the islands; to one that has none, but sends values to them."""
        callbacks = self._callbacks if islands else ()
        return Load(self._number, self.program, self._meshes, self._hosts, islands, self.patience, callbacks)

    # Running.

    def start(self, arguments: Sequence[Any]) -> list[Array]:
        """Begin a step and return its results, which are on their way.

        arguments: one array for each input of the program, with its shape and dtype.
        """
        began = time.perf_counter_ns()
        self._check_process()
        with self._callers:
            self._check_open()
            check_arguments(self.program.inputs, arguments)
            check_donations(self.program.inputs, arguments)
            if not self._hosted.ground.is_near:
                arguments = for_processes(arguments)
            self._compile()
            began += self._make_way()  # waiting is no work of the controller's
            step = Step((self._number, self._next_step), self.program, self._trace)
            results, waited = self._ask_when_it_fits(step, arguments)
            began += waited
            step.caller_nanoseconds = time.perf_counter_ns() - began
            if self._trace is not None:
                self._trace.started(step.number, began)
        return results

    def put(self, arguments: Sequence[Any]) -> list[Array]:
        """The arguments of a step on the islands that will need them, so that steps do not have to bring them.

        `...` stands for one that is left out, and for which there is nothing in what is returned.
        """
        self._check_process()
        given = {number: value for number, value in enumerate(arguments) if value is not ...}
        with self._callers:
            self._check_open()
            check_arguments([self.program.inputs[number] for number in given], list(given.values()))
            self._compile()  # hosts that place values themselves have to know the program
            return self._feeder.put(given)

    def _check_process(self) -> None:
        """UsageError in a fork: it has no threads of ours, and locks that nobody opens. So do not lock before this."""
        if os.getpid() != self._process:
            what = "this process is a fork of the one that compiled the program, and has no threads that could run it"
            raise UsageError(what, remedy="call it there; or start processes by `spawn`, and compile or load it there")

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this program was closed", remedy="compile or load it again")
        self._hosted.check_works(self._islands)

    def _make_way(self) -> int:
        """Wait until few enough steps are under way; returns how many nanoseconds that took."""
        start = time.perf_counter_ns()
        while len(self._under_way) >= self._steps_ahead:
            self._wait_for(self._under_way[0])
        return time.perf_counter_ns() - start

    def _wait_for(self, step: Step, patience: float | None = None) -> None:
        """Wait until a step, the oldest that is under way, is over."""
        try:
            step.wait(self.patience if patience is None else patience)
        except AtollError as error:
            if isinstance(error, IslandLost):  # it is not under way any more
                self._under_way.remove(step)
            error.excerpt = "\n".join(f"island {name} {doing}" for name, doing in self._hosted.settle(1.0).items())
            raise
        self._completed = step
        if self._under_way and self._under_way[0] is step:
            self._under_way.popleft()

    def _ask_when_it_fits(self, step: Step, arguments: Sequence[Any]) -> tuple[list[Array], int]:
        """Ask for a step once there is memory for it; its results, and how many nanoseconds it had to wait."""
        results = self._ask(step, arguments)
        if not isinstance(results, Shortage):
            return results, 0
        start = time.perf_counter_ns()
        self._hosted.stalls += 1
        with self._hosted.watched() as bell:
            while isinstance(results := self._ask(step, arguments), Shortage):
                # Where nothing is under way, only another thread of the caller's can let go of something.
                patience = min(self.patience, _STALLING) if self._hosted.is_idle else self.patience
                if bell.get(patience) is None:
                    remedy = "let go of arrays, or give the island more memory"
                    raise UsageError(f"there is no memory for the step: {results}", remedy=remedy)
        step.stalls = 1
        return results, time.perf_counter_ns() - start

    def _ask(self, step: Step, arguments: Sequence[Any]) -> list[Array] | Shortage:
        """Ask all islands for a step, and return its results; or why it does not fit."""
        with self._hosted.admission:
            admitted = Admission(self._hosted, self.program, step, self._sizes)
            admitted.feed(self._inputs, arguments, self._feeder)
            if self._hosted.has_limits:
                short = self._hosted.shortage(self._number, self._needs, admitted.own)
                if short is not None:
                    step.call_at_end()
                    return short
            admitted.give()
            results = self._results(admitted)
            starts = self._starts(admitted)
            committed = False
            # Once one island has been asked for a step, all have to be, or it would wait for the others in vain.
            try:
                self._commit(step, admitted, starts, arguments)
                committed = True
            finally:
                if not committed:
                    self._commit(step, admitted, starts, arguments)
        return results

    def _results(self, admitted: Admission) -> list[Array]:
        placer, patience, left_at = self._feeder, self.patience, admitted.left_at
        return [
            Array(Promise(output, left_at(output.places), division, placer, patience))
            for output, division in self._outputs
        ]

    def _starts(self, admitted: Admission) -> list[tuple[HostedIslands, str, Start]]:
        """The messages that ask for a step, each with an island of the host that it is for."""
        orders: dict[tuple[HostedIslands, int], dict[str, Order]] = defaultdict(dict)
        for (hosted, name), order in admitted.orders().items():
            number = hosted.hosts[name]
            orders[hosted, number][name] = order
            if number not in self._loaded.get(hosted, ()):
                hosted.load(self._load_nothing, [name])
                self._loaded.setdefault(hosted, set()).add(number)
        sequence, sender, traced = next(self._hosted.sequence), self._hosted.number, self._trace is not None
        return [
            (hosted, next(iter(here)), Start(sender, sequence, *admitted.step.key, here, traced))
            for (hosted, _), here in orders.items()
        ]

    def _load_nothing(self, _: tuple[str, ...]) -> Load:
        return self._load(())

    def _commit(
        self,
        step: Step,
        admitted: Admission,
        starts: Sequence[tuple[HostedIslands, str, Start]],
        arguments: Sequence[Any],
    ) -> None:
        """Ask all islands. To do so again does no harm, and completes what Ctrl-C has interrupted."""
        self._next_step = step.number + 1
        if step not in self._under_way:
            self._under_way.append(step)
            self._hosted.begin(step)
            if self._hosted.has_limits:
                self._hosted.begin_work(step, admitted.working(self._needs))
            admitted.count()
        step.starts = len(starts)
        for handle in admitted.taken:
            handle.taken = True
        for hosted, name, start in starts:
            hosted.send(name, start)
        for one, value in zip(self.program.inputs, arguments, strict=True):
            if one.donated and isinstance(value, Array):
                value.promise.give_up()
            elif one.donated and isinstance(value, jax.Array) and not value.is_deleted():
                value.delete()

    @contextmanager
    def traced(self) -> Iterator[Trace]:
        """Record what the steps that are started inside do; at its end all of them are over."""
        with self._callers:
            self._check_open()
            if self._trace is not None:
                raise UsageError("steps are being traced already", remedy="end that trace first")
            trace = self._trace = Trace(self.program)
        try:
            yield trace
        finally:
            with self._callers:
                self._trace = None
                while self._under_way:
                    self._wait_for(self._under_way[0])

    # After a step.

    def stats(self) -> Stats:
        """What the last step did; waits until all that were started are over."""
        with self._callers:
            while self._under_way:
                self._wait_for(self._under_way[0])
            if self._completed is None:
                raise UsageError("no step has run yet", remedy="call the program first")
            self._hosted.settle(self.patience)
            return self._completed.stats()

    def close(self, *, hurry: bool = False) -> None:
        """Wait for the steps that are under way, and let its hosts forget the program. Results stay readable.

        hurry: whether nobody waits for the steps any more, as something in them may hang. Those of islands in this
            process are waited for even so: it must not end while XLA is at work in it.
        """
        if os.getpid() != self._process:  # nothing of it runs in a fork
            return
        hurry = hurry and not self._hosted.ground.is_near
        with self._callers:
            if self._closed:
                return
            self._closed = self._feeder.is_closed = True
            if not self._loaded:
                return
            patience = _GRACE  # after Ctrl-C, or where a step is not over in time
            try:
                self._end_steps(_GRACE if hurry else self.patience)
                patience = self.patience
            except AtollError:
                if not hurry:
                    raise
            finally:
                atexit.unregister(self._at_exit)
                self._forget()
                if self._is_alone:
                    self._hosted.join(patience)

    def _end_steps(self, patience: float) -> None:
        while self._under_way:
            with suppress(IslandLost):
                self._wait_for(self._under_way[0], patience)


def _stop(loaded: Mapping[HostedIslands, Collection[int]], program: int) -> None:
    """Does not wait: it may be called by the garbage collector, in any thread."""
    for hosted, hosts in loaded.items():
        hosted.tell_hosts(hosts, Close(program))


def _close(controller: "weakref.ref[Controller]") -> None:
    alive = controller()
    if alive is not None:
        alive.close(hurry=is_cut_short(getattr(sys, "last_type", None)))
