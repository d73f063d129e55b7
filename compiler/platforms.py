"""What jax lowers for on the islands of a topology."""

from atoll.compiler.errors import TopologyError
from atoll.compiler.topology import Topology

# Island kind -> jax's name of the platform; every other kind is a TPU generation.
_PLATFORMS = {"cpu": "cpu", "gpu": "cuda"}


def platform_of(topology: Topology | None) -> str:
    """The platform of all islands: jax has rules that differ between platforms, and a program is lowered once."""
    if topology is None:
        return "cpu"
    found = sorted({_PLATFORMS.get(island.kind, "tpu") for island in topology.islands})
    if len(found) > 1:
        what = f"the topology mixes islands of platforms {' and '.join(found)}"
        raise TopologyError(what, remedy="one program is lowered for one platform; compile for each by itself")
    return found[0]
