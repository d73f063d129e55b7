"""From a job to StableHLO: jax traces and lowers it, and marks say what the job knows about it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import jax
from atoll.compiler import activity
from atoll.compiler.errors import AtollError, CompileError
from atoll.compiler.export import meshes
from atoll.compiler.export.alone.job import Alone
from atoll.compiler.export.in_place import watched
from atoll.compiler.export.job import Job
from atoll.compiler.export.leaves import Leaf, check_batch, leaves_of, shapes_of
from atoll.compiler.export.signature import Parameter, Signature
from atoll.compiler.export.weak_types import Variant, Weak, program_text, settle
from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import (
    calls_for_devices,
    func,
    hide_own_frames,
    host_callbacks,
    ir,
    memories_asked_for,
    own_traces,
    requires_devices,
)
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import arguments_of
from atoll.compiler.mlir.ir_text import copy_of_foreign
from atoll.compiler.mlir.memory_kinds import DEVICE, HOST
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marking import mark_signature
from atoll.compiler.module.marks import BATCH, DONATED, PATH
from atoll.compiler.topology.platforms import lowered_for
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import failing_line, first_line, is_library

# The name of the whole result in paths: `result['loss']`.
RESULT = "result"

# jax's messages for what it lowers only where there are devices: calls of the host beside shardings, and all calls of
# the host for another platform than that of the devices here.
_DEVICES_MISSING = ("require devices", "different from the lowering platform")


def export(job: Job, topology: Topology | None = None) -> ir.Module:
    """The job's function as a module of our own, with `@main` marked: paths, batch, donation.

    Nothing is dropped here: an argument that the function ignores is still an argument of `@main`.
    """
    return lower_traced(job, trace(job, topology), lowered_for(topology))[0]


def trace(job: Job, topology: Topology | None = None, weak: Weak | None = None) -> jax.stages.Traced:
    """The job's function as jax traces it; an error names the user's line that fails.

    The topology says which axes shardings may name.
    weak: which leaves are weakly typed; without it, those that are.
    """
    return trace_on_mesh(job, topology, weak)[0]


def trace_on_mesh(
    job: Job, topology: Topology | None, weak: Weak | None = None
) -> tuple[jax.stages.Traced, meshes.AnyMesh | None]:
    """The same, and the mesh that it is traced on."""
    shapes, leaves = shapes_of(job, weak), list(leaves_of(job))
    check_batch(job)
    hide_own_frames()
    activity.announce(f"tracing {job.name}")
    shardings = meshes.JobShardings.of(job, [leaf.value for leaf in leaves], topology)
    arguments = list(map(meshes.divided, shapes, shardings.arguments))
    function = watched(job) if weak is None else job.fn  # once is enough

    def traced_on(mesh: meshes.AnyMesh | None) -> jax.stages.Traced:
        # What the user has set is among the meshes to try, and must not count beside another one.
        with (
            _blaming_the_user(job, is_as_jit=mesh is shardings.meshes[0]),
            own_traces(),
            jax.set_mesh(None),
            meshes.current(mesh),
        ):
            jitted = jax.jit(function, static_argnums=job.static_argnums, keep_unused=True, **shardings.options)
            return jitted.trace(*_abstract_arguments(job, arguments))

    traced, mesh = meshes.first_that_suffices(shardings.meshes, traced_on)
    _check_memories(job, traced)
    divided_over = shardings.mesh_beside(mesh)
    # An abstract mesh does not suffice then, so it is traced once more, on devices, if there are enough of them.
    if divided_over is not None and requires_devices(traced):
        devices = shardings.on_devices(lowered_for(topology), divided_over)
        return (traced, mesh) if devices is None else (traced_on(devices), devices)
    return traced, mesh


def _abstract_arguments(job: Job, shapes: Sequence[jax.ShapeDtypeStruct]) -> Iterator[Any]:
    """The arguments with shapes in place of arrays: it must not matter on which devices the arrays live."""
    rest = iter(shapes)
    for argnum, argument in enumerate(job.args):
        if argnum in job.static_argnums:
            yield argument
        else:
            values, structure = jax.tree.flatten(argument)
            yield jax.tree.unflatten(structure, [next(rest) for _ in values])


def lower_traced(
    job: Job, traced: jax.stages.Traced, platform: str
) -> tuple[ir.Module, tuple[Callable[..., Any], ...]]:
    """What was traced, as a module with our marks; and the Python functions that it calls while it runs."""
    activity.announce(f"lowering {job.name}")
    with _blaming_the_user(job, traced), own_traces(), jax.set_mesh(None):
        lowered = traced.lower(lowering_platforms=(platform,))
        module = copy_of_foreign(lowered.compiler_ir("stablehlo"))
    leaves = list(leaves_of(job))
    main = entry_function(module)
    _check_arguments(job, main, len(leaves))
    with module.context:
        results: list[dict[str, ir.Attribute]] = [{PATH: ir.StringAttr.get(path)} for path, _ in results_of(traced)]
        mark_signature(module, [_marks(job, leaf) for leaf in leaves], results)
    if isinstance(job.fn, Alone):
        job.fn.mark(module)
    return module, host_callbacks(lowered)


def settled_signature(job: Job, traced: jax.stages.Traced, module: ir.Module, topology: Topology) -> Signature:
    """What callers of the job's program pass and get; CompileError if the second step needed another program.

    module: what was traced.
    """

    def made(weak: Weak) -> Variant | None:
        try:
            traced = trace(job, topology, weak)
        except CompileError:  # such as a loop that carries other kinds than it begins with
            return None
        lowered = partial(lower_traced, job, traced, lowered_for(topology))
        return Variant(signature_of(job, traced, weak), cache(lambda: program_text(lowered()[0])))

    activity.announce(f"looking at the dtypes of a second call of {job.name}")
    return settle(Variant(signature_of(job, traced), cache(lambda: program_text(module))), made, job.where)


def signature_of(job: Job, traced: jax.stages.Traced, weak: Weak | None = None) -> Signature:
    """What callers of what was traced pass and get.

    weak: which leaves are weakly typed; without it, those that are.
    """
    pairs = zip(leaves_of(job), shapes_of(job, weak), strict=True)
    inputs = [(leaf.path, shape, leaf.argnum in job.donate_argnums) for leaf, shape in pairs]
    return Signature(
        tuple(Parameter(path, one.shape, str(one.dtype), one.weak_type, donated) for path, one, donated in inputs),
        tuple(Parameter(path, one.shape, str(one.dtype), one.weak_type) for path, one in results_of(traced)),
    )


def results_of(traced: jax.stages.Traced) -> list[tuple[str, jax.ShapeDtypeStruct]]:
    """Path and shape of every result."""
    flat = jax.tree_util.tree_flatten_with_path(traced.out_info)[0]
    return [(RESULT + jax.tree_util.keystr(path), value) for path, value in flat]


@contextmanager
def _blaming_the_user(job: Job, lowered: jax.stages.Traced | None = None, is_as_jit: bool = True) -> Iterator[None]:
    """Turn what the user's function raises into an error that names its line.

    lowered: what jax is lowering; None while it still traces the function.
    is_as_jit: whether `jax.jit` would trace it like this, and fail alike.
    """
    try:
        yield
    except AtollError:  # what is wrong with the plan for it
        raise
    except (Exception, SystemExit) as error:
        if lowered is not None and any(said in first_line(error) for said in _DEVICES_MISSING):
            raise _missing_devices(job, lowered) from error
        what = f"{job.name} cannot be traced: {type(error).__name__}: {first_line(error)}"
        # It is lowered for no devices, so what jax says then of its own may be about that.
        is_alike = is_as_jit and (lowered is None or "mesh" not in first_line(error).lower())
        raise CompileError(what, failing_line(error) or job.where, _remedy(error, is_alike)) from error


def _check_memories(job: Job, traced: jax.stages.Traced) -> None:
    """Refuse kinds of memory that are not those of the chips or the pinned one: on CPUs jax passes over any other."""
    for kind, places in memories_asked_for(traced):
        if kind not in (DEVICE, HOST):
            where = next((f"{file}:{line}" for file, line in places if not is_library(file)), job.where)
            what = f"a value is to be in memory of kind {kind}, which no island has for what a function computes"
            raise CompileError(what, where, f"write {HOST} for the memory of the host, or {DEVICE}")


def _missing_devices(job: Job, traced: jax.stages.Traced) -> CompileError:
    """The error for a function that jax lowers only where there are devices of the platform."""
    name, places = next(calls_for_devices(traced), (job.name, []))
    where = next((f"{file}:{line}" for file, line in places if not is_library(file)), job.where)
    what = f"{name} needs the islands' devices here, as jax lowers a call of the host for these alone"
    return CompileError(what, where, "take it out, or lower the function where they are")


def _remedy(error: BaseException, is_alike: bool) -> str:
    """What to do about an error of tracing or lowering. is_alike: whether `jax.jit` fails as well."""
    said = first_line(error)
    if "incompatible devices" in said:
        return "give all meshes that it speaks of the same devices in the same order"
    if "should match the aval mesh" in said:
        return "it uses an array that lives on a mesh of its own; pass that as an argument"
    if "not a valid JAX type" in said and "returned a value" in said:
        return "return arrays alone, as eqx.filter(result, eqx.is_array) of Equinox leaves them; jax.jit asks the same"
    if "sharding" in said.lower() and not failing_line(error):
        return "correct in_shardings and out_shardings: prefixes of the arguments and of the result, as for jax.jit"
    if is_alike:
        return "correct the function; it fails under jax.jit as well"
    return "correct the function, or compile it under jax.set_mesh(mesh), with the mesh that it is written for"


def _check_arguments(job: Job, main: func.FuncOp, leaves: int) -> None:
    """Refuse what jax puts before the arguments.

    It threads a token through ordered effects, which would order islands among each other. A value that the function
    kept from another trace becomes an argument, and no call has a value for that.
    """
    arguments = arguments_of(main)
    for added in arguments[: len(arguments) - leaves]:
        user = next((use.owner.location for use in added.uses), main.location)
        if not isinstance(added.type, ir.RankedTensorType):
            raise refuse(user, f"{job.name} has an ordered side effect", "make it unordered: ordered=False")
        what = f"{job.name} uses a value that jax traced for another call or function, which kept it"
        raise refuse(
            user, what, "return that value from there and pass it as an argument; it fails under jax.jit as well"
        )


def _marks(job: Job, leaf: Leaf) -> dict[str, ir.Attribute]:
    marks: dict[str, ir.Attribute] = {PATH: ir.StringAttr.get(leaf.path)}
    if leaf.batch_axis is not None:
        marks[BATCH] = integer(leaf.batch_axis) if leaf.batch_axis else ir.UnitAttr.get()
    if leaf.argnum in job.donate_argnums:
        marks[DONATED] = ir.UnitAttr.get()
    return marks
