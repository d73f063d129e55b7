"""Makes a block for one microbatch, from what was decided about its operations."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from atoll.compiler.batch_rules.decision import Decision, Entry
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node, NodeTree
from atoll.compiler.batch_rules.states import ABSENT, DEVICE_OWN, SAME, Partial, Split, State, Version
from atoll.compiler.mlir.bindings import ir


class Builder(Protocol):
    """The half of a rule that makes operations; the other half decides."""

    def build(self, local: "LocalBlock", node: Node, decision: Decision, operands: Values, /) -> Values:
        """Make the operation for one microbatch."""


class LocalBlock(Local):
    """A block that is being made.

    index: the number of the microbatch, None outside of a loop.
    """

    def __init__(
        self,
        program: NodeTree,
        builders: Mapping[str, Builder],
        block: ir.Block,
        parent: "LocalBlock | None" = None,
        index: "ir.Value[ir.Type] | None" = None,
    ) -> None:
        super().__init__(program, ir.InsertionPoint(block))
        self.parent = parent
        self.index: ir.Value[ir.Type] | None = index if index is not None or parent is None else parent.index
        self.values: dict[Version, ir.Value[ir.Type]] = {}
        self.builders = builders
        self._offsets: dict[int, ir.Value[ir.Type]] = {}

    def inside(self, block: ir.Block, index: "ir.Value[ir.Type] | None" = None) -> "LocalBlock":
        """For a block within this one."""
        return LocalBlock(self.program, self.builders, block, self, index)

    def count_from(self, number: "ir.Value[ir.Type]") -> None:
        """Know the number of the microbatch."""
        self.index = number

    def get(self, version: Version) -> "ir.Value[ir.Type]":
        here: LocalBlock | None = self
        while here is not None:
            if version in here.values:
                return here.values[version]
            here = here.parent
        raise AssertionError(f"nothing made value {version[0]} in the form {version[1]}")

    def make_all(self, entries: "Iterable[Entry]") -> None:
        for entry in entries:
            self.make(entry)

    def make(self, entry: Entry) -> None:
        if entry.derived is not None:
            self.values[entry.derived] = self._derive(*entry.derived)
            return
        # Without a decision the operation is the same for every microbatch, so it needs no rule.
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
            made = self.builders[node.name].build(self, node, decision, operands)
        for version, value in zip(entry.makes(), made, strict=True):
            self.values[version] = value

    def _operand(self, node: Node, index: int, decision: Decision) -> "ir.Value[ir.Type]":
        value, form = node.operands[index], decision.operands[index]
        # The base joins once, after the loop: until then the identity stands in its place.
        if index == decision.base:
            assert isinstance(form, Partial)
            return self.identity(form.kind, self.program.tensor(value), node.location)
        return self.get((value, form))

    def offset(self, size: int, location: ir.Location) -> "ir.Value[ir.Type]":
        if size not in self._offsets:
            assert self.index is not None
            factor = self.number(size, ir.RankedTensorType(self.index.type), location)
            self._offsets[size] = self.one("stablehlo.multiply", self.index.type, [self.index, factor], location)
        return self._offsets[size]

    def _derive(self, value: int, form: State) -> "ir.Value[ir.Type]":
        whole = self.get((value, SAME))
        if form == DEVICE_OWN:
            return whole
        location = _location(self.program, value)
        if isinstance(form, Split):
            return self._cut(whole, self.type_of(value, form), form, location)
        assert isinstance(form, Partial)
        if self.program.is_identity(value, form.kind):
            return whole  # it changes nothing, however often it is combined
        return self._only_first(whole, form.kind, location)

    def _cut(
        self, whole: "ir.Value[ir.Type]", type_: ir.RankedTensorType, form: Split, location: ir.Location
    ) -> "ir.Value[ir.Type]":
        if form.blocks > 1:
            # The blocks get a dimension of their own, so that one slice takes the part of each.
            separate = self.one("stablehlo.reshape", _in_blocks(whole.type, form), [whole], location)
            parts = self._cut(separate, _in_blocks(type_, form), Split(form.dimension + 1), location)
            return self.one("stablehlo.reshape", type_, [parts], location)
        assert self.index is not None
        dimension = form.dimension
        zero = self.number(0, ir.RankedTensorType(self.index.type), location)
        offset = self.offset(type_.get_dim_size(dimension), location)
        starts = [offset if one == dimension else zero for one in range(type_.rank)]
        sizes = {"slice_sizes": ir.DenseI64ArrayAttr.get(list(type_.shape))}
        return self.one("stablehlo.dynamic_slice", type_, [whole, *starts], location, sizes)

    def join(
        self, whole: "ir.Value[ir.Type]", part: "ir.Value[ir.Type]", form: Split, location: ir.Location
    ) -> "ir.Value[ir.Type]":
        """What is joined so far, with this microbatch's part at its place; `joined_type` is the type of both."""
        dimension = form.dimension
        if form.blocks > 1:
            part = self.one("stablehlo.reshape", _in_blocks(part.type, form), [part], location)
            dimension += 1
        assert self.index is not None
        type_ = ir.RankedTensorType(part.type)
        zero = self.number(0, ir.RankedTensorType(self.index.type), location)
        offset = self.offset(type_.get_dim_size(dimension), location)
        starts = [offset if one == dimension else zero for one in range(type_.rank)]
        return self.one("stablehlo.dynamic_update_slice", whole.type, [whole, part, *starts], location)

    def _only_first(self, whole: "ir.Value[ir.Type]", kind: str, location: ir.Location) -> "ir.Value[ir.Type]":
        """The value in the first microbatch, and the identity in all others, so that it is combined once."""
        assert self.index is not None
        type_ = ir.RankedTensorType(whole.type)
        scalar = ir.RankedTensorType.get([], ir.IntegerType.get_signless(1))
        zero = self.number(0, ir.RankedTensorType(self.index.type), location)
        equal = {"comparison_direction": ir.Attribute.parse("#stablehlo<comparison_direction EQ>")}
        is_first = self.one("stablehlo.compare", scalar, [self.index, zero], location, equal)
        return self.one("stablehlo.select", type_, [is_first, whole, self.identity(kind, type_, location)], location)


def joined_type(type_: ir.RankedTensorType, form: Split) -> ir.RankedTensorType:
    """The type in which the parts of a value are joined: several blocks have a dimension of their own."""
    return type_ if form.blocks == 1 else _in_blocks(type_, form)


def _in_blocks(type_: ir.Type, form: Split) -> ir.RankedTensorType:
    """The type with a dimension that counts the blocks before that of their elements."""
    whole = ir.RankedTensorType(type_)
    shape, at = list(whole.shape), form.dimension
    return ir.RankedTensorType.get(
        [*shape[:at], form.blocks, shape[at] // form.blocks, *shape[at + 1 :]], whole.element_type
    )


def _location(program: NodeTree, value: int) -> ir.Location:
    producer = program.producers[value]
    return producer.location if producer is not None else program.values[value].location
