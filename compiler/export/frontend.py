"""From a job to StableHLO: jax traces and lowers it, and marks say what the job knows about it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import numpy
from atoll.compiler import guard
from atoll.compiler.errors import CompileError
from atoll.compiler.export.feed import Feed
from atoll.compiler.export.job import Job
from atoll.compiler.export.signature import Parameter, Signature
from atoll.compiler.mlir.bindings import (
    calls_for_devices,
    func,
    hide_own_frames,
    host_callbacks,
    ir,
    own_traces,
    requires_devices,
)
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import arguments_of
from atoll.compiler.mlir.ir_text import copy_module
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marking import mark_signature
from atoll.compiler.module.marks import BATCH, DONATED, PATH
from atoll.compiler.topology.platforms import lowered_for
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import failing_line, first_line, is_library
from jax.sharding import NamedSharding, PartitionSpec

# The name of the whole result in paths: `result['loss']`.
RESULT = "result"

# jax's messages for what it lowers only where there are devices: calls of the host beside shardings, and all calls of
# the host for another platform than that of the devices here.
_DEVICES_MISSING = ("require devices", "different from the lowering platform")


@dataclass(frozen=True)
class Leaf:
    """One array among the arguments."""

    argnum: int
    path: str  # `state['params']['w']`
    value: Any


def leaves_of(job: Job) -> Iterator[Leaf]:
    """The leaves of all arguments that are not static, in the order of `@main`'s arguments."""
    for argnum, name in enumerate(job.argument_names()):
        if argnum not in job.static_argnums:
            for path, value in jax.tree_util.tree_flatten_with_path(job.args[argnum])[0]:
                yield Leaf(argnum, name + jax.tree_util.keystr(path), value)


def export(job: Job, topology: Topology | None = None) -> ir.Module:
    """The job's function as a module of our own, with `@main` marked: paths, batch, donation.

    Nothing is dropped here: an argument that the function ignores is still an argument of `@main`.
    """
    return lower_traced(job, trace(job, topology), lowered_for(topology))[0]


def trace(job: Job, topology: Topology | None = None) -> jax.stages.Traced:
    """The job's function as jax traces it; an error names the user's line that fails.

    The topology says which axes shardings may name.
    """
    shapes = shapes_of(job)
    _check_batch(job, [leaf for leaf in leaves_of(job) if leaf.argnum in job.batch_argnums])
    hide_own_frames()
    guard.announce(f"tracing {job.name}")
    mesh = None if topology is None else abstract_mesh(topology)
    shardings = _shardings(job, mesh)

    def traced_on(mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh | None) -> jax.stages.Traced:
        # A mesh that the user has set is not that of the islands, so it must not count here.
        with _blaming_the_user(job), own_traces(), jax.set_mesh(None), _use(mesh):
            jitted = jax.jit(job.fn, static_argnums=job.static_argnums, keep_unused=True, **shardings)
            return jitted.trace(*_abstract_arguments(job, shapes))

    traced = traced_on(mesh)
    # An abstract mesh does not suffice then, so it is traced once more, on devices, if there are enough of them.
    if shardings and topology is not None and mesh is not None and requires_devices(traced):
        devices = _devices(lowered_for(topology), mesh)
        return traced if devices is None else traced_on(devices)
    return traced


def _use(mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh | None) -> AbstractContextManager[Any]:
    if mesh is None:
        return nullcontext()
    return jax.set_mesh(mesh) if isinstance(mesh, jax.sharding.Mesh) else jax.sharding.use_abstract_mesh(mesh)


def _devices(platform: str, mesh: jax.sharding.AbstractMesh) -> jax.sharding.Mesh | None:
    """The same mesh made of devices; None if there are too few. Any devices will do, as nothing runs on them."""
    try:
        devices = jax.devices(platform)
    except RuntimeError:  # there are none
        return None
    if len(devices) < mesh.size:
        return None
    array = numpy.array(devices[: mesh.size]).reshape(mesh.axis_sizes)
    return jax.sharding.Mesh(array, mesh.axis_names, axis_types=mesh.axis_types)


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
    with _blaming_the_user(job, traced), own_traces(), jax.set_mesh(None):
        lowered = traced.lower(lowering_platforms=(platform,))
        module = copy_module(lowered.compiler_ir("stablehlo"))
    leaves = list(leaves_of(job))
    main = entry_function(module)
    _check_arguments(job, main, len(leaves))
    with module.context:
        results: list[dict[str, ir.Attribute]] = [{PATH: ir.StringAttr.get(path)} for path, _ in results_of(traced)]
        mark_signature(module, [_marks(job, leaf) for leaf in leaves], results)
    return module, host_callbacks(lowered)


def abstract_mesh(topology: Topology) -> jax.sharding.AbstractMesh:
    """A mesh with the axes of all islands. If two give an axis different sizes, the first island's counts: shardings
    name axes, and each island follows them with its own mesh."""
    sizes: dict[str, int] = {}
    for island in topology.islands:
        for axis in island.axes:
            sizes.setdefault(axis.name, axis.size)
    types = (jax.sharding.AxisType.Auto,) * len(sizes)
    return jax.sharding.AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=types)


def _shardings(job: Job, mesh: jax.sharding.AbstractMesh | None) -> dict[str, Any]:
    """The job's shardings for `jax.jit`: its PartitionSpecs on the mesh; what has none is replicated."""
    given = {"in_shardings": job.in_shardings, "out_shardings": job.out_shardings}
    if all(specs is None for specs in given.values()):
        return {}
    if mesh is None:
        raise CompileError("shardings need a topology", job.where, 'give one: topology="2 x cpu[data=2, model=2]"')

    def on_mesh(spec: object) -> NamedSharding:
        if not isinstance(spec, PartitionSpec | None):
            what = f"a sharding is a {type(spec).__name__}"
            raise CompileError(what, job.where, "write jax.sharding.PartitionSpec with the names of the islands' axes")
        try:
            return NamedSharding(mesh, spec or PartitionSpec())  # type: ignore[no-untyped-call] # jax's
        except (ValueError, TypeError) as error:
            known = f"the islands' axes are {', '.join(mesh.axis_names)}"
            raise CompileError(f"{spec} does not fit: {first_line(error)}", job.where, known) from error

    def is_spec(node: object) -> bool:
        return node is None or isinstance(node, PartitionSpec)

    return {name: jax.tree.map(on_mesh, specs, is_leaf=is_spec) for name, specs in given.items() if specs is not None}


def signature_of(job: Job, traced: jax.stages.Traced) -> Signature:
    """What callers of the job's program pass and get."""
    pairs = zip(leaves_of(job), shapes_of(job), strict=True)
    inputs = [(leaf.path, shape, leaf.argnum in job.donate_argnums) for leaf, shape in pairs]
    return Signature(
        tuple(Parameter(path, one.shape, str(one.dtype), one.weak_type, donated) for path, one, donated in inputs),
        tuple(Parameter(path, one.shape, str(one.dtype), one.weak_type) for path, one in results_of(traced)),
    )


def results_of(traced: jax.stages.Traced) -> list[tuple[str, jax.ShapeDtypeStruct]]:
    """Path and shape of every result."""
    flat = jax.tree_util.tree_flatten_with_path(traced.out_info)[0]
    return [(RESULT + jax.tree_util.keystr(path), value) for path, value in flat]


def shapes_of(job: Job) -> list[jax.ShapeDtypeStruct]:
    """The shape and dtype that jax gives each leaf. jax is asked, as only it knows what it accepts as an array: about
    all at once, which takes as long as about one."""
    leaves = list(leaves_of(job))
    try:
        shapes = _asked_of_jax([leaf.value for leaf in leaves])
    except (TypeError, ValueError, OverflowError):  # it does not say about which
        shapes = [_shape_of(job, leaf) for leaf in leaves]
    for leaf, shape in zip(leaves, shapes, strict=True):
        if not all(isinstance(size, int) for size in shape.shape):
            what = f"{leaf.path} has the symbolic shape {shape.shape}"
            raise CompileError(what, job.where, "give it a shape of numbers")
    return shapes


def _shape_of(job: Job, leaf: Leaf) -> jax.ShapeDtypeStruct:
    try:
        return _asked_of_jax([leaf.value])[0]
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(leaf.value, Feed):
            what = f"{leaf.path} is a feed, which says nothing of the shapes that the step is compiled for"
            raise CompileError(
                what, job.where, "pass arrays or jax.ShapeDtypeStruct here, and the feed to the step"
            ) from None
        kind = type(leaf.value).__name__
        dtype = f" of {leaf.value.dtype}" if isinstance(leaf.value, numpy.ndarray) else ""
        what = f"{leaf.path} is a {kind}{dtype}, which jax does not take for an array"
        remedy = "pass arrays or jax.ShapeDtypeStruct, or name the argument in static_argnums"
        raise CompileError(what, job.where, remedy) from error


def _asked_of_jax(values: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    found = jax.eval_shape(lambda arrays: arrays, list(values))
    # Without their mesh, if they are on one. (jax leaves the class untyped.)
    return [jax.ShapeDtypeStruct(one.shape, one.dtype, weak_type=one.weak_type) for one in found]  # type: ignore[no-untyped-call]


def _check_batch(job: Job, leaves: Sequence[Leaf]) -> None:
    """Every leaf of the batch arguments must have the same number of examples on axis 0."""
    remedy = "every leaf of a batch argument has the batch on axis 0; pass anything else in another argument"
    sizes: dict[int, Leaf] = {}
    for leaf in leaves:
        shape = numpy.shape(leaf.value)
        if not shape:
            raise CompileError(f"{leaf.path} has no axis 0, but is in batch_argnums", job.where, remedy)
        sizes.setdefault(shape[0], leaf)
        if len(sizes) > 1:
            (size, first), (other, second) = sizes.items()
            what = f"{first.path} has {size} examples on axis 0 and {second.path} has {other}"
            raise CompileError(what, job.where, remedy)


@contextmanager
def _blaming_the_user(job: Job, lowered: jax.stages.Traced | None = None) -> Iterator[None]:
    """Turn what the user's function raises into an error that names its line.

    lowered: what jax is lowering; None while it still traces the function.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if lowered is not None and any(said in first_line(error) for said in _DEVICES_MISSING):
            raise _missing_devices(job, lowered) from error
        what = f"{job.name} cannot be traced: {type(error).__name__}: {first_line(error)}"
        raise CompileError(what, failing_line(error) or job.where, _remedy(error)) from error


def _missing_devices(job: Job, traced: jax.stages.Traced) -> CompileError:
    """The error for a function that jax lowers only where there are devices of the platform."""
    name, places = next(calls_for_devices(traced), (job.name, []))
    where = next((f"{file}:{line}" for file, line in places if not is_library(file)), job.where)
    what = f"{name} needs the islands' devices here, as jax lowers a call of the host for these alone"
    return CompileError(what, where, "take it out, or lower the function where they are")


def _remedy(error: BaseException) -> str:
    """What to do about an error of tracing. Some of these `jax.jit` does not raise, as it has no mesh of islands."""
    said = first_line(error)
    if "passed to shard_map" in said:
        return "give shard_map no mesh: it then takes the islands', whose axes the topology names; for pmap write vmap"
    if "should match the aval mesh" in said:
        return "it uses an array that lives on a mesh of its own; pass that as an argument"
    if "sharding" in said.lower() and not failing_line(error):
        return "correct in_shardings and out_shardings: prefixes of the arguments and of the result, as for jax.jit"
    return "correct the function; it fails under jax.jit as well"


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
    if leaf.argnum in job.batch_argnums:
        marks[BATCH] = ir.UnitAttr.get()
    if leaf.argnum in job.donate_argnums:
        marks[DONATED] = ir.UnitAttr.get()
    return marks
