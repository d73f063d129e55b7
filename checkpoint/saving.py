"""`atoll.save_checkpoint`: writes a state beside the steps that go on with it."""

import logging
import operator
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy
from atoll.checkpoint.conveyor import Conveyor, Crate
from atoll.checkpoint.manifest import LeafEntry, entry_of, to_json
from atoll.checkpoint.writing_islands import WritingIslands
from atoll.compiler.errors import AtollError, UsageError
from atoll.compiler.tracebacks import first_line
from atoll.runtime.array import Array, words_of
from atoll.runtime.leaves import LeafKind, kinds_of, leaves_of

log = logging.getLogger(__name__)

Tree = Any  # a pytree

# How many bytes of a state may wait in this process to be written.
_ROOM = 4 << 30


class Saving:
    """A checkpoint that is being written, by a thread of its own. The process does not end before it is."""

    def __init__(self, path: str, conveyor: Conveyor, islands: WritingIslands, write: Callable[[], None]) -> None:
        self.path = path
        self._conveyor = conveyor
        self._islands = islands
        self._write = write
        self._error: AtollError | None = None
        self._is_given_up = False
        self._thread = threading.Thread(target=self._work, name=f"atoll, writing {path}")
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether it is written, or has failed."""
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Wait until it is written; raises what went wrong, once."""
        self.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def join(self) -> None:
        """Wait until it is written, or has failed."""
        self._thread.join()

    def give_up(self, error: BaseException) -> None:
        """Its numbers cannot be read."""
        self._is_given_up = True
        self._conveyor.break_down(error)
        self._thread.join()
        self._error = None

    def _work(self) -> None:
        try:
            self._write()
        except BaseException as error:
            if self._is_given_up:
                return
            what = error.what if isinstance(error, AtollError) else first_line(error)
            remedy = error.remedy if isinstance(error, AtollError) else _IS_THERE
            self._error = AtollError(f"checkpoint {self.path} was not written: {what}", remedy=remedy)
            log.error("%s", self._error)
            self._conveyor.break_down(self._error)
        finally:
            self._islands.let_go()


_IS_THERE = "see whether the directory is there, may be written to, and has room"

# By directory the checkpoint that is being written there, or was the last: no two are at once.
_under_way: dict[str, Saving] = {}
_one_at_a_time = threading.Lock()


def save_checkpoint(
    directory: str | Path, step: int, tree: Tree, *, keep: int | None = None, room: int = _ROOM
) -> Saving:
    """Begin to write a pytree of arrays as the checkpoint of a step; returns once all of its numbers are read.

    From then on its arrays may be donated. Each part is read from an island that has it, and what is in parts is never
    whole; another thread writes, and so do the processes of islands, each its own parts. If there is a checkpoint of
    this step, it is replaced once the new one is complete.

    keep: how many checkpoints to keep, those of the last steps; without it, all.
    room: how many bytes of the state may wait in a process to be written. Of a larger state the rest is read while the
        first of it is written.
    """
    from atoll.checkpoint import on_orbax  # an extra, which takes seconds to import

    number = _checked(step, keep, room)
    leaves = leaves_of(tree)
    entries = {path: _entry(path, leaves[path], kind) for path, kind in kinds_of(leaves).items()}
    # Orbax takes no arrays without elements.
    stand_ins = [None if one.is_empty else on_orbax.OrbaxLeaf(path, one) for path, one in entries.items()]
    tree_of_them = jax.tree.unflatten(jax.tree.structure(tree), stand_ins)
    _check_can_be_written(entries, on_orbax.names_of(tree_of_them), on_orbax.can_hold)
    place, conveyor, islands = on_orbax.directory_of(directory), Conveyor(room), WritingIslands()
    manifest, finish = to_json(entries), islands.finish
    write = partial(on_orbax.write, place, number, tree_of_them, manifest, conveyor, finish, keep)
    with _one_at_a_time:
        wait_for_saving(place)
        islands.begin(leaves, partial(on_orbax.probing, place), room)
        saving = _under_way[str(place)] = Saving(str(place / str(number)), conveyor, islands, write)
        _end_before_python()
        try:
            theirs = islands.take(leaves, entries)
            islands.copy(conveyor)
            for crate in _crates(leaves, entries, theirs):
                conveyor.put(crate)
            conveyor.end()
        except BaseException as error:
            saving.give_up(error)
            raise
    return saving


def wait_for_saving(directory: Any) -> None:  # noqa: ANN401 (a path)
    """Wait for what is being written to a directory; raises what went wrong."""
    if (saving := _under_way.pop(str(directory), None)) is not None:
        saving.wait()


def join_saving(directory: Any) -> None:  # noqa: ANN401 (a path)
    """Wait for what is being written to a directory; if it has failed, the next save there says so."""
    if (saving := _under_way.get(str(directory))) is not None:
        saving.join()


def _checked(step: Any, keep: Any, room: Any) -> int:  # noqa: ANN401 (whatever the user gave)
    """The step as a number."""
    try:
        number = operator.index(step)
    except TypeError:
        number = -1
    if number < 0:
        raise UsageError(f"step is {step!r}", remedy="write a whole number, 0 or more")
    for name, value in (("keep", keep), ("room", room)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UsageError(f"{name} is {value!r}", remedy="write a whole number, 1 or more")
    return number


def _entry(path: str, leaf: Any, kind: LeafKind) -> LeafEntry:  # noqa: ANN401 (an array or a number)
    if isinstance(leaf, jax.ShapeDtypeStruct):
        raise UsageError(f"{path} is the description of an array", remedy="give the array")
    return entry_of(leaf, kind, words_of(kind.dtype) if kind.is_key else ())


def _check_can_be_written(
    entries: Mapping[str, LeafEntry], names: Tree, can_hold: "Callable[[numpy.dtype[Any]], bool]"
) -> None:
    if all(entry.is_empty for entry in entries.values()):
        raise UsageError("the tree has no arrays", remedy="give the state that is to be saved")
    for path, entry in entries.items():
        if not can_hold(entry.dtype):
            raise UsageError(f"{path} is {entry.kind}, which checkpoints do not hold", remedy="save it as another type")
    paths: dict[str, str] = {}
    for path, name in leaves_of(names).items():  # orbax would write one over the other
        if paths.setdefault(name, path) != path:
            what = f"{paths[name]} and {path} would both be called {name!r} in a checkpoint"
            raise UsageError(what, remedy="call one of them otherwise")


def _crates(
    leaves: Mapping[str, Any], entries: Mapping[str, LeafEntry], theirs: Collection[tuple[str, int]]
) -> Iterator[Crate]:
    """All numbers, part by part, but for the parts that islands write."""
    for path, leaf in leaves.items():
        entry = entries[path]
        if entry.is_empty:
            continue
        reads: list[Callable[[], Any]] = [partial(_plain, leaf, entry)]
        if isinstance(leaf, Array):
            reads = [part.read for part in leaf.parts]
        for number, (part, read) in enumerate(zip(entry.parts, reads, strict=True)):
            if (path, number) not in theirs:
                yield Crate(path, part.index, _own(read()))


def _plain(leaf: Any, entry: LeafEntry) -> "numpy.ndarray[Any, Any]":  # noqa: ANN401 (an array or a number)
    return numpy.array(jax.random.key_data(leaf) if entry.kind.is_key else leaf)  # the user may write to their own


def _own(numbers: "numpy.ndarray[Any, Any]") -> "numpy.ndarray[Any, Any]":
    """Memory that nobody else writes to: what is seen of an array on a CPU is the array's own."""
    return numbers if numbers.flags.owndata and numbers.base is None else numpy.array(numbers)


@cache
def _end_before_python() -> None:
    """Have Python wait for what is being written, before it takes away the threads with which orbax writes.

    That happens before it joins other threads and calls what `atexit` has, so that there is no public way.
    """
    threading._register_atexit(_end_all)  # type: ignore[attr-defined]


def _end_all() -> None:
    for saving in tuple(_under_way.values()):
        saving.join()
