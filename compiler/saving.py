"""Checks that a program to be saved needs nothing of this process, and that a loaded one has its islands."""

from pathlib import Path

from atoll.compiler.errors import CompileError, TopologyError
from atoll.compiler.mlir.effects import host_calls_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.mlir.locations import place
from atoll.compiler.text.quantities import bytes_text
from atoll.compiler.topology.platforms import lowered_for
from atoll.compiler.topology.topology import Topology, as_topology
from atoll.runtime.program import Program


def check_saveable(program: Program) -> None:
    """CompileError, at the user's line, if the program cannot be saved."""
    _check_calls_no_python(program, "the program cannot be saved", "take the callback out, or do not save")


def check_portable(program: Program) -> None:
    """CompileError, at the user's line, if other processes cannot run the program."""
    remedy = "take the callback out, or leave `cluster` out"
    _check_calls_no_python(program, "islands in processes of their own cannot run it", remedy)


def _check_calls_no_python(program: Program, what_not: str, remedy: str) -> None:
    for code in program.codes:
        module = parse_text(code.module)
        for call in host_calls_in(module.operation):
            what = f"this calls back into Python, so {what_not}"
            raise CompileError(what, place(call.location) or code.where, remedy)


def saved_text(program: Program, path: str | Path) -> str:
    """How large a program's file is, in a sentence."""
    ready = sum(len(one.content) for one in program.prebuilt)
    of_these = f", of which {bytes_text(ready)} are {len(program.prebuilt)} executables" if program.prebuilt else ""
    return f"{path} has {bytes_text(Path(path).stat().st_size)}{of_these}"


def loaded_topology(program: Program, topology: Topology | str | None, path: str) -> Topology:
    """The topology that a loaded program is to run on: its own, or one with the same islands."""
    own = as_topology(program.topology)
    if topology is None:
        return own
    other = as_topology(topology)
    if told := difference_of_islands(own, other):
        what = f"{path} was compiled for other islands: {told}"
        raise TopologyError(what, remedy="leave the topology out, name the same islands, or compile again")
    return other


def difference_of_islands(own: Topology, other: Topology) -> str:
    """How the islands differ, in a sentence; how they are linked does not matter."""
    names, others = ([island.name for island in one.islands] for one in (own, other))
    if names != others:
        return f"it has {', '.join(names)}, the topology {', '.join(others)}"
    for mine, theirs in zip(own.islands, other.islands, strict=True):
        if mine.axes != theirs.axes:
            return f"{mine.name} is {mine.device_text} in the program and {theirs.device_text} in the topology"
    if lowered_for(own) != lowered_for(other):
        return f"it is for {lowered_for(own)}, and the topology is of {lowered_for(other)}"
    return ""
