"""The devices of the one island that a process has, or has a share of."""

import jax
import numpy
from atoll.compiler.errors import TopologyError
from atoll.runtime.ground import automatic
from atoll.runtime.processes.assignment import Assignment


def own_mesh(assignment: Assignment) -> jax.sharding.Mesh:
    """A mesh of the first devices of each process of the island. To be called before jax starts."""
    size = assignment.size
    if assignment.platform == "cpu":
        jax.config.update("jax_num_cpu_devices", size)  # type: ignore[no-untyped-call] # jax's
    try:
        devices = jax.devices(assignment.platform)
    except RuntimeError:
        devices = []
    own: list[list[jax.Device]] = [[] for _ in range(assignment.processes)]
    for one in devices:
        own[one.process_index].append(one)
    if (found := min(map(len, own))) < size:
        what = f"island {assignment.island} needs {size} {assignment.platform} devices, and its process has {found}"
        raise TopologyError(what, remedy="write a smaller island, or one of devices that are there")
    shape = [length for _, length in assignment.axes]
    return automatic(
        jax.sharding.Mesh(
            numpy.array([its[:size] for its in own]).reshape(shape), [name for name, _ in assignment.axes]
        )
    )
