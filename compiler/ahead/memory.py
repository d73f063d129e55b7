"""The memory of a device over a step: what waits between tasks, and what the task that runs needs beside it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from atoll.compiler.ahead.compilation import CodeAhead
from atoll.runtime.program import Count, Free, IslandProgram, Program, Receive, Run
from atoll.runtime.program_memory import device_sizes, host_peak_bytes


@dataclass(frozen=True)
class Peak:
    """The moment of a step at which an island's devices hold most.

    run: the task that runs then; None if the island runs none. waiting: the buffers that are there before it.
    held: their bytes. taken: those that the task takes in addition: results that lie where no argument was, and
        temporaries.
    """

    run: Run | None
    waiting: tuple[int, ...]
    held: int
    taken: int

    @property
    def bytes(self) -> int:
        return self.held + self.taken


def sizes_of(island: IslandProgram, codes: Mapping[int, CodeAhead]) -> list[int]:
    """The bytes of each buffer on each device as the compiler lays it out; of one that no task sees, its elements'."""
    sizes = device_sizes(island)
    for one in island.instructions:
        if isinstance(one, Run):
            code = codes[one.code]
            # A fragment without results has one that tells when it has ended.
            for number, size in (*zip(one.inputs, code.arguments, strict=True), *zip(one.outputs, code.results)):  # noqa: B905
                sizes[number] = 0 if island.buffers[number].on_host else size
    return sizes


def host_bytes(program: Program, island: IslandProgram, codes: Mapping[int, CodeAhead]) -> int:
    """The most that the host's memory has of values between tasks, and of those of one task, for each device."""
    return host_peak_bytes(program, island) + max((code.host_temporaries for code in codes.values()), default=0)


def peak_of(program: Program, island: IslandProgram, codes: Mapping[int, CodeAhead]) -> Peak:
    """When the island's devices hold most, of a step that finds its arguments there."""
    sizes = sizes_of(island, codes)
    live = dict.fromkeys(program.given[island.name])
    held = sum(sizes[number] for number in live)
    peak = Peak(None, tuple(live), held, 0)
    for one in island.instructions:
        match one:
            case Run():
                taken = _taken(codes[one.code])
                if held + taken > peak.bytes:
                    peak = Peak(one, tuple(live), held, taken)
                gone, new = one.donated, one.outputs
            case Count(buffer) | Receive(buffer):
                gone, new = (), (buffer,)
            case Free(buffers):
                gone, new = buffers, ()
            case _:
                continue
        for number in gone:
            del live[number]
        live.update(dict.fromkeys(new))
        held += sum(sizes[number] for number in new) - sum(sizes[number] for number in gone)
    return peak


def _taken(code: CodeAhead) -> int:
    return code.result_bytes - code.aliased + code.temporaries


def program_bytes(codes: Mapping[int, CodeAhead]) -> int:
    """What the code of all fragments takes: it is in the devices' memory as well."""
    return sum(code.program for code in codes.values())


def runs_in_step(island: IslandProgram) -> Counter[int]:
    """How often a step runs each code."""
    return Counter(one.code for one in island.instructions if isinstance(one, Run))
