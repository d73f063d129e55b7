"""The devices of a topology's islands on this machine."""

import itertools
from collections.abc import Sequence

import jax
import numpy
from atoll.compiler.errors import TopologyError
from atoll.compiler.mlir.bindings import backends_are_up, cpu_devices_to_come, hush_libtpu
from atoll.compiler.topology.island import Island
from atoll.compiler.topology.platforms import platform_of
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import first_line
from jax.experimental import mesh_utils


def meshes_of(topology: Topology) -> dict[str, jax.sharding.Mesh]:
    """A mesh for each island: the ones that the topology was made from, or else of the machine's devices in order."""
    reserve_cpu_devices(topology)
    check_jax_starts()
    if topology.meshes is not None:
        return {island.name: mesh for island, mesh in zip(topology.islands, topology.meshes, strict=True)}
    meshes = {}
    for platform in dict.fromkeys(map(platform_of, topology.islands)):
        islands = [island for island in topology.islands if platform_of(island) == platform]
        devices = iter(_devices(platform, sum(island.size for island in islands)))
        for island in islands:
            meshes[island.name] = mesh_over(island, list(itertools.islice(devices, island.size)))
    return meshes


def mesh_over(island: Island, devices: Sequence[jax.Device]) -> jax.sharding.Mesh:
    """The mesh of an island: the devices in order, or those of a slice so that its axes lie along the slice's own."""
    shape = [axis.size for axis in island.axes]
    if island.shape is None:
        placed = numpy.array(devices).reshape(shape)
    else:
        placed = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    return jax.sharding.Mesh(placed, [axis.name for axis in island.axes])


def check_jax_starts() -> None:
    """TopologyError if jax has no devices at all, as where `JAX_PLATFORMS` names a kind that is not here."""
    try:
        jax.devices()
    except Exception as error:  # a RuntimeError, or an AssertionError where the plugin of a known kind is not installed
        asked = jax.config.jax_platforms  # type: ignore[attr-defined] # jax's
        said = first_line(error).partition(" (set JAX_PLATFORMS")[0].rstrip(".")
        told = f"{type(error).__name__}: {said}" if str(error) else f"{type(error).__name__}, without a message"
        what = f"jax does not start{f' with JAX_PLATFORMS={asked}' if asked else ''}: {told}"
        remedy = "correct it, or leave it out" if asked else "set JAX_PLATFORMS=cpu, or repair the plugin at fault"
        raise TopologyError(what, remedy=f"{remedy}; atoll doctor says what is here") from error


def are_absent(topology: Topology) -> bool:
    """Whether its islands are of TPUs, and this machine does not have as many."""
    if topology.meshes is not None or platform_of(topology.islands[0]) != "tpu":
        return False
    return len(_found("tpu")) < sum(island.size for island in topology.islands)


def reserve_cpu_devices(topology: Topology) -> None:
    """Make sure that jax will have the CPU devices of the topology, if jax has not started yet."""
    hush_libtpu()
    count = sum(island.size for island in topology.islands if platform_of(island) == "cpu")
    # Without CPU islands jax is left alone: it cannot start with 0 CPU devices.
    if count and topology.meshes is None and not backends_are_up() and cpu_devices_to_come() < count:
        jax.config.update("jax_num_cpu_devices", count)  # type: ignore[no-untyped-call] # jax's


def _devices(platform: str, count: int) -> list[jax.Device]:
    """The first devices of a platform."""
    devices = _found(platform)
    if len(devices) < count:
        what = f"the topology needs {count} {platform} devices, and there are {len(devices)}"
        kinds = ", ".join(sorted({jax.default_backend(), "cpu"}))
        remedy = "write a smaller topology" if devices else f"take a kind that this machine has: {kinds}"
        if platform == "tpu":
            remedy += "; or compile for TPUs that are not here, with atoll.lower(...).compile() or atoll compile"
        if platform == "cpu":
            remedy = f'put jax.config.update("jax_num_cpu_devices", {count}) before jax is first used'
        raise TopologyError(what, remedy=remedy)
    return devices[:count]


def _found(platform: str) -> list[jax.Device]:
    """The devices of a platform that jax has found."""
    try:
        devices: list[jax.Device] = jax.devices(platform)
    except RuntimeError:
        return []
    return devices
