"""What `atoll.compile` and `atoll.load` return: a program on its islands."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import jax
from atoll.compiler import activity, display
from atoll.compiler.cluster import Cluster, check_alone
from atoll.compiler.debug_flags import check_results
from atoll.compiler.errors import PATH_FAULTS, CompileError, UsageError, path_fault
from atoll.compiler.export.calling import Calling, Described, Flat
from atoll.compiler.export.feed import Feed
from atoll.compiler.inspectable import Inspectable
from atoll.compiler.report.measurement import Measurement
from atoll.compiler.report.report import Report
from atoll.compiler.saving import check_portable, check_saveable, loaded_topology
from atoll.compiler.topology.devices import meshes_of
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import caller
from atoll.runtime.array import Array
from atoll.runtime.compilation import fragments_of, prebuilt_of
from atoll.runtime.controller import Controller
from atoll.runtime.devices import Devices
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.program import Program
from atoll.runtime.program_file import load_program
from atoll.runtime.step import Stats
from atoll.runtime.waiting import is_cut_short

log = logging.getLogger(__name__)


class Compiled(Inspectable):
    """A program on its islands. Calling it returns at once, with values that are still being computed."""

    def __init__(
        self,
        program: Program,
        topology: Topology,
        calling: Calling,
        dumps: Mapping[str, bytes],
        callbacks: Sequence[Callable[..., Any]] = (),
        cluster: Cluster | None = None,
        own: Cluster | None = None,
    ) -> None:
        """callbacks: the Python functions that the program calls while it runs.

        cluster: that has the islands, if programs share them. own: that has them for this program alone.
        """
        super().__init__(program, topology, calling, dumps)
        self._measured: Measurement | None = None
        self._own = own
        cluster = self._cluster = cluster or own  # kept, as what it has made ends with it
        if cluster is not None and not cluster.is_near:
            check_portable(program)
        islands = meshes_of(topology) if cluster is None else cluster.shared
        self._meshes = None if isinstance(islands, HostedIslands) else islands
        self._controller = Controller(program, islands, callbacks=callbacks)
        began = time.monotonic()
        activity.announce("compiling fragments")
        log.info("compiling %d fragments for %d islands", len(program.codes), len(program.islands))
        with display.shown():
            activity.expect(sum(len(list(fragments_of(island))) for island in program.islands), alike=True)
            self._controller.compile()
        log.info("%d fragments took %.1f s", len(program.codes), time.monotonic() - began)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (any pytree)
        if kwargs:
            what = f"{self._calling.name} is called with keyword {next(iter(kwargs))}"
            raise CompileError(what, caller(), "pass arguments by position: they are told apart by number")
        leaves, tree = self._calling.flatten(args)
        return jax.tree.unflatten(tree, self.call_flat(leaves))

    def __reduce__(self) -> NoReturn:
        what = "a compiled program has devices and threads, and cannot be pickled or copied"
        raise UsageError(what, remedy="write it by .save(FILE), and read it where it is needed by atoll.load(FILE)")

    def put(self, *args: Any) -> tuple[Any, ...]:  # noqa: ANN401 (any pytrees)
        """The arguments, put on the islands where a step takes them, so that a call does not have to move them.

        The last ones may be left out, as in `step.put(params)`; and so may others, and leaves of them, by `...` in
        their place, which is what is returned for them.
        """
        if any(isinstance(argument, Feed) for argument in args):
            what = "a feed cannot be put on islands, as what it gives differs from step to step"
            raise UsageError(what, caller(), "pass it to the step itself, and write ... here")
        leaves = self._calling.flatten_some(args)
        placed = iter(self._controller.put(leaves))

        def on_islands(leaf: Any) -> Any:  # noqa: ANN401 (an array)
            return leaf if leaf is ... else next(placed)

        return tuple(
            argument if number in self._calling.static_numbers else jax.tree.map(on_islands, argument)
            for number, argument in enumerate(args)
        )

    def call_flat(self, leaves: Sequence[Any]) -> list[Array]:
        """The same as a call, with the leaves of the arguments; returns the leaves of the result."""
        results = self._controller.start(leaves)
        check_results(results)
        return results

    def save(self, path: str | Path, executables: bool = False) -> None:
        """Write the program to one file, which `atoll.load` reads without needing your source.

        executables: whether what XLA makes of it goes into the file too, so that machines like this one need not
            compile it. For that it is compiled once more.
        """
        program = self.program
        check_saveable(program)
        if executables:
            if self._meshes is None:
                what = "a program on a cluster cannot be saved with its executables, as others have its devices"
                raise UsageError(what, caller(), "compile it without a cluster, and save that")
            activity.announce("compiling fragments for the file")
            with display.shown():
                program = replace(program, prebuilt=prebuilt_of(program, self._meshes, Devices()))
        self._save(program, path)

    def report(self) -> Report:
        """What was decided, and what it costs; and what the last traced step took, if any step was traced."""
        return replace(super().report(), measured=self._measured)

    def stats(self) -> Stats:
        """Counts of the last step that ended: tasks, messages, bytes per link, controller time, order."""
        return self._controller.stats()

    @contextmanager
    def trace(self, path: str | Path) -> Iterator[None]:
        """Record what the steps inside do, in a file for https://ui.perfetto.dev: tasks, transfers and waits.

        Traced steps are slower: for true times, an island has to wait for each of its tasks and sends.
        """
        try:
            Path(path).write_text("")  # a path that cannot be written should fail now, not after a long run
        except PATH_FAULTS as error:
            raise path_fault("write", path, error, "name another file") from None
        trace = None
        try:
            with self._controller.traced() as trace:
                yield
        finally:
            if trace is not None:
                from atoll.runtime.trace_file import to_bytes  # loads Perfetto's format, which nothing else needs

                Path(path).write_bytes(to_bytes(trace.program, trace.records))
                if tasks := trace.last_step():
                    self._measured = Measurement.of(tasks)

    def close(self) -> None:
        """Stop the workers."""
        self._end()

    def _end(self, *, hurry: bool = False) -> None:
        try:
            self._controller.close(hurry=hurry)
        finally:
            if self._own is not None:
                self._own.close()

    def __enter__(self) -> "Compiled":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(hurry=is_cut_short(kind))


@contextmanager
def own_cluster(topology: Topology, where: str | None) -> Iterator[Cluster | None]:
    """A cluster for one program alone, closed if that comes to nothing; none if islands are to be in this process."""
    cluster = None if where is None else Cluster(topology, where)
    try:
        yield cluster
    except BaseException:
        if cluster is not None:
            cluster.close()
        raise


def load(
    path: str | Path,
    topology: Topology | str | Cluster | None = None,
    cluster: str | None = None,
    executables: bool = True,
) -> Compiled:
    """A program that `save` wrote, on its islands; `topology` may give other devices for the same islands.

    cluster: as `atoll.Cluster` takes it.
    executables: whether to take those that are in the file and fit this machine; else all fragments are compiled.

    The classes of its results are imported by their names, and executables are machine code, so load files that you
    trust.
    """
    program = load_program(path)
    if not executables:
        program = replace(program, prebuilt=())
    try:
        calling = Described(program.trees) if program.trees else Flat(program)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UsageError(f"{path} does not tell how it is called", remedy="save it again") from None
    return _loaded(program, topology, path, calling, cluster)


def load_flat(path: str | Path, topology: Topology | str | None = None) -> Compiled:
    """The same, but called with flat arrays, for callers who do not have the classes."""
    program = load_program(path)
    return _loaded(program, topology, path, Flat(program))


def _loaded(
    program: Program,
    topology: Topology | str | Cluster | None,
    path: str | Path,
    calling: Calling,
    where: str | None = None,
) -> Compiled:
    check_alone(topology, where)
    cluster = topology if isinstance(topology, Cluster) else None
    if isinstance(topology, Cluster):  # which may have more islands than the program
        topology = topology.topology.only([island.name for island in program.islands])
    found = loaded_topology(program, topology, str(path))
    with own_cluster(found, where) as own:
        return Compiled(program, found, calling, {}, cluster=cluster, own=own)
