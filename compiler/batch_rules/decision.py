"""What is decided about operations: the forms in which they take and give values, and so what has to be made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.nodes import Body, Node
from atoll.compiler.batch_rules.states import ABSENT, SAME, Partial, State, Version


@dataclass(frozen=True)
class Decision:
    """The form in which an operation takes each operand, and the form in which it gives each result.

    base: the operand that is combined once, with the complete result, and is left out in the loop.
    bodies: what was decided about the operation's regions, in order.
    """

    operands: tuple[State, ...]
    results: tuple[State, ...]
    base: int | None = None
    bodies: "tuple[DecidedBody, ...]" = ()

    @classmethod
    def along(cls, node: Node, factor: Factor, operands: Sequence[State], results: Sequence[State]) -> "Decision":
        """With these forms along a factor; an operand that joins what it combines is partial, if it adds anything."""
        base, forms = factor.base, list(operands)
        if base is not None:
            if node.program.is_identity(node.operands[base], factor.kind):
                base = None
            else:
                forms[base] = Partial(factor.kind)
        return cls(tuple(forms), tuple(results), base)


@dataclass(frozen=True, eq=False)
class DecidedBody:
    """A block in a region of an operation, and what was decided about it.

    states: those of the block's values that are not the same for all.
    decisions: for its operations that take such a value, by number.
    entries: what has to be made for the values that are returned, in order.
    captured: what the entries take from outside.
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
    remedy: what to do about it, other than leaving the batch in one piece.
    wants_blocks: whether all that is wrong is in how many blocks the examples come.
    """

    node: Node
    why: str
    remedy: str = "keep the examples apart up to a sum or mean over them"
    wants_blocks: bool = False


@dataclass(frozen=True)
class Entry:
    """An operation to be made, once.

    decision: its forms; None if it is the same for every microbatch.
    derived: made after the operation, a form of a value that is the same for all: a part cut out of it, or the value
        in the first microbatch and the identity in all others.
    completes: made after the operation's loop, the value that all its parts make together.
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
    """The forms of values that an operation takes, except the one that joins after the loop."""
    for index, version in enumerate(zip(node.operands, decision.operands, strict=True)):
        if index != decision.base and version[1] != ABSENT:
            yield version
    if decision.bodies:
        for one in decision.bodies:
            yield from one.captured
    else:
        yield from ((value, SAME) for value in node.captured)
