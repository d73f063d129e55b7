"""Islands of devices, given in place of a text. To read a text needs no JAX, so each function here imports it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from atoll.compiler.errors import TopologyError
from atoll.compiler.text.language import shown
from atoll.compiler.topology.island import ONLY_AXIS

if TYPE_CHECKING:
    import jax


def mesh_of(devices: "Sequence[jax.Device]") -> "jax.sharding.Mesh":
    """The mesh of an island of these devices."""
    import jax
    import numpy

    for device in devices:
        if not isinstance(device, jax.Device):
            raise TopologyError(f"{shown(device)} is no device", remedy="take devices from jax.devices()")
    return jax.sharding.Mesh(numpy.array(devices, dtype=object), (ONLY_AXIS,))


def check_meshes(meshes: "Mapping[str, jax.sharding.Mesh]") -> None:
    """Refuse meshes that no topology can have."""
    import jax

    remedy = 'write for example Topology.from_devices({"left": mesh, "right": other_mesh})'
    if not isinstance(meshes, Mapping):
        raise TopologyError(f"from_devices takes a dict of meshes, not {type(meshes).__name__}", remedy=remedy)
    owners: dict[jax.Device, str] = {}
    for name, mesh in meshes.items():
        if not isinstance(mesh, jax.sharding.Mesh):
            raise TopologyError(f"island {shown(name)} is no jax.sharding.Mesh", remedy=remedy)
        for device in mesh.devices.flat:
            owner = owners.setdefault(device, name)
            if owner != name:
                what = f"device {shown(device)} is in island {shown(owner)} and in {shown(name)}"
                raise TopologyError(what, remedy="give each device to one island")
