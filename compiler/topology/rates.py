"""What devices of a kind do in a second, where somebody has measured it."""

from dataclasses import dataclass
from fractions import Fraction

from atoll.compiler.errors import TopologyError
from atoll.compiler.text.language import known_names, shown
from atoll.compiler.text.quantities import BANDWIDTH, LATENCY, MEMORY, OPERATIONS, amount_text, whole_number
from atoll.compiler.topology.island import ISLAND_KINDS

# The kinds whose compiler puts values into the order that it multiplies in; those of others choose orders that fit.
REORDERING = ("cpu",)


@dataclass(frozen=True)
class Rates:
    """The rates of one device while others of its kind do nothing, and what all of them do together.

    operations: those of products, in a second. memory: the bytes that go through its memory in a second.
    convolutions: their operations in a second; None if they are done as fast as products.
    reordering: the bytes in a second that products put in another order; None if that takes no time. across: the bytes
        that are read for such a value in the time that comes on top where no cache holds them; None if none does.
        reach: with how many bytes half of that comes on top.
    task: the nanoseconds that a task takes beside its work.
    at_once: how many times as much all devices of the kind do together, as they share cores; None if each has its own.
    """

    kind: str
    operations: int
    memory: int
    convolutions: int | None = None
    reordering: int | None = None
    across: int | None = None
    reach: int | None = None
    task: int = 0
    at_once: Fraction | None = None

    def __post_init__(self) -> None:
        if self.kind not in ISLAND_KINDS:
            remedy = known_names(self.kind, ISLAND_KINDS)
            raise TopologyError(f"rates of the unknown kind {shown(self.kind)}", remedy=remedy)
        whole_number("the operations a second", self.operations, TopologyError)
        whole_number("the bytes a second", self.memory, TopologyError)
        if self.convolutions is not None:
            whole_number("the operations a second in convolutions", self.convolutions, TopologyError)
        for what, value in (
            ("the bytes a second in another order", self.reordering),
            ("the bytes a second across their order", self.across),
            ("the bytes beyond which another order takes longer", self.reach),
        ):
            if value is not None:
                whole_number(what, value, TopologyError)
        if self.reordering is not None and self.kind not in REORDERING:
            what = f"devices of kind {self.kind} put nothing in another order before they multiply"
            raise TopologyError(what, remedy="leave out what is `reordered`")
        if (self.across is None) != (self.reach is None) or (self.across is not None and self.reordering is None):
            what = "what is read across its order has no rate of its own"
            raise TopologyError(what, remedy="give reordering, across and reach, or reordering alone")
        whole_number("the time of a task", self.task, TopologyError, least=0)
        if self.at_once is not None and self.at_once < 1:
            what = f"all devices of kind {self.kind} together do less than one of them"
            raise TopologyError(what, remedy="write 1 or more at once, or leave it out")

    def __str__(self) -> str:
        parts = [amount_text(self.operations, OPERATIONS), amount_text(self.memory, BANDWIDTH)]
        if self.convolutions is not None:
            parts.append(f"{amount_text(self.convolutions, OPERATIONS)} in convolutions")
        if self.reordering is not None:
            parts.append(f"{amount_text(self.reordering, BANDWIDTH)} reordered")
        if self.across is not None and self.reach is not None:
            parts.append(f"{amount_text(self.across, BANDWIDTH)} beyond {amount_text(self.reach, MEMORY)}")
        if self.task:
            parts.append(f"{amount_text(self.task, LATENCY)} a task")
        if self.at_once is not None:
            parts.append(f"{float(self.at_once):g} at once")
        return f"rates {self.kind} : {', '.join(parts)}"
