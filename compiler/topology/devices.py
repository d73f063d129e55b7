"""The devices of a topology's islands on this machine."""

import itertools
import os
import re

import jax
import numpy
from atoll.compiler.errors import TopologyError
from atoll.compiler.mlir.bindings import backends_are_up
from atoll.compiler.topology.platforms import platform_of
from atoll.compiler.topology.topology import Topology


def meshes_of(topology: Topology) -> dict[str, jax.sharding.Mesh]:
    """A mesh for each island: the ones that the topology was made from, or else of the machine's devices in order."""
    reserve_cpu_devices(topology)
    if topology.meshes is not None:
        return {island.name: mesh for island, mesh in zip(topology.islands, topology.meshes, strict=True)}
    meshes = {}
    for platform in dict.fromkeys(map(platform_of, topology.islands)):
        islands = [island for island in topology.islands if platform_of(island) == platform]
        devices = iter(_devices(platform, sum(island.size for island in islands)))
        for island in islands:
            own = numpy.array(list(itertools.islice(devices, island.size)))
            shape = [axis.size for axis in island.axes]
            meshes[island.name] = jax.sharding.Mesh(own.reshape(shape), [axis.name for axis in island.axes])
    return meshes


def reserve_cpu_devices(topology: Topology) -> None:
    """Make sure that jax will have the CPU devices of the topology, if jax has not started yet."""
    count = sum(island.size for island in topology.islands if platform_of(island) == "cpu")
    # Without CPU islands jax is left alone: it cannot start with 0 CPU devices.
    if count and topology.meshes is None and not backends_are_up() and _cpu_devices_to_come() < count:
        jax.config.update("jax_num_cpu_devices", count)  # type: ignore[no-untyped-call] # jax's


def _cpu_devices_to_come() -> int:
    """How many CPU devices jax will make; its own setting takes precedence over XLA's."""
    configured: int = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined] # jax's
    flag = re.search(r"--xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
    return configured if configured >= 0 or flag is None else int(flag[1])


def _devices(platform: str, count: int) -> list[jax.Device]:
    """The first devices of a platform."""
    try:
        devices: list[jax.Device] = jax.devices(platform)
    except RuntimeError:
        devices = []
    if len(devices) < count:
        what = f"the topology needs {count} {platform} devices, and there are {len(devices)}"
        remedy = "write a smaller topology" if devices else f"take a kind that this machine has: {_found()}"
        if platform == "cpu":
            remedy = f'put jax.config.update("jax_num_cpu_devices", {count}) before jax is first used'
        raise TopologyError(what, remedy=remedy)
    return devices[:count]


def _found() -> str:
    """The kinds of devices that jax has found."""
    return ", ".join(sorted({jax.default_backend(), "cpu"}))
