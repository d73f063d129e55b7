"""Everything that is asked of orbax and tensorstore, in one file, which a new orbax may break.

A checkpoint is what orbax's `CheckpointManager` writes: `DIRECTORY/STEP/default/`, for which orbax alone is enough. It
is written under another name, which is changed at the end: half a checkpoint is never found under its step.
"""

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from atoll.checkpoint.conveyor import Conveyor
from atoll.checkpoint.manifest import LeafEntry
from atoll.compiler.errors import PATH_FAULTS, UsageError, path_fault

if TYPE_CHECKING:
    import numpy

try:
    import orbax.checkpoint as ocp
    import tensorstore
    from etils import epath
except ImportError:
    raise UsageError("checkpoints are written by orbax", remedy="pip install 'atoll[checkpoint]'") from None

Directory = Any  # a path of etils', which may be in a cloud
Tree = Any  # a pytree

# Beside the steps: what takes the place of one that is there, and what was taken away.
_NEW, _OLD = ".new", ".old"

# Where files are by which a process elsewhere finds out whether it sees the same directory.
_SEEN = ".seen"


def directory_of(path: str | Path) -> Directory:
    """UsageError for what is no path."""
    try:
        return epath.Path(path if "://" in str(path) else Path(path).absolute())
    except PATH_FAULTS as error:
        raise path_fault("use", path, error, "name a directory") from None


# Writing.


class OrbaxLeaf:
    """Stands for a leaf in the tree that orbax is given."""

    def __init__(self, path: str, entry: LeafEntry) -> None:
        self.path = path
        self.entry = entry


def names_of(tree: Tree) -> Tree:
    """What orbax calls each leaf of a pytree."""
    return ocp.tree.get_param_names(tree)


def can_hold(dtype: "numpy.dtype[Any]") -> bool:
    """Whether there can be numbers like these in a checkpoint."""
    try:
        tensorstore.dtype(dtype.name)
    except (TypeError, ValueError):
        return False
    return True


@contextmanager
def probing(directory: Directory) -> Iterator[Directory]:
    """A file beside the steps, as long as the context lasts."""
    probe = directory / _SEEN / uuid.uuid4().hex
    probe.parent.mkdir(parents=True, exist_ok=True)
    probe.write_text("")
    try:
        yield probe
    finally:
        probe.parent.rmtree()


def write(
    directory: Directory,
    step: int,
    tree: Tree,
    manifest: Mapping[str, Any],
    conveyor: Conveyor,
    others_finish: Callable[[], None],
    keep: int | None,
) -> None:
    """Write a pytree of `OrbaxLeaf`s, whose numbers come on the conveyor, in place of what is there of this step.

    Other processes may write some of them, to the places that the conveyor has as soon as there are any.
    others_finish: waits until they have. keep: how many of the last steps stay.
    """
    settle(directory)
    _clear(directory)
    is_there, writing = step in steps_of(directory), _Writing(conveyor, others_finish)
    place = directory / _NEW if is_there else directory
    with _told_once(writing), _manager(place, writing, is_to_write=True) as manager:
        manager.save(step, args=ocp.args.PyTreeSave(tree), custom_metadata=dict(manifest), force=True)
    if is_there:
        _take_its_place(directory, step)
    for old in steps_of(directory)[:-keep] if keep else ():
        _remove(directory, old)
    _clear(directory)


@contextmanager
def _told_once(writing: "_Writing") -> Iterator[None]:
    """What goes wrong in writing is raised: keep orbax, through whose threads it comes, from logging it as well."""

    def is_something_else(record: logging.LogRecord) -> bool:
        return not record.exc_info or record.exc_info[1] is not writing.failure

    log = logging.getLogger("absl")
    log.addFilter(is_something_else)
    try:
        yield
    finally:
        log.removeFilter(is_something_else)


def settle(directory: Directory) -> None:
    """Bring complete checkpoints into place that a process was about to bring there when it was killed."""
    for step in _steps_in(directory / _NEW):
        _take_its_place(directory, step)


def _remove(directory: Directory, step: int) -> None:
    """Under its step there is all of it or nothing."""
    (directory / _OLD).mkdir(parents=True, exist_ok=True)
    away = directory / _OLD / str(step)
    if away.exists():  # a process was killed here
        away.rmtree()
    (directory / str(step)).rename(away)
    away.rmtree()


def _clear(directory: Directory) -> None:
    """Take away what is beside the steps."""
    for name in (_NEW, _OLD, _SEEN):
        if (directory / name).exists():
            (directory / name).rmtree()


def _take_its_place(directory: Directory, step: int) -> None:
    if step in steps_of(directory):
        _remove(directory, step)
    (directory / _NEW / str(step)).rename(directory / str(step))


class _Handler(ocp.type_handlers.TypeHandler):  # type: ignore[misc] # orbax is not typed
    def typestr(self) -> str:
        return "np.ndarray"  # what orbax alone makes of it

    async def metadata(self, infos: Sequence[Any]) -> Sequence[Any]:
        """Nothing that the manifest does not have."""
        return [ocp.metadata.Metadata(name=info.name, directory=info.parent_dir) for info in infos]


class _Writing(_Handler):
    def __init__(self, conveyor: Conveyor, others_finish: Callable[[], None]) -> None:
        self._conveyor = conveyor
        self._others_finish = others_finish
        self.failure: BaseException | None = None

    async def serialize(self, values: Sequence[Any], infos: Sequence[Any], args: Any = None) -> Sequence[Any]:  # noqa: ANN401, ARG002
        writing = self._write({value.path: (value.entry, info) for value, info in zip(values, infos, strict=True)})
        return [ocp.future.CommitFutureAwaitingContractedSignals(writing, name="atoll")]

    async def _write(self, leaves: Mapping[str, tuple[LeafEntry, Any]]) -> None:
        try:
            await self._write_all(leaves)
        except BaseException as error:
            self.failure = error
            raise

    async def _write_all(self, leaves: Mapping[str, tuple[LeafEntry, Any]]) -> None:
        opened: dict[str, Any] = {}
        written = []
        for path, (entry, info) in leaves.items():
            await info.await_path_creation()
            opened[path] = await _create(entry, info)
        self._conveyor.open(lambda path, process: _place_elsewhere(*leaves[path], process))
        while (crate := self._conveyor.take()) is not None:
            part = opened[crate.leaf][crate.index]
            commit = part.write(crate.numbers, can_reference_source_data_indefinitely=True).commit
            commit.add_done_callback(_tell_written(self._conveyor, crate.numbers.nbytes))
            commit.force()
            written.append(commit)
            del crate
        for commit in written:
            await commit
        self._others_finish()

    async def deserialize(self, infos: Sequence[Any], args: Any = None) -> Sequence[Any]:  # noqa: ANN401
        raise NotImplementedError


def _tell_written(conveyor: Conveyor, size: int) -> Any:  # noqa: ANN401 (a callback)
    return lambda _: conveyor.written(size)


async def _create(entry: LeafEntry, info: Any) -> Any:  # noqa: ANN401 (orbax's and tensorstore's)
    spec = tensorstore.Spec(_place(entry, info, process=0))
    return await tensorstore.open(spec, create=True, open=True, context=info.ts_context)


def _place(entry: LeafEntry, info: Any, process: int) -> dict[str, Any]:  # noqa: ANN401 (orbax's)
    """Each process writes to files of its own, which orbax makes one of at the end."""
    spec: dict[str, Any] = ocp.type_handlers.get_json_tspec_write(
        info,
        use_ocdbt=info.is_ocdbt_checkpoint,
        global_shape=entry.shape,
        local_shape=entry.chunk,
        dtype=entry.dtype,
        process_index=process,
    )
    return spec


def _place_elsewhere(entry: LeafEntry, info: Any, process: int) -> dict[str, Any]:  # noqa: ANN401 (orbax's)
    """Says also what orbax shares among leaves."""
    return {**_place(entry, info, process), "context": info.ts_context.spec.to_json()}


# Reading.


def steps_of(directory: Directory) -> list[int]:
    """Those of which there is a checkpoint."""
    return _steps_in(directory)


def _steps_in(directory: Directory) -> list[int]:
    if not directory.exists():
        return []
    return sorted(int(one.name) for one in directory.iterdir() if one.name.isdecimal())


def manifest_in(directory: Directory, step: int) -> Any:  # noqa: ANN401 (whatever is there)
    """What `write` was given; nothing if something else wrote the checkpoint."""
    with _manager(directory, _Reading()) as manager:
        return manager.metadata(step).custom_metadata


def opened(directory: Directory, step: int, like: Tree) -> Tree:
    """For each leaf of a pytree of the same structure what it can be read from: indexed, with `.read().result()`."""
    with _manager(directory, _Reading()) as manager:
        return manager.restore(step, args=ocp.args.PyTreeRestore(item=like))


class _Reading(_Handler):
    async def serialize(self, values: Sequence[Any], infos: Sequence[Any], args: Any = None) -> Sequence[Any]:  # noqa: ANN401
        raise NotImplementedError

    async def deserialize(self, infos: Sequence[Any], args: Any = None) -> Sequence[Any]:  # noqa: ANN401, ARG002
        found = []
        for info in infos:
            spec = ocp.type_handlers.get_json_tspec_read(info, use_ocdbt=info.is_ocdbt_checkpoint)
            found.append(await tensorstore.open(tensorstore.Spec(spec), open=True, context=info.ts_context))
        return found


def _manager(root: Directory, handler: _Handler, *, is_to_write: bool = False) -> Any:  # noqa: ANN401 (orbax's)
    # Without a handler for arrays of jax, of which there are none here, it would warn.
    registry = ocp.type_handlers.create_type_handler_registry(
        (OrbaxLeaf, handler), (jax.Array, ocp.type_handlers.ArrayHandler())
    )
    options = ocp.CheckpointManagerOptions(
        enable_async_checkpointing=False,
        create=is_to_write,
        cleanup_tmp_directories=is_to_write,  # of processes that were killed
    )
    return ocp.CheckpointManager(
        root, item_handlers=ocp.PyTreeCheckpointHandler(type_handler_registry=registry), options=options
    )
