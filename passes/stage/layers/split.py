"""Writes @main anew with one loop over layers, and all that is stacked with it, split by ranges of layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from atoll.compiler.batch_rules.control import copy_attributes
from atoll.compiler.batch_rules.local import Local, resized
from atoll.compiler.batch_rules.nodes import Body, Node, Program
from atoll.compiler.batch_rules.propagation import is_choice
from atoll.compiler.batch_rules.rule import Decision, Factor, FactorRule, Values
from atoll.compiler.batch_rules.states import SAME, Partial, Split, Version
from atoll.compiler.batch_rules.table import RULES
from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.functions import (
    argument_attributes,
    body_of,
    empty_copy,
    erase_unused,
    named_attributes,
    result_attributes,
)
from atoll.compiler.mlir.locations import name_stack
from atoll.compiler.module.interface import Piece
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import LAYERS, PARTS, PIECE, STAGE
from atoll.compiler.module.notes import JoinedStack
from atoll.passes.stage.layers.chunks import Layers, make_chunk
from atoll.passes.stage.layers.loop import MICROBATCHES, LayerLoop
from atoll.passes.stage.layers.stacking import Stacking

_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class Stages:
    """The stage of each range of layers.

    by_loop: in the loops that say it, by the number of their node.
    otherwise: in all else; None to leave it open, where the loops differ.
    """

    by_loop: Mapping[int, Sequence[int]]
    otherwise: Sequence[int] | None


def split(
    module: ir.Module, stacking: Stacking, ranges: Sequence[Layers], stages: Stages
) -> list[tuple[ir.Location, JoinedStack]]:
    """Split what is stacked into ranges of layers; returns what had to be joined again, and where it is needed."""
    splitter = _Splitter(stacking, ranges, stages)
    splitter.rewrite(entry_function(module))
    return splitter.joined


@dataclass
class _Here:
    """A block that is being made. Operations are added at its point, so what is in it already comes before."""

    point: ir.InsertionPoint
    parent: "_Here | None" = None
    wholes: dict[int, _Value] = field(default_factory=dict)
    pieces: dict[tuple[int, int], list[_Value]] = field(default_factory=dict)  # of a value along a dimension


class _Range(Local):
    """Makes operations for one range of layers."""

    def __init__(self, splitter: "_Splitter", here: _Here, number: int) -> None:
        self.program = splitter.program
        self.rules = RULES
        self.point = here.point
        self._splitter, self._here, self._number = splitter, here, number

    def share(self, size: int) -> int:
        return size // self.program.parts * self._splitter.ranges[self._number].count

    def offset(self, size: int, location: ir.Location) -> _Value:
        layers = self._splitter.ranges[self._number]
        scalar = ir.RankedTensorType.get([], ir.IntegerType.get_unsigned(32))
        return self.number(size // layers.count * layers.start, scalar, location)

    def get(self, version: Version) -> _Value:
        value, form = version
        if isinstance(form, Split):
            return self._splitter.pieces(self._here, value, form.dimension)[self._number]
        return self._splitter.whole(self._here, value)


class _Splitter:
    """One run.

    joined: which stacks were joined, and where they are needed.
    """

    def __init__(self, stacking: Stacking, ranges: Sequence[Layers], stages: Stages) -> None:
        self.program: Program = stacking.program
        self.ranges = ranges
        self.joined: list[tuple[ir.Location, JoinedStack]] = []
        self._stacking = stacking
        self._stages = stages
        self._location: ir.Location = ir.Location.unknown()  # of what is being made, for what that needs
        self._beside: list[ir.Operation] = []  # made whole beside their pieces, which may be all that is needed

    def rewrite(self, old: func.FuncOp) -> None:
        # A function of its own: the old one is read until the last operation is made.
        body = self.program.body
        inputs = [type_ for value in body.arguments for type_ in self._types(value)]
        results = [type_ for value in body.returned for type_ in self._types(value)]
        locations = [self.program.values[value].location for value in body.arguments for _ in self._types(value)]
        new = empty_copy(old, inputs, locations, results)
        new.attributes["arg_attrs"] = self._marks(body.arguments, argument_attributes(old))
        new.attributes["res_attrs"] = self._marks(body.returned, result_attributes(old))
        here = _Here(ir.InsertionPoint(body_of(new)))
        self._enter(here, body.arguments, list(body_of(new).arguments))
        self._make_all(here, body)
        *_, terminator = body_of(old).operations
        self._location = terminator.location
        returned = [one for value in body.returned for one in self._forms_like(here, value, value)]
        self._create(here, "func.return", [], returned)
        for operation in reversed(self._beside):
            if not any(True for result in operation.results for _ in result.uses):
                operation.erase()
        old.operation.erase()

    # Types and marks.

    def _types(self, value: int) -> list[ir.Type]:
        """The type of a value, or those of its pieces."""
        whole = self.program.tensor(value)
        dimension = self._stacking.dimensions.get(value)
        if dimension is None:
            return [whole]
        unit = whole.get_dim_size(dimension) // self.program.parts
        return [resized(whole, dimension, unit * layers.count) for layers in self.ranges]

    def _marks(self, values: Sequence[int], marks: Sequence[ir.DictAttr]) -> ir.ArrayAttr:
        """The marks of arguments or results; those of a stacked one on each of its pieces."""
        found = []
        for value, one in zip(values, marks, strict=True):
            dimension = self._stacking.dimensions.get(value)
            if dimension is None:
                found.append(one)
                continue
            size = self.program.shape(value)[dimension]
            unit = size // self.program.parts
            for layers in self.ranges:
                piece = Piece(dimension, unit * layers.start, size)
                found.append(ir.DictAttr.get({**named_attributes(one), PIECE: piece.attribute()}))
        return ir.ArrayAttr.get(found)

    # Values.

    def whole(self, here: _Here, value: int) -> _Value:
        """All of a value; the pieces of a stacked one are joined."""
        at: _Here | None = here
        while at is not None:
            if value in at.wholes:
                return at.wholes[value]
            dimension = self._stacking.dimensions.get(value, -1)
            if (value, dimension) in at.pieces:
                at.wholes[value] = self._joined(at, value, dimension)
                return at.wholes[value]
            at = at.parent
        raise AssertionError(f"nothing made value {value}")

    def _joined(self, here: _Here, value: int, dimension: int) -> _Value:
        type_, pieces = self.program.tensor(value), here.pieces[value, dimension]
        user = name_stack(self._location).rpartition("/")[2] or "the result"
        self.joined.append((self._location, JoinedStack(str(type_), user)))
        attributes: dict[str, ir.Attribute] = {"dimension": integer(dimension, bits=64)}
        made: _Value = self._create(here, "stablehlo.concatenate", [type_], pieces, attributes).results[0]
        return made

    def pieces(self, here: _Here, value: int, dimension: int) -> list[_Value]:
        """The pieces of a value along a dimension; those of a whole one are cut out."""
        at: _Here | None = here
        while at is not None:
            if (value, dimension) in at.pieces:
                return at.pieces[value, dimension]
            if value in at.wholes or (value, self._stacking.dimensions.get(value, -1)) in at.pieces:
                whole = self.whole(at, value)
                # Of the batch a loop over microbatches has a part each time, which nothing outside of it has.
                cut_at = here if value in self._stacking.fixed else at
                found = [self._cut(cut_at, whole, dimension, layers) for layers in self.ranges]
                cut_at.pieces[value, dimension] = found
                return found
            at = at.parent
        raise AssertionError(f"nothing made value {value}")

    def _cut(self, here: _Here, whole: _Value, dimension: int, layers: Layers) -> _Value:
        type_ = ir.RankedTensorType(whole.type)
        unit = type_.get_dim_size(dimension) // self.program.parts
        starts, limits = [0] * type_.rank, list(type_.shape)
        starts[dimension], limits[dimension] = unit * layers.start, unit * layers.stop
        attributes: dict[str, ir.Attribute] = {
            "start_indices": ir.DenseI64ArrayAttr.get(starts),
            "limit_indices": ir.DenseI64ArrayAttr.get(limits),
            "strides": ir.DenseI64ArrayAttr.get([1] * type_.rank),
        }
        result = resized(type_, dimension, unit * layers.count)
        made: _Value = self._create(here, "stablehlo.slice", [result], [whole], attributes).results[0]
        return made

    def _enter(self, here: _Here, values: Sequence[int], forms: Sequence[_Value]) -> None:
        """Note the forms of values, in a row."""
        left = list(forms)
        for value in values:
            dimension = self._stacking.dimensions.get(value)
            if dimension is None:
                here.wholes[value] = left.pop(0)
            else:
                here.pieces[value, dimension] = [left.pop(0) for _ in self.ranges]

    def _create(
        self,
        here: _Here,
        name: str,
        results: Sequence[ir.Type],
        operands: Sequence[_Value],
        attributes: Mapping[str, ir.Attribute] | None = None,
    ) -> ir.Operation:
        return ir.Operation.create(name, results, operands, dict(attributes or {}), loc=self._location, ip=here.point)

    # Operations.

    def _make_all(self, here: _Here, body: Body) -> None:
        dimensions = self._stacking.dimensions
        for node in body.nodes:
            self._location = node.location
            if node.name == MICROBATCHES:
                self._make_loop(here, node)
                continue
            if is_choice(node) and any(value in dimensions for value in (*node.results, *node.captured)):
                self._make_choices(here, node)
                continue
            for value in node.captured:
                self.whole(here, value)  # in front of the operation whose regions take it
            if node.number in self._stacking.loops:
                self._make_chunks(here, self._stacking.loops[node.number])
            elif node.number in self._stacking.factors:
                self._make_pieces(here, node, self._stacking.factors[node.number])
            else:
                self._make_whole(here, node)

    def _make_whole(self, here: _Here, node: Node) -> ir.Operation:
        local = _Range(self, here, 0)
        operands = [self.whole(here, value) for value in node.operands]
        same = Decision((SAME,) * len(node.operands), (SAME,) * len(node.results))
        made = local.clone(node, same, operands)
        here.wholes.update(zip(node.results, made.results, strict=True))
        return made

    def _make_pieces(self, here: _Here, node: Node, factor: Factor) -> None:
        rule = RULES[node.name]
        assert isinstance(rule, FactorRule)
        decision = rule.decide(node, factor)
        if all(form == SAME for form in decision.operands):
            self._beside.append(self._make_whole(here, node))
        made = [self._make_piece(here, node, rule, decision, number) for number in range(len(self.ranges))]
        for index, (value, form) in enumerate(zip(node.results, decision.results, strict=True)):
            column = [row[index] for row in made]
            if isinstance(form, Split):
                here.pieces[value, form.dimension] = column
            else:
                assert isinstance(form, Partial)
                here.wholes[value] = self._combined(here, form.kind, column)

    def _make_piece(self, here: _Here, node: Node, rule: FactorRule, decision: Decision, number: int) -> Values:
        local = _Range(self, here, number)
        operands = []
        for index, (value, form) in enumerate(zip(node.operands, decision.operands, strict=True)):
            if index != decision.base or number == 0:
                operands.append(local.get((value, form)))
            else:  # it joins the sum once
                assert isinstance(form, Partial)
                operands.append(local.identity(form.kind, self.program.tensor(value), node.location))
        made = rule.build(local, node, decision, operands)
        if STAGE in node.operation.attributes:
            for one in made:
                maker = one.owner
                assert isinstance(maker, ir.OpView)
                self._set_stage(maker.operation, self._stages.otherwise, number)
        return made

    def _set_stage(self, made: ir.Operation, stages: Sequence[int] | None, number: int) -> None:
        """The piece of an operation goes where the piece's layers are."""
        if stages is not None:
            made.attributes[STAGE] = integer(stages[number])
        elif STAGE in made.attributes:
            del made.attributes[STAGE]

    def _combined(self, here: _Here, kind: str, parts: Sequence[_Value]) -> _Value:
        local = _Range(self, here, 0)
        total, *others = parts
        for one in others:
            total = local.combine(kind, total, one, self._location)
        return total

    def _make_chunks(self, here: _Here, loop: LayerLoop) -> None:
        node = loop.node
        stacked = {slot: self.pieces(here, node.operands[slot], stack.dimension) for slot, stack in loop.stacks.items()}
        values = {slot: self.whole(here, value) for slot, value in enumerate(node.operands) if slot not in loop.stacks}
        begin = dict(values)
        order = range(len(self.ranges))
        given: dict[int, list[_Value | None]] = {slot: [None] * len(self.ranges) for slot in loop.stacks}
        for number in reversed(order) if loop.is_reverse else order:
            operands = [
                stacked[slot][number] if slot in stacked else begin[slot] if slot in loop.counters else values[slot]
                for slot in range(len(node.operands))
            ]
            chunk = make_chunk(loop, self.ranges[number], operands, [one.type for one in operands], here.point)
            _Range(self, here, number).recapture(node, chunk)
            self._set_stage(chunk, self._stages.by_loop.get(node.number, self._stages.otherwise), number)
            if LAYERS in chunk.attributes:
                del chunk.attributes[LAYERS]
            for slot, result in enumerate(chunk.results):
                if slot in stacked:
                    given[slot][number] = result if loop.stacks[slot].is_written else stacked[slot][number]
                elif slot not in loop.constants:
                    values[slot] = result
        for slot, value in enumerate(node.results):
            if slot in loop.stacks:
                here.pieces[value, loop.stacks[slot].dimension] = [one for one in given[slot] if one is not None]
            elif slot in loop.counters:
                counter = loop.counters[slot]
                ended = counter.first + counter.step * loop.iterations
                here.wholes[value] = _Range(self, here, 0).number(ended, self.program.tensor(value), node.location)
            else:
                here.wholes[value] = values[slot]

    def _make_loop(self, here: _Here, node: Node) -> None:
        """A loop over microbatches; a stacked value that it carries becomes as many as it has pieces."""
        (body,) = node.bodies
        *carried, index = body.arguments
        begin = [
            one
            for value, argument in zip(node.operands, carried, strict=True)
            for one in self._forms_like(here, value, argument)
        ]
        made = ir.Operation.create(
            node.name,
            [one.type for one in begin],
            begin,
            named_attributes(node.operation.attributes),
            regions=1,
            loc=node.location,
            ip=here.point,
        )
        if node.has(PARTS):
            made.attributes[PARTS] = ir.DenseI64ArrayAttr.get(self._renumbered(carried, node.integers(PARTS)))
        types = [*(one.type for one in begin), self.program.tensor(index)]
        block = ir.Block.create_at_start(made.regions[0], types, [node.location] * len(types))
        behind, here.point = here.point, ir.InsertionPoint(made)
        inside = _Here(ir.InsertionPoint(block), here)
        self._enter(inside, body.arguments, list(block.arguments))
        self._make_all(inside, body)
        self._location = node.location
        yielded = [
            one
            for value, argument in zip(body.returned, carried, strict=True)
            for one in self._forms_like(inside, value, argument)
        ]
        self._create(inside, "mpmd.return", [], yielded)
        here.point = behind
        self._enter(here, node.results, list(made.results))

    def _make_choices(self, here: _Here, node: Node) -> None:
        """A choice for each range of layers, and one for what is not stacked."""
        dimensions = self._stacking.dimensions
        wholes = [index for index, value in enumerate(node.results) if value not in dimensions]
        stacked = [index for index, value in enumerate(node.results) if value in dimensions]
        for value in (node.results[index] for index in stacked):
            here.pieces[value, dimensions[value]] = []
        if wholes:
            made = self._make_choice(here, node, wholes, None)
            here.wholes.update(zip((node.results[index] for index in wholes), made.results, strict=True))
        for number in range(len(self.ranges)) if stacked else ():
            made = self._make_choice(here, node, stacked, number)
            for index, result in zip(stacked, made.results, strict=True):
                value = node.results[index]
                here.pieces[value, dimensions[value]].append(result)

    def _make_choice(self, here: _Here, node: Node, kept: Sequence[int], number: int | None) -> ir.Operation:
        """A choice that gives some of the results, or the pieces of them for a range."""
        types = [self._types(node.results[index])[number or 0] for index in kept]
        choice = self.whole(here, node.operands[0])
        made = ir.Operation.create(
            node.name, types, [choice], regions=len(node.bodies), loc=node.location, ip=here.point
        )
        copy_attributes(node.operation, made, list(kept))
        if node.has(STAGE) and number is not None:
            self._set_stage(made, self._stages.otherwise, number)
        behind, here.point = here.point, ir.InsertionPoint(made)
        beside, self._beside = self._beside, []  # in the branches all that is unused goes at once
        for region, body in zip(made.regions, node.bodies, strict=True):
            inside = _Here(ir.InsertionPoint(region.blocks.append()), here)
            self._make_all(inside, body)
            self._location = node.location
            returned = [
                self._forms_like(inside, body.returned[index], node.results[index])[number or 0] for index in kept
            ]
            self._create(inside, "stablehlo.return", [], returned)
            erase_unused(region.blocks[0])
        here.point, self._beside = behind, beside
        return made

    def _forms_like(self, here: _Here, value: int, other: int) -> list[_Value]:
        """A value in the form in which another one is."""
        dimension = self._stacking.dimensions.get(other)
        return [self.whole(here, value)] if dimension is None else self.pieces(here, value, dimension)

    def _renumbered(self, carried: Sequence[int], numbers: Sequence[int]) -> list[int]:
        """Where the values that were carried at some places are carried now."""
        places = list(accumulate((len(self._types(value)) for value in carried), initial=0))
        return [places[number] for number in numbers]
