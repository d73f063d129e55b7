"""Compiles the fragments of a program, each once for all islands that are alike, several of them at a time."""

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
from atoll.runtime.kept_executables import Found, key_of
from atoll.runtime.program import Buffer, Code, IslandProgram, Program, Run
from atoll.runtime.replica_print import ReplicaPrint

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

    parts: how many of them the program is made of.
    """

    code: Code
    fragments: Sequence[_Fragment]
    meshes: Sequence[jax.sharding.Mesh]
    finish: Callable[[], Executable]
    note: Note
    parts: int

    def end(self) -> list[Executable]:
        """An executable for each of the islands."""
        name = self.fragments[0].island.name
        if isinstance(self.finish, Found):
            return [self.finish()]
        self.note(name, self.code.name, False)
        with _explained(name, self.code, self.fragments[0].run):
            if isinstance(self.finish, SharedBinary):
                return self.finish.load([tuple(mesh.devices.flat) for mesh in self.meshes], self.parts)
            return [self.finish()]


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
    found: dict[str, dict[int, Executable]] = {one.name: {} for one in program.islands if one.name in islands}
    try:
        # Begun on this thread, as settings of jax's that the caller has made may hold on the caller's thread alone.
        begun = _begun(program, islands, meshes, devices, callbacks, note)
        for one, end in [(one, pool.submit(one.end)) for one in begun]:
            for fragment, executable in zip(one.fragments, end.result(), strict=True):
                found[fragment.island.name][fragment.run.code] = executable
                if devices.kept is not None and not callbacks:
                    key = key_of(one.code, fragment.inputs, fragment.donated, meshes[fragment.island.name])
                    devices.kept.keep(key, executable)
                note(fragment.island.name, one.code.name, True)
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
) -> Iterator[_Compilation]:
    """What the islands run: where it can be loaded for another one, once for those that are alike."""
    alike: dict[Hashable, list[_Fragment]] = {}
    for island in program.islands:
        for fragment in fragments_of(island) if island.name in islands else ():
            alike.setdefault(fragment.kind, []).append(fragment)

    def lowered(fragment: _Fragment) -> Callable[[], Executable]:
        name, code = fragment.island.name, program.codes[fragment.run.code]
        if devices.kept is not None and not callbacks:
            key = key_of(code, fragment.inputs, fragment.donated, meshes[name])
            if (found := devices.kept.find(key)) is not None:
                return found
        called = [partial(one, name) if isinstance(one, ReplicaPrint) else one for one in callbacks]
        with _explained(name, code, fragment.run):
            return devices.lower(code, fragment.inputs, fragment.donated, meshes[name], called)

    for fragments in alike.values():
        code = program.codes[fragments[0].run.code]
        finish = lowered(fragments[0])
        together = [fragments] if isinstance(finish, SharedBinary) else [[one] for one in fragments]
        for number, some in enumerate(together):
            its = [meshes[one.island.name] for one in some]
            yield _Compilation(code, some, its, lowered(some[0]) if number else finish, note, len(alike))


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
