"""The devices of the one island that a process has."""

import jax
import numpy
from atoll.compiler.errors import TopologyError
from atoll.runtime.ground import automatic
from atoll.runtime.processes.assignment import Assignment


def own_mesh(assignment: Assignment) -> jax.sharding.Mesh:
    """A mesh of the first devices that this process has. To be called before jax starts."""
    size = assignment.size
    if assignment.platform == "cpu":
        jax.config.update("jax_num_cpu_devices", size)  # type: ignore[no-untyped-call] # jax's
    try:
        devices = jax.devices(assignment.platform)
    except RuntimeError:
        devices = []
    if len(devices) < size:
        what = (
            f"island {assignment.island} needs {size} {assignment.platform} devices, and its process has {len(devices)}"
        )
        raise TopologyError(what, remedy="write a smaller island, or one of devices that are there")
    shape = [size for _, size in assignment.axes]
    return automatic(
        jax.sharding.Mesh(numpy.array(devices[:size]).reshape(shape), [name for name, _ in assignment.axes])
    )
