"""Writes the update in place so that a replica makes its own share of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from atoll.compiler.batch_rules.local import Local, resized
from atoll.compiler.batch_rules.nodes import Node, NodeTree, described
from atoll.compiler.batch_rules.rule import FactorRule
from atoll.compiler.batch_rules.states import Partial, Split, Version
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
from atoll.compiler.module.marks import EXCHANGE, SHARE
from atoll.compiler.module.notes import Gathered
from atoll.compiler.module.tasks import GATHER, OWN_SHARE
from atoll.passes.stage.shares.shares import Shares

_Value = ir.Value[ir.Type]

# What stands for an exchange between replicas as long as values live on no islands.
CALLED = EXCHANGE
# The first names of dimensions in Shardy's rules.
_NAMES = "ijklmnopqrstuvwxyz"


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
    """Makes operations for the share of a replica.

    outside: where replicas can exchange what these need: ahead of the choice in which they are, if they are in one.
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
        """The own share of where all shares begin."""
        begins = [size * number for number in range(self.program.parts)]
        unsigned = ir.IntegerType.get_unsigned(32)
        all_types = ir.RankedTensorType.get([len(begins)], unsigned)
        elements = ir.DenseElementsAttr.get([ir.IntegerAttr.get(unsigned, one) for one in begins], all_types)
        own = self.exchange(OWN_SHARE, self.constant(elements, location), resized(all_types, 0, 1), location, 0)
        return self.one("stablehlo.reshape", ir.RankedTensorType.get([], unsigned), [own], location)

    def exchange(
        self, kind: str, value: _Value, result: ir.RankedTensorType, location: ir.Location, along: int | None = None
    ) -> _Value:
        attributes = {
            "call_target_name": ir.StringAttr.get(CALLED),
            EXCHANGE: ir.StringAttr.get(kind),
            "sdy.sharding_rule": _rule(ir.RankedTensorType(value.type).shape, result.shape, along),
        }
        if along is not None:
            attributes[SHARE] = integer(along)
        return self.one("stablehlo.custom_call", result, [value], location, attributes)


def _rule(taken: Sequence[int], made: Sequence[int], along: int | None) -> ir.Attribute:
    """How Shardy sees an exchange: a sharding passes through every dimension but that which is shared."""
    names, sizes, blocked = [_name(number) for number in range(len(taken))], list(taken), ""
    results = list(names)
    if along is not None:
        results[along] = _name(len(taken))
        sizes.append(made[along])
        blocked = f" blocked_propagation={{{names[along]}, {results[along]}}}"
    factors = ", ".join(f"{_name(number)}={size}" for number, size in enumerate(sizes))
    text = f"([{', '.join(names)}])->([{', '.join(results)}]) {{{factors}}}{blocked}, custom"
    return ir.Attribute.parse(f"#sdy.op_sharding_rule<{text}>")


def _name(number: int) -> str:
    """What Shardy calls a dimension in a rule: `i`, ..., `z`, `z_1`, `z_2`."""
    last = len(_NAMES) - 1
    return _NAMES[number] if number <= last else f"{_NAMES[last]}_{number - last}"


@dataclass
class _Writer:
    """One run.

    gathered: what was put together from its shares within the update, and where that is needed.
    """

    shares: Shares
    gathered: list[tuple[ir.Location, Gathered]] = field(default_factory=list)
    _shares: dict[tuple[int, int], _Value] = field(default_factory=dict)  # of a value along a dimension
    _wholes: dict[int, _Value] = field(default_factory=dict)  # of values that are made as shares, and combined
    _replaced: set[int] = field(default_factory=set)  # values of which what first made them goes
    _left: list[Node] = field(default_factory=list)  # operations that may go

    @property
    def program(self) -> NodeTree:
        return self.shares.program

    def enter(self, argument: int) -> None:
        """An argument of which there is a share alone."""
        dimension = self.shares.dimensions[argument]
        self.program.values[argument].set_type(self._share_type(argument))
        self._shares[argument, dimension] = self.program.values[argument]
        self._replaced.add(argument)

    def write(self, node: Node, outside: ir.InsertionPoint | None = None) -> None:
        """Do an operation in shares, or give it all of what it takes.

        outside: ahead of the choice in which it is, if it is in one.
        """
        point = ir.InsertionPoint(node.operation)
        if node.number in self.shares.factors:
            self._make(node, _Own(self, point, outside or point, node))
        elif self.shares.is_shared(node):
            self._choose(node, outside or point)
        else:
            taken = (value for value in (*node.operands, *node.captured) if value in self._replaced)
            self._give(node, {value: self.whole(value, point, node) for value in taken})

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
                self._wholes[value] = own.exchange(form.kind, result, self.program.tensor(value), node.location)
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
        """All of a value; what is made in shares alone is gathered from all replicas."""
        if value not in self._replaced:
            return self.program.values[value]
        if value not in self._wholes:
            dimension = self.shares.dimensions[value]
            type_, share = self.program.tensor(value), self._shares[value, dimension]
            if user is not None:
                self.gathered.append((user.location, Gathered(str(type_), described(user))))
            self._wholes[value] = _Own(self, point, point).exchange(GATHER, share, type_, share.location, dimension)
        return self._wholes[value]
