"""What a report says of chips that a program was compiled for without them: plain records."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ChipReport:
    """One island, of which each device has these numbers; a device is what jax calls so, for most TPUs a chip.

    arguments, results: the bytes of the step's, as they lie in memory.
    temporaries: the most that one of its fragments needs beside its arguments and results.
    programs: what all its fragments take as code.
    peak: the most that is in its memory at once, programs included; task: while which task. held: what of it waits,
        between tasks, or is taken by the task.
    limit: what the compiler says it has, or less if the topology does.
    host: the most that is in the memory of the host at once, for each device.
    flops, hbm, collectives: of a step: the operations of products, the bytes that go through its memory, and those that
        it gives to collectives within the island.
    """

    name: str
    arguments: int
    results: int
    temporaries: int
    programs: int
    held: int
    peak: int
    task: str
    limit: int
    host: int
    flops: int
    hbm: int
    collectives: int


@dataclass(frozen=True, kw_only=True)
class CodeReport:
    """One fragment, compiled for the slices of some islands, which are alike. The bytes are the compiler's own.

    runs: how often a step runs it on each of them.
    aliased: those of the results that lie where arguments were.
    flops, hbm, collectives: as of a `ChipReport`, in one run. uncounted: how many loops in it are counted once, as
        nothing tells how often they run.
    seconds: what compiling it took; 0 if it was in the cache.
    """

    name: str
    where: str
    islands: tuple[str, ...]
    runs: int
    arguments: int
    results: int
    aliased: int
    temporaries: int
    program: int
    flops: int
    hbm: int
    collectives: int
    uncounted: int
    seconds: float
