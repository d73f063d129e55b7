"""The axes of the islands' meshes, beside those of a mesh that a function is written for."""

from collections.abc import Iterable, Mapping

from atoll.compiler.topology.island import Island
from atoll.compiler.topology.topology import Topology

# The size of each axis, the major one first.
Axes = Mapping[str, int]


def axes_of(island: Island) -> dict[str, int]:
    """The axes of one island."""
    return {axis.name: axis.size for axis in island.axes}


def axes_of_islands(topology: Topology) -> dict[str, int]:
    """The axes of all islands. If two give an axis different sizes, the first island's counts: shardings name axes, and
    each island follows them with its own mesh."""
    sizes: dict[str, int] = {}
    for island in topology.islands:
        sizes |= {name: size for name, size in axes_of(island).items() if name not in sizes}
    return sizes


def mesh_text(axes: Axes) -> str:
    """`data=2, model=2`, as in a topology."""
    return ", ".join(f"{name}={size}" for name, size in axes.items())


def misfit(named: Iterable[str], mesh: Axes, topology: Topology) -> tuple[str, str] | None:
    """Why the islands cannot divide what is divided over these axes of a mesh, and what to do; None if they can.

    An axis may be larger than the islands': a function that was written for all devices meets fewer on each island, as
    stages and replicas have the others. One of size 1 divides nothing.
    """
    islands = axes_of_islands(topology)
    for name in named:
        if mesh[name] == 1:
            continue
        both = f"the mesh is ({mesh_text(mesh)}), and that of the islands ({mesh_text(islands)})"
        if name not in islands:
            return f"the islands have no axis {name}: {both}", f"give them one, as in {topology_with(mesh, topology)}"
        if mesh[name] % islands[name]:
            what = f"axis {name} of size {mesh[name]} is no multiple of the islands': {both}"
            return what, f"give the islands equal sizes, as in {topology_with(mesh, topology)}"
    return None


def topology_with(mesh: Axes, topology: Topology) -> str:
    """The topology with as many islands of this mesh, as an argument."""
    return f'topology="{len(topology.islands)} x {topology.islands[0].kind}[{mesh_text(mesh)}]"'
