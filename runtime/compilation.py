"""Compiles the fragments of a program, each once for each island that runs it, several of them at a time."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import jax
from atoll.compiler.errors import CompileError
from atoll.runtime.devices import Devices
from atoll.runtime.failure import reason
from atoll.runtime.fragment import Callback, Executable
from atoll.runtime.program import Code, IslandProgram, Program, Run
from atoll.runtime.replica_print import ReplicaPrint

# Is called with an island and the name of a fragment.
Note = Callable[[str, str], None]

# How many fragments XLA compiles at a time: it uses several threads for some of them, and memory for each.
AT_A_TIME = max(2, min(8, os.cpu_count() or 1))


@dataclass(frozen=True)
class _Compilation:
    """A fragment on its way to one island. Its part in Python is done; XLA's takes most of the time."""

    island: str
    code: Code
    run: Run
    finish: Callable[[], Executable]
    note: Note

    def end(self) -> Executable:
        self.note(self.island, self.code.name)
        with _explained(self.island, self.code, self.run):
            return self.finish()


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
    note: is told of each that begins, on any thread.
    """
    pool = ThreadPoolExecutor(at_a_time, "atoll compiles")
    try:
        ends = {
            # Begun on this thread, as settings of jax's that the caller has made may hold on the caller's thread alone.
            island.name: {
                one.run.code: pool.submit(one.end) for one in _begun(program, island, meshes, devices, callbacks, note)
            }
            for island in program.islands
            if island.name in islands
        }
        return {name: {code: end.result() for code, end in here.items()} for name, here in ends.items()}
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, or Ctrl-C, what XLA has not begun it never does


def _begun(
    program: Program,
    island: IslandProgram,
    meshes: Mapping[str, jax.sharding.Mesh],
    devices: Devices,
    callbacks: Sequence[Callback],
    note: Note,
) -> Iterator[_Compilation]:
    """What one island runs, each code once, donating what all tasks that run it donate."""
    called = [partial(one, island.name) if isinstance(one, ReplicaPrint) else one for one in callbacks]
    donated: dict[int, set[int]] = {}
    first: dict[int, Run] = {}
    for run in (one for one in island.instructions if isinstance(one, Run)):
        positions = {run.inputs.index(number) for number in run.donated}
        first.setdefault(run.code, run)
        donated.setdefault(run.code, positions).intersection_update(positions)
    for number, run in first.items():
        code, inputs = program.codes[number], [island.buffers[one] for one in run.inputs]
        with _explained(island.name, code, run):
            finish = devices.lower(code, inputs, sorted(donated[number]), meshes[island.name], called)
        yield _Compilation(island.name, code, run, finish, note)


@contextmanager
def _explained(island: str, code: Code, run: Run) -> Iterator[None]:
    """Turn an error into one that says what was compiled."""
    try:
        yield
    except Exception as error:
        scopes = f" ({code.scopes})" if code.scopes else ""
        what = f"fragment {code.name}{scopes} of task {run.task} cannot be compiled for island {island}"
        raise CompileError(f"{what}: {reason(error)}", code.where) from error
