"""Shardings within an island: for each dimension of a value, the axes that it is divided over.

In the IR they are Shardy's attributes: `sdy.sharding` on arguments, results and operations. These name the one mesh
`@mesh`, which has the axes of all islands; what an island cannot follow is left out for that island.
"""

from collections.abc import Sequence
from math import prod

from atoll.compiler.mlir.bindings import ir, sdy
from atoll.compiler.topology.island import Island

# For each dimension the axes that it is divided over, the major one first.
Spec = tuple[tuple[str, ...], ...]

SHARDING = "sdy.sharding"
# The name of the mesh.
MESH = "mesh"


def spec_of(sharding: ir.Attribute) -> Spec:
    """The axes in a `#sdy.sharding`. A part of an axis is left out, as no island's mesh has it as an axis."""
    spec = []
    for dimension in sdy.TensorShardingAttr(sharding).dimension_shardings:
        axes = [sdy.AxisRefAttr(axis) for axis in sdy.DimensionShardingAttr(dimension).axes]
        spec.append(tuple(axis.name for axis in axes if axis.sub_axis_info is None))
    return tuple(spec)


def sharding_of(spec: Spec, context: ir.Context) -> ir.Attribute:
    """The closed `#sdy.sharding` with these axes."""
    return ir.Attribute.parse(f"#sdy.sharding{sharding_text(spec)}", context)


def sharding_text(spec: Spec) -> str:
    """`<@mesh, [{"data"}, {}]>`."""
    dimensions = ["{" + ", ".join(f'"{axis}"' for axis in axes) + "}" for axes in spec]
    return f"<@{MESH}, [{', '.join(dimensions)}]>"


def on_island(spec: Spec, shape: Sequence[int], island: Island) -> Spec:
    """What an island can follow of a spec: the axes that it has and that divide the dimension evenly; empty if none."""
    sizes = {axis.name: axis.size for axis in island.axes}
    kept = []
    for axes, size in zip(spec, shape, strict=True):
        known = tuple(axis for axis in axes if axis in sizes)
        kept.append(known if size % prod(sizes[axis] for axis in known) == 0 else ())
    return tuple(kept) if any(kept) else ()


def not_followed(spec: Spec, shape: Sequence[int], island: Island) -> list[str]:
    """The axes of a spec that an island cannot follow."""
    kept = (on_island(spec, shape, island) or ((),) * len(spec)) if spec else ()
    return [axis for asked, followed in zip(spec, kept, strict=True) for axis in asked if axis not in followed]


def name_of_mesh(sharding: ir.Attribute) -> str:
    """The name of the mesh that a `#sdy.sharding` speaks of; empty if it writes the mesh out."""
    reference = sdy.TensorShardingAttr(sharding).mesh_or_ref
    return ir.FlatSymbolRefAttr(reference).value if isinstance(reference, ir.FlatSymbolRefAttr) else ""


def undivided(sharding: ir.Attribute) -> sdy.TensorShardingAttr:
    """The sharding of a scalar on the mesh of another one."""
    return sdy.TensorShardingAttr.get(sdy.TensorShardingAttr(sharding).mesh_or_ref, [])


def result_specs(operation: ir.OpView) -> list[Spec]:
    """The spec of each result of an operation, after propagation."""
    attributes = operation.operation.attributes
    if isinstance(operation, sdy.ShardingConstraintOp):
        return [spec_of(attributes["sharding"])]
    if SHARDING in attributes:
        return [spec_of(one) for one in sdy.TensorShardingPerValueAttr(attributes[SHARDING]).shardings]
    return [()] * len(operation.operation.results)
