"""What is called in the process of an island, so that it writes its own parts of a checkpoint."""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy
from atoll.runtime.processes.tiles import Tiled

# What is being written here, by the checkpoint.
_writing: dict[str, "_Writing"] = {}


@dataclass(frozen=True)
class BeginWriting:
    """Be ready to write parts of a checkpoint; False if that cannot be done here.

    checkpoint: a name that no other one has. probe: a file beside it that is there at this moment.
    room: how many bytes may wait here to be written.
    """

    checkpoint: str
    probe: str
    room: int

    def __call__(self, _: object) -> bool:
        try:
            import tensorstore  # noqa: F401 (an extra, which whoever has only islands may not have installed)
            from etils import epath

            here = epath.Path(self.probe)
            if not here.exists():  # another machine has other files
                return False
            here.with_name(f"{here.name}.{jax.process_index()}").write_text("")
        except (ImportError, OSError):
            return False
        _writing[self.checkpoint] = _Writing(self.room)
        return True


@dataclass(frozen=True)
class CopyPart:
    """Write a part of a leaf; returns once the numbers are copied, from when on its array may be donated.

    places: for each process of the island, where it writes the leaf to. start: of the part in the leaf.
    """

    checkpoint: str
    places: tuple[dict[str, Any], ...]
    start: tuple[int, ...]

    def __call__(self, part: Tiled) -> None:
        writing, place = _writing.get(self.checkpoint), self.places[jax.process_index()]
        if writing is None:  # whoever saves has given it up
            return
        for tile in part.tiles:
            start = self.start + (0,) * (len(tile.box) - len(self.start))
            box = [slice(first + begin, first + end) for first, (begin, end) in zip(start, tile.box, strict=True)]
            writing.put(place, tuple(box), tile.numbers)


@dataclass(frozen=True)
class FinishWriting:
    """Wait until all that was given is written, or so many seconds; returns how many bytes are not.

    It raises what has gone wrong since `BeginWriting`.
    """

    checkpoint: str
    patience: float

    def __call__(self, _: object) -> int:
        return _writing[self.checkpoint].left_after(self.patience)


@dataclass(frozen=True)
class ForgetWriting:
    """Write nothing more of a checkpoint."""

    checkpoint: str

    def __call__(self, _: object) -> None:
        _writing.pop(self.checkpoint, None)


class _Writing:
    """What is on its way from this process to the files of a checkpoint."""

    def __init__(self, room: int) -> None:
        import tensorstore

        self._tensorstore = tensorstore
        self._context: Any = None  # what leaves share
        self._opened: dict[str, Any] = {}
        self._room = room
        self._left = 0
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, place: dict[str, Any], index: Sequence[slice], numbers: Any) -> None:  # noqa: ANN401 (a jax.Array)
        """Wait until there is room, and begin to write; nothing, if something has gone wrong before."""
        size = numbers.nbytes
        with self._changed:
            self._changed.wait_for(lambda: self._failure or not self._left or self._left + size <= self._room)
            if self._failure is not None:
                return
            self._left += size
        try:
            own = numpy.array(numbers)  # a step may overwrite what is seen of an array on a CPU
            commit = self._leaf(place)[tuple(index)].write(own, can_reference_source_data_indefinitely=True).commit
            commit.add_done_callback(lambda done: self._written(size, done.exception()))
            commit.force()
        except Exception as error:
            self._written(size, error)

    def left_after(self, seconds: float) -> int:
        """How many bytes are not written so many seconds from now; raises what went wrong."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure or not self._left, seconds)
            if self._failure is not None:
                raise self._failure
            return self._left

    def _leaf(self, place: dict[str, Any]) -> Any:  # noqa: ANN401 (tensorstore's)
        key = json.dumps(place)
        if key not in self._opened:
            context, spec = place["context"], {name: value for name, value in place.items() if name != "context"}
            self._context = self._context or self._tensorstore.Context(context)
            opening = self._tensorstore.open(spec, create=True, open=True, context=self._context)
            self._opened[key] = opening.result()
        return self._opened[key]

    def _written(self, size: int, failure: BaseException | None) -> None:
        with self._changed:
            self._left -= size
            self._failure = self._failure or failure
            self._changed.notify_all()
