"""`atoll.lower` and what it returns; and `atoll.compile`, which goes on from there."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from atoll.compiler import activity, display
from atoll.compiler.cluster import Cluster, check_alone, islands_of
from atoll.compiler.compiled import Compiled, own_cluster
from atoll.compiler.compiled_ahead import CompiledAhead
from atoll.compiler.emit.emit import emit, signature_of_module
from atoll.compiler.errors import CompileError, PlanError
from atoll.compiler.export import frontend
from atoll.compiler.export.alone.job import as_planned
from atoll.compiler.export.calling import Calling, Flat, Traced
from atoll.compiler.export.job import Argnums, Job
from atoll.compiler.export.signature import Signature
from atoll.compiler.garbage import seldom_collected
from atoll.compiler.inspectable import Inspectable
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import to_bytecode
from atoll.compiler.module.division import without_refused_choice
from atoll.compiler.module.replicas import check_replicas
from atoll.compiler.pipeline.dump_folder import compile_dump
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.resume import phases_left, write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from atoll.compiler.replica_prints import callbacks_of_replicas
from atoll.compiler.report.report import Report
from atoll.compiler.text.language import of_wrong_type
from atoll.compiler.topology.devices import are_absent, check_jax_starts, meshes_of, reserve_cpu_devices
from atoll.compiler.topology.platforms import lowered_for
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import caller
from atoll.compiler.view.history import INPUT
from atoll.runtime.program import Program

if TYPE_CHECKING:
    import jax

log = logging.getLogger(__name__)


class Lowered(Inspectable):
    """A program for islands that need not be on this machine: all that `atoll.compile` makes before XLA begins."""

    def __init__(
        self,
        program: Program,
        topology: Topology,
        calling: Calling,
        dumps: Mapping[str, bytes],
        callbacks: Sequence[Callable[..., Any]] = (),
        cluster: Cluster | None = None,
    ) -> None:
        """callbacks: the Python functions that the program calls while it runs.

        cluster: that has the islands, if programs share them.
        """
        super().__init__(program, topology, calling, dumps)
        self._callbacks = callbacks
        self._cluster = cluster

    @property
    def platform(self) -> str:
        """What it was lowered for, as jax calls it: `cpu`, `cuda` or `tpu`."""
        return lowered_for(self.topology)

    def compile(self, cluster: str | None = None) -> Compiled | CompiledAhead:
        """Compile it for the devices of its islands; if these are TPUs that are not here, to be measured and saved.

        cluster: where these are, as `atoll.Cluster` takes it; without it, in this process.
        """
        if cluster is None and self._cluster is None and are_absent(self.topology):
            return CompiledAhead(self.program, self.topology, self._calling, self._dumps)
        return self.compile_here(cluster)

    def compile_here(self, cluster: str | None = None) -> Compiled:
        """Compile it to run; TopologyError if its islands are not here."""
        check_alone(self._cluster, cluster)
        with own_cluster(self.topology, cluster) as own:
            return Compiled(
                self.program, self.topology, self._calling, self._dumps, self._callbacks, self._cluster, own
            )


def lower(
    fn: Callable[..., Any] | Job,
    *args: Any,  # noqa: ANN401 (any pytree)
    topology: Topology | str | Cluster,
    islands: Sequence[str] | None = None,
    plan: Plan = Plan(),  # noqa: B008 (frozen)
    batch_argnums: Argnums = (),
    batch_axes: Any = None,  # noqa: ANN401 (a pytree prefix)
    donate_argnums: Argnums = (),
    static_argnums: Argnums = (),
    in_shardings: Any = None,  # noqa: ANN401 (a pytree of shardings)
    out_shardings: Any = None,  # noqa: ANN401 (as above)
) -> Lowered:
    """Make a program of a function, or of a job, for the islands of a topology, which need not be on this machine.

    islands: the names of some of its islands, if not all are meant.
    """
    options = {
        "batch_argnums": batch_argnums,
        "batch_axes": batch_axes,
        "donate_argnums": donate_argnums,
        "static_argnums": static_argnums,
        "in_shardings": in_shardings,
        "out_shardings": out_shardings,
    }
    job = _job(fn, args, options)
    chosen, cluster = islands_of(topology, islands)
    _check_plan(plan)
    decided = resolved(plan, len(chosen.islands))
    check_replicas(decided.replicas, chosen)
    job = as_planned(job, decided)
    reserve_cpu_devices(chosen)  # lowering starts jax's backend, after which none can be made
    check_jax_starts()
    with seldom_collected(), display.shown():
        traced = frontend.trace(job, chosen)
        module, callbacks = frontend.lower_traced(job, traced, lowered_for(chosen))
        return lower_traced(job, traced, (module, callbacks), chosen, plan, cluster)


def compile(  # noqa: A001 (a fixed name of the front door)
    fn: Callable[..., Any] | Job,
    *args: Any,  # noqa: ANN401 (any pytree)
    topology: Topology | str | Cluster,
    islands: Sequence[str] | None = None,
    plan: Plan = Plan(),  # noqa: B008 (frozen)
    batch_argnums: Argnums = (),
    batch_axes: Any = None,  # noqa: ANN401 (a pytree prefix)
    donate_argnums: Argnums = (),
    static_argnums: Argnums = (),
    in_shardings: Any = None,  # noqa: ANN401 (a pytree of shardings)
    out_shardings: Any = None,  # noqa: ANN401 (as above)
    cluster: str | None = None,
) -> Compiled:
    """Compile a function, or a job, for the islands of a topology; the result is called like the function.

    topology: or an `atoll.Cluster`, whose islands several programs share.
    islands: the names of some of its islands, if not all are meant.
    cluster: where the islands are, as `atoll.Cluster` takes it; without it, in this process.
    """
    check_alone(topology, cluster)
    chosen, shared = islands_of(topology, islands)
    if cluster is None and (shared is None or shared.is_near):
        meshes_of(chosen)  # so that missing devices are an error before the work, not after it
    return lower(
        fn,
        *args,
        topology=topology,
        islands=islands,
        plan=plan,
        batch_argnums=batch_argnums,
        batch_axes=batch_axes,
        donate_argnums=donate_argnums,
        static_argnums=static_argnums,
        in_shardings=in_shardings,
        out_shardings=out_shardings,
    ).compile_here(cluster)


def _job(fn: Callable[..., Any] | Job, args: Sequence[Any], options: Mapping[str, Any]) -> Job:
    """The job. If a job is given, nothing else may be: it has all the options, and others would be ignored."""
    if not isinstance(fn, Job):
        return Job(fn, *args, **options)
    beside = [name for name, value in options.items() if value is not None and not _is_empty(value)]
    if args or beside:
        what = f"a job is given, and {beside[0] if beside else 'arguments'} beside it"
        raise CompileError(what, caller(), "give them to atoll.Job, which makes the job")
    return fn


def _is_empty(value: object) -> bool:
    return isinstance(value, (tuple, list)) and not value


def _check_plan(plan: object) -> None:
    if not isinstance(plan, Plan):
        remedy = "write atoll.Plan(stages=2), or atoll.Plan.parse of a text"
        raise PlanError(f"the plan is {of_wrong_type(plan)}", caller(), remedy)


def lower_traced(
    job: Job,
    traced: "jax.stages.Traced",
    exported: tuple[ir.Module, Sequence[Callable[..., Any]]],
    islands: Topology,
    plan: Plan,
    cluster: Cluster | None = None,
) -> Lowered:
    """Make a program of a job that was traced, and of what jax lowered it to: a module, and the functions it calls."""
    module, callbacks = exported
    signature = frontend.settled_signature(job, traced, module, islands)
    write_texts(module, islands, plan)
    return lower_module(module, islands, (signature, Traced(job, traced)), callbacks, cluster)


def lower_module(
    module: ir.Module,
    islands: Topology,
    given: tuple[Signature, Calling] | None = None,
    callbacks: Sequence[Callable[..., Any]] = (),
    cluster: Cluster | None = None,
) -> Lowered:
    """Make a program of a module at any phase, for the islands that it names.

    given: how the program is called; without it, with flat arrays, which are the arguments of `@main`.
    callbacks: the Python functions that the program calls while it runs.
    cluster: that has the islands, if programs share them.
    """
    return without_refused_choice(module, lambda one: _through_phases(one, islands, given, callbacks, cluster))[1]


def _through_phases(
    module: ir.Module,
    islands: Topology,
    given: tuple[Signature, Calling] | None,
    callbacks: Sequence[Callable[..., Any]],
    cluster: Cluster | None,
) -> Lowered:
    callbacks = callbacks_of_replicas(module, callbacks)
    dumps = {INPUT: to_bytecode(module)}
    dump = compile_dump(module)
    with display.shown():
        left = phases_left(module)
        activity.expect(len(left), alike=False)
        for phase, steps in left:
            began = time.monotonic()
            run_passes(module, steps, dump)
            dumps[phase.name] = to_bytecode(module)
            log.info("phase %s took %.1f s", phase.name, time.monotonic() - began)
            activity.piece_ended()
        activity.expect(0, alike=False)
        activity.announce("predicting what a step costs")
        signature = given[0] if given else signature_of_module(module)
        program = emit(module, signature)
        program = replace(program, report=Report.of(module, program).to_json())
    return Lowered(program, islands, given[1] if given else Flat(program), dumps, callbacks, cluster)


def compile_module(module: ir.Module, islands: Topology) -> Compiled:
    """The same, compiled for the devices of the islands."""
    return lower_module(module, islands).compile_here()
