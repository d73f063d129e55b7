"""Pass `split-branches`."""

import itertools
import logging
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import ir, sdy
from atoll.compiler.mlir.effects import has_effect
from atoll.compiler.mlir.functions import is_used, replace_within
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.graph import operations_of
from atoll.compiler.module.marks import BRANCHES
from atoll.compiler.module.shardings import SHARDING
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.branches.branches import Branch, is_choice

log = logging.getLogger(__name__)

_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class SplitBranches(Pass):
    """Cut a `case` into one for each of its results, so that they need not be computed in one place.

    What is costly in a branch gets a `case` of its own, and so does a scalar that is made of several; what is cheap is
    copied. Pieces that come to the same fragment are joined by `join-branches`. A `case` with effects stays whole.

    Requires: phase `timed`.

          %0:2 = case(%i) ({ return %x, %y }, { %1 = tanh %x; %2 = negate %y; return %1, %2 })
        ~~>
          %0 = case(%i) ({ return %x }, { %1 = tanh %x; return %1 }) {atoll.branches = 0 : i32}
          %1 = case(%i) ({ return %y }, { %2 = negate %y; return %2 }) {atoll.branches = 0 : i32}
    """

    def run(self, module: ir.Module) -> None:
        choices = [operation for operation in operations_of(module) if is_choice(operation)]
        if not choices:
            log.info("nothing to do: there are no branches")
            return
        numbers = itertools.count()
        for choice in choices:
            if has_effect(choice):
                log.info("the branches at %s stay whole: they have effects", place(choice.location))
            else:
                _split(choice, numbers)


def _split(choice: ir.OpView, numbers: Iterator[int]) -> None:
    """Replace a choice by its pieces; choices in its branches come first, as their pieces then count as costly
    operations of it."""
    blocks = [region.blocks[0] for region in choice.operation.regions]
    for block in blocks:
        for inner in list(block.operations):
            if is_choice(inner):
                _split(inner, numbers)
    used = [number for number, result in enumerate(choice.operation.results) if is_used(result)]
    splitting = _Splitting(choice, [Branch.of(block, used) for block in blocks], used)
    if splitting.count() > 1:
        splitting.rewrite(next(numbers))


@dataclass
class _Splitting:
    """One choice and its branches."""

    choice: ir.OpView
    branches: list[Branch]
    used: list[int]  # the numbers of the results that anything uses
    made: dict[_Value, _Value] = field(default_factory=dict)  # of what a branch computes, the piece's result

    def count(self) -> int:
        pieces = sum(len(list(branch.pieces())) for branch in self.branches)
        return pieces + sum(1 for number in self.used if self._shared(number) is None)

    def rewrite(self, number: int) -> None:
        mark = integer(number)
        with self.choice.location.context, ir.InsertionPoint(self.choice):
            given = self._given_by_pieces()
            for where, branch in enumerate(self.branches):
                for index in branch.pieces():
                    self._make_piece(where, index, given, mark)
            for index in self.used:
                known = self._shared(index) or self._made_for(index, given)
                self.choice.operation.results[index].replace_all_uses_with(known or self._make_result(index, mark))
        self.choice.operation.erase()

    def _shared(self, number: int) -> _Value | None:
        """The value from outside that all branches return as this result, if there is one."""
        first, *others = (branch.returned[number] for branch in self.branches)
        is_outside = all(branch.returned[number] not in branch.maker for branch in self.branches)
        return first if is_outside and all(other == first for other in others) else None

    def _given_by_pieces(self) -> dict[_Value, int]:
        """For values that pieces make, the results that they become in one branch, where the other branches need no
        pieces.

        In the other branches such a piece gives the result itself, in place of zeros, and so saves the result a piece
        of its own.
        """
        given: dict[_Value, int] = {}
        for number in self.used:
            costly = [branch for branch in self.branches if branch.needs_pieces(branch.returned[number])]
            if len(costly) == 1:
                value = costly[0].returned[number]
                if costly[0].is_piece[costly[0].maker[value]]:
                    given.setdefault(value, number)
        return given

    def _made_for(self, number: int, given: Mapping[_Value, int]) -> _Value | None:
        values = [branch.returned[number] for branch in self.branches]
        return next((self.made[value] for value in values if given.get(value) == number), None)

    def _make_piece(self, where: int, index: int, given: Mapping[_Value, int], mark: ir.Attribute) -> None:
        """The piece of a costly operation of one branch."""
        root = self.branches[where].operations[index]
        values = list(root.operation.results)
        piece = self._create([value.type for value in values], root.location, mark)
        for number, branch in enumerate(self.branches):
            if number == where:
                self._fill(piece, number, values, index)
            else:
                self._fill(piece, number, [branch.returned[given[one]] if one in given else None for one in values])
        self.made.update(zip(values, piece.results, strict=True))
        self._share_out(piece, [given.get(value) for value in values])

    def _make_result(self, number: int, mark: ir.Attribute) -> _Value:
        """The piece of a result."""
        values = [branch.returned[number] for branch in self.branches]
        # The location of the branch that has most to do for it; in others it may be a mere zero.
        slices = [branch.slice_of([value]) for branch, value in zip(self.branches, values, strict=True)]
        most = max(slices, key=len)
        location = self.branches[slices.index(most)].operations[most[-1]].location if most else self.choice.location
        piece = self._create([self.choice.operation.results[number].type], location, mark)
        for which, value in enumerate(values):
            self._fill(piece, which, [value])
        self._share_out(piece, [number])
        result: _Value = piece.results[0]
        return result

    def _create(self, types: Sequence[ir.Type], location: ir.Location, mark: ir.Attribute) -> ir.Operation:
        choice = self.choice.operation
        attributes = {name: choice.attributes[name] for name in choice.attributes if name != SHARDING}
        attributes[BRANCHES] = mark
        return ir.Operation.create(
            choice.name, list(types), list(choice.operands), attributes, regions=len(choice.regions), loc=location
        )

    def _fill(self, piece: ir.Operation, which: int, values: Sequence[_Value | None], root: int | None = None) -> None:
        """Let a branch of a piece give values, or zeros; root: the operation that the piece is for."""
        branch, location = self.branches[which], piece.location
        known = [value for value in values if value is not None]
        here: dict[_Value, _Value] = {}
        with ir.InsertionPoint(piece.regions[which].blocks.append()):
            for index in branch.slice_of(known, root):
                source = branch.operations[index].operation
                copy = source.clone()
                replace_within(copy.opview, ChainMap(here, self.made))
                here.update(zip(source.results, copy.results, strict=True))
            found: list[_Value] = []
            for value, result in zip(values, piece.results, strict=True):
                if value is None:
                    found.append(_zeros(result.type, location))
                else:  # what is made nowhere in the choice comes from outside
                    found.append(here.get(value) or self.made.get(value) or value)
            ir.Operation.create("stablehlo.return", [], found, loc=location)

    def _share_out(self, piece: ir.Operation, results: Sequence[int | None]) -> None:
        """Give a piece the shardings of the results that it gives."""
        if SHARDING not in self.choice.operation.attributes:
            return
        shardings = list(sdy.TensorShardingPerValueAttr(self.choice.operation.attributes[SHARDING]).shardings)
        chosen = [sdy.TensorShardingAttr(shardings[number]) for number in results if number is not None]
        if len(chosen) == len(results):
            piece.attributes[SHARDING] = sdy.TensorShardingPerValueAttr.get(chosen)


def _zeros(type_: ir.Type, location: ir.Location) -> _Value:
    """What a branch that has no part in a piece gives; nobody reads it."""
    element = ir.RankedTensorType(type_).element_type
    if isinstance(element, ir.IntegerType):
        zero = "false" if element.width == 1 else "0"
    else:
        zero = "(0.0,0.0)" if isinstance(element, ir.ComplexType) else "0.0"
    value = ir.Attribute.parse(f"dense<{zero}> : {type_}")
    made: _Value = ir.Operation.create("stablehlo.constant", [type_], attributes={"value": value}, loc=location).result
    return made
