"""What values are while @main is split by layers: whole, in pieces, or both; one is made of the other where needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from atoll.compiler.batch_rules.local import Local, resized
from atoll.compiler.batch_rules.nodes import NodeTree
from atoll.compiler.batch_rules.states import Split, Version
from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.locations import name_stack
from atoll.compiler.module.notes import JoinedStack
from atoll.passes.stage.layers.chunks import Layers
from atoll.passes.stage.layers.stacking import Stacking

_Value = ir.Value[ir.Type]


@dataclass
class SplitBlock:
    """A block that is being made. Operations are added at its point, so what is in it already comes before."""

    point: ir.InsertionPoint
    parent: "SplitBlock | None" = None
    wholes: dict[int, _Value] = field(default_factory=dict)
    pieces: dict[tuple[int, int], list[_Value]] = field(default_factory=dict)  # of a value along a dimension


class Forms:
    """The forms of all values, for ranges of layers.

    location: of what is being made, for what that needs.
    joined: which stacks were joined, and where they are needed.
    """

    def __init__(self, stacking: Stacking, ranges: Sequence[Layers]) -> None:
        self.location: ir.Location = ir.Location.unknown()
        self.joined: list[tuple[ir.Location, JoinedStack]] = []
        self._program: NodeTree = stacking.program
        self._stacking = stacking
        self._ranges = ranges

    def types(self, value: int) -> list[ir.Type]:
        """The type of a value, or those of its pieces."""
        whole = self._program.tensor(value)
        dimension = self._stacking.dimensions.get(value)
        if dimension is None:
            return [whole]
        unit = whole.get_dim_size(dimension) // self._program.parts
        return [resized(whole, dimension, unit * layers.count) for layers in self._ranges]

    def enter(self, here: SplitBlock, values: Sequence[int], forms: Sequence[_Value]) -> None:
        """Note the forms of values, in a row."""
        left = list(forms)
        for value in values:
            dimension = self._stacking.dimensions.get(value)
            if dimension is None:
                here.wholes[value] = left.pop(0)
            else:
                here.pieces[value, dimension] = [left.pop(0) for _ in self._ranges]

    def like(self, here: SplitBlock, value: int, other: int) -> list[_Value]:
        """A value in the form in which another one is."""
        dimension = self._stacking.dimensions.get(other)
        return [self.whole(here, value)] if dimension is None else self.pieces(here, value, dimension)

    def whole(self, here: SplitBlock, value: int) -> _Value:
        """All of a value; the pieces of a stacked one are joined."""
        at: SplitBlock | None = here
        while at is not None:
            if value in at.wholes:
                return at.wholes[value]
            dimension = self._stacking.dimensions.get(value, -1)
            if (value, dimension) in at.pieces:
                at.wholes[value] = self._joined(at, value, dimension)
                return at.wholes[value]
            at = at.parent
        raise AssertionError(f"nothing made value {value}")

    def _joined(self, here: SplitBlock, value: int, dimension: int) -> _Value:
        type_, pieces = self._program.tensor(value), here.pieces[value, dimension]
        user = name_stack(self.location).rpartition("/")[2] or "the result"
        self.joined.append((self.location, JoinedStack(str(type_), user)))
        attributes: dict[str, ir.Attribute] = {"dimension": integer(dimension, bits=64)}
        return self._create(here, "stablehlo.concatenate", type_, pieces, attributes)

    def pieces(self, here: SplitBlock, value: int, dimension: int) -> list[_Value]:
        """The pieces of a value along a dimension; those of a whole one are cut out."""
        at: SplitBlock | None = here
        while at is not None:
            if (value, dimension) in at.pieces:
                return at.pieces[value, dimension]
            if value in at.wholes or (value, self._stacking.dimensions.get(value, -1)) in at.pieces:
                whole = self.whole(at, value)
                # Of the batch a loop over microbatches has a part each time, which nothing outside of it has.
                cut_at = here if value in self._stacking.fixed else at
                found = [self._cut(cut_at, whole, dimension, layers) for layers in self._ranges]
                cut_at.pieces[value, dimension] = found
                return found
            at = at.parent
        raise AssertionError(f"nothing made value {value}")

    def _cut(self, here: SplitBlock, whole: _Value, dimension: int, layers: Layers) -> _Value:
        type_ = ir.RankedTensorType(whole.type)
        unit = type_.get_dim_size(dimension) // self._program.parts
        starts, limits = [0] * type_.rank, list(type_.shape)
        starts[dimension], limits[dimension] = unit * layers.start, unit * layers.stop
        attributes: dict[str, ir.Attribute] = {
            "start_indices": ir.DenseI64ArrayAttr.get(starts),
            "limit_indices": ir.DenseI64ArrayAttr.get(limits),
            "strides": ir.DenseI64ArrayAttr.get([1] * type_.rank),
        }
        result = resized(type_, dimension, unit * layers.count)
        return self._create(here, "stablehlo.slice", result, [whole], attributes)

    def _create(
        self,
        here: SplitBlock,
        name: str,
        result: ir.Type,
        operands: Sequence[_Value],
        attributes: Mapping[str, ir.Attribute],
    ) -> _Value:
        made = ir.Operation.create(name, [result], operands, dict(attributes), loc=self.location, ip=here.point)
        value: _Value = made.results[0]
        return value


class OneRange(Local):
    """Makes operations for one range of layers, in a block."""

    def __init__(
        self, program: NodeTree, forms: Forms, here: SplitBlock, ranges: Sequence[Layers], number: int
    ) -> None:
        self._layers = ranges[number]
        super().__init__(program, here.point, self._layers.count)
        self._forms, self._here, self._number = forms, here, number

    def offset(self, size: int, location: ir.Location) -> _Value:
        scalar = ir.RankedTensorType.get([], ir.IntegerType.get_unsigned(32))
        return self.number(size // self._layers.count * self._layers.start, scalar, location)

    def get(self, version: Version) -> _Value:
        value, form = version
        if isinstance(form, Split):
            return self._forms.pieces(self._here, value, form.dimension)[self._number]
        return self._forms.whole(self._here, value)
