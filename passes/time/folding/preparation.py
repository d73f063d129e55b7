"""Data preparation that mixes examples: shuffles, flipped batches, ranks. It is done once, for the whole batch.

What follows from the examples alone, and does no work of a model on its way, is cheap. Where no rule allows it for one
microbatch, all of it is made before the loop, and each microbatch takes its part of what comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from atoll.compiler.batch_rules.contraction import contracts
from atoll.compiler.batch_rules.decision import Mixed
from atoll.compiler.batch_rules.interpretation import Batch, Interpretation
from atoll.compiler.batch_rules.nodes import Node, described
from atoll.compiler.batch_rules.states import SAME, Split, State
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.locations import place
from atoll.passes.time.folding.pieces import wanted_blocks


def with_preparation(batch: Batch, states: Sequence[State]) -> Interpretation | None:
    """@main, with what mixes examples made for the whole batch: before the model, or where it does; None if that does
    not help. Raises Mixed for what mixes them where it may not be made for the whole batch.

    states: those of the arguments.
    """
    preparation, mixing = _Preparation(batch, states), list[Node]()
    while True:
        scope = Interpretation(preparation.batch, batch.program.body)
        given = zip(batch.program.body.arguments, states, strict=True)
        try:
            scope.interpret([SAME if value in preparation.batch.cuts else state for value, state in given])
        except Mixed as mixed:
            if not preparation.add(mixed.node.number):
                raise
            mixing.append(mixed.node)
            continue
        joined = preparation.arguments_joined(scope)
        if joined:
            preparation.batch = replace(preparation.batch, cuts={**preparation.batch.cuts, **joined})
            continue
        left = preparation.left_whole(scope)
        if left is None and preparation.leads_to_model(scope):
            return scope
        if left is None or not preparation.add(left.number):
            loop = next((one for one in (left, *scope.joined) if one is not None and _is_model_in_loop(one)), None)
            if loop is not None and mixing:
                raise Mixed(loop, _before_a_loop(mixing[0]), preparation.remedy_for_a_loop())
            return None


def _is_model_in_loop(node: Node) -> bool:
    return node.name == "stablehlo.while" and contracts(node)


def _before_a_loop(mixing: Node) -> str:
    """Why a model in a loop cannot be done in parts, such as optimizer steps for pieces of the shuffled batch."""
    before = f"{described(mixing)} at {place(mixing.location)}"
    return f"does the work of a model with all of the examples, which {before} mixes"


@dataclass
class _Preparation:
    """What is made for the whole batch, so far.

    nodes: the operations that may be, and those in their regions, each with the operation of @main that it is in.
    carrying: the values that follow from the examples.
    """

    batch: Batch
    states: Sequence[State]
    nodes: dict[int, Node] = field(default_factory=dict)
    carrying: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        program = self.batch.program
        arguments = list(zip(program.body.arguments, self.states, strict=True))
        self.carrying = {value for value, state in arguments if state != SAME}
        data = {value for value, state in arguments if state != SAME or _is_number(program.tensor(value))}
        for node in program.body.nodes:
            taken = {*node.operands, *node.captured}
            if not self.carrying.isdisjoint(taken):
                self.carrying.update(node.results)
            if data.issuperset(taken) and not node.has_effect and not contracts(node):
                data.update(node.results)
                self.nodes.update(dict.fromkeys((node.number, *(one.number for one in node.inner())), node))
        others = (node.number for node in program.body.nodes if node.number not in self.nodes and not node.has_effect)
        self.batch = replace(self.batch, joinable=frozenset(others))

    def arguments_joined(self, scope: Interpretation) -> dict[int, Split]:
        """The arguments of which something that is done for the whole batch takes all, as they come in parts."""
        arguments = ((value, scope.completed.get(value)) for value in scope.body.arguments)
        return {value: form for value, form in arguments if isinstance(form, Split)}

    def add(self, number: int) -> bool:
        """Have an operation made for the whole batch, and all that leads to it; False if it may not be."""
        node = self.nodes.get(number)
        if node is None or node.number in self.batch.whole:
            return False
        program = self.batch.program
        given = dict(zip(program.body.arguments, self.states, strict=True))
        whole, cuts, left = set(self.batch.whole), dict(self.batch.cuts), [node]
        while left:
            one = left.pop()
            whole.add(one.number)
            cuts.update(self._cuts(one))
            for value in self.carrying.intersection((*one.operands, *one.captured)):
                producer, state = program.producers[value], given.get(value)
                if producer is not None and producer.number not in whole:
                    left.append(producer)
                elif isinstance(state, Split):
                    cuts[value] = state
        self.batch = replace(self.batch, whole=frozenset(whole), cuts=cuts)
        return True

    def _cuts(self, node: Node) -> dict[int, Split]:
        """For the results with a dimension as long as the batch, or a piece of it, how they are cut into parts: where
        what they are made of has the examples, else where the arguments have them."""
        program = self.batch.program
        given = dict(zip(program.body.arguments, self.states, strict=True))
        usual, extent = self._examples()
        forms = [self.batch.cuts.get(value, given.get(value)) for value in node.operands]
        dimensions = [one.dimension for one in (*forms, usual) if isinstance(one, Split)]
        found = {}
        for value in node.results:
            shape = program.shape(value)
            along = [one for one in dimensions if one < len(shape) and self._is_piece(shape[one], extent)]
            if along:
                found[value] = Split(max(along, key=lambda one: shape[one] == extent))
        return found

    def _is_piece(self, extent: int, examples: int) -> bool:
        """Whether it is a piece of the batch, or all of it, that the microbatches can share evenly."""
        return extent > 0 and examples % extent == 0 and extent % self.batch.parts == 0

    def remedy_for_a_loop(self) -> str:
        """What to do about a model in a loop over pieces that the microbatches cannot share, or over something else."""
        parts, extent = self.batch.parts, self._examples()[1]
        sizes = [extent // blocks for blocks, _ in wanted_blocks(self.batch.program, extent)]
        unshared = [one for one in sizes if one % parts]
        size = next((one for one in unshared if one > 1), 0)
        smaller = f"choose microbatches and replicas whose product divides the {size} examples of a piece, or "
        # Pieces with a rest have no size in common but that of one example, which no plan divides.
        larger = f"take pieces of one size, a multiple of {parts} examples, or " if unshared else ""
        return f"{smaller if size else larger}mix them outside of the function, and call it for each piece"

    def _examples(self) -> tuple[Split, int]:
        """Where the first argument with the examples has them, and how many there are."""
        values = zip(self.batch.program.body.arguments, self.states, strict=True)
        value, usual = next((value, one) for value, one in values if isinstance(one, Split))
        return usual, self.batch.program.shape(value)[usual.dimension]

    def left_whole(self, scope: Interpretation) -> Node | None:
        """An operation that takes nothing of the batch but what is whole, though it could have a part: it does the work
        of a model, or gives something that can be cut."""
        uncut: set[int] = set()
        for node in self.batch.program.body.nodes:
            if node.number in self.batch.whole:
                uncut.update(value for value in node.results if value not in self.batch.cuts)
            elif node in scope.joined or not scope.mixed.isdisjoint(node.results):
                continue  # it follows from the model
            elif node.number not in scope.decisions and not uncut.isdisjoint((*node.operands, *node.captured)):
                if contracts(node) or (node.number in self.nodes and self._cuts(node)):
                    return node
                uncut.update(node.results)
        return None

    def leads_to_model(self, scope: Interpretation) -> bool:
        """Whether a model gets its part of the batch: else nothing would be left to do for one microbatch."""
        return any(contracts(node) for node in self.batch.program.body.nodes if node.number in scope.decisions)


def _is_number(type_: ir.RankedTensorType) -> bool:
    return isinstance(type_.element_type, ir.IntegerType)
