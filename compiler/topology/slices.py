"""Slices of TPUs that are not here: jax's devices that can be compiled for, and nothing else."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import jax
from atoll.compiler.errors import TopologyError
from atoll.compiler.mlir.bindings import hush_libtpu
from atoll.compiler.topology.devices import mesh_over
from atoll.compiler.topology.island import Island
from jax.experimental import topologies

# How libtpu is to run the two cores of a chip, where that can be chosen: as one device.
_CHIP_CONFIGURATION = {"v4": "megacore", "v5p": "megacore"}


@dataclass(frozen=True)
class PodSlice:
    """What fragments are compiled for: islands whose slices are equal run the same executables.

    name: as libtpu calls it, `v5e:2x2`. axes: of the mesh over it.
    """

    name: str
    axes: tuple[tuple[str, int], ...]
    configuration: str

    @classmethod
    def of(cls, island: Island) -> "PodSlice":
        """The slice of an island; TopologyError if its shape is not known."""
        if island.shape is None:
            example = f"{island.kind}[2x2]" if island.kind in ("v5e", "v6e") else f"{island.kind}[2x2x1]"
            what = f"the shape of island {island.name}'s slice is not known"
            raise TopologyError(what, remedy=f"write it before the axes, as in {example}(data=4)")
        name = f"{island.kind}:{'x'.join(map(str, island.shape))}"
        axes = tuple((axis.name, axis.size) for axis in island.axes)
        return cls(name, axes, _CHIP_CONFIGURATION.get(island.kind, ""))


def libtpu_version() -> str:
    """The version of libtpu; TopologyError if it is not installed."""
    try:
        return version("libtpu")
    except PackageNotFoundError:
        what = "the compiler for TPUs is not installed"
        raise TopologyError(what, remedy="pip install 'atoll[tpu]', or take a kind that this machine has") from None


def mesh_of_slice(island: Island) -> jax.sharding.Mesh:
    """The mesh of an island over the devices of its slice, which need not be here."""
    wanted = PodSlice.of(island)
    libtpu_version()
    hush_libtpu()
    chosen = {"chip_config_name": wanted.configuration} if wanted.configuration else {}
    try:
        devices = topologies.get_topology_desc(wanted.name, platform="tpu", **chosen).devices
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).partition("\n")[0].partition(": ")[2]
        what = f"libtpu knows no slice {wanted.name}, of island {island.name}: {reason}"
        raise TopologyError(what, remedy="write the shape of a slice that there is") from None
    return mesh_over(island, devices)
