"""What a report holds: plain records, which its text and its picture read."""

from dataclasses import dataclass

from atoll.compiler.module.notes import Note
from atoll.compiler.report.buffers import BufferGroup
from atoll.compiler.report.chips import ChipReport, CodeReport
from atoll.compiler.report.measurement import Measurement
from atoll.compiler.report.prediction import Prediction
from atoll.compiler.report.whole_step import WholeStep


@dataclass(frozen=True)
class IslandReport:
    """One island.

    tasks: in the order in which it runs them, without the numbers of microbatches, and folded where they repeat
        themselves: `8 x (F0 B0)`.
    input_bytes, peak_bytes: on each of its devices, of arguments and of all values at the worst moment; what a task
        needs beside them while it runs is XLA's affair.
    host_bytes: what is in the memory of the host, for each device, at the worst moment; no other number has it.
        `.stats()` counts this and `peak_bytes`, and finds the same if the caller keeps nothing on the island that the
        step does not return or take over.
    cost: floating-point operations, counted from shapes; an element of anything else counts as one.
    kept_bytes: on each of its devices, what loops over microbatches keep of the batch for later ones.
    """

    name: str
    tasks: tuple[str, ...]
    input_bytes: int
    peak_bytes: int
    host_bytes: int
    cost: int
    kept_bytes: int


@dataclass(frozen=True)
class TransferReport:
    """One value that crosses, once for each microbatch if it stands in the loop over them.

    bytes: of one crossing; times: how many there are in a step.
    where: the user's line that makes it, or the argument it is.
    resharded: the islands that divide it otherwise, before it is sent or when it has come.
    """

    source: str
    target: str
    bytes: int
    where: str
    times: int = 1
    resharded: tuple[str, ...] = ()


@dataclass(frozen=True)
class LinkReport:
    """A link that is used. text: its bandwidth and latency; is_default: the topology does not write it."""

    source: str
    target: str
    bytes: int
    text: str
    is_default: bool


@dataclass(frozen=True)
class SharedArgument:
    """An argument that several islands use. home: where it lives; why: what decided that."""

    path: str
    home: str
    islands: tuple[str, ...]
    bytes: int
    why: str


@dataclass(frozen=True, kw_only=True)
class ExchangeReport:
    """What an island exchanges with its twins in other replicas when a task has run for the last time.

    islands: the island and its twins, in the order of the replicas. task: `None` if no task makes it.
    form: `direct`, `ring` or `tree`; `scatter` if each gets its share of the sums, `gather` if shares are joined.
    sums, bytes: how many values, and how large they are together: on each island, or of shares in all.
    messages, sent: what each island sends in all, and the bytes of it; in a tree at the most.
    chunk: how many bytes are worth a message; smaller sums are packed.
    seconds: what it should take.
    in_loop: whether a loop over microbatches sums it up; otherwise a task outside loops makes it.
    """

    islands: tuple[str, ...]
    task: str | None
    form: str
    sums: int
    bytes: int
    messages: int
    sent: int
    chunk: int
    seconds: float
    in_loop: bool = True


@dataclass(frozen=True)
class ReportContents:
    """All that a report says."""

    topology: str
    plan: str
    stages: int
    segments: int
    islands: tuple[IslandReport, ...]
    transfers: tuple[TransferReport, ...]
    links: tuple[LinkReport, ...]
    shared: tuple[SharedArgument, ...]
    # What passes have noted, such as a loop that no cut goes through; a module that was written by hand has fewer.
    notes: tuple[Note, ...]
    fragments: int
    # Every buffer of every island, those that live alike together.
    buffers: tuple[BufferGroup, ...]
    # Of the last loop over microbatches; None for a program without one, or with one that no schedule is for.
    pipeline: Prediction | None
    # How many replicas there are. `transfers` and `shared` are of one of them; `links` of all.
    replicas: int = 1
    exchanges: tuple[ExchangeReport, ...] = ()
    # Of a program that was compiled ahead, for devices that are not here: what by, and what it says of each island's.
    compiler: str = ""
    chips: tuple[ChipReport, ...] = ()
    codes: tuple[CodeReport, ...] = ()
    # All of a step that has no loop over microbatches or several; None where the pipeline says it all.
    whole_step: WholeStep | None = None
    # The last step that was traced; None if none was.
    measured: Measurement | None = None
