"""The axis of a mesh over all devices along which replicas follow each other.

A `shard_map` may be written for all the devices that there are. The devices of one replica follow each other along one
axis of its mesh; each replica does what the function says for its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from atoll.compiler.batch_rules.nodes import Node, NodeTree
from atoll.compiler.mlir.bindings import ir, sdy
from atoll.compiler.mlir.constants import splat_integer
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.island_axes import Axes
from atoll.compiler.module.mesh_types import mesh_attribute
from atoll.compiler.module.shardings import Spec, name_of_mesh, spec_of

MANUAL = "sdy.manual_computation"
PARTITION_ID = "stablehlo.partition_id"

_SHARDINGS = ("in_shardings", "out_shardings")
_GROUPS, _PAIRS = "replica_groups", "source_target_pairs"
# Attributes that name a mesh.
_NAMING = (*_SHARDINGS, "sdy.sharding", "sharding", _GROUPS)

# The members of each group of a collective, or the source and the target of each transfer.
_Rows = list[tuple[int, ...]]


@dataclass(frozen=True)
class ReplicaAxis:
    """An axis of a mesh, of which each replica has an equal part.

    mesh: the sizes of all axes. microbatches: how many each replica has.
    """

    name: str
    replicas: int
    microbatches: int
    mesh: Axes

    @property
    def own(self) -> int:
        """How many devices of one replica there are along it."""
        return self.mesh[self.name] // self.replicas

    @property
    def within(self) -> int:
        """How far apart the numbers of neighbours along the axis are."""
        names = list(self.mesh)
        return prod(self.mesh[name] for name in names[names.index(self.name) + 1 :])

    @property
    def places_are_known(self) -> bool:
        """Whether a device has the same rows of its microbatches as in the whole: not where several devices share what
        a replica has of a microbatch, one after another."""
        return self.own == 1 or self.microbatches == 1

    def divides(self, spec: Spec) -> int | None:
        """The dimension of a value that is divided along the axis; None if none is."""
        return next((number for number, axes in enumerate(spec) if self.name in axes), None)

    def is_first(self, axes: Sequence[str]) -> bool:
        """Whether a dimension that these axes divide has what devices of a replica have in one piece."""
        return next(axis for axis in axes if self.mesh[axis] > 1) == self.name

    def is_alone(self, axes: Sequence[str]) -> bool:
        """Whether no other axis divides a dimension that these axes divide."""
        return [axis for axis in axes if self.mesh[axis] > 1] == [self.name]

    def crosses(self, node: Node) -> bool:
        """Whether an operation has devices of several replicas meet, or is another one in each replica."""
        attributes = node.operation.attributes
        if _GROUPS in attributes and not isinstance(attributes[_GROUPS], ir.DenseIntElementsAttr):
            return f'"{self.name}"' in str(attributes[_GROUPS])
        return any(len(self._of_replicas(_rows(attributes[name]))) != 1 for name in _rows_of(node))

    def sums_over_all(self, node: Node) -> bool:
        """Whether the groups of a collective that crosses are the same devices of every replica."""
        attribute = node.operation.attributes[_GROUPS]
        if not isinstance(attribute, ir.DenseIntElementsAttr):
            return re.findall(r"axis_ref<([^<>]*)>", str(attribute)).count(f'name = "{self.name}"') == 1
        own = [[self._own_part(row, replica) for replica in range(self.replicas)] for row in _rows(attribute)]
        return all(parts[0] and parts.count(parts[0]) == len(parts) for parts in own)

    def asks_for_another_axis(self, node: Node) -> bool:
        """Whether an operation ends the question where a device is along another axis, as jax writes it."""
        program, divided = node.program, None
        if node.name == "stablehlo.remainder":
            divided = program.producers[node.operands[0]]
        if divided is None or divided.name != "stablehlo.divide":
            return False
        asked = program.producers[divided.operands[0]]
        step, size = (_constant(program, one.operands[1]) for one in (divided, node))
        places = {
            name: prod(list(self.mesh.values())[n + 1 :]) for n, name in enumerate(self.mesh) if name != self.name
        }
        is_one = any(step == places[name] and size == self.mesh[name] for name in places)
        return asked is not None and asked.name == PARTITION_ID and is_one

    def _of_replicas(self, rows: _Rows) -> set[tuple[tuple[int, ...], ...] | None]:
        """What the rows are within each replica; None if one has devices of several."""
        found: dict[int, list[tuple[int, ...]]] = {number: [] for number in range(self.replicas)}
        for row in rows:
            whose = {self._replica(device) for device in row}
            if len(whose) != 1:
                return {None, ()}
            found[whose.pop()].append(tuple(map(self._own_number, row)))
        return {tuple(sorted(one)) for one in found.values()}

    def _own_part(self, row: Sequence[int], replica: int) -> tuple[int, ...]:
        return tuple(self._own_number(device) for device in row if self._replica(device) == replica)

    def _replica(self, device: int) -> int:
        return device // self.within % self.mesh[self.name] // self.own

    def _own_number(self, device: int) -> int:
        """The number that a device has on the mesh of its replica."""
        outer, place = divmod(device // self.within, self.mesh[self.name])
        return (outer * self.own + place % self.own) * self.within + device % self.within

    def narrow(self, operation: ir.Operation, renamed: Mapping[str, str]) -> None:
        """Say of a `shard_map`, and of all in it, which devices of one replica are meant.

        renamed: for each mesh of all devices that of a replica.
        """

        def narrow_one(one: ir.Operation) -> ir.WalkResult:
            for name in (_GROUPS, _PAIRS):
                if isinstance(given := one.attributes.get(name), ir.DenseIntElementsAttr):
                    one.attributes[name] = self._narrowed_rows(_rows(given))
            for name in _NAMING:
                if name in one.attributes and not isinstance(one.attributes[name], ir.DenseIntElementsAttr):
                    one.attributes[name] = _with_names(one.attributes[name], renamed)
            return ir.WalkResult.ADVANCE

        operation.walk(narrow_one)

    def _narrowed_rows(self, rows: _Rows) -> ir.Attribute:
        own = [part for row in rows if (part := self._own_part(row, 0))]
        text = ", ".join(f"[{', '.join(map(str, row))}]" for row in own)
        return ir.Attribute.parse(f"dense<[{text}]> : tensor<{len(own)}x{len(own[0]) if own else 0}xi64>")


def replica_axis(mesh: Axes, islands: Axes, replicas: int, microbatches: int) -> ReplicaAxis | None:
    """The axis of a mesh that is the replicas' times as large as the islands' axis of its name; None if there is not
    one, or if other axes differ too. Axes of one device are no matter."""
    here = {name: size for name, size in mesh.items() if size > 1}
    there = {name: size for name, size in islands.items() if size > 1}
    for name, size in here.items():
        expected = {one: other * replicas if one == name else other for one, other in there.items()}
        expected.setdefault(name, replicas)
        is_in_order = [one for one in here if one in there] == list(there)
        if expected == here and is_in_order and size % replicas == 0:
            return ReplicaAxis(name, replicas, microbatches, mesh)
    return None


def specs_of(node: Node) -> tuple[list[Spec], list[Spec]]:
    """How the operands and the results of a `shard_map` are divided."""
    ins, outs = (sdy.TensorShardingPerValueAttr(node.operation.attributes[name]).shardings for name in _SHARDINGS)
    return [spec_of(one) for one in ins], [spec_of(one) for one in outs]


def speaks_of(axis: ReplicaAxis, node: Node) -> bool:
    """Whether a `shard_map` divides anything along the axis, or its devices ask or tell each other along it."""
    is_divided = any(axis.divides(spec) is not None for specs in specs_of(node) for spec in specs)
    return is_divided or any(one.name == PARTITION_ID or axis.crosses(one) for one in node.inner())


def meshes_of(module: ir.Module) -> dict[str, Axes]:
    """The axes of each mesh, by name."""
    return {
        ir.StringAttr(mesh.attributes["sym_name"]).value: {
            axis.name: axis.size for axis in map(sdy.MeshAxisAttr, sdy.MeshAttr(mesh.attributes["mesh"]).axes)
        }
        for mesh in operations_in(module.operation, sdy.MeshOp)
    }


def meshes_of_replica(module: ir.Module, axis: ReplicaAxis) -> dict[str, str]:
    """For each mesh with the axis, that of the devices of one replica, which is added if there is none."""
    meshes = meshes_of(module)
    renamed = {name: f"{name}_of_replica" for name, axes in meshes.items() if axes == axis.mesh}
    own = mesh_attribute({**axis.mesh, axis.name: axis.own}, module.context)
    for name in renamed.values():
        if name not in meshes:
            added = ir.Operation.parse(
                f"sdy.mesh @{name} = {str(own).removeprefix('#sdy.mesh')}", context=module.context
            )
            ir.InsertionPoint.at_block_begin(module.body).insert(added)
    return renamed


def mesh_name(operation: ir.Operation) -> str:
    """The name of the mesh of a `shard_map`; empty if it writes the mesh out, or divides nothing."""
    lists = [sdy.TensorShardingPerValueAttr(operation.attributes[name]).shardings for name in _SHARDINGS]
    return next((name_of_mesh(one) for shardings in lists for one in shardings), "")


def axes_by_node(program: NodeTree, islands: Axes, replicas: int) -> dict[int, ReplicaAxis]:
    """The axis of each `shard_map` that is written for the devices of all replicas, by its number, if it speaks of it.

    What is in it is in the parts of a replica from now on.
    """
    # Tried in other parts than those of the plan, it is refused for what is wrong with it in any.
    microbatches = program.parts // replicas if program.parts % replicas == 0 else 1
    if replicas == 1:
        return {}
    meshes, found = meshes_of(program.module), dict[int, ReplicaAxis]()
    for node in (inner for one in program.body.nodes for inner in (one, *one.inner())):
        axes = meshes.get(mesh_name(node.operation), {}) if node.name == MANUAL else {}
        axis = replica_axis(axes, islands, replicas, microbatches)
        if axis is not None and speaks_of(axis, node):
            found[node.number] = axis
            own = program.in_parts(microbatches)
            for one in node.inner():
                one.program = own
    return found


def keep_own_devices(module: ir.Module, islands: Axes, replicas: int) -> None:
    """Put each `shard_map` that is written for the devices of all replicas on those of one, if it is the same there."""
    program, meshes = NodeTree.of(module, 1), meshes_of(module)
    for node in (inner for one in program.body.nodes for inner in (one, *one.inner())):
        axes = meshes.get(mesh_name(node.operation), {}) if node.name == MANUAL else {}
        axis = replica_axis(axes, islands, replicas, 1)
        if axis is not None and not speaks_of(axis, node):
            axis.narrow(node.operation, meshes_of_replica(module, axis))


def _rows_of(node: Node) -> list[str]:
    return [name for name in (_GROUPS, _PAIRS) if node.has(name)]


def _rows(attribute: ir.Attribute) -> _Rows:
    elements = ir.DenseIntElementsAttr(attribute)
    _, width = ir.RankedTensorType(elements.type).shape
    return [tuple(elements[at] for at in range(start, start + width)) for start in range(0, len(elements), width)]


def _constant(program: NodeTree, value: int) -> int | None:
    node = program.producers[value]
    if node is None or node.name != "stablehlo.constant":
        return None
    return splat_integer(node.operation)


def _with_names(attribute: ir.Attribute, renamed: Mapping[str, str]) -> ir.Attribute:
    text = re.sub(r"@(\w+)", lambda found: f"@{renamed.get(found[1], found[1])}", str(attribute))
    return ir.Attribute.parse(text, attribute.context)
