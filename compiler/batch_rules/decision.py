"""What is decided about operations: in which forms they take and give values, and so what has to be made."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from atoll.compiler.batch_rules.nodes import Body, Node
from atoll.compiler.batch_rules.states import ABSENT, SAME, State, Version


@dataclass(frozen=True)
class Decision:
    """The form in which an operation takes each operand, and in which it gives its results.

    base: the operand that is combined with the complete result, and in the loop is left out.
    bodies: what was decided about those of the operation, in their order.
    """

    operands: tuple[State, ...]
    results: tuple[State, ...]
    base: int | None = None
    bodies: "tuple[DecidedBody, ...]" = ()


@dataclass(frozen=True, eq=False)
class DecidedBody:
    """A block in a region of an operation, and what was decided about it.

    states: of the values of the block that are not the same for all.
    decisions: of its operations that take such a value, by number.
    entries: what has to be made for what is returned, in order.
    captured: what that takes from outside.
    """

    body: Body
    states: Mapping[int, State]
    decisions: Mapping[int, Decision]
    entries: "list[Entry]"
    captured: Mapping[Version, None]


@dataclass(eq=False)
class Mixed(Exception):  # noqa: N818 (it says what was found, and is always caught)
    """An operation that cannot be done on one microbatch.

    why: a clause that follows the name of the operation, such as "sorts along the batch".
    remedy: what to do, other than to leave the batch in one piece.
    """

    node: Node
    why: str
    remedy: str = "keep the examples apart up to a sum or mean over them"


@dataclass(frozen=True)
class Entry:
    """An operation to be made, once.

    decision: in which form; None if it is the same for every microbatch.
    derived: behind the operation, a form that is made from a value which is the same for all: its block, cut out of
        it, or what it is in the first microbatch and the identity in the others.
    completes: behind the operation's loop, the value that all its parts make together.
    """

    node: Node | None
    decision: Decision | None = None
    derived: Version | None = None
    completes: int | None = None

    def needs(self) -> Iterable[Version]:
        if self.derived is not None:
            return ((self.derived[0], SAME),)
        assert self.node is not None
        if self.decision is None:
            return ((value, SAME) for value in (*self.node.operands, *self.node.captured))
        return needs_of(self.node, self.decision)

    def makes(self) -> Iterable[Version]:
        if self.derived is not None:
            return (self.derived,)
        assert self.node is not None
        if self.decision is None:
            return ((value, SAME) for value in self.node.results)
        made = zip(self.node.results, self.decision.results, strict=True)
        return (version for version in made if version[1] != ABSENT)


def needs_of(node: Node, decision: Decision) -> Iterable[Version]:
    """The forms of values that an operation takes; not that which joins after the loop."""
    for index, version in enumerate(zip(node.operands, decision.operands, strict=True)):
        if index != decision.base and version[1] != ABSENT:
            yield version
    if decision.bodies:
        for one in decision.bodies:
            yield from one.captured
    else:
        yield from ((value, SAME) for value in node.captured)
