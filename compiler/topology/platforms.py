"""jax's names for the platforms of islands: one for the devices, and for some another one to lower for."""

from atoll.compiler.errors import TopologyError
from atoll.compiler.topology.island import Island
from atoll.compiler.topology.topology import Topology

# The kinds that have the same name in jax; every other kind is a TPU generation.
_OWN_NAME = ("cpu", "gpu")
# The platforms that have one name for their devices and another one to lower for.
_LOWERED_AS = {"gpu": "cuda"}


def platform_of(island: Island) -> str:
    """The platform of an island's devices."""
    return island.kind if island.kind in _OWN_NAME else "tpu"


def lowered_for(topology: Topology | None) -> str:
    """The platform to lower for: jax has rules that differ between platforms, and a program is lowered once."""
    if topology is None:
        return "cpu"
    found = sorted(set(map(platform_of, topology.islands)))
    if len(found) > 1:
        what = f"the topology mixes islands of platforms {' and '.join(found)}"
        raise TopologyError(what, remedy="one program is lowered for one platform; compile for each by itself")
    return _LOWERED_AS.get(found[0], found[0])
