"""The mesh that a job is traced on, and its shardings there.

jax traces a function on the mesh that the user has set, or on none, as under `jax.jit`; only if it asks for one then,
it gets that of the job's shardings, of its arrays, or of the islands. Names, sizes and kinds of axes count, and not the
devices, as the islands have others. The pass `unite-meshes` puts what was traced so on the islands' mesh.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy
from atoll.compiler.errors import CompileError, with_article
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.memory_kinds import DEVICE, HOST
from atoll.compiler.module.island_axes import axes_of_islands, misfit
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import first_line
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

AnyMesh = Mesh | AbstractMesh
_Traced = TypeVar("_Traced")


@dataclass(frozen=True)
class JobShardings:
    """How a job's values are divided, as jax is told.

    options: `in_shardings` and `out_shardings` for `jax.jit`, if the job has any.
    arguments: the sharding of each leaf's example; None where that says nothing.
    meshes: those to trace the function on, one after the other until jax asks for no other; None is none.
    own: the user's meshes of devices.
    """

    options: Mapping[str, Any]
    arguments: Sequence[NamedSharding | None]
    meshes: Sequence[AbstractMesh | None]
    own: Sequence[Mesh]

    @classmethod
    def of(cls, job: Job, leaves: Sequence[Any], topology: Topology | None) -> "JobShardings":
        """leaves: those of the arguments that are not static."""
        islands = None if topology is None else abstract_mesh(topology)
        context = _context(job)
        given = jax.tree.leaves((job.in_shardings, job.out_shardings))
        named = [_mesh(one) for one in given if isinstance(one, NamedSharding)]
        options = _options(job, topology, context or next(iter(named), islands))
        examples = list(map(sharding_of_example, leaves))
        arguments = [None if one is None else _abstract(one) for one in examples]
        asked_for = [None, *(_mesh(one) for one in _given(options, arguments)), islands]
        meshes = list(dict.fromkeys(asked_for)) if context is None else [context]
        users = (one for one in [*given, *examples] if isinstance(one, NamedSharding))
        own = [_devices_that_are_set(job), *(one.mesh for one in users)]
        return cls(options, arguments, meshes, [mesh for mesh in own if isinstance(mesh, Mesh)])

    def mesh_beside(self, mesh: AbstractMesh | None) -> AbstractMesh | None:
        """The mesh over which arguments and results are divided, where the function is traced on this one."""
        first = next(_given(self.options, self.arguments), None)
        return None if first is None else mesh or _mesh(first)

    def on_devices(self, platform: str, mesh: AbstractMesh) -> Mesh | None:
        """The same mesh made of devices: the user's, of which the function may speak, or else any, as nothing runs on
        them. None if there are too few."""
        try:
            devices = jax.devices(platform)
        except RuntimeError:  # there are none
            return None
        for own in self.own:
            if own.abstract_mesh == mesh and own.devices.flat[0].platform == devices[0].platform:
                return own
        if len(devices) < mesh.size:
            return None
        array = numpy.array(devices[: mesh.size]).reshape(mesh.axis_sizes)
        return Mesh(array, mesh.axis_names, axis_types=mesh.axis_types)


def _given(options: Mapping[str, Any], arguments: Iterable[NamedSharding | None]) -> Iterator[NamedSharding]:
    yield from jax.tree.leaves(options)
    yield from filter(None, arguments)


def divided(shape: jax.ShapeDtypeStruct, sharding: NamedSharding | None) -> jax.ShapeDtypeStruct:
    """The shape with a sharding."""
    return shape if sharding is None else shape.update(sharding=sharding)  # type: ignore[no-untyped-call] # jax's


def first_that_suffices(
    meshes: Sequence[AbstractMesh | None], traced_on: Callable[[AbstractMesh | None], _Traced]
) -> tuple[_Traced, AbstractMesh | None]:
    """What is traced on the first mesh for which jax does not ask for another one, and that mesh."""
    for mesh in meshes[:-1]:
        try:
            return traced_on(mesh), mesh
        except CompileError as error:
            if error.__cause__ is None or "mesh" not in first_line(error.__cause__):
                raise
    return traced_on(meshes[-1]), meshes[-1]


def abstract_mesh(topology: Topology) -> AbstractMesh:
    """The mesh of the islands."""
    axes = axes_of_islands(topology)
    return AbstractMesh(tuple(axes.values()), tuple(axes), axis_types=(AxisType.Auto,) * len(axes))


def current(mesh: AnyMesh | None) -> AbstractContextManager[Any]:
    """Let this be the mesh that jax traces on."""
    if mesh is None:
        return nullcontext()
    return jax.set_mesh(mesh) if isinstance(mesh, Mesh) else jax.sharding.use_abstract_mesh(mesh)


def _context(job: Job) -> AbstractMesh | None:
    """The mesh that the user has set where the job was made, or else around this."""
    return next((mesh for mesh in (job.mesh, jax.sharding.get_abstract_mesh()) if not mesh.empty), None)


def _devices_that_are_set(job: Job) -> Mesh:
    try:
        return jax.sharding.get_mesh()
    except ValueError as error:  # as all that jax has for meshes
        what = f"{job.name} is compiled inside a function that jax traces"
        raise CompileError(what, job.where, "compile it before, outside of jax.jit, jax.grad and the like") from error


def _options(job: Job, topology: Topology | None, mesh: AbstractMesh | None) -> dict[str, Any]:
    """The job's shardings for `jax.jit`. An argument that has none is as its example, a result replicated.

    mesh: the one that PartitionSpecs are on.
    """

    def of_result(given: object) -> NamedSharding:
        sharding = _moved(job, given) if isinstance(given, NamedSharding) else _on_mesh(job, given, mesh)
        told = topology and misfit(_axes(sharding.spec), dict(sharding.mesh.shape), topology)
        if told:
            raise CompileError(f"{sharding.spec} does not fit: {told[0]}", job.where, told[1])
        return sharding

    def of_argument(given: object) -> NamedSharding | None:
        return None if given is None else of_result(given)

    given = {"in_shardings": (job.in_shardings, of_argument), "out_shardings": (job.out_shardings, of_result)}
    return {
        name: jax.tree.map(made, specs, is_leaf=lambda node: node is None or isinstance(node, PartitionSpec))
        for name, (specs, made) in given.items()
        if specs is not None
    }


def _moved(job: Job, sharding: NamedSharding) -> NamedSharding:
    """A user's sharding without its devices."""
    if sharding.memory_kind not in (None, DEVICE, HOST, _ordinary_memory(sharding.mesh)):
        what = f"a sharding asks for memory of kind {sharding.memory_kind}"
        raise CompileError(what, job.where, f"write {HOST}, or leave memory_kind out")
    return _abstract(sharding)


def _ordinary_memory(mesh: AnyMesh) -> str | None:
    """What jax calls the memory that arrays on a mesh are in without being told."""
    if isinstance(mesh, AbstractMesh):
        return None
    kind: str = mesh.devices.flat[0].default_memory().kind
    return kind


def _on_mesh(job: Job, spec: object, mesh: AbstractMesh | None) -> NamedSharding:
    if not isinstance(spec, PartitionSpec | None):
        what = f"a sharding is {with_article(type(spec).__name__)}"
        raise CompileError(what, job.where, "write jax.sharding.PartitionSpec, or a NamedSharding on a mesh")
    if mesh is None:
        raise CompileError("shardings need a topology", job.where, 'give one: topology="2 x cpu[data=2, model=2]"')
    try:
        return NamedSharding(mesh, spec or PartitionSpec())  # type: ignore[no-untyped-call] # jax's
    except (ValueError, TypeError) as error:
        known = f"the axes are {', '.join(mesh.axis_names)}"
        raise CompileError(f"{spec} does not fit: {first_line(error)}", job.where, known) from error


def _axes(spec: PartitionSpec) -> Iterator[str]:
    """The axes that a spec names."""
    for entry in spec:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, tuple):
            yield from entry


def sharding_of_example(leaf: object) -> NamedSharding | None:
    """How an example is divided, where it lives on a mesh."""
    sharding = getattr(leaf, "sharding", None)
    return sharding if isinstance(sharding, NamedSharding) else None


def _mesh(sharding: NamedSharding) -> AbstractMesh:
    mesh: AbstractMesh = sharding.mesh.abstract_mesh
    return mesh


def _abstract(sharding: NamedSharding) -> NamedSharding:
    kind = HOST if sharding.memory_kind == HOST else None
    return NamedSharding(_mesh(sharding), sharding.spec, memory_kind=kind)
