"""`atoll.compile` and what it returns."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
from atoll.compiler import guard
from atoll.compiler.emit.emit import emit, signature_of_module
from atoll.compiler.errors import CompileError, PlanError, UsageError
from atoll.compiler.export.calling import Calling, Described, Flat, Traced
from atoll.compiler.export.frontend import lower, signature_of, trace
from atoll.compiler.export.job import Argnums, Job
from atoll.compiler.export.signature import Signature
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_text, print_module, to_bytecode
from atoll.compiler.module.replicas import check_replicas
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.resume import phases_left, write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from atoll.compiler.report.measurement import Measurement
from atoll.compiler.report.program_text import program_text
from atoll.compiler.report.report import Report
from atoll.compiler.saving import check_saveable, loaded_topology
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.text.language import known_names, shown
from atoll.compiler.topology.devices import meshes_of
from atoll.compiler.topology.platforms import lowered_for
from atoll.compiler.topology.topology import Topology, as_topology
from atoll.compiler.tracebacks import caller
from atoll.runtime.array import Array
from atoll.runtime.controller import Controller
from atoll.runtime.program import Program

log = logging.getLogger(__name__)


def compile(  # noqa: A001 (a fixed name of the front door)
    fn: Callable[..., Any] | Job,
    *args: Any,  # noqa: ANN401 (any pytree)
    topology: Topology | str,
    plan: Plan = Plan(),  # noqa: B008 (frozen)
    batch_argnums: Argnums = (),
    donate_argnums: Argnums = (),
    static_argnums: Argnums = (),
    in_shardings: Any = None,  # noqa: ANN401 (a pytree of PartitionSpec)
    out_shardings: Any = None,  # noqa: ANN401 (as above)
) -> "Compiled":
    """Compile a function, or a job, for the islands of a topology; what it returns is called like the function."""
    options = {
        "batch_argnums": batch_argnums,
        "donate_argnums": donate_argnums,
        "static_argnums": static_argnums,
        "in_shardings": in_shardings,
        "out_shardings": out_shardings,
    }
    job = _job(fn, args, options)
    islands = as_topology(topology)
    check_plan(plan)
    check_replicas(resolved(plan, len(islands.islands)).replicas, islands)
    meshes_of(islands)  # before tracing starts jax's backend, after which no CPU device can be made
    traced = trace(job, islands)
    module, callbacks = lower(job, traced, lowered_for(islands))
    write_texts(module, islands, plan)
    return compile_module(module, islands, (signature_of(job, traced), Traced(job, traced)), callbacks)


def _job(fn: Callable[..., Any] | Job, args: Sequence[Any], options: Mapping[str, Any]) -> Job:
    """A job knows all of it; what is given beside one would be ignored."""
    if not isinstance(fn, Job):
        return Job(fn, *args, **options)
    beside = [name for name, value in options.items() if value is not None and not _is_empty(value)]
    if args or beside:
        what = f"a job is given, and {beside[0] if beside else 'arguments'} beside it"
        raise CompileError(what, caller(), "give them to atoll.Job, which makes the job")
    return fn


def _is_empty(value: object) -> bool:
    return isinstance(value, (tuple, list)) and not value


def compile_module(
    module: ir.Module,
    islands: Topology,
    given: tuple[Signature, Calling] | None = None,
    callbacks: Sequence[Callable[..., Any]] = (),
) -> "Compiled":
    """Take a module, at any phase, to a program on the islands whose names it has.

    given: how the program is called; for a module without a job it is called with flat arrays, those of `@main`.
    callbacks: the Python functions that it calls while it runs.
    """
    dumps = {}
    for phase, steps in phases_left(module):
        began = time.monotonic()
        run_passes(module, steps)
        dumps[phase.name] = to_bytecode(module)
        log.info("phase %s took %.1f s", phase.name, time.monotonic() - began)
    signature = given[0] if given else signature_of_module(module)
    program = emit(module, signature)
    program = replace(program, report=Report.of(module, program).to_json())
    return Compiled(program, islands, given[1] if given else _flat(program), dumps, callbacks)


def load(path: str | Path, topology: Topology | str | None = None) -> "Compiled":
    """A program that `save` wrote, on its islands; `topology` may name other devices for the same islands.

    The classes of its results are imported by their names, so load files that you trust.
    """
    program = Program.load(path)
    try:
        calling = Described(program.trees) if program.trees else _flat(program)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UsageError(f"{path} does not tell how it is called", remedy="save it again") from None
    return Compiled(program, loaded_topology(program, topology, str(path)), calling, {})


def load_flat(path: str | Path, topology: Topology | str | None = None) -> "Compiled":
    """The same, but called with flat arrays, for callers who need not have the classes."""
    program = Program.load(path)
    return Compiled(program, loaded_topology(program, topology, str(path)), _flat(program), {})


def _flat(program: Program) -> Flat:
    return Flat([one.path for one in program.inputs], len(program.outputs))


def check_plan(plan: object) -> None:
    """Refuse what is no plan."""
    if not isinstance(plan, Plan):
        remedy = "write atoll.Plan(stages=2), or atoll.Plan.parse of a text"
        raise PlanError(f"the plan is a {type(plan).__name__}", caller(), remedy)


# What `phases` calls the program, behind the phases of the IR.
_PROGRAM = "program"


class Compiled:
    """A program on its islands. Calling it returns at once, with values that are still being computed."""

    def __init__(
        self,
        program: Program,
        topology: Topology,
        calling: Calling,
        dumps: Mapping[str, bytes],
        callbacks: Sequence[Callable[..., Any]] = (),
    ) -> None:
        """dumps: the module at each phase that it went through."""
        self.program = program
        self.topology = topology
        self.plan = Plan.parse(program.plan)
        self._calling = calling
        self._dumps = dumps
        self._measured: Measurement | None = None
        self._controller = Controller(program, meshes_of(topology), callbacks=callbacks)
        began = time.monotonic()
        guard.announce("compiling fragments")
        log.info("compiling %d fragments for %d islands", len(program.codes), len(program.islands))
        self._controller.compile()
        log.info("%d fragments took %.1f s", len(program.codes), time.monotonic() - began)

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that `ir` can show; of a program that was loaded only the last, the program itself."""
        return (*self._dumps, _PROGRAM)

    def ir(self, phase: str, debug_info: bool = False) -> str:
        """The IR at a phase, or the program, as text."""
        if phase == _PROGRAM:
            return program_text(self.program, debug_info)
        if phase not in self._dumps:
            raise UsageError(f"there is no phase {shown(phase)}", remedy=known_names(phase, self.phases))
        return print_module(parse_text(self._dumps[phase]), debug_info)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (any pytree)
        if kwargs:
            what = f"{self._calling.name} is called with keyword {next(iter(kwargs))}"
            raise CompileError(what, caller(), "pass arguments by position: they are told apart by number")
        leaves, tree = self._calling.flatten(args)
        return jax.tree.unflatten(tree, self.call_flat(leaves))

    def put(self, *args: Any) -> tuple[Any, ...]:  # noqa: ANN401 (any pytrees)
        """The arguments on the islands where a step takes them, so that a call does not have to move them."""
        leaves, _ = self._calling.flatten(args)
        placed = iter(self._controller.put(leaves))
        return tuple(
            argument if number in self._calling.static_numbers else jax.tree.map(lambda _: next(placed), argument)
            for number, argument in enumerate(args)
        )

    def call_flat(self, leaves: Sequence[Any]) -> list[Array]:
        """The same for the leaves of the arguments; returns those of the result."""
        try:
            return self._controller.start(leaves)
        except UsageError as error:
            raise replace(error, where=error.where or caller()) from None

    @property
    def schedule(self) -> Schedule | None:
        """The order in which each island runs the tasks of the loop over microbatches.

        None if there is no such loop, or one that is no pipeline: it walks over the stages more than once, or its
        placement is free.
        """
        predicted = self.report().pipeline
        return None if predicted is None else predicted.schedule_that_runs()

    def report(self) -> Report:
        """What was decided, and what it costs; and what the last traced step took, if there was one."""
        return replace(Report.from_json(self.program.report), measured=self._measured)

    def stats(self) -> Any:  # noqa: ANN401 (see Controller)
        """Counts of the last step that ended: tasks, messages, bytes per link, controller time, order."""
        return self._controller.stats()

    @contextmanager
    def trace(self, path: str | Path) -> Iterator[None]:
        """Record when every task of the steps inside ran and when values crossed, in a file that Perfetto shows.

        Traced steps are slower: each island waits for each of its tasks and sends, so that their times are true.
        """
        try:
            Path(path).write_text("")  # now, not after a long run
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}", remedy="name another file") from None
        trace = None
        try:
            with self._controller.traced() as trace:
                yield
        finally:
            if trace is not None:
                Path(path).write_text(trace.to_json())
                if tasks := trace.last_step():
                    self._measured = Measurement.of(tasks)

    def save(self, path: str | Path) -> None:
        """Write the program as one file, which `atoll.load` reads; your source need not be there."""
        check_saveable(self.program)
        replace(self.program, trees=self._calling.to_text()).save(path)

    def close(self) -> None:
        """Stop the workers."""
        self._controller.close()

    def __enter__(self) -> "Compiled":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
