"""Pass `unite-meshes`."""

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from atoll.compiler.mlir.bindings import ir, sdy, stablehlo
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import (
    argument_attributes,
    functions_in,
    named_attributes,
    operations_in,
    result_attributes,
    set_argument_attributes,
    set_result_attributes,
)
from atoll.compiler.module.island_axes import Axes, axes_of_islands, mesh_text, topology_with
from atoll.compiler.module.mesh_types import mesh_attribute
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.shardings import MESH, SHARDING, name_of_mesh
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.topology.topology import Topology

log = logging.getLogger(__name__)

# Attributes of operations that name a mesh or its axes.
_NAMING = (SHARDING, "sharding", "in_shardings", "out_shardings", "manual_axes", "replica_groups")

# How newer versions of jax say which devices take part: by axes of a mesh.
_GROUPS = "#stablehlo.replica_group_mesh_axes"
_AXIS_OF_GROUPS = r'#stablehlo\.axis_ref<name = "[^"]*"(?:[^<>]|<[^<>]*>)*>'

# What devices tell each other, or ask about themselves.
_BETWEEN_DEVICES = (
    stablehlo.AllGatherOp,
    stablehlo.AllReduceOp,
    stablehlo.AllToAllOp,
    stablehlo.CollectiveBroadcastOp,
    stablehlo.CollectivePermuteOp,
    stablehlo.PartitionIdOp,
    stablehlo.ReduceScatterOp,
    stablehlo.ReplicaIdOp,
)


@dataclass(frozen=True)
class UniteMeshes(Pass):
    """Put all shardings on one mesh, which has the axes of the islands.

    A function may speak of several meshes, of all the devices that the user has, and of axes that divide nothing. A
    sharding says by which axes a value is divided, and any size of them gives the same answer. A `shard_map` is written
    for sizes, so its mesh has to be that of the islands.

    Requires: phase `timed`, and a topology; here its islands are `cpu[data=2]`.

        sdy.mesh @mesh = <["data"=8]>
        sdy.mesh @mesh_0 = <["stage"=1, "data"=8]>
          %0 = sdy.sharding_constraint %x <@mesh_0, [{"data", "stage"}]>
        ~~>
        sdy.mesh @mesh = <["data"=2]>
          %0 = sdy.sharding_constraint %x <@mesh, [{"data"}]>
    """

    def run(self, module: ir.Module) -> None:
        topology = topology_of(module)
        islands = axes_of_islands(topology)
        meshes = {
            ir.StringAttr(mesh.attributes["sym_name"]).value: mesh
            for mesh in operations_in(module.operation, sdy.MeshOp)
            if sdy.MeshAttr(mesh.attributes["mesh"]).axes
        }
        _check_shard_maps(module, meshes, topology)
        _check_collectives(module, topology)
        united = islands | _beside(meshes.values(), islands)
        attribute = mesh_attribute(united, module.context)
        if all(name == MESH and mesh.attributes["mesh"] == attribute for name, mesh in meshes.items()):
            log.info("nothing to do: there is no mesh but that of the islands")
            return
        _rename(module, _OneMesh(tuple(meshes), tuple(united), prod(islands.values())))
        first, *others = meshes.values()
        first.attributes["sym_name"] = ir.StringAttr.get(MESH)
        first.attributes["mesh"] = attribute
        for mesh in others:
            mesh.operation.erase()


def _axes(mesh: sdy.MeshOp) -> Axes:
    axes = map(sdy.MeshAxisAttr, sdy.MeshAttr(mesh.attributes["mesh"]).axes)
    return {axis.name: axis.size for axis in axes}


def _beside(meshes: Iterable[sdy.MeshOp], islands: Axes) -> dict[str, int]:
    """The axes that the islands do not have, and that divide something."""
    sizes: dict[str, int] = {}
    for mesh in meshes:
        for name, size in _axes(mesh).items():
            if name not in islands and size > 1:
                sizes.setdefault(name, size)
    return sizes


def _check_shard_maps(module: ir.Module, meshes: Mapping[str, sdy.MeshOp], topology: Topology) -> None:
    """Refuse a `shard_map` that is written for other devices than an island's; axes of one device are no matter."""
    islands = axes_of_islands(topology)
    for one in operations_in(module.operation, sdy.ManualComputationOp):
        for name in sorted(_meshes_of(one)):
            axes = _axes(meshes[name]) if name in meshes else {}  # a mesh without axes, or one without a name
            needed = [(axis, size) for axis, size in axes.items() if size > 1 or axis in islands]
            if needed != list(islands.items()):
                both = f"the mesh ({mesh_text(axes)}), and the islands' is ({mesh_text(islands)})"
                remedy = f"give both the same axes in the same order, as in {topology_with(axes, topology)}"
                share = _replicas_sharing(needed, islands, topology)
                if share is not None:
                    remedy += f", or set replicas={share}, whose islands together have that mesh"
                raise refuse(one.location, f"shard_map is written for {both}", remedy)
            order = sdy.MeshAttr(meshes[name].attributes["mesh"]).device_ids
            if order:
                what = f"shard_map is written for devices in the order {', '.join(map(str, order))}"
                raise refuse(one.location, what, "give all meshes of the function the same devices in the same order")


def _replicas_sharing(needed: Sequence[tuple[str, int]], islands: Axes, topology: Topology) -> int | None:
    """As how many replicas the islands would have a mesh together, one axis of which their devices divide; None if
    they cannot."""
    if [axis for axis, _ in needed] != list(islands):
        return None
    larger = [(size, islands[axis]) for axis, size in needed if size != islands[axis]]
    if len(larger) != 1 or larger[0][0] % larger[0][1]:
        return None
    replicas = larger[0][0] // larger[0][1]
    return None if len(topology.islands) % replicas else replicas


def _check_collectives(module: ir.Module, topology: Topology) -> None:
    """Refuse what jax makes of a `shard_map` over one device where an island has more: nothing but its body."""
    if all(island.size == 1 for island in topology.islands):
        return
    for kind in _BETWEEN_DEVICES:
        for operation in operations_in(module.operation, kind):
            if not _is_within_shard_map(operation):
                islands = mesh_text(axes_of_islands(topology))
                what = f"shard_map is written for a mesh of one device, and the islands' is ({islands})"
                raise refuse(operation.location, what, "give shard_map the islands' axes, or islands one device each")


def _meshes_of(operation: sdy.ManualComputationOp) -> set[str]:
    """The names of the meshes that a `shard_map` speaks of."""
    attributes = operation.operation.attributes
    lists = [sdy.TensorShardingPerValueAttr(attributes[name]) for name in ("in_shardings", "out_shardings")]
    return {name_of_mesh(sharding) for one in lists for sharding in one.shardings}


def _is_within_shard_map(operation: ir.OpView) -> bool:
    around = operation.operation.parent
    while around is not None and not isinstance(around.opview, sdy.ManualComputationOp):
        around = around.parent
    return around is not None


@dataclass(frozen=True)
class _OneMesh:
    """How an attribute changes that names meshes and axes, by its text: all of these meshes are the one mesh.

    axes: those that the mesh has; others are left out. So are parts of axes, which no island has as axes, and which an
    axis of another size may not have. devices: how many an island has.
    """

    meshes: Collection[str]
    axes: Sequence[str]
    devices: int

    def of(self, attribute: ir.Attribute) -> ir.Attribute:
        text = re.sub(rf"@({'|'.join(map(re.escape, self.meshes))})(?!\w)", f"@{MESH}", str(attribute))
        changed = self._groups(text) if text.startswith(_GROUPS) else self._sharding(text)
        return ir.Attribute.parse(changed, attribute.context)

    def _sharding(self, text: str) -> str:
        """`<@mesh, [{"data", "stage"}, {?}], replicated={"model"}>` or several; `manual_axes{"stage", "data"}`."""
        text = re.sub(r"(, \w+=\w*)\{([^{}]*)\}", self._ordered, text)
        return re.sub(r"\{([^{}]*)\}", lambda found: f"{{{', '.join(self._known(found[1]))}}}", text)

    def _ordered(self, found: re.Match[str]) -> str:
        """Such as `, replicated={"model"}`: a set of axes in the order of the mesh, which is not written if empty."""
        axes = sorted(self._known(found[2]), key=lambda axis: self.axes.index(axis.strip('"')))
        return f"{found[1]}{{{', '.join(axes)}}}" if axes else ""

    def _known(self, listed: str) -> list[str]:
        """Of a list of axes, those of the mesh; `?` says that others may follow."""
        return [axis for axis in listed.split(", ") if axis == "?" or axis.strip('"') in self.axes]

    def _groups(self, text: str) -> str:
        """The devices of a collective, which are those that differ only along some axes: without axes, each alone."""
        axes = [axis for axis in re.findall(_AXIS_OF_GROUPS, text) if axis.split('"')[1] in self.axes]
        alone = ", ".join(f"[{device}]" for device in range(self.devices))
        without = f"dense<[{alone}]> : tensor<{self.devices}x1xi64>"
        return f"{_GROUPS}<mesh = @{MESH}, axes = [{', '.join(axes)}]>" if axes else without


def _rename(module: ir.Module, onto: _OneMesh) -> None:
    """Change every attribute that names a mesh or its axes."""

    def rename(operation: ir.Operation) -> ir.WalkResult:
        attributes = operation.attributes
        for name in _NAMING:
            if name in attributes:
                attributes[name] = onto.of(attributes[name])
        return ir.WalkResult.ADVANCE

    def marked(marks: ir.DictAttr) -> ir.DictAttr:
        named = named_attributes(marks)
        return ir.DictAttr.get({**named, SHARDING: onto.of(named[SHARDING])}) if SHARDING in named else marks

    module.operation.walk(rename)
    for function in functions_in(module).values():
        set_argument_attributes(function, list(map(marked, argument_attributes(function))))
        set_result_attributes(function, list(map(marked, result_attributes(function))))
