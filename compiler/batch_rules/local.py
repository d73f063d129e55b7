"""What a rule may ask while it makes operations on one part of a program's values."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from atoll.compiler.batch_rules.decision import Decision
from atoll.compiler.batch_rules.nodes import Node, NodeTree
from atoll.compiler.batch_rules.states import COMBINE, SAME, Split, State, Version, identity
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import replace_within

Values = list["ir.Value[ir.Type]"]


class Local(ABC):
    """Makes operations on one part of each value: that of a microbatch, some layers, the share of a replica.

    count: a program's values divide into equal parts; how many of these this one covers.
    """

    def __init__(self, program: NodeTree, point: ir.InsertionPoint, count: int = 1) -> None:
        self.program = program
        self.point = point
        self._count = count

    @abstractmethod
    def get(self, version: Version) -> "ir.Value[ir.Type]":
        """A value in a form."""

    @abstractmethod
    def offset(self, size: int, location: ir.Location) -> "ir.Value[ir.Type]":
        """Where this part begins along a dimension of which it has `size`; an unsigned scalar."""

    def share(self, size: int) -> int:
        """How much of a dimension, or of a number of groups, is in this part."""
        return size // self.program.parts * self._count

    def ahead(
        self, type_: ir.RankedTensorType, form: Split, dimension: int, location: ir.Location
    ) -> "ir.Value[ir.Type]":
        """For each place along a dimension of a type of integers: how much further along it stands in the whole.

        form: how that dimension is in parts, whichever it is there.
        """
        own = type_.get_dim_size(dimension) // form.blocks
        scalar = ir.RankedTensorType.get([], type_.element_type)
        start = self.one("stablehlo.convert", scalar, [self.offset(own, location)], location)
        ahead = self.broadcast(start, type_, location)
        if form.blocks == 1:
            return ahead
        along = {"iota_dimension": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), dimension)}
        places = self.one("stablehlo.iota", type_, [], location, along)
        block = self.one("stablehlo.divide", type_, [places, self.number(own, type_, location)], location)
        # What the other parts have of each block that lies before.
        others = self.number(own // self._count * (self.program.parts - self._count), type_, location)
        skipped = self.one("stablehlo.multiply", type_, [block, others], location)
        return self.one("stablehlo.add", type_, [ahead, skipped], location)

    def type_of(self, value: int, form: State) -> ir.RankedTensorType:
        """The type that a value has in a form."""
        whole = self.program.tensor(value)
        if not isinstance(form, Split):
            return whole
        return resized(whole, form.dimension, self.share(whole.get_dim_size(form.dimension)))

    def clone(self, node: Node, decision: Decision, operands: Values) -> ir.Operation:
        """The operation with other operands, and with results of the types that the decided forms have."""
        copy = node.operation.clone(ip=self.point)
        for index, operand in enumerate(operands):
            copy.operands[index] = operand
        for index, form in enumerate(decision.results):
            if isinstance(form, Split):
                copy.results[index].set_type(self.type_of(node.results[index], form))
        self.recapture(node, copy)
        return copy

    def recapture(self, node: Node, copy: ir.Operation) -> None:
        """Replace what a copy's regions take from outside by the values of this part."""
        if node.captured:
            replaced = {self.program.values[value]: self.get((value, SAME)) for value in node.captured}
            replace_within(copy.opview, replaced)

    def create(
        self,
        name: str,
        results: Sequence[ir.Type],
        operands: Values,
        location: ir.Location,
        attributes: Mapping[str, ir.Attribute] | None = None,
        regions: int = 0,
    ) -> ir.Operation:
        return ir.Operation.create(
            name, results, operands, dict(attributes or {}), regions=regions, loc=location, ip=self.point
        )

    def one(
        self,
        name: str,
        result: ir.Type,
        operands: Values,
        location: ir.Location,
        attributes: Mapping[str, ir.Attribute] | None = None,
    ) -> "ir.Value[ir.Type]":
        """The only result of a new operation."""
        made: ir.Value[ir.Type] = self.create(name, [result], operands, location, attributes).results[0]
        return made

    def constant(self, value: ir.DenseElementsAttr, location: ir.Location) -> "ir.Value[ir.Type]":
        return self.one("stablehlo.constant", value.type, [], location, {"value": value})

    def number(self, value: int, type_: ir.RankedTensorType, location: ir.Location) -> "ir.Value[ir.Type]":
        """A constant: a splat of an integer."""
        splat = ir.DenseElementsAttr.get_splat(type_, ir.IntegerAttr.get(type_.element_type, value))
        return self.constant(splat, location)

    def identity(self, kind: str, type_: ir.RankedTensorType, location: ir.Location) -> "ir.Value[ir.Type]":
        value = identity(kind, type_)
        assert value is not None, f"{type_} has no identity of {kind}"
        return self.constant(value, location)

    def combine(
        self, kind: str, one: "ir.Value[ir.Type]", other: "ir.Value[ir.Type]", location: ir.Location
    ) -> "ir.Value[ir.Type]":
        return self.one(COMBINE[kind], one.type, [one, other], location)

    def broadcast(self, scalar: "ir.Value[ir.Type]", type_: ir.Type, location: ir.Location) -> "ir.Value[ir.Type]":
        attributes = {"broadcast_dimensions": ir.DenseI64ArrayAttr.get([])}
        return self.one("stablehlo.broadcast_in_dim", type_, [scalar], location, attributes)


def resized(type_: ir.RankedTensorType, dimension: int, size: int) -> ir.RankedTensorType:
    """The type with another size in a dimension."""
    shape = list(type_.shape)
    shape[dimension] = size
    return ir.RankedTensorType.get(shape, type_.element_type, type_.encoding)
