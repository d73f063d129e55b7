"""What passes note for people: what they decided or could not do, and what that costs.

The module keeps notes as plain data (`noting`); their wording is here, for whoever shows one.
"""

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any, TypeVar

from atoll.compiler.text.quantities import bytes_text, count_text, seconds_text


@dataclass(frozen=True)
class OwnPieces:
    """The plan leaves the number of microbatches open, and the function takes its batch in so many pieces by itself."""

    count: int

    def __str__(self) -> str:
        return f"as many microbatches as the loop takes pieces of the batch: {self.count}"


@dataclass(frozen=True)
class PlannedDivision:
    """The plan leaves open how the batch is divided, and that was chosen by which a step should take the least time.

    step, undivided: the predicted nanoseconds of a step, and of one with one microbatch; 0 if that may not fit.
    beside: what else was chosen, as a plan writes it."""

    microbatches: int
    replicas: int
    step: int
    undivided: int
    beside: str = ""

    @property
    def parts(self) -> int:  # of the batch
        return self.microbatches * self.replicas

    def __str__(self) -> str:
        step = f"{self.beside and f' with {self.beside}'}, a predicted step of {seconds_text(self.step / 1e9)}"
        if self.parts == 1:
            return f"chosen: one microbatch{step}, as no other number is said to take less"
        whole = f"of {seconds_text(self.undivided / 1e9)}" if self.undivided else "of which it is not sure that it fits"
        step = f" in each of {self.replicas} replicas{step}" if self.replicas > 1 else step
        many = "es" if self.microbatches > 1 else ""
        return f"chosen: {self.microbatches} microbatch{many}{step}, not one {whole} with one microbatch"


@dataclass(frozen=True)
class OneMicrobatch:
    """The plan leaves the number of microbatches open, and there is one. why: a clause."""

    why: str

    def __str__(self) -> str:
        return f"one microbatch, as {self.why}"


@dataclass(frozen=True)
class AloneScope:
    """A scope that the plan has done for each microbatch alone, and how many operations are in it."""

    scope: str
    operations: int

    def __str__(self) -> str:
        what = "computed for each microbatch alone, as per_microbatch says"
        return f"{what}: {self.operations} operations in scope {self.scope}"


@dataclass(frozen=True)
class WholeBatch:
    """Something that no rule makes part by part, although each microbatch needs only its part."""

    operation: str
    bytes: int

    def __str__(self) -> str:
        what = "computed for the whole batch, as no rule makes only a part of it"
        return f"{what}: {self.operation}, {self.bytes} bytes"


@dataclass(frozen=True)
class Joined:
    """An operation that mixes the examples: what it takes of every microbatch is joined, and it is done once."""

    operation: str
    bytes: int

    def __str__(self) -> str:
        what = f"done once for the whole batch, as it mixes the examples: {self.operation}"
        return f"{what}, for which {bytes_text(self.bytes)} are joined"


@dataclass(frozen=True)
class AcrossBatch:
    """A sum over the batch that examples need, after a model's work: each microbatch waits for all others there.

    why: of the first such sum of a line. sums: how many the line has, as one line makes the statistics of all layers.
    """

    why: str
    sums: int = 1

    def __str__(self) -> str:
        times = f" for {self.sums} sums, first" if self.sums > 1 else ","
        return f"all microbatches wait for each other{times} as {self.why}"


@dataclass(frozen=True)
class SeveralLoops:
    """How often a step goes over the batch, and what that costs: the parts of the model's work, in percent, that are
    done again and that are done for the whole batch at once, and what a device keeps of the batch from one loop to
    another, if its island has the whole model. allowed, room: what the plan lets be done again, in percent, and kept
    on a device, in bytes."""

    loops: int
    again: int
    whole: int
    bytes: int
    allowed: int
    room: int

    def __str__(self) -> str:
        costs = []
        if self.again:
            costs.append(f"{self.again}% of the model's work are done again")
        if self.whole:
            costs.append(f"{self.whole}% of the model's work are done for the whole batch at once")
        if self.bytes:
            costs.append(f"{bytes_text(self.bytes)} of the batch are kept from one time to another")
        ways = "once" if self.loops == 1 else f"{self.loops} times"
        return f"the microbatches go over the stages {ways}: {', '.join(costs) or 'nothing is done again or kept'}"


@dataclass(frozen=True)
class LineExtra:
    """What one line adds to the cost of a step that goes over the batch several times.

    again, whole: operations of the model's work, those of the whole batch, that are done again, and done at once.
    bytes: what a device keeps of what the line makes, if its island has the whole model.
    ends: the numbers of the loops, `0 2`, at whose end all microbatches wait for each other, as this line says.
    """

    again: int
    whole: int
    bytes: int
    ends: str

    @property
    def loops(self) -> tuple[int, ...]:
        return tuple(map(int, self.ends.split()))

    def __str__(self) -> str:
        costs = []
        if self.again:
            costs.append(f"{count_text(self.again)} operations are done again")
        if self.whole:
            costs.append(f"{count_text(self.whole)} operations are done for the whole batch at once")
        if self.bytes:
            costs.append(f"{bytes_text(self.bytes)} of the batch are kept")
        if self.ends:
            names = ", ".join(f"L{number}" for number in self.loops)
            costs.append(f"microbatches wait for each other at the end of {names}")
        return f"extra: {', '.join(costs)}"


@dataclass(frozen=True)
class BatchBlocks:
    """The examples, of which a microbatch takes some of each of several blocks, as the model divides them itself."""

    operation: str
    blocks: int

    def __str__(self) -> str:
        return (
            f"examples are taken in {self.blocks} blocks, some of each a microbatch, as {self.operation} divides them"
        )


@dataclass(frozen=True)
class WholeLoop:
    """A loop of the model that cannot be cut. why: a clause about it, such as `its length depends on data`."""

    scope: str
    why: str

    def __str__(self) -> str:
        return f"not cut, and on one stage: the loop{f' in scope {self.scope}' if self.scope else ''}, as {self.why}"


@dataclass(frozen=True)
class UnevenStages:
    """Stages that were found and are off an even share by more than a fifth: what part of the work each has, and why no
    other cut was better, as a clause."""

    shares: str
    why: str

    def __str__(self) -> str:
        return f"uneven stages, with {self.shares} of the work: {self.why}"


@dataclass(frozen=True)
class JoinedStack:
    """A stack of layers that is split but is also needed whole. user: the operation that needs it."""

    type: str
    user: str

    def __str__(self) -> str:
        return f"split by layers, and joined again: {self.type} for {self.user}"


@dataclass(frozen=True)
class OneReplica:
    """The plan asks replicas to share the update, but there is only one."""

    def __str__(self) -> str:
        return "not shared by replicas: the update, as there is one replica"


@dataclass(frozen=True)
class NeededWhole:
    """An array of the state that replicas could share, were it not for an operation that takes all of it."""

    path: str
    user: str

    def __str__(self) -> str:
        return f"not shared by replicas: {self.path}, which {self.user} needs whole"


@dataclass(frozen=True)
class NotDivisible:
    """An array of the state that replicas cannot divide into equal shares. shape: of each of its pieces, `3 x 5`."""

    path: str
    shape: str
    is_in_pieces: bool
    replicas: int

    def __str__(self) -> str:
        shape = f"in pieces of {self.shape}" if self.is_in_pieces else self.shape
        why = f"has no dimension that {self.replicas} replicas share evenly"
        return f"not shared by replicas: {self.path}, {shape}, which {why}"


@dataclass(frozen=True)
class Gathered:
    """A value of the update that is made in shares and then gathered for an operation that takes all of it."""

    type: str
    user: str

    def __str__(self) -> str:
        return f"not shared by replicas: {self.type}, which is gathered for {self.user}"


@dataclass(frozen=True)
class Traffic:
    """What crosses between the stages of each replica, and a lower bound: no choice of the stages that were left open
    makes less cross."""

    bytes: int
    at_least: int
    replicas: int

    def __str__(self) -> str:
        gap = self.bytes - self.at_least
        verdict = f"at most {bytes_text(gap)} above the least possible" if gap else "the least possible"
        where = " of each replica" if self.replicas > 1 else ""
        what = f"{bytes_text(self.bytes)} cross between stages{where}: {verdict}"
        return f"{what} for the operations the plan leaves open"


@dataclass(frozen=True)
class NotFollowed:
    """An axis in a sharding that an island does not have, or that does not divide some value evenly there."""

    island: str
    axis: str

    def __str__(self) -> str:
        return f"replicated on {self.island}, which cannot divide some value over axis {self.axis}"


@dataclass(frozen=True)
class ManySweeps:
    """A function that no schedule is for, with the order that its loop over microbatches got and the one that it did
    not get. seconds, other_seconds: what is predicted of each, as text; why: a clause, if it is not these."""

    sweeps: int
    order: str
    seconds: str
    other: str
    other_seconds: str
    why: str

    def __str__(self) -> str:
        what = f"the function goes over the stages {self.sweeps} times, which no schedule is for"
        orders = f"it runs {self.order}, predicted {self.seconds}, and not {self.other}, predicted {self.other_seconds}"
        return f"{what}: {orders}{f', {self.why}' if self.why else ''}"


Fact = (
    AloneScope
    | OwnPieces
    | PlannedDivision
    | OneMicrobatch
    | BatchBlocks
    | WholeBatch
    | Joined
    | AcrossBatch
    | SeveralLoops
    | LineExtra
    | WholeLoop
    | UnevenStages
    | JoinedStack
    | OneReplica
    | NeededWhole
    | NotDivisible
    | Gathered
    | Traffic
    | NotFollowed
    | ManySweeps
)

# The kinds of notes, in the order in which the pipeline makes them.
FACTS_BY_KIND: Mapping[str, type[Fact]] = {
    "alone-scope": AloneScope,
    "own-pieces": OwnPieces,
    "planned-division": PlannedDivision,
    "one-microbatch": OneMicrobatch,
    "batch-blocks": BatchBlocks,
    "whole-batch": WholeBatch,
    "joined": Joined,
    "across-batch": AcrossBatch,
    "several-loops": SeveralLoops,
    "line-extra": LineExtra,
    "whole-loop": WholeLoop,
    "uneven-stages": UnevenStages,
    "joined-stack": JoinedStack,
    "one-replica": OneReplica,
    "needed-whole": NeededWhole,
    "not-divisible": NotDivisible,
    "gathered": Gathered,
    "traffic": Traffic,
    "not-followed": NotFollowed,
    "many-sweeps": ManySweeps,
}


_Made = TypeVar("_Made", bound="Fact | SourcePlace")


@dataclass(frozen=True)
class SourcePlace:
    """The user's line that a note is about; line 0 stands for a whole file."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Note:
    """A fact, and the line that it is about; None where no line of the user's is known, as for an argument."""

    fact: Fact
    place: SourcePlace | None = None

    def __str__(self) -> str:
        return f"{self.fact}, at {self.place}" if self.place else str(self.fact)

    def to_data(self) -> dict[str, Any]:
        """As plain data: `{"kind": "joined-stack", "at": ["train.py", 12, 5], "type": ..., "user": ...}`."""
        at = {} if self.place is None else {"at": astuple(self.place)}
        kind = next(kind for kind, made in FACTS_BY_KIND.items() if made is type(self.fact))
        return {"kind": kind, **at, **asdict(self.fact)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Note":
        """The note that `to_data` gave as this data; ValueError if the data is anything else."""
        entries = dict(data)
        made, at = FACTS_BY_KIND.get(entries.pop("kind", "")), entries.pop("at", None)
        if made is None:
            raise ValueError("no note of a kind that there is")
        place = None if at is None else _made(SourcePlace, dict(zip(("file", "line", "column"), at, strict=True)))
        return cls(_made(made, entries), place)


def _made(kind: type[_Made], entries: Mapping[str, Any]) -> _Made:
    if {name: type(value) for name, value in entries.items()} != {one.name: one.type for one in fields(kind)}:
        raise ValueError(f"no {kind.__name__}")
    return kind(**entries)
