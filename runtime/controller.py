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
import numpy
from atoll.compiler.errors import TopologyError, UsageError
from atoll.runtime.array import Array
from atoll.runtime.compilation import compile_program
from atoll.runtime.devices import Devices
from atoll.runtime.fragment import Callback, Executable
from atoll.runtime.island import Island, Order, Task
from atoll.runtime.island_thread import IslandThread
from atoll.runtime.program import Division, Input, IslandProgram, Place, Program, Run
from atoll.runtime.step import Stats, Step, reason
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
        self._turns = {island.name: Turn(self._meshes[island.name]) for island in program.islands}
        self._threads: tuple[IslandThread, ...] = ()
        self._callers = threading.Lock()
        self._under_way: deque[Step] = deque()
        self._completed: Step | None = None
        self._trace: Trace | None = None
        self._next_step = 0
        self._closed = False
        # How many results rest on each place.
        self._served = Counter(place for output in program.outputs for place in output.every_place)
        known: dict[Division, Division] = {}  # equal ones are one object, which a step compares in no time
        self._inputs = [(one, known.setdefault(its := program.division(one), its)) for one in program.inputs]
        self._outputs = [(one, known.setdefault(its := program.division(one), its)) for one in program.outputs]

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

    def _island(self, island: IslandProgram, executables: Mapping[int, Executable]) -> Island:
        return Island(
            self.program,
            island,
            self._tasks(island, executables),
            self._transport,
            self._turns[island.name],
            self._stores[island.name],
            self._windows[island.name],
            self._patience,
        )

    def _tasks(self, island: IslandProgram, executables: Mapping[int, Executable]) -> dict[int, Task]:
        runs = {index: one for index, one in enumerate(island.instructions) if isinstance(one, Run)}
        given_away = {number for run in runs.values() for number in run.donated}
        kept = {number for name, number in self._served if name == island.name}
        sizes = [buffer.bytes for buffer in island.buffers]

        def task(index: int, run: Run) -> Task:
            # A result that stays tells when the task has ended; the smallest, as it is kept until then.
            by_size = sorted(
                range(len(run.outputs)), key=lambda one: (run.outputs[one] in given_away, sizes[run.outputs[one]])
            )
            size = sum(sizes[number] for number in run.outputs) - sum(sizes[number] for number in run.donated)
            published = tuple(number for number in run.outputs if number in kept)
            return Task(index, executables[run.code], run, size, by_size[0] if by_size else 0, published)

        return {index: task(index, run) for index, run in runs.items()}

    # Running.

    def start(self, arguments: Sequence[Any]) -> list[Array]:
        """Begin a step and return its results, which are on their way.

        arguments: one array for each input of the program, with its shape and dtype.
        """
        began = time.perf_counter_ns()
        with self._callers:
            self._check_open()
            self._check(arguments)
            self._check_donations(arguments)
            self._compile()
            began += self._make_way()
            step = Step(self._next_step, self.program, tuple(self._windows.values()), self._trace)
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
            self._check(arguments)
            return [
                self._put_array(one, division, value)
                for (one, division), value in zip(self._inputs, arguments, strict=True)
            ]

    def _put_array(self, one: Input, division: Division, value: Any) -> Array:  # noqa: ANN401 (an array)
        if isinstance(value, Array):
            return value
        plain = self._plain(one, value)
        helds = [
            [self._put_held(part, place) for place in copies]
            for copies, part in zip(one.places, _parts(one, division, plain), strict=True)
        ]
        if not helds:  # no island needs it, but it has to be somewhere
            name = self.program.islands[0].name
            held = Held(self._stores[name], Origin(None, name, 0))
            held.bring(jax.device_put(plain, self._meshes[name].devices.flat[0]), plain.nbytes)
            helds.append([held])
        return Array(one, helds, division, self._patience)

    def _put_held(self, part: Any, place: Place) -> Held:  # noqa: ANN401 (as `_plain` returns it)
        name, number = place
        held = Held(self._stores[name], Origin(None, name, number))
        held.bring(self._put(part, name, number), self._stores[name].sizes[number])
        return held

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this program was closed", remedy="compile or load it again")

    def _check(self, arguments: Sequence[Any]) -> None:
        """Raises UsageError for the first argument that does not fit."""
        inputs = self.program.inputs
        if len(arguments) != len(inputs):
            raise UsageError(f"the step takes {len(inputs)} arrays, not {len(arguments)}")
        for one, value in zip(inputs, arguments, strict=True):
            if isinstance(value, Array):
                value._alive()
            elif isinstance(value, jax.core.Tracer):
                what = f"{one.path} is being traced: the step is called inside of jax.jit, jax.grad or the like"
                raise UsageError(what, remedy="transform the function, and compile the result of that")
            elif isinstance(value, jax.Array) and value.is_deleted():
                raise UsageError(f"the array given as {one.path} was donated or deleted", remedy="pass another one")
            _check_fits(one, value)

    def _check_donations(self, arguments: Sequence[Any]) -> None:
        """An array that is donated stands nowhere else among the arguments."""
        seen: dict[int, Input] = {}
        for one, value in zip(self.program.inputs, arguments, strict=True):
            if not isinstance(value, (Array, jax.Array)):
                continue
            other = seen.setdefault(id(value), one)
            if other is not one and (one.donated or other.donated):
                what = f"{other.path} and {one.path} are the same array, and it is donated"
                raise UsageError(what, remedy="pass a copy for one of them")

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
        feeds: dict[str, dict[int, Any]] = {island.name: {} for island in self.program.islands}
        for (one, division), value in zip(self._inputs, arguments, strict=True):
            if not one.places:
                continue
            if isinstance(value, Array) and value.is_divided_like(division):
                for copies, helds in zip(one.places, value._alive(), strict=True):
                    for (name, number), given in zip(copies, _feeds(copies, helds, one.donated), strict=True):
                        feeds[name][number] = given
            else:
                plain = value._read() if isinstance(value, Array) else self._plain(one, value)
                for copies, part in zip(one.places, _parts(one, division, plain), strict=True):
                    for name, number in copies:
                        feeds[name][number] = self._put(part, name, number)
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
                output,
                [[outputs[name][number] for name, number in copies] for copies in output.places],
                division,
                self._patience,
            )
            for output, division in self._outputs
        ]
        return {name: Order(step, feeds[name], outputs[name]) for name in feeds}, results

    def _plain(self, one: Input, value: Any) -> Any:  # noqa: ANN401 (a jax.Array or a numpy array)
        """What an argument from outside holds. Of memory that the caller may write to, a copy."""
        if one.dtype.startswith("key<"):
            return jax.random.key_data(value)
        return value if isinstance(value, jax.Array) else numpy.array(value, numpy.dtype(one.dtype))

    def _put(self, value: Any, name: str, number: int) -> jax.Array:  # noqa: ANN401 (as `_plain` returns it)
        """Place an argument from outside; never as an alias, which would go with the caller's array."""
        sharding = self._transport.sharding(name, number)
        with self._turns[name]:
            if isinstance(value, jax.Array) and value.sharding.device_set & sharding.device_set:
                value = jax.numpy.copy(value)
            placed: jax.Array = jax.device_put(value, sharding)
        return placed

    def _commit(self, step: Step, orders: Mapping[str, Order], arguments: Sequence[Any]) -> None:
        """Ask all islands. A second time does no harm, and completes what Ctrl-C has interrupted."""
        self._next_step = step.number + 1
        if step not in self._under_way:
            self._under_way.append(step)
        for thread in self._threads:
            thread.post(orders)
        for one, value in zip(self.program.inputs, arguments, strict=True):
            if one.donated and isinstance(value, Array):
                value._give_up()
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


def _crews(islands: Sequence[Island]) -> list[Sequence[Island]]:
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


def _parts(one: Input, division: Division, plain: Any) -> list[Any]:  # noqa: ANN401 (as `_plain` returns it)
    """The parts of an argument's value; or all of it, if it is not divided and anybody needs it."""
    if not division.indices:
        return [plain] * len(one.places)
    with jax.transfer_guard("allow"):  # where jax cuts is a number of the host's, and no transfer of the user's
        return [plain[index] for index in division.indices]


def _feeds(places: Sequence[Place], helds: Sequence[Held], donated: bool) -> list[Feed]:
    """For each copy of a part, which of the copies of an `Array` it gets and what it may do with it."""
    if len(places) == len(helds) == 1:
        return [Feed(helds[0], Use.TAKE if donated else Use.BORROW)]
    at = {held.origin.island: held for held in helds}
    chosen = [at.get(name, helds[0]) for name, _ in places]
    if not donated:
        return [Feed(held, Use.BORROW) for held in chosen]
    return [Feed(held, Use.TAKE if chosen.count(held) == 1 else Use.COPY) for held in chosen]


def _check_fits(one: Input, value: Any) -> None:  # noqa: ANN401 (whatever the user gave)
    """Raises UsageError unless the program was compiled for values like this."""
    if isinstance(value, Array):
        if value.kind == one.kind:
            return
        found = value.kind
    else:
        type_ = _type_of(one, value)
        # Of what is no jax.Array yet, the dtype that it would get: float32 instead of float64.
        dtype = type_.dtype if isinstance(value, jax.Array) else jax.dtypes.canonicalize_dtype(type_.dtype)
        found = (type_.shape, str(dtype), type_.weak_type)
    if found == one.kind:
        return
    shape, dtype_name, weak = found
    if (shape, dtype_name) != (one.shape, one.dtype):
        what = f"{one.path} is {dtype_name}{list(shape)}, but the step was compiled for {one.dtype}{list(one.shape)}"
        raise UsageError(what, remedy="pass an array of that shape and dtype, or compile again")
    kinds = ("an array with a dtype of its own", "a Python number, or what jax computed from such alone")
    what = f"{one.path} is {kinds[weak]}, but the step was compiled for {kinds[not weak]}"
    told = f'{"compile with" if one.weak_type else "pass"} jax.numpy.asarray(value, "{one.dtype}")'
    raise UsageError(what, remedy=f"jax.jit would compile again, as dtypes of results may depend on it: {told}")


def _type_of(one: Input, value: Any) -> Any:  # noqa: ANN401 (whatever the user gave; jax's type of an array)
    remedy = f"pass an array of {one.dtype}{list(one.shape)}"
    what = f"{one.path} is a {type(value).__name__}, not an array"
    if isinstance(value, jax.ShapeDtypeStruct):
        raise UsageError(what, remedy=remedy)
    try:
        return jax.typeof(value)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(value, (int, numpy.ndarray)):  # jax says what is wrong with it
            what = f"{one.path} is no array for jax: {reason(error)}"
        raise UsageError(what, remedy=remedy) from None
