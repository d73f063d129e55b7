"""Compiles the fragments of a program, each once for all islands that are alike, several of them at a time."""

import logging
import os
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import jax
from atoll.compiler.errors import CompileError
from atoll.runtime.devices import Devices
from atoll.runtime.failure import reason
from atoll.runtime.fragment import Callback, Executable, SharedBinary
from atoll.runtime.kept_executables import Found, kept_key
from atoll.runtime.prebuilt import Prebuilts, key_of, machine_of
from atoll.runtime.program import Buffer, Code, IslandProgram, Prebuilt, Program, Run
from atoll.runtime.replica_print import ReplicaPrint

log = logging.getLogger(__name__)

# Is called with an island, the name of a fragment, and whether it is ready or has only begun.
Note = Callable[[str, str, bool], None]

# How many fragments XLA compiles at a time: it uses several threads for some of them, and memory for each.
AT_A_TIME = max(2, min(8, os.cpu_count() or 1))


@dataclass(frozen=True)
class _Fragment:
    """A code that an island runs. run: the first task that does; donated: what all of them donate, by position."""

    island: IslandProgram
    run: Run
    donated: tuple[int, ...]

    @property
    def inputs(self) -> tuple[Buffer, ...]:
        return tuple(self.island.buffers[one] for one in self.run.inputs)

    @property
    def kind(self) -> Hashable:
        """What XLA compiles, and for what mesh."""
        return self.run.code, self.inputs, self.donated, self.island.axes


@dataclass(frozen=True)
class _Compilation:
    """A fragment on its way to islands. Its part in Python is done; XLA's takes most of the time.

    parts: how many of them the program is made of. prebuilt: what XLA has made of it before, if that is there.
    """

    code: Code
    fragments: Sequence[_Fragment]
    meshes: Sequence[jax.sharding.Mesh]
    finish: Callable[[], Executable]
    note: Note
    parts: int
    prebuilt: bytes | None

    def end(self) -> list[Executable]:
        """An executable for each of the islands."""
        name = self.fragments[0].island.name
        if isinstance(self.finish, Found):
            return [self.finish()]
        self.note(name, self.code.name, False)
        with _explained(name, self.code, self.fragments[0].run):
            if not isinstance(self.finish, SharedBinary):
                return [self.finish()]
            islands = [tuple(mesh.devices.flat) for mesh in self.meshes]
            if self.prebuilt is not None:
                try:
                    return self.finish.loaded(self.prebuilt, islands)
                except (jax.errors.JaxRuntimeError, ValueError) as error:
                    log.warning("XLA cannot load %s, so it is compiled: %s", self.code.name, reason(error))
            return self.finish.load(islands, self.parts)


def compile_program(
    program: Program,
    islands: Collection[str],
    meshes: Mapping[str, jax.sharding.Mesh],
    devices: Devices,
    callbacks: Sequence[Callback],
    note: Note,
    *,
    at_a_time: int = AT_A_TIME,
) -> dict[str, dict[int, Executable]]:
    """For each of these islands an executable for each code that it runs, by the code's number.

    callbacks: the host functions that the program calls, of the lowering that it was compiled from.
    note: is told of each that begins, on any thread, and of each that is ready, island by island.
    """
    pool = ThreadPoolExecutor(at_a_time, "atoll compiles")
    prebuilts = Prebuilts.of_program(program)
    found: dict[str, dict[int, Executable]] = {one.name: {} for one in program.islands if one.name in islands}
    try:
        # Begun on this thread, as settings of jax's that the caller has made may hold on the caller's thread alone.
        begun = _begun(program, islands, meshes, devices, callbacks, note, prebuilts)
        for one, end in [(one, pool.submit(one.end)) for one in begun]:
            for fragment, executable in zip(one.fragments, end.result(), strict=True):
                found[fragment.island.name][fragment.run.code] = executable
                if devices.kept is not None and not callbacks:
                    key = kept_key(one.code, fragment.inputs, fragment.donated, meshes[fragment.island.name])
                    devices.kept.keep(key, executable)
                note(fragment.island.name, one.code.name, True)
        prebuilts.tell()
        return found
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, or Ctrl-C, what XLA has not begun it never does


def _begun(
    program: Program,
    islands: Collection[str],
    meshes: Mapping[str, jax.sharding.Mesh],
    devices: Devices,
    callbacks: Sequence[Callback],
    note: Note,
    prebuilts: Prebuilts,
) -> Iterator[_Compilation]:
    """What the islands run: where it can be loaded for another one, once for those that are alike."""
    alike: dict[Hashable, list[_Fragment]] = {}
    for island in program.islands:
        for fragment in fragments_of(island) if island.name in islands else ():
            alike.setdefault(fragment.kind, []).append(fragment)

    def lowered(fragment: _Fragment) -> Callable[[], Executable]:
        name, code = fragment.island.name, program.codes[fragment.run.code]
        if devices.kept is not None and not callbacks:
            key = kept_key(code, fragment.inputs, fragment.donated, meshes[name])
            if (found := devices.kept.find(key)) is not None:
                return found
        called = [partial(one, name) if isinstance(one, ReplicaPrint) else one for one in callbacks]
        with _explained(name, code, fragment.run):
            return devices.lower(code, fragment.inputs, fragment.donated, meshes[name], called)

    for fragments in alike.values():
        code = program.codes[fragments[0].run.code]
        finish = lowered(fragments[0])
        is_shared = isinstance(finish, SharedBinary) and finish.is_shared
        together = [fragments] if is_shared else [[one] for one in fragments]
        for number, some in enumerate(together):
            its = [meshes[one.island.name] for one in some]
            first, prebuilt = some[0], None
            if isinstance(finish, SharedBinary):
                prebuilt = prebuilts.find(code, first.inputs, first.donated, first.island.axes, its[0])
            yield _Compilation(code, some, its, lowered(first) if number else finish, note, len(alike), prebuilt)


def prebuilt_of(program: Program, meshes: Mapping[str, jax.sharding.Mesh], devices: Devices) -> tuple[Prebuilt, ...]:
    """What XLA makes of a program for machines like this one; of what calls Python it makes nothing that can be kept.

    It compiles all of it once more, several fragments at a time.
    """
    begun: dict[str, tuple[str, Callable[[], bytes]]] = {}
    for island in program.islands:
        mesh = meshes[island.name]
        machine = machine_of(mesh)
        for one in fragments_of(island):
            code = program.codes[one.run.code]
            key = key_of(code, one.inputs, one.donated, island.axes, machine)
            if key not in begun:
                with _explained(island.name, code, one.run):
                    finish = devices.lower(code, one.inputs, one.donated, mesh, ())
                if isinstance(finish, SharedBinary):
                    begun[key] = machine, finish.serialized
    with ThreadPoolExecutor(AT_A_TIME, "atoll compiles") as pool:
        contents = pool.map(lambda one: one[1](), begun.values())
        return tuple(
            Prebuilt(key, machine, content)
            for (key, (machine, _)), content in zip(begun.items(), contents, strict=True)
        )


def fragments_of(island: IslandProgram) -> Iterator[_Fragment]:
    """Each code that it runs, once."""
    donated: dict[int, set[int]] = {}
    first: dict[int, Run] = {}
    for run in (one for one in island.instructions if isinstance(one, Run)):
        positions = {run.inputs.index(number) for number in run.donated}
        first.setdefault(run.code, run)
        donated.setdefault(run.code, positions).intersection_update(positions)
    for number, run in first.items():
        yield _Fragment(island, run, tuple(sorted(donated[number])))


@contextmanager
def _explained(island: str, code: Code, run: Run) -> Iterator[None]:
    """Turn an error into one that says what was compiled."""
    try:
        yield
    except Exception as error:
        scopes = f" ({code.scopes})" if code.scopes else ""
        what = f"fragment {code.name}{scopes} of task {run.task} cannot be compiled for island {island}"
        raise CompileError(f"{what}: {reason(error)}", code.where) from error
