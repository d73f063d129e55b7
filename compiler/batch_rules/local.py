"""Makes the operations for one microbatch, from what was decided about them."""

from collections.abc import Iterable, Mapping, Sequence

from atoll.compiler.batch_rules.needed_forms import Entry
from atoll.compiler.batch_rules.nodes import Node, Program
from atoll.compiler.batch_rules.rule import Decision, Rule, Values
from atoll.compiler.batch_rules.states import (
    ABSENT,
    COMBINE,
    COMPLEX_ZERO,
    SAME,
    Partial,
    Split,
    State,
    Version,
    identity,
)
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import replace_within

Value = "ir.Value[ir.Type]"


class Local:
    """A block that is being made.

    index: the number of the microbatch, None outside of a loop.
    """

    def __init__(
        self,
        program: Program,
        rules: Mapping[str, Rule],
        block: ir.Block,
        parent: "Local | None" = None,
        index: "ir.Value[ir.Type] | None" = None,
    ) -> None:
        self.program = program
        self.rules = rules
        self.parent = parent
        self.index: ir.Value[ir.Type] | None = index if index is not None or parent is None else parent.index
        self.point = ir.InsertionPoint(block)
        self.values: dict[Version, ir.Value[ir.Type]] = {}
        self._offsets: dict[int, ir.Value[ir.Type]] = {}

    def inside(self, block: ir.Block, index: "ir.Value[ir.Type] | None" = None) -> "Local":
        """For a block within this one."""
        return Local(self.program, self.rules, block, self, index)

    def get(self, version: Version) -> "ir.Value[ir.Type]":
        here: Local | None = self
        while here is not None:
            if version in here.values:
                return here.values[version]
            here = here.parent
        raise AssertionError(f"nothing made value {version[0]} in the form {version[1]}")

    def type_of(self, value: int, form: State) -> ir.RankedTensorType:
        """The type that a value has in a form."""
        whole = self.program.tensor(value)
        if not isinstance(form, Split):
            return whole
        return resized(whole, form.dimension, self.share(whole.get_dim_size(form.dimension)))

    def share(self, size: int) -> int:
        """How much of a dimension, or of a number of groups, is in the block that is being made."""
        return size // self.program.parts

    def make_all(self, entries: "Iterable[Entry]") -> None:
        for entry in entries:
            self.make(entry)

    def make(self, entry: Entry) -> None:
        if entry.derived is not None:
            self.values[entry.derived] = self._derive(*entry.derived)
            return
        node, decision = entry.node, entry.decision
        assert node is not None
        if decision is None:
            decision = Decision((SAME,) * len(node.operands), (SAME,) * len(node.results))
            operands = [self.get((value, SAME)) for value in node.operands]
            made: Values = list(self.clone(node, decision, operands).results)
        else:
            operands = [
                self._operand(node, index, decision) for index, form in enumerate(decision.operands) if form != ABSENT
            ]
            made = self.rules[node.name].build(self, node, decision, operands)
        for version, value in zip(entry.makes(), made, strict=True):
            self.values[version] = value

    def _operand(self, node: Node, index: int, decision: Decision) -> "ir.Value[ir.Type]":
        value, form = node.operands[index], decision.operands[index]
        if index == decision.base:
            assert isinstance(form, Partial)
            return self.identity(form.kind, self.program.tensor(value), node.location)
        return self.get((value, form))

    def clone(self, node: Node, decision: Decision, operands: Values) -> ir.Operation:
        """The operation with other operands, and with results of the types that their forms ask for."""
        copy = node.operation.clone(ip=self.point)
        for index, operand in enumerate(operands):
            copy.operands[index] = operand
        for index, form in enumerate(decision.results):
            if isinstance(form, Split):
                copy.results[index].set_type(self.type_of(node.results[index], form))
        self.recapture(node, copy)
        return copy

    def recapture(self, node: Node, copy: ir.Operation) -> None:
        """Let what a copy's regions take from outside be what it is here."""
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

    def constant(self, value: ir.Attribute, location: ir.Location) -> "ir.Value[ir.Type]":
        elements = ir.DenseElementsAttr(value)
        return self.one("stablehlo.constant", elements.type, [], location, {"value": value})

    def number(self, value: int, type_: ir.RankedTensorType, location: ir.Location) -> "ir.Value[ir.Type]":
        """A splat of an integer."""
        splat = ir.DenseElementsAttr.get_splat(type_, ir.IntegerAttr.get(type_.element_type, value))
        return self.constant(splat, location)

    def identity(self, kind: str, type_: ir.RankedTensorType, location: ir.Location) -> "ir.Value[ir.Type]":
        if isinstance(type_.element_type, ir.ComplexType) and kind == "add":
            made = ir.Operation.parse(f"%0 = stablehlo.constant {COMPLEX_ZERO} : {type_}")
            self.point.insert(made)
            zero: ir.Value[ir.Type] = made.operation.results[0]
            return zero
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

    def offset(self, size: int, location: ir.Location) -> "ir.Value[ir.Type]":
        """Where the block begins, in a dimension of which it has so many; an unsigned scalar."""
        if size not in self._offsets:
            assert self.index is not None
            factor = self.number(size, ir.RankedTensorType(self.index.type), location)
            self._offsets[size] = self.one("stablehlo.multiply", self.index.type, [self.index, factor], location)
        return self._offsets[size]

    def _derive(self, value: int, form: State) -> "ir.Value[ir.Type]":
        whole = self.get((value, SAME))
        location = _location(self.program, value)
        if isinstance(form, Split):
            return self._cut(whole, self.type_of(value, form), form.dimension, location)
        assert isinstance(form, Partial)
        if self.program.is_identity(value, form.kind):
            return whole
        return self._only_first(whole, form.kind, location)

    def _cut(
        self, whole: "ir.Value[ir.Type]", type_: ir.RankedTensorType, dimension: int, location: ir.Location
    ) -> "ir.Value[ir.Type]":
        assert self.index is not None
        zero = self.number(0, ir.RankedTensorType(self.index.type), location)
        offset = self.offset(type_.get_dim_size(dimension), location)
        starts = [offset if one == dimension else zero for one in range(type_.rank)]
        sizes = {"slice_sizes": ir.DenseI64ArrayAttr.get(list(type_.shape))}
        return self.one("stablehlo.dynamic_slice", type_, [whole, *starts], location, sizes)

    def _only_first(self, whole: "ir.Value[ir.Type]", kind: str, location: ir.Location) -> "ir.Value[ir.Type]":
        """The value in the first microbatch, and in the others what changes nothing."""
        assert self.index is not None
        type_ = ir.RankedTensorType(whole.type)
        scalar = ir.RankedTensorType.get([], ir.IntegerType.get_signless(1))
        zero = self.number(0, ir.RankedTensorType(self.index.type), location)
        equal = {"comparison_direction": ir.Attribute.parse("#stablehlo<comparison_direction EQ>")}
        is_first = self.one("stablehlo.compare", scalar, [self.index, zero], location, equal)
        return self.one("stablehlo.select", type_, [is_first, whole, self.identity(kind, type_, location)], location)


def resized(type_: ir.RankedTensorType, dimension: int, size: int) -> ir.RankedTensorType:
    """The type with another size in a dimension."""
    shape = list(type_.shape)
    shape[dimension] = size
    return ir.RankedTensorType.get(shape, type_.element_type, type_.encoding)


def _location(program: Program, value: int) -> ir.Location:
    producer = program.producers[value]
    return producer.location if producer is not None else program.values[value].location
