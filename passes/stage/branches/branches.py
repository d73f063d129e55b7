"""What the branches of a `case` are made of, and into which pieces it can be cut.

A piece is a `case` of its own, on the same choice, for one costly operation of one branch or for one result. What is
cheap stands in every piece that needs it. In the branches that have no part in a piece it gives zeros, which nobody
reads, since what would read them stands in the other branch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.functions import operands_within
from atoll.passes.stage.operations.cheap_operations import is_scalar, may_be_copied

_Value = ir.Value[ir.Type]

# An operation on arrays that more pieces than these would have to do again makes a piece itself.
_MOST_COPIES = 8


@dataclass
class Branch:
    """The operations of a branch by number, and which of them make pieces.

    operands: of each operation, the operations of the branch whose results it takes, in its regions too.
    sources: of each operation, up to two of what it is made of: pieces, and arrays from outside of the branch.
    """

    operations: list[ir.OpView] = field(default_factory=list)
    operands: list[list[int]] = field(default_factory=list)
    sources: list[frozenset[_Value]] = field(default_factory=list)
    is_piece: list[bool] = field(default_factory=list)
    has_piece: list[bool] = field(default_factory=list)  # whether it is one, or is made of one
    maker: dict[_Value, int] = field(default_factory=dict)
    returned: list[_Value] = field(default_factory=list)
    is_needed: list[bool] = field(default_factory=list)

    @classmethod
    def of(cls, block: ir.Block, used: Sequence[int]) -> "Branch":
        """used: the numbers of the results that anything uses."""
        branch = cls()
        *body, terminator = list(block.operations)
        for operation in body:
            branch._add(operation)
        branch.returned = list(terminator.operation.operands)
        branch._count_copies(used)
        return branch

    def _add(self, operation: ir.OpView) -> None:
        taken = list(dict.fromkeys(operands_within(operation)))
        inside = [value for value in taken if value in self.maker]
        found: set[_Value] = {value for value in taken if value not in self.maker and not is_scalar(value)}
        for value in inside:
            maker = self.maker[value]
            found |= {value} if self.is_piece[maker] else self.sources[maker]
        index, results = len(self.operations), list(operation.operation.results)
        self.operations.append(operation)
        self.operands.append(list(dict.fromkeys(self.maker[value] for value in inside)))
        self.sources.append(frozenset(islice(found, 2)))
        self.is_piece.append(not may_be_copied(operation) or self._is_shared_scalar(results, found))
        self.has_piece.append(self.is_piece[index] or any(self.has_piece[one] for one in self.operands[index]))
        self.maker.update(dict.fromkeys(results, index))

    @staticmethod
    def _is_shared_scalar(results: Sequence[_Value], sources: set[_Value]) -> bool:
        """Whether scalars are made of more than one scalar: then they are what is to be handed on."""
        return all(map(is_scalar, results)) and (len(sources) > 1 or not all(map(is_scalar, sources)))

    def _count_copies(self, used: Sequence[int]) -> None:
        """Find what is needed at all, and by how many pieces."""
        users: list[set[int]] = [set() for _ in self.operations]  # by number; a result has a negative one
        for number in used:
            if self.returned[number] in self.maker:
                users[self.maker[self.returned[number]]].add(-1 - number)
        for index in reversed(range(len(self.operations))):
            makes_array = not all(map(is_scalar, self.operations[index].operation.results))
            if makes_array and len(users[index]) > _MOST_COPIES:
                self.is_piece[index] = self.has_piece[index] = True
            for operand in self.operands[index] if users[index] else ():
                users[operand] |= {index} if self.is_piece[index] else users[index]
        self.is_needed = [bool(one) for one in users]
        for index, operands in enumerate(self.operands):
            self.has_piece[index] |= any(self.has_piece[one] for one in operands)

    def pieces(self) -> Iterator[int]:
        """The operations that make pieces, each behind those that it needs."""
        return (index for index, is_piece in enumerate(self.is_piece) if is_piece and self.is_needed[index])

    def needs_pieces(self, value: _Value) -> bool:
        return value in self.maker and self.has_piece[self.maker[value]]

    def slice_of(self, values: Sequence[_Value], root: int | None = None) -> list[int]:
        """The operations that make some values, or all that the root needs and the root, from other pieces' results."""
        left = [self.maker[value] for value in values if value in self.maker] if root is None else [root]
        found: set[int] = set()
        while left:
            index = left.pop()
            if index in found or (self.is_piece[index] and index != root):
                continue
            found.add(index)
            left += self.operands[index]
        return sorted(found)


def is_choice(operation: ir.OpView) -> bool:
    return isinstance(operation, stablehlo.CaseOp | stablehlo.IfOp)
