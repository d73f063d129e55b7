"""Types and attributes of Shardy's MPMD dialect, which the bindings can make only by parsing text."""

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.island_axes import Axes, axes_of
from atoll.compiler.module.shardings import Spec, on_island, sharding_text, spec_of
from atoll.compiler.topology.topology import Topology


class MeshTypes:
    """Makes `!mpmd.mesh_tensor` types, each parsed once."""

    def __init__(self, topology: Topology, context: ir.Context) -> None:
        self.topology = topology
        self.context = context
        self._made: dict[tuple[int, str, Spec], ir.Type] = {}

    def on(self, island: int, tensor: ir.Type, spec: Spec = ()) -> ir.Type:
        """The type of a tensor that lives on an island, divided as far as the island's mesh allows."""
        shape = ir.RankedTensorType(tensor).shape
        followed = on_island(spec, shape, self.topology.islands[island]) if spec else ()
        key = (island, str(tensor), followed)
        if key not in self._made:
            name = self.topology.islands[island].name
            sharding = f", sharding={sharding_text(followed)}" if followed else ""
            self._made[key] = ir.Type.parse(f'!mpmd.mesh_tensor<"{name}", {tensor}{sharding}>', self.context)
        return self._made[key]


def island_of(mesh_tensor: ir.Type) -> str:
    """The name of the island that a value lives on."""
    return str(mesh_tensor).partition('"')[2].partition('"')[0]


def local_type(mesh_tensor: ir.Type) -> ir.Type:
    """The tensor that a mesh tensor distributes; a plain tensor is returned as it is."""
    if isinstance(mesh_tensor, ir.RankedTensorType):
        return mesh_tensor
    text = str(mesh_tensor).partition(", ")[2]
    return ir.Type.parse(text[: _end_of_tensor(text)], mesh_tensor.context)


def spec_of_type(mesh_tensor: ir.Type) -> Spec:
    """How a value is divided on its island; empty if it is replicated."""
    _, found, text = str(mesh_tensor).rpartition("sharding=")
    return spec_of(ir.Attribute.parse(f"#sdy.sharding{text[:-1]}", mesh_tensor.context)) if found else ()


def _end_of_tensor(text: str) -> int:
    """Where `tensor<...>` ends: after the bracket that closes its first one."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "<") - (character == ">")
        if character == ">" and not depth:
            return position + 1
    raise AssertionError(f"{text} begins with no tensor")


def topology_attribute(topology: Topology, context: ir.Context) -> ir.Attribute:
    """The islands and their meshes, as functions of the MPMD dialect carry them."""
    meshes = [f'<"{island.name}" : {_mesh_text(axes_of(island))}>' for island in topology.islands]
    return ir.Attribute.parse(f"#mpmd.topology<{', '.join(meshes)}>", context)


def mesh_attribute(axes: Axes, context: ir.Context) -> ir.Attribute:
    """The mesh with these axes."""
    return ir.Attribute.parse(f"#sdy.mesh{_mesh_text(axes)}", context)


def _mesh_text(axes: Axes) -> str:
    sizes = [f'"{name}"={size}' for name, size in axes.items()]
    return f"<[{', '.join(sizes)}]>"
