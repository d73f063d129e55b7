"""Runs a program in this process: one controller, and one thread that carries all islands."""

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
from atoll.runtime.island import Order, RunningIsland
from atoll.runtime.island_thread import IslandThread
from atoll.runtime.program import Division, IslandProgram, Program
from atoll.runtime.promise import Promise
from atoll.runtime.ready_task import ready_tasks
from atoll.runtime.step import Stats, Step
from atoll.runtime.store import Feed, Held, Origin, Store, Use
from atoll.runtime.trace import Trace
from atoll.runtime.transport import Transport, Turn
from atoll.runtime.window import Window

# How many executions an island enqueues ahead of its devices. More than 32 are not safe on CPU devices, which two
# programs may share.
AHEAD = 16


class Controller:
    """Compiles a program for the devices of its islands, and runs it, step after step.

    meshes: the devices of each island, with the axes that the program was made for.
    steps_ahead: how many steps may be under way; `start` waits for the oldest if there are more.
    timeout: how many seconds any wait may take.
    callbacks: the host functions that the program calls, from the lowering that it was compiled from; a program that
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
        known: dict[Division, Division] = {}  # equal ones become one object, which is compared in no time
        inputs = [(one, known.setdefault(its := program.division(one), its)) for one in program.inputs]
        self._outputs = [(one, known.setdefault(its := program.division(one), its)) for one in program.outputs]
        self._feeder = Feeder(inputs, self._meshes, self._transport, self._stores, self._turns, timeout)
        self._thread: IslandThread | None = None
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
        if self._thread is not None or self._closed:
            return
        executables = compile_program(self.program, self._meshes, self._devices, self._callbacks)
        self.compilations += sum(map(len, executables.values()))
        self._thread = IslandThread([self._island(one, executables[one.name]) for one in self.program.islands])
        self._thread.start()
        # The thread does not know the controller, so it can be forgotten without being closed.
        self._forget = weakref.finalize(self, _stop, self._thread)
        self._forget.atexit = False
        # When the process exits the thread must not be inside XLA.
        self._at_exit = partial(_close, weakref.ref(self))
        atexit.register(self._at_exit)

    def _island(self, island: IslandProgram, executables: Mapping[int, Executable]) -> RunningIsland:
        kept = {number for name, number in self._served if name == island.name}
        return RunningIsland(
            self.program,
            island,
            ready_tasks(island, executables, kept),
            self._transport,
            self._turns[island.name],
            self._stores[island.name],
            self._windows[island.name],
            self._patience,
        )

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
            began += self._make_way()  # waiting is no work of the controller's
            step = Step(self._next_step, self.program, self._waits)
            orders, results = self._prepare(step, arguments)
            committed = False
            # Once one island has been asked for a step, all have to be, or it would wait for the others in vain.
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
        """Wait until few enough steps are under way; returns how many nanoseconds that took."""
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
        """What each island will be asked for, and the results; nothing is sent to an island yet."""
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
        """Ask all islands. To do so again does no harm, and completes what Ctrl-C has interrupted."""
        self._next_step = step.number + 1
        if step not in self._under_way:
            self._under_way.append(step)
        assert self._thread is not None
        self._thread.post(orders)
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
            return self._completed.stats()

    def close(self) -> None:
        """Wait for the steps that are under way, and end the thread. Results stay readable."""
        with self._callers:
            if self._closed:
                return
            self._closed = True
            if self._thread is None:
                return
            try:
                while self._under_way:
                    self._wait_for(self._under_way[0])
            finally:
                atexit.unregister(self._at_exit)
                self._forget()
                self._thread.join()


def _stop(thread: IslandThread) -> None:
    """Does not wait: it may be called by the garbage collector, in any thread."""
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
    # Whatever the axes of the user's mesh are for in the user's own code, here Shardy decides.
    return jax.sharding.Mesh(mesh.devices, mesh.axis_names, axis_types=(jax.sharding.AxisType.Auto,) * len(axes))
