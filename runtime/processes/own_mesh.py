"""The devices of the one island that a process has, or has a share of."""

import os

import jax
import numpy
from atoll.compiler.errors import TopologyError
from atoll.runtime.ground import automatic
from atoll.runtime.processes.assignment import Assignment

# What XLA reads for the number of threads that it computes with on CPUs. It takes no fewer than it has devices.
_THREADS = "NPROC"


def own_mesh(assignment: Assignment) -> jax.sharding.Mesh:
    """A mesh of the first devices of each process of the island. To be called before jax starts."""
    size = assignment.size
    if assignment.platform == "cpu":
        jax.config.update("jax_num_cpu_devices", size)  # type: ignore[no-untyped-call] # jax's
        os.environ[_THREADS] = str(threads_of(assignment.threads))
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


def threads_of(least: int) -> int:
    """How many threads XLA is to compute with, so that it does as one process that has the devices of all islands.

    How many it has decides how it divides a product among them, and so in which order sums are added up.
    """
    told = os.environ.get(_THREADS, "")
    return max(least, int(told) if told.isdigit() else len(os.sched_getaffinity(0)))
