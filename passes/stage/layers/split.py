"""Writes @main anew with one loop over layers, and all that is stacked with it, split by ranges of layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from atoll.compiler.batch_rules.control import copy_attributes
from atoll.compiler.batch_rules.counted_loop import MICROBATCHES, CountedLoop
from atoll.compiler.batch_rules.decision import Decision
from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.local import Values
from atoll.compiler.batch_rules.nodes import Body, Node, NodeTree
from atoll.compiler.batch_rules.propagation import only_chooses
from atoll.compiler.batch_rules.rule import FactorRule
from atoll.compiler.batch_rules.states import SAME, Partial, Split
from atoll.compiler.batch_rules.table import RULES
from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.effects import erase_if_unused, erase_unused
from atoll.compiler.mlir.functions import (
    argument_attributes,
    body_of,
    empty_copy,
    named_attributes,
    result_attributes,
)
from atoll.compiler.module.graph import parts_of_loop
from atoll.compiler.module.interface import Piece
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import LAYERS, PARTS, PIECE, STAGE
from atoll.compiler.module.notes import JoinedStack
from atoll.passes.stage.layers.chunks import Layers, make_chunk
from atoll.passes.stage.layers.forms import Forms, OneRange, SplitBlock
from atoll.passes.stage.layers.stacking import Stacking

_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class Stages:
    """The stage of each range of layers.

    by_loop: in the loops that say it, by the number of their node.
    otherwise: in all else; None leaves it open, where the loops differ.
    """

    by_loop: Mapping[int, Sequence[int]]
    otherwise: Sequence[int] | None


def split(
    module: ir.Module, stacking: Stacking, ranges: Sequence[Layers], stages: Stages
) -> list[tuple[ir.Location, JoinedStack]]:
    """Split what is stacked into ranges of layers; returns what had to be joined again, and where it is needed."""
    forms = Forms(stacking, ranges)
    _Splitter(stacking, ranges, stages, forms).rewrite(entry_function(module))
    return forms.joined


class _Splitter:
    """One run."""

    def __init__(self, stacking: Stacking, ranges: Sequence[Layers], stages: Stages, forms: Forms) -> None:
        self._forms = forms
        self._program: NodeTree = stacking.program
        self._ranges = ranges
        self._stacking = stacking
        self._stages = stages
        self._beside: list[ir.Operation] = []  # made whole besides in pieces, and erased if only the pieces are needed

    def rewrite(self, old: func.FuncOp) -> None:
        # A new function, as the old one is read until the last operation is made.
        body = self._program.body
        inputs = [type_ for value in body.arguments for type_ in self._forms.types(value)]
        results = [type_ for value in body.returned for type_ in self._forms.types(value)]
        locations = [self._program.values[value].location for value in body.arguments for _ in self._forms.types(value)]
        new = empty_copy(old, inputs, locations, results)
        new.attributes["arg_attrs"] = self._marks(body.arguments, argument_attributes(old))
        new.attributes["res_attrs"] = self._marks(body.returned, result_attributes(old))
        here = SplitBlock(ir.InsertionPoint(body_of(new)))
        self._forms.enter(here, body.arguments, list(body_of(new).arguments))
        self._make_all(here, body)
        *_, terminator = body_of(old).operations
        self._forms.location = terminator.location
        returned = [one for value in body.returned for one in self._forms.like(here, value, value)]
        self._create(here, "func.return", [], returned)
        for operation in reversed(self._beside):
            erase_if_unused(operation.opview)
        old.operation.erase()

    def _marks(self, values: Sequence[int], marks: Sequence[ir.DictAttr]) -> ir.ArrayAttr:
        """The marks of arguments or results; those of a stacked one on each of its pieces."""
        found = []
        for value, one in zip(values, marks, strict=True):
            dimension = self._stacking.dimensions.get(value)
            if dimension is None:
                found.append(one)
                continue
            size = self._program.shape(value)[dimension]
            unit = size // self._program.parts
            for layers in self._ranges:
                piece = Piece(dimension, unit * layers.start, size)
                found.append(ir.DictAttr.get({**named_attributes(one), PIECE: piece.attribute()}))
        return ir.ArrayAttr.get(found)

    def _create(
        self,
        here: SplitBlock,
        name: str,
        results: Sequence[ir.Type],
        operands: Sequence[_Value],
        attributes: Mapping[str, ir.Attribute] | None = None,
    ) -> ir.Operation:
        return ir.Operation.create(
            name, results, operands, dict(attributes or {}), loc=self._forms.location, ip=here.point
        )

    def _for_range(self, here: SplitBlock, number: int) -> OneRange:
        return OneRange(self._program, self._forms, here, self._ranges, number)

    def _make_all(self, here: SplitBlock, body: Body) -> None:
        dimensions = self._stacking.dimensions
        for node in body.nodes:
            self._forms.location = node.location
            if node.name == MICROBATCHES:
                self._make_loop(here, node)
                continue
            if only_chooses(node) and any(value in dimensions for value in (*node.results, *node.captured)):
                self._make_choices(here, node)
                continue
            for value in node.captured:
                self._forms.whole(here, value)  # in front of the operation whose regions take it
            if node.number in self._stacking.loops:
                self._make_chunks(here, self._stacking.loops[node.number])
            elif node.number in self._stacking.factors:
                self._make_pieces(here, node, self._stacking.factors[node.number])
            else:
                self._make_whole(here, node)

    def _make_whole(self, here: SplitBlock, node: Node) -> ir.Operation:
        local = self._for_range(here, 0)
        operands = [self._forms.whole(here, value) for value in node.operands]
        same = Decision((SAME,) * len(node.operands), (SAME,) * len(node.results))
        made = local.clone(node, same, operands)
        here.wholes.update(zip(node.results, made.results, strict=True))
        return made

    def _make_pieces(self, here: SplitBlock, node: Node, factor: Factor) -> None:
        rule = RULES[node.name]
        assert isinstance(rule, FactorRule)
        decision = rule.decide(node, factor)
        if all(form == SAME for form in decision.operands):
            self._beside.append(self._make_whole(here, node))
        made = [self._make_piece(here, node, rule, decision, number) for number in range(len(self._ranges))]
        for index, (value, form) in enumerate(zip(node.results, decision.results, strict=True)):
            column = [row[index] for row in made]
            if isinstance(form, Split):
                here.pieces[value, form.dimension] = column
            else:
                assert isinstance(form, Partial)
                here.wholes[value] = self._combined(here, form.kind, column)

    def _make_piece(self, here: SplitBlock, node: Node, rule: FactorRule, decision: Decision, number: int) -> Values:
        local = self._for_range(here, number)
        operands = []
        for index, (value, form) in enumerate(zip(node.operands, decision.operands, strict=True)):
            if index != decision.base or number == 0:
                operands.append(local.get((value, form)))
            else:  # it joins the sum once
                assert isinstance(form, Partial)
                operands.append(local.identity(form.kind, self._program.tensor(value), node.location))
        made = rule.build(local, node, decision, operands)
        if STAGE in node.operation.attributes:
            for one in made:
                maker = one.owner
                assert isinstance(maker, ir.OpView)
                self._set_stage(maker.operation, self._stages.otherwise, number)
        return made

    def _set_stage(self, made: ir.Operation, stages: Sequence[int] | None, number: int) -> None:
        """Put the piece of an operation where the piece's layers are."""
        if stages is not None:
            made.attributes[STAGE] = integer(stages[number])
        elif STAGE in made.attributes:
            del made.attributes[STAGE]

    def _combined(self, here: SplitBlock, kind: str, parts: Sequence[_Value]) -> _Value:
        local = self._for_range(here, 0)
        total, *others = parts
        for one in others:
            total = local.combine(kind, total, one, self._forms.location)
        return total

    def _make_chunks(self, here: SplitBlock, loop: CountedLoop) -> None:
        """Make a loop for each range, in the order in which the layers run: each goes on with what the last one
        carries."""
        node = loop.node
        stacked = {
            slot: self._forms.pieces(here, node.operands[slot], one.dimension) for slot, one in loop.stacks.items()
        }
        carried = {
            slot: self._forms.whole(here, value) for slot, value in enumerate(node.operands) if slot not in stacked
        }
        given = {slot: list(pieces) for slot, pieces in stacked.items()}
        order = range(len(self._ranges))
        for number in reversed(order) if loop.is_reverse else order:
            operands = [
                stacked[slot][number] if slot in stacked else carried[slot] for slot in range(len(node.operands))
            ]
            chunk = make_chunk(loop, self._ranges[number], operands, [one.type for one in operands], here.point)
            self._for_range(here, number).recapture(node, chunk)
            self._set_stage(chunk, self._stages.by_loop.get(node.number, self._stages.otherwise), number)
            if LAYERS in chunk.attributes:
                del chunk.attributes[LAYERS]
            for slot, result in enumerate(chunk.results):
                if slot in stacked:
                    if loop.stacks[slot].is_written:
                        given[slot][number] = result
                elif slot not in loop.constants and slot not in loop.counters:  # each chunk counts from the same number
                    carried[slot] = result
        for slot, value in enumerate(node.results):
            if slot in stacked:
                here.pieces[value, loop.stacks[slot].dimension] = given[slot]
            elif slot in loop.counters:
                counter = loop.counters[slot]
                ended = counter.first + counter.step * loop.iterations
                here.wholes[value] = self._for_range(here, 0).number(ended, self._program.tensor(value), node.location)
            else:
                here.wholes[value] = carried[slot]

    def _make_loop(self, here: SplitBlock, node: Node) -> None:
        """Make a loop over microbatches anew; a stacked value that it carries becomes a value for each piece."""
        (body,) = node.bodies
        *carried, index = body.arguments
        begin = [
            one
            for value, argument in zip(node.operands, carried, strict=True)
            for one in self._forms.like(here, value, argument)
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
        if parts := parts_of_loop(node.operation):
            made.attributes[PARTS] = ir.DenseI64ArrayAttr.get(self._renumbered(carried, sorted(parts)))
        types = [*(one.type for one in begin), self._program.tensor(index)]
        block = ir.Block.create_at_start(made.regions[0], types, [node.location] * len(types))
        # What the body takes from outside in a form that is not there yet is made in front of the loop.
        behind, here.point = here.point, ir.InsertionPoint(made)
        inside = SplitBlock(ir.InsertionPoint(block), here)
        self._forms.enter(inside, body.arguments, list(block.arguments))
        self._make_all(inside, body)
        self._forms.location = node.location
        yielded = [
            one
            for value, argument in zip(body.returned, carried, strict=True)
            for one in self._forms.like(inside, value, argument)
        ]
        self._create(inside, "mpmd.return", [], yielded)
        here.point = behind
        self._forms.enter(here, node.results, list(made.results))

    def _make_choices(self, here: SplitBlock, node: Node) -> None:
        """Make a choice for each range of layers, and one for what is not stacked."""
        dimensions = self._stacking.dimensions
        wholes = [index for index, value in enumerate(node.results) if value not in dimensions]
        stacked = [index for index, value in enumerate(node.results) if value in dimensions]
        for value in (node.results[index] for index in stacked):
            here.pieces[value, dimensions[value]] = []
        if wholes:
            made = self._make_choice(here, node, wholes, None)
            here.wholes.update(zip((node.results[index] for index in wholes), made.results, strict=True))
        for number in range(len(self._ranges)) if stacked else ():
            made = self._make_choice(here, node, stacked, number)
            for index, result in zip(stacked, made.results, strict=True):
                value = node.results[index]
                here.pieces[value, dimensions[value]].append(result)

    def _make_choice(self, here: SplitBlock, node: Node, kept: Sequence[int], number: int | None) -> ir.Operation:
        """Make a choice that gives some of the results, or the pieces of them for a range."""
        types = [self._forms.types(node.results[index])[number or 0] for index in kept]
        choice = self._forms.whole(here, node.operands[0])
        made = ir.Operation.create(
            node.name, types, [choice], regions=len(node.bodies), loc=node.location, ip=here.point
        )
        copy_attributes(node.operation, made, list(kept))
        if node.has(STAGE) and number is not None:
            self._set_stage(made, self._stages.otherwise, number)
        # What the branches take from outside in a form that is not there yet is made in front of the choice.
        behind, here.point = here.point, ir.InsertionPoint(made)
        beside, self._beside = self._beside, []  # a branch drops all that it does not use itself, below
        for region, body in zip(made.regions, node.bodies, strict=True):
            inside = SplitBlock(ir.InsertionPoint(region.blocks.append()), here)
            self._make_all(inside, body)
            self._forms.location = node.location
            returned = [
                self._forms.like(inside, body.returned[index], node.results[index])[number or 0] for index in kept
            ]
            self._create(inside, "stablehlo.return", [], returned)
            erase_unused(region.blocks[0])
        here.point, self._beside = behind, beside
        return made

    def _renumbered(self, carried: Sequence[int], numbers: Sequence[int]) -> list[int]:
        """For the places of some carried values, their places among what is carried now."""
        places = list(accumulate((len(self._forms.types(value)) for value in carried), initial=0))
        return [places[number] for number in numbers]
