"""Runs a program: one controller, one thread for each island, in this process."""

import atexit
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any

import jax
from atoll.compiler.errors import TopologyError, UsageError
from atoll.runtime.arguments import check_arguments, check_donations
from atoll.runtime.array import Array
from atoll.runtime.compilation import compile_program
from atoll.runtime.devices import Devices
from atoll.runtime.feeder import Feeder
from atoll.runtime.fragment import Callback, Executable
from atoll.runtime.island import Order, ReadyTask, RunningIsland
from atoll.runtime.island_thread import IslandThread
from atoll.runtime.program import Division, IslandProgram, Program, Run
from atoll.runtime.promise import Promise
from atoll.runtime.step import Stats, Step
from atoll.runtime.store import Feed, Held, Origin, Store, Use
from atoll.runtime.trace import Trace
from atoll.runtime.transport import Transport, Turn
from atoll.runtime.window import Window

# Executions that an island enqueues ahead of its devices. More than 32 are not safe on CPU devices, and two programs
# may share them.
AHEAD = 16


class Controller:
    """Compiles a program for the devices of its islands, and runs it, step after step.

    meshes: the devices of each island, with the axes that the program was made for.
    steps_ahead: how many steps may be under way; `start` waits for the oldest if there are more.
    timeout: how many seconds any wait may take.
    callbacks: the host functions that the program calls, of the lowering that it was compiled from; a program that
        was loaded from a file has none.
    devices: what runs tasks and moves values; jax's, unless a test or a benchmark brings its own.
    """

    def __init__(
        self,
        program: Program,
        meshes: Mapping[str, jax.sharding.Mesh],
        *,
        steps_ahead: int = 2,
        timeout: float = 600.0,
        callbacks: Sequence[Callback] = (),
        devices: Devices = Devices(),  # noqa: B008 (frozen)
    ) -> None:
        self.program = program
        self.compilations = 0
        self._meshes = {island.name: _mesh_of(island, meshes) for island in program.islands}
        self._patience = timeout
        self._callbacks = callbacks
        self._steps_ahead = steps_ahead
        self._devices = devices
        self._transport = Transport(program, self._meshes, devices.mover)
        self._stores = {island.name: Store(island.buffers) for island in program.islands}
        self._windows = {island.name: Window(island.name, AHEAD, timeout) for island in program.islands}
        self._waits = tuple(window.retire_step for window in self._windows.values())
        self._turns = {island.name: Turn(self._meshes[island.name]) for island in program.islands}
        known: dict[Division, Division] = {}  # equal ones are one object, which a step compares in no time
        inputs = [(one, known.setdefault(its := program.division(one), its)) for one in program.inputs]
        self._outputs = [(one, known.setdefault(its := program.division(one), its)) for one in program.outputs]
        self._feeder = Feeder(inputs, self._meshes, self._transport, self._stores, self._turns, timeout)
        self._threads: tuple[IslandThread, ...] = ()
        self._callers = threading.Lock()
        self._under_way: deque[Step] = deque()
        self._completed: Step | None = None
        self._trace: Trace | None = None
        self._next_step = 0
        self._closed = False
        # How many results rest on each place.
        self._served = Counter(place for output in program.outputs for place in output.every_place)

    def __enter__(self) -> "Controller":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Compiling.

    def compile(self) -> None:
        """Compile every fragment for every island that runs it, once. `start` does so if nobody did before."""
        with self._callers:
            self._compile()

    def _compile(self) -> None:
        if self._threads or self._closed:
            return
        executables = compile_program(self.program, self._meshes, self._devices, self._callbacks)
        self.compilations += sum(map(len, executables.values()))
        islands = [self._island(island, executables[island.name]) for island in self.program.islands]
        threads = tuple(map(IslandThread, _crews(islands)))
        for thread in threads:
            thread.start()
        self._threads = threads
        # The threads do not know the controller, so it can be forgotten without being closed.
        self._forget = weakref.finalize(self, _stop, threads)
        self._forget.atexit = False
        # At exit none may be inside XLA.
        self._at_exit = partial(_close, weakref.ref(self))
        atexit.register(self._at_exit)

    def _island(self, island: IslandProgram, executables: Mapping[int, Executable]) -> RunningIsland:
        return RunningIsland(
            self.program,
            island,
            self._tasks(island, executables),
            self._transport,
            self._turns[island.name],
            self._stores[island.name],
            self._windows[island.name],
            self._patience,
        )

    def _tasks(self, island: IslandProgram, executables: Mapping[int, Executable]) -> dict[int, ReadyTask]:
        runs = {index: one for index, one in enumerate(island.instructions) if isinstance(one, Run)}
        given_away = {number for run in runs.values() for number in run.donated}
        kept = {number for name, number in self._served if name == island.name}
        sizes = [buffer.bytes for buffer in island.buffers]

        def task(index: int, run: Run) -> ReadyTask:
            # A result that stays tells when the task has ended; the smallest, as it is kept until then.
            by_size = sorted(
                range(len(run.outputs)), key=lambda one: (run.outputs[one] in given_away, sizes[run.outputs[one]])
            )
            size = sum(sizes[number] for number in run.outputs) - sum(sizes[number] for number in run.donated)
            published = tuple(number for number in run.outputs if number in kept)
            return ReadyTask(index, executables[run.code], run, size, by_size[0] if by_size else 0, published)

        return {index: task(index, run) for index, run in runs.items()}

    # Running.

    def start(self, arguments: Sequence[Any]) -> list[Array]:
        """Begin a step and return its results, which are on their way.

        arguments: one array for each input of the program, with its shape and dtype.
        """
        began = time.perf_counter_ns()
        with self._callers:
            self._check_open()
            check_arguments(self.program.inputs, arguments)
            check_donations(self.program.inputs, arguments)
            self._compile()
            began += self._make_way()
            step = Step(self._next_step, self.program, self._waits)
            orders, results = self._prepare(step, arguments)
            committed = False
            try:
                self._commit(step, orders, arguments)
                committed = True
            finally:
                if not committed:
                    self._commit(step, orders, arguments)
            step.caller_nanoseconds = time.perf_counter_ns() - began
            if self._trace is not None:
                self._trace.started(step.number, began)
        return results

    def put(self, arguments: Sequence[Any]) -> list[Array]:
        """The arguments of a step on the islands that will need them, so that steps do not have to bring them."""
        with self._callers:
            self._check_open()
            check_arguments(self.program.inputs, arguments)
            return self._feeder.put(arguments)

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this program was closed", remedy="compile or load it again")

    def _make_way(self) -> int:
        """Wait until few enough steps are under way; returns the nanoseconds that took."""
        start = time.perf_counter_ns()
        while len(self._under_way) >= self._steps_ahead:
            self._wait_for(self._under_way[0])
        return time.perf_counter_ns() - start

    def _wait_for(self, step: Step) -> None:
        """Wait until a step, the oldest that is under way, is over."""
        step.wait(self._patience)
        self._completed = step
        if self._under_way and self._under_way[0] is step:
            self._under_way.popleft()

    def _prepare(self, step: Step, arguments: Sequence[Any]) -> tuple[dict[str, Order], list[Array]]:
        """What each island is asked for, and the results; nothing has happened yet."""
        feeds = self._feeder.feeds(arguments)
        outputs: dict[str, dict[int, Held]] = {island.name: {} for island in self.program.islands}
        for (name, number), count in self._served.items():
            held = outputs[name][number] = Held(self._stores[name], Origin(step, name, number))
            feed = feeds[name].get(number)
            if isinstance(feed, Feed) and feed.use is Use.BORROW:  # an argument is passed through
                feed.held.shared = held.shared = True
            elif count > 1:
                held.shared = True
        results = [
            Array(
                Promise(
                    output,
                    [[outputs[name][number] for name, number in copies] for copies in output.places],
                    division,
                    self._patience,
                )
            )
            for output, division in self._outputs
        ]
        return {name: Order(step, feeds[name], outputs[name], self._trace) for name in feeds}, results

    def _commit(self, step: Step, orders: Mapping[str, Order], arguments: Sequence[Any]) -> None:
        """Ask all islands. A second time does no harm, and completes what Ctrl-C has interrupted."""
        self._next_step = step.number + 1
        if step not in self._under_way:
            self._under_way.append(step)
        for thread in self._threads:
            thread.post(orders)
        for one, value in zip(self.program.inputs, arguments, strict=True):
            if one.donated and isinstance(value, Array):
                value.promise.give_up()
            elif one.donated and isinstance(value, jax.Array) and not value.is_deleted():
                value.delete()

    @contextmanager
    def traced(self) -> Iterator[Trace]:
        """Record what the steps do that are started inside; at its end all of them are over."""
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
            return self._completed.stats()

    def close(self) -> None:
        """Wait for the steps that are under way, and end the threads. Results stay readable."""
        with self._callers:
            if self._closed:
                return
            self._closed = True
            if not self._threads:
                return
            try:
                while self._under_way:
                    self._wait_for(self._under_way[0])
            finally:
                atexit.unregister(self._at_exit)
                self._forget()
                for thread in self._threads:
                    thread.join()


def _crews(islands: Sequence[RunningIsland]) -> list[Sequence[RunningIsland]]:
    """Which islands share a thread: all, if no task takes as long as a message between threads; else none.

    What one thread enqueues on CPU devices runs one after the other, on whichever devices.
    """
    return [islands] if all(island.is_short for island in islands) else [[island] for island in islands]


def _stop(threads: Sequence[IslandThread]) -> None:
    """Does not wait: it may be called by the garbage collector, in any thread."""
    for thread in threads:
        thread.stop()


def _close(controller: "weakref.ref[Controller]") -> None:
    alive = controller()
    if alive is not None:
        alive.close()


def _mesh_of(island: IslandProgram, meshes: Mapping[str, jax.sharding.Mesh]) -> jax.sharding.Mesh:
    """The mesh of an island, checked against what the program was made for."""
    mesh = meshes.get(island.name)
    if mesh is None:
        remedy = f"give it devices; there are {', '.join(meshes) or 'none'}"
        raise TopologyError(f"the program runs on island {island.name!r}, which is not there", remedy=remedy)
    axes = tuple(mesh.shape.items())
    if axes != island.axes:
        found, wanted = (", ".join(f"{name}={size}" for name, size in each) for each in (axes, island.axes))
        remedy = "make the mesh so, or compile for this one"
        raise TopologyError(
            f"island {island.name} has the axes {found}, the program was made for {wanted}", remedy=remedy
        )
    # Whatever the axes of the user's mesh are for in his own code, here Shardy decides.
    return jax.sharding.Mesh(mesh.devices, mesh.axis_names, axis_types=(jax.sharding.AxisType.Auto,) * len(axes))
