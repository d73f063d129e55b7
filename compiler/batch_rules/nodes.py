"""The whole of @main as integers, regions included, so that rules need not ask the bindings again and again."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from atoll.compiler.batch_rules.states import KIND_OF, identity
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.constants import is_value
from atoll.compiler.mlir.effects import acts
from atoll.compiler.mlir.functions import body_of
from atoll.compiler.mlir.locations import name_stack, place
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.scopes import read_scope

Shape = tuple[int, ...]


@dataclass(eq=False)
class Body:
    """A block: its arguments and operations, and what it returns."""

    block: ir.Block
    arguments: tuple[int, ...] = ()
    nodes: "list[Node]" = field(default_factory=list)
    returned: tuple[int, ...] = ()


@dataclass(eq=False)
class Node:
    """An operation. Operands and results are numbers of values."""

    program: "NodeTree"
    number: int  # in program order, regions included
    operation: ir.Operation
    name: str
    operands: tuple[int, ...]
    results: tuple[int, ...] = ()
    bodies: tuple[Body, ...] = ()
    captured: tuple[int, ...] = ()  # what its regions take from outside
    acting: "Node | None" = None  # the first, of it and those in its regions, with an effect

    @property
    def location(self) -> ir.Location:
        return self.operation.location

    def operand_type(self, index: int) -> ir.RankedTensorType:
        return self.program.tensor(self.operands[index])

    def result_type(self, index: int = 0) -> ir.RankedTensorType:
        return self.program.tensor(self.results[index])

    def operand_shape(self, index: int = 0) -> Shape:
        return self.program.shape(self.operands[index])

    def result_shape(self, index: int = 0) -> Shape:
        return self.program.shape(self.results[index])

    def has(self, attribute: str) -> bool:
        return attribute in self.operation.attributes

    @property
    def has_effect(self) -> bool:
        return self.acting is not None

    def named_attributes(self) -> dict[str, ir.Attribute]:
        return {name: self.operation.attributes[name] for name in self.operation.attributes}

    def integers(self, attribute: str, otherwise: Sequence[int] = ()) -> list[int]:
        """The elements of an array of integers."""
        if not self.has(attribute):
            return list(otherwise)
        value = self.operation.attributes[attribute]
        if isinstance(value, ir.DenseIntElementsAttr):
            return [value[index] for index in range(len(value))]
        return list(ir.DenseI64ArrayAttr(value))

    def integer(self, attribute: str) -> int:
        return ir.IntegerAttr(self.operation.attributes[attribute]).value

    def inner(self) -> "Iterator[Node]":
        """The operations in its regions, at any depth."""
        for body in self.bodies:
            for node in body.nodes:
                yield node
                yield from node.inner()


def kind_of_body(node: Node) -> str:
    """How the region combines two elements; empty if it does anything else."""
    body = node.bodies[0]
    if len(body.nodes) != 1 or len(body.arguments) != 2:
        return ""
    (inner,) = body.nodes
    is_plain = sorted(inner.operands) == sorted(body.arguments) and body.returned == inner.results
    return KIND_OF.get(inner.name, "") if is_plain else ""


def described(node: Node) -> str:
    """An operation in the user's words: as jax calls it, or else as the IR does."""
    return name_stack(node.location).rpartition("/")[2] or node.name.partition(".")[2]


def described_beside(other: Node, node: Node) -> str:
    """Another operation with its line; if that is the line of the first one too, with the scopes of both.

    A layer is written once and called many times, so that a line alone may not tell which layers are meant.
    """
    text = f"{described(other)} at {place(other.location)}"
    if place(other.location) != place(node.location):
        return text
    theirs, own = ("/".join(read_scope(name_stack(one.location)).path) for one in (other, node))
    if theirs == own:
        return f"{text} (both in scope {own})" if own else text
    return f"{text} (in {_scope(theirs)}, the former in {_scope(own)})"


def _scope(path: str) -> str:
    return f"scope {path}" if path else "no scope"


@dataclass(eq=False)
class NodeTree:
    """Every value of @main by number, and the operations that make them."""

    module: ir.Module  # kept alive, as operations and values do not
    parts: int  # how many microbatches there are
    values: "list[ir.Value[ir.Type]]" = field(default_factory=list)
    producers: "list[Node | None]" = field(default_factory=list)  # None for arguments of blocks
    homes: list[Body] = field(default_factory=list)  # the block in which each value stands
    numbers: "dict[ir.Value[ir.Type], int]" = field(default_factory=dict)
    body: Body = field(init=False)
    _types: dict[int, ir.RankedTensorType] = field(default_factory=dict)
    _shapes: dict[int, Shape] = field(default_factory=dict)
    _count: int = 0

    @classmethod
    def of(cls, module: ir.Module, parts: int) -> "NodeTree":
        program = cls(module, parts)
        program.body = program._read(body_of(entry_function(module)))[0]
        return program

    def in_parts(self, parts: int) -> "NodeTree":
        """The same values and operations, for those that are in other parts."""
        view = copy.copy(self)
        view.parts = parts
        return view

    def tensor(self, value: int) -> ir.RankedTensorType:
        if value not in self._types:
            self._types[value] = ir.RankedTensorType(self.values[value].type)
        return self._types[value]

    def shape(self, value: int) -> Shape:
        if value not in self._shapes:
            self._shapes[value] = tuple(self.tensor(value).shape)
        return self._shapes[value]

    def is_identity(self, value: int, kind: str) -> bool:
        """Whether a value changes nothing when it is combined."""
        passed = _KEEPS_ZEROS if kind in ("add", "or") else _KEEPS_SPLATS
        while (node := self.producers[value]) is not None and node.name in passed:
            value = node.operands[0]
        if node is None or node.name != "stablehlo.constant":
            return False
        neutral = identity(kind, self.tensor(value))
        return neutral is not None and is_value(node.operation, neutral)

    def _add(self, values: "Sequence[ir.Value[ir.Type]]", producer: Node | None, home: Body) -> tuple[int, ...]:
        first = len(self.values)
        for value in values:
            self.numbers[value] = len(self.values)
            self.values.append(value)
            self.producers.append(producer)
            self.homes.append(home)
        return tuple(range(first, len(self.values)))

    def _read(self, block: ir.Block) -> tuple[Body, dict[int, None]]:
        """The block, and all values that its operations take, its own included."""
        body = Body(block)
        body.arguments = self._add(list(block.arguments), None, body)
        taken: dict[int, None] = {}
        for view in block.operations:
            operation = view.operation
            operands = tuple(self.numbers[value] for value in operation.operands)
            taken.update(dict.fromkeys(operands))
            if operation.name in _TERMINATORS:
                body.returned = operands
                break
            node = Node(self, self._count, operation, operation.name, operands)
            self._count += 1
            if len(operation.regions):
                first = len(self.values)
                inner = [self._read(one) for region in operation.regions for one in region.blocks]
                node.bodies = tuple(one for one, _ in inner)
                node.captured = tuple({value: None for _, taken in inner for value in taken if value < first})
                taken.update(dict.fromkeys(node.captured))
            held = (one.acting for body in node.bodies for one in body.nodes)
            node.acting = node if acts(view) else next(filter(None, held), None)
            node.results = self._add(list(operation.results), node, body)
            body.nodes.append(node)
        return body, taken


_KEEPS_SPLATS = frozenset(("stablehlo.broadcast_in_dim", "stablehlo.reshape", "stablehlo.transpose"))
# Only zeros: the identity of `max` or `min` is another number in another type, so a conversion does not keep it.
_KEEPS_ZEROS = _KEEPS_SPLATS | {"stablehlo.convert"}
_TERMINATORS = frozenset(("func.return", "stablehlo.return", "sdy.return", "mpmd.return"))
