"""Writes the update in place so that a replica makes its own share of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from atoll.compiler.batch_rules.local import Local, resized
from atoll.compiler.batch_rules.nodes import Node, NodeTree, described
from atoll.compiler.batch_rules.rule import FactorRule
from atoll.compiler.batch_rules.states import COMBINE, KIND_OF, SAME, Partial, Split, Version
from atoll.compiler.batch_rules.table import RULES
from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.effects import erase_if_unused
from atoll.compiler.mlir.functions import (
    argument_attributes,
    arguments_of,
    body_of,
    named_attributes,
    replace_within,
    result_attributes,
    set_argument_attributes,
    set_result_attributes,
)
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import SHARE
from atoll.compiler.module.notes import Gathered
from atoll.compiler.module.tasks import GATHER, OWN_SHARE
from atoll.passes.stage.operations.exchanges import exchange_attributes
from atoll.passes.stage.shares.shares import Shares

_Value = ir.Value[ir.Type]


def write_shares(module: ir.Module, shares: Shares, state: Mapping[int, int]) -> list[tuple[ir.Location, Gathered]]:
    """Write the update so that each replica makes its share; returns what has to be gathered within it, and where.

    state: the arguments that are shared, and the results that take their places.
    """
    writer = _Writer(shares)
    main = entry_function(module)
    for argument in state:
        writer.enter(argument)
    for node in shares.nodes:
        writer.write(node)
    *_, returning = body_of(main).operations
    along = {result: shares.dimensions[argument] for argument, result in state.items()}
    writer.end(returning.operation, along)
    _sign(module, {argument: shares.dimensions[argument] for argument in state}, along)
    return writer.gathered


def _sign(module: ir.Module, inputs: Mapping[int, int], results: Mapping[int, int]) -> None:
    """Let the signature of @main say what is shared."""
    main = entry_function(module)
    *_, returning = body_of(main).operations
    types = [one.type for one in arguments_of(main)], [one.type for one in returning.operation.operands]
    main.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(*types))
    set_argument_attributes(main, _marked(argument_attributes(main), inputs))
    set_result_attributes(main, _marked(result_attributes(main), results))


def _marked(marks: Sequence[ir.DictAttr], along: Mapping[int, int]) -> list[ir.DictAttr]:
    return [
        ir.DictAttr.get({**named_attributes(one), SHARE: integer(along[number])}) if number in along else one
        for number, one in enumerate(marks)
    ]


class _Own(Local):
    """Makes operations for a replica's own share.

    outside: where replicas can exchange what these need: ahead of the choice that they are in, if they are in one,
    since some replicas may not reach a branch.
    user: the operation that is done in shares.
    """

    def __init__(
        self, writer: "_Writer", point: ir.InsertionPoint, outside: ir.InsertionPoint, user: Node | None = None
    ) -> None:
        super().__init__(writer.program, point)
        self._writer = writer
        self._outside = outside
        self._user = user

    def get(self, version: Version) -> _Value:
        value, form = version
        if isinstance(form, Split):
            return self._writer.share(value, form.dimension, self._outside, self._user)
        return self._writer.whole(value, self._outside, self._user)

    def offset(self, size: int, location: ir.Location) -> _Value:
        """Where the own share begins: the replica's share of the list of all beginnings."""
        begins = [size * number for number in range(self.program.parts)]
        unsigned = ir.IntegerType.get_unsigned(32)
        all_types = ir.RankedTensorType.get([len(begins)], unsigned)
        elements = ir.DenseElementsAttr.get([ir.IntegerAttr.get(unsigned, one) for one in begins], all_types)
        own = self.exchange(OWN_SHARE, self.constant(elements, location), resized(all_types, 0, 1), location, 0)
        return self.one("stablehlo.reshape", ir.RankedTensorType.get([], unsigned), [own], location)

    def combined(self, kind: str, values: Sequence[_Value], location: ir.Location) -> _Value:
        """What one or more values come to."""
        first, *others = values
        for other in others:
            first = self.one(COMBINE[kind], ir.RankedTensorType(first.type), [first, other], location)
        return first

    def exchange(
        self, kind: str, value: _Value, result: ir.RankedTensorType, location: ir.Location, along: int | None = None
    ) -> _Value:
        attributes = exchange_attributes(kind, ir.RankedTensorType(value.type).shape, result.shape, along)
        return self.one("stablehlo.custom_call", result, [value], location, attributes)


@dataclass(frozen=True)
class _Parts:
    """A value that replicas have parts of.

    kind: how these combine.
    rest: what is to be combined with them only once, as it is the same for all; at most one.
    """

    kind: str
    own: _Value
    location: ir.Location
    rest: Sequence[_Value] = ()


@dataclass
class _Writer:
    """One run.

    gathered: what was put together from shares within the update, and where it is needed.
    """

    shares: Shares
    gathered: list[tuple[ir.Location, Gathered]] = field(default_factory=list)
    _shares: dict[tuple[int, int], _Value] = field(default_factory=dict)  # of a value along a dimension
    _parts: dict[int, _Parts] = field(default_factory=dict)  # of values, to be combined where these are needed
    _wholes: dict[int, _Value] = field(default_factory=dict)  # of values that are put together from what replicas make
    _replaced: set[int] = field(default_factory=set)  # values that their first maker no longer gives whole
    _left: list[Node] = field(default_factory=list)  # operations that may go
    _uses: Counter[int] = field(default_factory=Counter)  # how many operations and results take a value

    def __post_init__(self) -> None:
        self._uses.update(self.program.body.returned)
        for node in self.shares.nodes:
            self._uses.update((*node.operands, *node.captured))

    @property
    def program(self) -> NodeTree:
        return self.shares.program

    def enter(self, argument: int) -> None:
        """Let an argument be a share alone."""
        dimension = self.shares.dimensions[argument]
        self.program.values[argument].set_type(self._share_type(argument))
        self._shares[argument, dimension] = self.program.values[argument]
        self._replaced.add(argument)

    def write(self, node: Node, outside: ir.InsertionPoint | None = None) -> None:
        """Do an operation in shares, or give it all of what it takes.

        outside: ahead of the choice that it is in, if it is in one.
        """
        point = ir.InsertionPoint(node.operation)
        if node.number in self.shares.factors:
            self._make(node, _Own(self, point, outside or point, node))
        elif outside is None and self._joins_parts(node):
            self._join_parts(node, _Own(self, point, point))
        elif self.shares.is_shared(node):
            self._choose(node, outside or point)
        else:
            taken = (value for value in (*node.operands, *node.captured) if value in self._replaced)
            self._give(node, {value: self.whole(value, outside or point, node) for value in taken})

    def _joins_parts(self, node: Node) -> bool:
        """Whether a node combines parts of values that nothing else takes, so that only what comes of it is exchanged.

        Of the norm of all gradients, which is made of a sum for each, that is one number.
        """
        kind = KIND_OF.get(node.name)
        parts = [value for value in node.operands if value in self._parts]
        return bool(parts) and all(self._parts[one].kind == kind and self._uses[one] == 1 for one in parts)

    def _join_parts(self, node: Node, own: _Own) -> None:
        kind = KIND_OF[node.name]
        parts = [self._parts[value] for value in node.operands if value in self._parts]
        others = [one for one in node.operands if one not in self._parts and not self.program.is_identity(one, kind)]
        rest = [*(value for one in parts for value in one.rest), *(own.get((value, SAME)) for value in others)]
        (value,) = node.results
        self._parts[value] = _Parts(
            kind,
            own.combined(kind, [one.own for one in parts], node.location),
            node.location,
            [own.combined(kind, rest, node.location)] if rest else (),
        )
        self._replaced.add(value)
        self._left.append(node)

    def _choose(self, choice: Node, outside: ir.InsertionPoint) -> None:
        """Let the branches of a choice give shares."""
        dimensions = self.shares.dimensions
        for branch in choice.bodies:
            for node in branch.nodes:
                self.write(node, outside)
            *_, returning = branch.block.operations
            for number, (result, value) in enumerate(zip(choice.results, branch.returned, strict=True)):
                if result in dimensions:
                    returning.operation.operands[number] = self.share(value, dimensions[result], outside)
        for number, value in enumerate(choice.results):
            if value in dimensions:
                result = choice.operation.results[number]
                result.set_type(self._share_type(value))
                self._shares[value, dimensions[value]] = result
                self._replaced.add(value)

    def _share_type(self, value: int) -> ir.RankedTensorType:
        type_, dimension = self.program.tensor(value), self.shares.dimensions[value]
        return resized(type_, dimension, type_.get_dim_size(dimension) // self.program.parts)

    def _make(self, node: Node, own: _Own) -> None:
        rule = RULES[node.name]
        assert isinstance(rule, FactorRule)
        decision = rule.decide(node, self.shares.factors[node.number])
        operands = [own.get(version) for version in zip(node.operands, decision.operands, strict=True)]
        made = rule.build(own, node, decision, operands)
        for value, form, result in zip(node.results, decision.results, made, strict=True):
            if isinstance(form, Split):
                self._shares[value, form.dimension] = result
            else:
                assert isinstance(form, Partial)
                self._parts[value] = _Parts(form.kind, result, node.location)
        if not self.shares.is_there_whole(node):
            self._replaced.update(node.results)
        self._left.append(node)

    def _give(self, node: Node, given: Mapping[int, _Value]) -> None:
        """Let an operation take other values in place of those that it takes."""
        replaced = {self.program.values[value]: whole for value, whole in given.items()}
        replace_within(node.operation.opview, replaced)

    def end(self, returning: ir.Operation, along: Mapping[int, int]) -> None:
        """Return the shares of some results, each along a dimension, and the whole of all others."""
        point = ir.InsertionPoint(returning)
        for number, value in enumerate(self.program.body.returned):
            if number in along:
                returning.operands[number] = self.share(value, along[number], point)
            elif value in self._replaced:
                returning.operands[number] = self.whole(value, point)
        for node in reversed(self._left):
            erase_if_unused(node.operation.opview)

    def share(self, value: int, dimension: int, point: ir.InsertionPoint, user: Node | None = None) -> _Value:
        """The own share of a value along a dimension."""
        if (value, dimension) not in self._shares:
            own = _Own(self, point, point)
            whole, type_ = self.whole(value, point, user), own.type_of(value, Split(dimension))
            self._shares[value, dimension] = own.exchange(OWN_SHARE, whole, type_, whole.location, dimension)
        return self._shares[value, dimension]

    def whole(self, value: int, point: ir.InsertionPoint, user: Node | None = None) -> _Value:
        """All of a value; what is only made in shares is gathered from all replicas."""
        if value not in self._replaced:
            return self.program.values[value]
        if value not in self._wholes and value in self._parts:
            self._wholes[value] = self._combined(value, _Own(self, point, point))
        if value not in self._wholes:
            dimension = self.shares.dimensions[value]
            type_, share = self.program.tensor(value), self._shares[value, dimension]
            if user is not None:
                self.gathered.append((user.location, Gathered(str(type_), described(user))))
            self._wholes[value] = _Own(self, point, point).exchange(GATHER, share, type_, share.location, dimension)
        return self._wholes[value]

    def _combined(self, value: int, own: _Own) -> _Value:
        parts = self._parts[value]
        exchanged = own.exchange(parts.kind, parts.own, self.program.tensor(value), parts.location)
        return own.combined(parts.kind, [exchanged, *parts.rest], parts.location)
