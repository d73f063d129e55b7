"""The program as integers: decide on these, then rewrite the IR once.

Asking the bindings costs microseconds a question; a train step of a large model has 100,000 operations, and its
decisions ask every question many times.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from atoll.compiler.mlir.bindings import builtin, ir, mpmd
from atoll.compiler.mlir.functions import argument_attributes, body_of, operands_within
from atoll.compiler.module.interface import parts_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import EXCHANGE, PARTS
from atoll.compiler.module.replicas import replicas_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_Answer = TypeVar("_Answer")

# The producer of a value that no operation makes: an argument of @main, or in a loop a value that it carries.
ARGUMENT = -1


@dataclass(frozen=True)
class Carried:
    """What a loop over microbatches hands from one iteration to the next, as values of the graph.

    The loop's result is the value that its last iteration yields, and has no number of its own.
    is_part: nothing is handed on; what each microbatch yields is its part of a result of @main.
    """

    initial: int
    argument: int
    yielded: int
    is_part: bool


@dataclass(frozen=True)
class Loop:
    """A loop over microbatches. region: the region of its operations."""

    operation: mpmd.ForOp
    region: int
    iterations: int
    index: int  # the value that counts the microbatches
    carried: tuple[Carried, ...]


@dataclass
class Graph:
    """Operations and values of @main and of its loops, by number. What stands in any other region is taken as part of
    the operation that has the region.

    The *region* of an operation counts the stretches of @main between loops and the loops themselves: 0 comes before
    the first loop, 1 is that loop, 2 comes after it, and so on.
    """

    module: ir.Module  # kept alive, as operations and values do not
    operations: list[ir.OpView] = field(default_factory=list)  # in order, without the terminators
    region: list[int] = field(default_factory=list)  # of each operation
    operands: list[list[int]] = field(default_factory=list)  # of each operation, captured ones too; each value once
    results: list[list[int]] = field(default_factory=list)
    values: "list[ir.Value[ir.Type]]" = field(default_factory=list)  # the arguments of @main come first
    producer: list[int] = field(default_factory=list)  # of each value: an operation, or ARGUMENT
    users: list[list[int]] = field(default_factory=list)  # of each value: the operations that take it
    returned: list[int] = field(default_factory=list)  # the values that @main returns, in order
    loops: list[Loop] = field(default_factory=list)
    arguments: int = 0  # how many @main has
    answers: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False)  # to what was asked `once`

    @classmethod
    def of(cls, module: ir.Module) -> "Graph":
        graph = cls(module)
        numbers: dict[ir.Value[ir.Type], int] = {}
        block = body_of(entry_function(module))
        graph.arguments = len(graph._add_values(block.arguments, ARGUMENT, numbers))
        *body, terminator = list(block.operations)
        unread = _results_of_placeholders(body)
        region = 0  # odd for a loop, even for a stretch of @main between loops
        for operation in body:
            if isinstance(operation, mpmd.ForOp):
                graph._add_loop(operation, region + 1, numbers)
                region += 2
            elif unread.isdisjoint(operation.operation.results):
                graph._add_operation(operation, region, numbers)
            else:  # nobody reads it, so there is nothing to decide about what makes it
                graph._add_values(operation.operation.results, ARGUMENT, numbers)
        graph.returned = [numbers[value] for value in terminator.operands]
        return graph

    def _add_operation(self, operation: ir.OpView, region: int, numbers: "dict[ir.Value[ir.Type], int]") -> None:
        index = len(self.operations)
        taken = dict.fromkeys(numbers[value] for value in operands_within(operation) if value in numbers)
        self.operations.append(operation)
        self.region.append(region)
        self.operands.append(list(taken))
        for value in taken:
            self.users[value].append(index)
        self.results.append(self._add_values(operation.operation.results, index, numbers))

    def _add_loop(self, loop: mpmd.ForOp, region: int, numbers: "dict[ir.Value[ir.Type], int]") -> None:
        block = loop.operation.regions[0].blocks[0]
        *arguments, index = self._add_values(block.arguments, ARGUMENT, numbers)
        *body, terminator = list(block.operations)
        for operation in body:
            self._add_operation(operation, region, numbers)
        initial = [numbers[value] for value in loop.operation.operands]
        yielded = [numbers[value] for value in terminator.operands]
        parts = parts_of_loop(loop)
        rows = zip(initial, arguments, yielded, strict=True)
        carried = tuple(Carried(*row, number in parts) for number, row in enumerate(rows))
        self.loops.append(Loop(loop, region, iterations_of(loop), index, carried))
        # A result of the loop is the value that the last iteration yields, so both have one number.
        numbers.update(zip(loop.operation.results, yielded, strict=True))

    def _add_values(
        self, values: "Iterable[ir.Value[ir.Type]]", producer: int, numbers: "dict[ir.Value[ir.Type], int]"
    ) -> list[int]:
        added = []
        for value in values:
            numbers[value] = len(self.values)
            added.append(len(self.values))
            self.values.append(value)
            self.producer.append(producer)
            self.users.append([])
        return added

    @cached_property
    def sizes(self) -> list[int]:
        """The bytes of each value; for a value that each microbatch has, those of one microbatch."""
        return [bytes_of(value.type) for value in self.values]

    @cached_property
    def times(self) -> list[int]:
        """How often each value exists in a step of one replica: once for each microbatch if it depends on that, else
        once."""
        times = [self.iterations(self.region[producer]) if producer != ARGUMENT else 1 for producer in self.producer]
        for loop in self.loops:
            for one in loop.carried:
                times[one.yielded] = loop.iterations // self.replicas if one.is_part else 1
        for number, marks in enumerate(argument_attributes(entry_function(self.module))):
            times[number] = (parts_of(marks) or self.replicas) // self.replicas
        return times

    @cached_property
    def replicas(self) -> int:
        """How many replicas share the iterations of a loop."""
        return replicas_of(self.module)

    def iterations(self, region: int) -> int:
        """How often one replica runs the operations of a region in a step."""
        return self.loops[region // 2].iterations // self.replicas if region % 2 else 1

    @cached_property
    def is_exchange(self) -> list[bool]:
        """Which operations stand for exchanges between replicas; the first of them comes after the last loop."""
        return [EXCHANGE in operation.operation.attributes for operation in self.operations]

    @cached_property
    def is_yielded(self) -> list[bool]:
        """Whether a loop yields the value: to its next iteration, or to what comes after it."""
        yielded = {one.yielded for loop in self.loops for one in loop.carried}
        return [number in yielded for number in range(len(self.values))]

    @cached_property
    def outside(self) -> "dict[int, ir.Value[ir.Type]]":
        """For each value that a loop yields, the result of the loop that stands for it after the loop."""
        results = {loop.region: loop.operation.operation.results for loop in self.loops}
        return {
            one.yielded: results[loop.region][number] for loop in self.loops for number, one in enumerate(loop.carried)
        }

    @cached_property
    def model_regions(self) -> frozenset[int]:
        """The regions that the model's last way over the batch goes through: the last loop, and those that keep
        something for it. Other loops complete sums that it needs, or are a way over the batch of their own."""
        if not self.loops:
            return frozenset((0,))
        regions = {self.loops[-1].region}
        for loop in reversed(self.loops):
            kept = [one.yielded for one in loop.carried if one.is_part]
            if any(self.region[user] in regions for value in kept for user in self.users[value]):
                regions.add(loop.region)
        return frozenset(regions)


def operations_of(module: ir.Module) -> "Iterable[ir.OpView]":
    """The operations of @main and of its loops, in order; for passes that need no more of the graph."""
    for operation in list(body_of(entry_function(module)).operations):
        if isinstance(operation, mpmd.ForOp):
            yield from list(operation.operation.regions[0].blocks[0].operations)
        else:
            yield operation


def iterations_of(loop: mpmd.ForOp) -> int:
    return ir.IntegerAttr(loop.operation.attributes["iterations"]).value


def parts_of_loop(loop: mpmd.ForOp | ir.Operation) -> frozenset[int]:
    """The numbers of the results that are parts of results of @main, one a microbatch."""
    attributes = loop.operation.attributes
    return frozenset(ir.DenseI64ArrayAttr(attributes[PARTS])) if PARTS in attributes else frozenset()


def is_placeholder(operation: ir.OpView) -> bool:
    """Whether an operation only makes the initial value that a loop wants for its parts, and that nobody reads.

    Once values live on islands, an `mpmd.assign` on the way to the loop gives it one, and a cast divides it over its
    devices.
    """
    uses = [use for result in operation.operation.results for use in result.uses]
    return bool(uses) and all(
        use.operand_number in parts_of_loop(use.owner)
        if isinstance(use.owner, mpmd.ForOp)
        else isinstance(use.owner, (mpmd.AssignOp, builtin.UnrealizedConversionCastOp)) and is_placeholder(use.owner)
        for use in uses
    )


def _results_of_placeholders(body: "Iterable[ir.OpView]") -> "set[ir.Value[ir.Type]]":
    """Of those in @main. They are found from its loops, as asking every operation takes much longer."""
    found: set[ir.Value[ir.Type]] = set()
    for loop in body:
        if not isinstance(loop, mpmd.ForOp):
            continue
        for number in parts_of_loop(loop):
            maker = loop.operation.operands[number].owner
            while not isinstance(maker, ir.Block) and is_placeholder(maker):
                found.update(maker.operation.results)
                if not isinstance(maker, (mpmd.AssignOp, builtin.UnrealizedConversionCastOp)):
                    break
                maker = maker.operation.operands[0].owner
    return found


def once(ask: Callable[[Graph], _Answer]) -> Callable[[Graph], _Answer]:
    """What is asked of one graph in many places, and computed for the first of them. Nobody may change the answer."""

    @wraps(ask)
    def answer(graph: Graph) -> _Answer:
        if ask not in graph.answers:
            graph.answers[ask] = ask(graph)
        found: _Answer = graph.answers[ask]
        return found

    return answer


def elements_of(type_: ir.Type) -> int:
    """How many elements a value has; a type that is no tensor has none."""
    if not isinstance(type_, ir.RankedTensorType):
        return 0
    count = 1
    for size in type_.shape:
        count *= size
    return count


def bytes_of(type_: ir.Type) -> int:
    """How many bytes a value takes, elements of less than a byte counted as one."""
    if not isinstance(type_, ir.RankedTensorType):
        return 0
    return elements_of(type_) * max(1, _bits(type_.element_type) // 8)


def _bits(element: ir.Type) -> int:
    if isinstance(element, ir.ComplexType):
        return 2 * _bits(element.element_type)
    if isinstance(element, (ir.IntegerType, ir.FloatType)):
        return element.width
    return 0
