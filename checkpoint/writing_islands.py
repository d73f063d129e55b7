"""Has islands in other processes write their own parts of a checkpoint, from where these live."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from atoll.checkpoint.conveyor import Conveyor
from atoll.checkpoint.island_writing import BeginWriting, CopyPart, FinishWriting, ForgetWriting
from atoll.checkpoint.manifest import LeafEntry
from atoll.compiler.errors import AtollError
from atoll.runtime.array import Array
from atoll.runtime.failure import Failure

# How many seconds an island may take for an answer, and may write nothing.
_PATIENCE = 600.0

# How many it may take where nothing depends on it any more.
_GRACE = 10.0

Island = tuple[Any, str]  # what has it, and its name
PartKey = tuple[str, int]  # the path of a leaf, and the number of its part

# Gives a file that is in a directory while the context lasts.
Probing = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class _Share:
    """A part that an island writes. handle: of its copy there."""

    path: str
    part: int
    start: tuple[int, ...]
    promise: Any
    handle: Any


class WritingIslands:
    """The islands that write parts of one checkpoint. They do not end before they have."""

    def __init__(self) -> None:
        self._checkpoint = uuid.uuid4().hex
        # The numbers of the processes of each; the process that saves has number 0.
        self._processes: dict[Island, Sequence[int]] = {}
        self._shares: Mapping[Island, Sequence[_Share]] = {}
        self._over = threading.Event()
        self._held: dict[Any, object] = {}  # what has islands, with that whose end would be theirs

    def begin(self, leaves: Mapping[str, Any], probing: Probing, room: int) -> None:
        """Find those that have some of the leaves, see the directory of the checkpoint, and can write to it."""
        islands = dict.fromkeys(_island(handle) for handle in _far_handles(leaves))
        if not islands:
            return
        try:
            for hosted, _ in islands:
                self._held[hosted] = hosted.owner()
                hosted.holding.add(self._over)
            with suppress(OSError), probing() as probe:  # whoever writes tells what is wrong with the directory
                begin = BeginWriting(self._checkpoint, str(probe), room)
                self._number(zip(islands, _each(islands, partial(_apply, begin)), strict=True))
        except BaseException:
            self.let_go()
            raise

    def _number(self, told: Iterable[tuple[Island, Any]]) -> None:
        count = 1
        for island, answers in told:
            # Without all of its processes it writes nothing: what it has is read from here.
            if not isinstance(answers, Failure) and all(answers):
                self._processes[island] = range(count, count + len(answers))
                count += len(answers)

    def take(self, leaves: Mapping[str, Any], entries: Mapping[str, LeafEntry]) -> set[PartKey]:
        """Choose what they write: the parts that share no block of a file with another one."""
        load: Counter[Island] = Counter()
        shares: dict[Island, list[_Share]] = {}
        for path, leaf in leaves.items():
            entry = entries[path]
            if not isinstance(leaf, Array) or entry.is_empty:
                continue
            for number, (part, copies) in enumerate(zip(entry.parts, leaf.promise.parts(), strict=True)):
                able = [handle for handle in copies if _island(handle) in self._processes]
                if able and entry.is_in_whole_blocks(part):
                    handle = min(able, key=lambda one: load[_island(one)])  # replicas write about as much each
                    load[_island(handle)] += handle.size
                    share = _Share(path, number, tuple(start for start, _ in part.bounds), leaf.promise, handle)
                    shares.setdefault(_island(handle), []).append(share)
        self._shares = shares
        return {(share.path, share.part) for share in chain.from_iterable(shares.values())}

    def copy(self, conveyor: Conveyor) -> None:
        """Have each island copy what it is to write, all at once; returns when they have."""
        if self._shares:
            place_of = conveyor.opened()
            list(_each(self._shares, lambda island: self._copy(island, place_of, conveyor)))

    def _copy(self, island: Island, place_of: Callable[[str, int], Any], conveyor: Conveyor) -> None:
        for share in self._shares[island]:
            conveyor.check()
            places = tuple(place_of(share.path, number) for number in self._processes[island])
            share.promise.apply(share.handle, CopyPart(self._checkpoint, places, share.start))

    def finish(self) -> None:
        """Wait until all is written."""
        for island in self._processes:
            before = None
            while left := _left(FinishWriting(self._checkpoint, _PATIENCE), island):
                if left == before:
                    what = f"island {island[1]} has written nothing for {_PATIENCE:g} seconds"
                    raise AtollError(what, remedy="look at the disk, or the network, that the directory is on")
                before = left

    def let_go(self) -> None:
        """Have them forget the checkpoint, whatever became of it."""
        try:
            for hosted, name in self._processes:
                with suppress(AtollError):
                    hosted.apply(name, ForgetWriting(self._checkpoint), _GRACE)
        finally:
            self._over.set()
            for hosted in self._held:
                hosted.holding.discard(self._over)
            self._held.clear()


def _far_handles(leaves: Mapping[str, Any]) -> Iterable[Any]:
    for leaf in leaves.values():
        if isinstance(leaf, Array):
            yield from (one for one in chain.from_iterable(leaf.promise.parts()) if not one.hosted.ground.is_near)


def _island(handle: Any) -> Island:  # noqa: ANN401 (a Handle)
    return handle.hosted, handle.island


def _apply(function: Callable[[Any], Any], island: Island) -> Any:  # noqa: ANN401 (what it returns in each process)
    hosted, name = island
    return hosted.apply(name, function, 2 * _PATIENCE)


def _left(finish: FinishWriting, island: Island) -> int:
    answers = _apply(finish, island)
    if isinstance(answers, Failure):
        raise answers.error
    return sum(answers)


def _each(islands: Iterable[Island], work: Callable[[Island], Any]) -> Sequence[Any]:
    """What a function makes of each island, on a thread each; raises the first error, once all have ended."""
    wanted = list(islands)
    with ThreadPoolExecutor(len(wanted), "atoll saves an island") as pool:
        return list(pool.map(work, wanted))
