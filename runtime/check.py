"""Whether a program can run: each rule that the workers rely on, so that they need not defend themselves."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from atoll.runtime.program import (
    Box,
    Buffer,
    Code,
    Count,
    Free,
    Instruction,
    IslandProgram,
    Place,
    Port,
    Program,
    Receive,
    Run,
    Send,
    box_of,
)


def check(program: Program) -> None:
    """Raises ValueError, with a sentence about the first broken rule.

    On each island a buffer is defined once, before its use, and never used once it is freed or given away; what a
    task returns fits its buffers; each value that is sent is received once, with the same shape and dtype; no island
    waits for ever; outputs and inputs are where they claim; only inputs that the caller donated are given away.
    """
    names = [island.name for island in program.islands]
    if len(set(names)) != len(names):
        raise ValueError("two islands have one name")
    for one in program.inputs:
        _check_places(program, one)
    for output in program.outputs:
        if not output.places:
            raise ValueError(f"{output.path} is nowhere")
        _check_places(program, output)
    kept = {place for output in program.outputs for place in output.every_place}
    for island in program.islands:
        _Stream(island, program, {number for name, number in kept if name == island.name}).check()
    _check_links(program)
    _check_progress(program.islands)


def _check_places(program: Program, value: Port) -> None:
    islands = {island.name: island for island in program.islands}
    for name, number in value.every_place:
        if name not in islands:
            raise ValueError(f"{value.path} is on unknown island {name!r}")
        if not 0 <= number < len(islands[name].buffers):
            raise ValueError(f"{value.path} is in buffer {number}, which island {name} lacks")
    for copies in value.places:
        if not copies:
            raise ValueError(f"a part of {value.path} is nowhere")
        if len({name for name, _ in copies}) != len(copies):
            raise ValueError(f"{value.path} has two copies on one island")
    parts = [[program.buffer(place) for place in copies] for copies in value.places]
    if value.starts:
        _check_parts(value, parts)
        return
    if len(parts) > 1:
        raise ValueError(f"{value.path} has {len(parts)} parts and does not say where they begin in the whole")
    for buffer in chain.from_iterable(parts):
        if not _fits(value, value.shape, buffer):
            raise ValueError(f"{value.path} is {value.dtype}{list(value.shape)}, its buffer is {buffer}")


def _check_parts(value: Port, parts: Sequence[Sequence[Buffer]]) -> None:
    """Every element of a value is in one of its parts, and the copies of a part are alike."""
    whole = f"{value.dtype}{list(value.shape)}"
    if len(value.starts) != len(parts) or any(len(start) != len(value.shape) for start in value.starts):
        raise ValueError(f"{value.path} is {whole} in {len(parts)} parts, which begin at {list(value.starts)}")
    boxes = [box_of(start, copies[0].shape) for start, copies in zip(value.starts, parts, strict=True)]
    for box, copies in zip(boxes, parts, strict=True):
        shape = tuple(stop - start for start, stop in box)
        is_inside = all(0 <= start <= stop <= size for (start, stop), size in zip(box, value.shape, strict=False))
        if not is_inside or not all(_fits(value, shape, one) and len(shape) == len(value.shape) for one in copies):
            raise ValueError(f"a part of {value.path}, which is {whole}, is {copies[0]} and begins at {_starts(box)}")
    fault = uncovered(boxes, value.shape)
    if fault is not None:
        count, where = fault
        parts_there = f"{count} parts have" if count else "no part has"
        raise ValueError(f"of {value.path}, which is {whole}, {parts_there} the element {list(where)}")


def _starts(box: Box) -> list[int]:
    return [start for start, _ in box]


def uncovered(boxes: Sequence[Box], shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]] | None:
    """An element that is not in exactly one box, and in how many it is; None if there is none.

    Between two places where boxes begin or end along the first dimension the same boxes go on, so it is enough to look
    at the rest of these once. What is cut along few dimensions takes little more time than there are boxes.
    """
    if not shape:
        return None if len(boxes) == 1 else (len(boxes), ())
    first, *rest = shape
    cuts = sorted({0, first, *chain.from_iterable(box[0] for box in boxes)})
    slabs: dict[int, list[Box]] = {cut: [] for cut in cuts[:-1]}
    for (start, stop), *others in boxes:
        for cut in cuts[bisect_left(cuts, start) : bisect_left(cuts, stop)]:
            slabs[cut].append(tuple(others))
    for cut, crossing in slabs.items():
        fault = uncovered(crossing, tuple(rest))
        if fault is not None:
            return fault[0], (cut, *fault[1])
    return None


def _fits(value: Port, shape: tuple[int, ...], buffer: Buffer) -> bool:
    if value.dtype.startswith("key<"):
        return buffer.dtype == "uint32" and buffer.shape[:-1] == shape
    return (buffer.shape, buffer.dtype) == (shape, value.dtype)


@dataclass
class _Stream:
    """The buffers of one island, followed through its instructions."""

    island: IslandProgram
    program: Program
    kept: set[int]  # outputs
    live: set[int] = field(default_factory=set)
    born: set[int] = field(default_factory=set)
    borrowed: set[int] = field(default_factory=set)  # inputs that the caller keeps
    specs: dict[int, tuple[Buffer, ...]] = field(default_factory=dict)  # of each code, how its inputs are laid out

    def check(self) -> None:
        for one in self.program.inputs:
            for number in self._here(one.every_place):
                self._define(number, one.path)
                if not one.donated:
                    self.borrowed.add(number)
        for index, instruction in enumerate(self.island.instructions):
            self._follow(instruction, f"instruction {index} ({_said(instruction)})")
        for output in self.program.outputs:
            for number in self._here(output.every_place):
                self._use(number, output.path)

    def _here(self, places: Sequence[Place]) -> Iterator[int]:
        return (number for name, number in places if name == self.island.name)

    def _follow(self, instruction: Instruction, who: str) -> None:
        match instruction:
            case Run():
                self._check_run(instruction, who)
            case Send(buffer=number):
                self._use(number, who)
            case Count(buffer=number):
                self._define(number, who)
                self.borrowed.add(number)  # every step takes the same array
                if self.island.buffers[number] != Buffer((), "uint32"):
                    raise self._fault(f"{who} puts a number into {self.island.buffers[number]}")
            case Receive(buffer=number):
                self._define(number, who)
            case Free(buffers=numbers):
                for number in numbers:
                    self._end(number, who)

    def _check_run(self, run: Run, who: str) -> None:
        try:
            _ = run.name
        except ValueError as fault:
            raise self._fault(f"{who}: {fault}") from None
        if not 0 <= run.code < len(self.program.codes):
            raise self._fault(f"{who} runs code {run.code}, which does not exist")
        for number in run.inputs:
            self._use(number, who)
        inputs = tuple(self.island.buffers[number] for number in run.inputs)
        code: Code = self.program.codes[run.code]
        if self.specs.setdefault(run.code, inputs) != inputs:
            raise self._fault(f"{who} gives {code.name} other shapes or shardings than an earlier task")
        for number in run.donated:
            if run.inputs.count(number) != 1:
                raise self._fault(f"{who} donates buffer {number}, which is not exactly one of its inputs")
            if number in self.borrowed:
                raise self._fault(f"{who} donates buffer {number}, which is needed again")
            self._end(number, who)
        if len(run.outputs) != len(code.results):
            raise self._fault(f"{who} has {len(run.outputs)} outputs, {code.name} returns {len(code.results)}")
        for number, result in zip(run.outputs, code.results, strict=True):
            self._define(number, who)
            if self.island.buffers[number] != result:
                raise self._fault(
                    f"{who} puts {result} {result.spec} into buffer {number}, "
                    f"which is {self.island.buffers[number]} {self.island.buffers[number].spec}"
                )

    def _define(self, number: int, who: str) -> None:
        if not 0 <= number < len(self.island.buffers):
            raise self._fault(f"{who} defines buffer {number}, which is not declared")
        if number in self.born:
            raise self._fault(f"{who} defines buffer {number} a second time")
        self.born.add(number)
        self.live.add(number)

    def _use(self, number: int, who: str) -> None:
        if number not in self.live:
            state = "is gone" if number in self.born else "does not exist yet"
            raise self._fault(f"{who} uses buffer {number}, which {state}")

    def _end(self, number: int, who: str) -> None:
        self._use(number, who)
        if number in self.kept:
            raise self._fault(f"{who} ends buffer {number}, an output")
        self.live.discard(number)

    def _fault(self, what: str) -> ValueError:
        return ValueError(f"island {self.island.name}: {what}")


def _check_links(program: Program) -> None:
    """Each value that is sent is received, once, by the island that it is sent to."""
    sent: dict[tuple[str, str, int], Buffer] = {}
    for island in program.islands:
        for one in island.instructions:
            if isinstance(one, Send):
                link = (island.name, one.to, one.tag)
                if one.to == island.name or one.to not in {other.name for other in program.islands}:
                    raise ValueError(f"island {island.name}: {_said(one)} has no island to go to")
                if link in sent:
                    raise ValueError(f"island {island.name}: {_said(one)} uses its tag a second time")
                sent[link] = island.buffers[one.buffer]
    for island in program.islands:
        for one in island.instructions:
            if isinstance(one, Receive):
                value, buffer = sent.pop((one.source, island.name, one.tag), None), island.buffers[one.buffer]
                if value is None:
                    raise ValueError(f"island {island.name}: {_said(one)} waits for what nobody sends")
                if (value.shape, value.dtype) != (buffer.shape, buffer.dtype):
                    raise ValueError(f"island {island.name}: {_said(one)} expects {buffer}, but is sent {value}")
    for source, to, tag in sent:
        raise ValueError(f"island {source}: tag {tag} is sent to {to}, which does not receive it")


def _check_progress(islands: Sequence[IslandProgram]) -> None:
    """Each stream comes to its end if all run side by side."""
    streams = {island.name: deque(island.instructions) for island in islands}
    under_way: set[tuple[str, str, int]] = set()
    waiting: dict[tuple[str, str, int], str] = {}  # what an island waits for -> the island
    ready = deque(streams)
    while ready:
        name = ready.popleft()
        stream = streams[name]
        while stream:
            one = stream[0]
            if isinstance(one, Receive) and (link := (one.source, name, one.tag)) not in under_way:
                waiting[link] = name
                break
            if isinstance(one, Send):
                under_way.add(link := (name, one.to, one.tag))
                if link in waiting:
                    ready.append(waiting.pop(link))
            stream.popleft()
    if waiting:
        stuck = "; ".join(f"{name} waits for tag {tag} of {source}" for (source, name, tag) in waiting)
        raise ValueError(f"the islands wait for each other: {stuck}")


def _said(instruction: Instruction) -> str:
    match instruction:
        case Run(task=task):
            return f"run {task}"
        case Count(buffer=buffer, microbatch=microbatch):
            return f"count microbatch {microbatch} in buffer {buffer}"
        case Send(buffer=buffer, to=to, tag=tag):
            return f"send buffer {buffer} to {to}, tag {tag}"
        case Receive(buffer=buffer, source=source, tag=tag):
            return f"receive buffer {buffer} from {source}, tag {tag}"
        case Free(buffers=buffers):
            return f"free {', '.join(map(str, buffers))}"
