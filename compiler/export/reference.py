"""What `jax.jit` computes of a job, to compare with."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
from atoll.compiler.export import meshes
from atoll.compiler.export.frontend import trace_on_mesh
from atoll.compiler.export.job import Job
from atoll.compiler.export.leaves import leaves_of
from atoll.compiler.topology.platforms import lowered_for
from atoll.compiler.topology.topology import Topology
from jax.sharding import Mesh, NamedSharding

# From the leaves of the arguments to the leaves of the result.
Reference = Callable[[Sequence[Any]], Sequence[Any]]


def reference_of(job: Job, topology: Topology) -> Reference:
    """The job's function as `jax.jit` runs it: on the mesh on which it is traced for islands, if there is one."""
    jitted = jax.jit(job.fn, static_argnums=job.static_argnums)
    chosen = cache(partial(_mesh, job, topology))  # traced once, and only if somebody compares

    def reference(leaves: Sequence[Any]) -> Sequence[Any]:
        mesh = chosen()
        examples = [leaf.value for leaf in leaves_of(job)]
        rest = iter([_placed(value, example, mesh) for value, example in zip(leaves, examples, strict=True)])
        args = [
            argument if number in job.static_argnums else jax.tree.map(lambda _: next(rest), argument)
            for number, argument in enumerate(job.args)
        ]
        with jax.set_mesh(None), meshes.current(mesh):
            return jax.tree.leaves(jitted(*args))

    return reference


def _mesh(job: Job, topology: Topology) -> Mesh | None:
    mesh = trace_on_mesh(job, topology)[1]
    if mesh is None or isinstance(mesh, Mesh):
        return mesh
    shardings = meshes.JobShardings.of(job, [leaf.value for leaf in leaves_of(job)], topology)
    return shardings.on_devices(lowered_for(topology), mesh)


def _placed(value: Any, example: Any, mesh: Mesh | None) -> Any:  # noqa: ANN401 (arrays)
    """The value divided as its example is, as types may say so."""
    sharding = meshes.sharding_of_example(example)
    if mesh is None or sharding is None:
        return value
    return jax.device_put(value, NamedSharding(mesh, sharding.spec))
