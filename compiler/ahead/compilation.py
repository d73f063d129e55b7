"""Compiles the fragments of a program for slices that are not here, each once for all islands that run it alike."""

import json
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import jax
from atoll.compiler.ahead.cache import Cache, key_of
from atoll.compiler.ahead.hlo_text import Hlo
from atoll.compiler.ahead.hlo_work import HloWork, work_of
from atoll.compiler.mlir.binary import serialized_ahead
from atoll.compiler.mlir.ir_text import parse_text, print_module
from atoll.compiler.topology.slices import PodSlice, libtpu_version, mesh_of_slice
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import first_line
from atoll.runtime.compilation import AT_A_TIME, fragments_of
from atoll.runtime.fragment import lower_ahead
from atoll.runtime.prebuilt import key_of as prebuilt_key_of
from atoll.runtime.prebuilt import machine_of
from atoll.runtime.processes.settings import told_to_xla
from atoll.runtime.program import Code, IslandProgram, Prebuilt, Program, Run
from atoll.runtime.program_memory import device_sizes

log = logging.getLogger(__name__)

_HEAD = struct.Struct(">Q")  # the length of the description, which the executable follows
_FORMAT = 2  # of what is kept; another number where the fields below, or what they mean, have changed


@dataclass(frozen=True, kw_only=True)
class CodeAhead:
    """What the compiler made of a code for the devices of a slice, and what it says of it. The numbers are bytes.

    arguments, results: of each of them, as it lies in memory.
    argument_bytes, result_bytes, aliased, temporaries, program: the compiler's sums, of the device's own memory.
    host_temporaries: the same in the memory of the host.
    key: of equal ones the executables are the same.
    executable: what XLA loads on a machine with such a slice.
    seconds: that compiling took; 0 if it was in the cache.
    """

    key: str
    arguments: tuple[int, ...]
    results: tuple[int, ...]
    argument_bytes: int
    result_bytes: int
    aliased: int
    temporaries: int
    host_temporaries: int
    program: int
    work: HloWork
    seconds: float
    executable: bytes

    def to_bytes(self) -> bytes:
        """For the cache."""
        description = json.dumps(asdict(replace(self, executable=b"")) | {"executable": ""}).encode()
        return _HEAD.pack(len(description)) + description + self.executable

    @classmethod
    def from_bytes(cls, content: bytes) -> "CodeAhead":
        """What `to_bytes` made."""
        (length,) = _HEAD.unpack_from(content)
        told = json.loads(content[_HEAD.size : _HEAD.size + length])
        told |= {name: tuple(told[name]) for name in ("arguments", "results")}
        told |= {"work": HloWork(**told["work"]), "executable": content[_HEAD.size + length :], "seconds": 0.0}
        return cls(**told)


class CannotCompile(Exception):  # noqa: N818 (what it is about comes first)
    """XLA refuses a code. reason: its own error."""

    def __init__(self, code: Code, island: IslandProgram, run: Run, reason: Exception) -> None:
        super().__init__(str(reason))
        self.code, self.island, self.run, self.reason = code, island, run, reason


@dataclass(frozen=True)
class Slices:
    """The slices of the islands, and a mesh over the devices of each kind of slice."""

    of: Mapping[str, PodSlice]
    meshes: Mapping[PodSlice, jax.sharding.Mesh]

    @classmethod
    def of_topology(cls, topology: Topology) -> "Slices":
        found = {island.name: PodSlice.of(island) for island in topology.islands}
        islands = {found[island.name]: island for island in topology.islands}
        return cls(found, {one: mesh_of_slice(island) for one, island in islands.items()})


def settings() -> tuple[str, ...]:
    """What beside a code and a slice decides what is compiled: the compilers' versions, and what they are told."""
    told = (os.environ.get(name, "") for name in ("LIBTPU_INIT_ARGS", "XLA_FLAGS"))
    return (libtpu_version(), jax.__version__, *told, told_to_xla())


def compile_ahead(program: Program, slices: Slices, cache: Cache) -> dict[str, dict[int, CodeAhead]]:
    """For each island what was compiled, by the number of the code. CannotCompile, if XLA refuses one."""
    made: dict[str, CodeAhead | Future[CodeAhead]] = {}
    keys: dict[str, dict[int, str]] = {}
    pool = ThreadPoolExecutor(AT_A_TIME, "atoll compiles")
    try:
        for island in program.islands:
            keys[island.name] = {}
            for run, donated in ((one.run, one.donated) for one in fragments_of(island)):
                key = _key(program, island, run, donated, slices.of[island.name])
                keys[island.name][run.code] = key
                if key not in made:
                    mesh = slices.meshes[slices.of[island.name]]
                    kept = cache.find(key)
                    made[key] = (
                        pool.submit(_Compilation(key, program, island, run, donated, mesh).begun(), cache)
                        if kept is None
                        else CodeAhead.from_bytes(kept)
                    )
        done = {key: one if isinstance(one, CodeAhead) else one.result() for key, one in made.items()}
    finally:
        pool.shutdown(cancel_futures=True)
    return {name: {code: done[key] for code, key in here.items()} for name, here in keys.items()}


def prebuilt_ahead(program: Program, made: Mapping[str, Mapping[int, CodeAhead]], slices: Slices) -> Iterator[Prebuilt]:
    """What was compiled, as a program's file has it: each executable once."""
    machines = {where: machine_of(mesh) for where, mesh in slices.meshes.items()}
    found: dict[str, Prebuilt] = {}
    for island in program.islands:
        machine = machines[slices.of[island.name]]
        for one in fragments_of(island):
            key = prebuilt_key_of(program.codes[one.run.code], one.inputs, one.donated, island.axes, machine)
            found[key] = Prebuilt(key, machine, made[island.name][one.run.code].executable)
    yield from found.values()


def _key(program: Program, island: IslandProgram, run: Run, donated: Sequence[int], where: PodSlice) -> str:
    code, inputs = program.codes[run.code], [island.buffers[number] for number in run.inputs]
    without_lines = print_module(parse_text(code.module), debug_info=False)
    return key_of("code", _FORMAT, settings(), where, code.name, without_lines, inputs, code.results, donated)


@dataclass(frozen=True)
class _Compilation:
    """One code on its way."""

    key: str
    program: Program
    island: IslandProgram
    run: Run
    donated: Sequence[int]
    mesh: jax.sharding.Mesh

    def begun(self) -> Callable[[Cache], CodeAhead]:
        """The part in Python done, here; what is returned does the rest, on any thread."""
        code = self.program.codes[self.run.code]
        inputs = [self.island.buffers[number] for number in self.run.inputs]
        try:
            lowered = lower_ahead(code, inputs, self.donated, self.mesh)
        except Exception as error:
            raise CannotCompile(code, self.island, self.run, error) from error

        def end(cache: Cache) -> CodeAhead:
            began = time.monotonic()
            try:
                compiled = lowered.compile()
            except Exception as error:
                raise CannotCompile(code, self.island, self.run, error) from error
            made = _read(self.key, compiled, self._sizes(), time.monotonic() - began)
            cache.keep(self.key, made.to_bytes())
            return made

        return end

    def _sizes(self) -> tuple[list[int], list[int]]:
        """The bytes of the arguments and of the results on each device, by their elements."""
        sizes = device_sizes(self.island)
        return [sizes[number] for number in self.run.inputs], [sizes[number] for number in self.run.outputs]


def _read(
    key: str, compiled: jax.stages.Compiled, sizes: tuple[Sequence[int], Sequence[int]], seconds: float
) -> CodeAhead:
    """What an executable says of itself. sizes: of its arguments and its results, without what pads them."""
    memory = compiled.memory_analysis()
    assert memory is not None
    try:
        hlo = Hlo.parse(compiled.as_text() or "")
        arguments, results = ([one.bytes for one in shapes] for shapes in (hlo.arguments, hlo.results))
        work = work_of(hlo)
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        # A libtpu that is much newer than jax writes operations that jax cannot read.
        log.info("jax does not read what this libtpu makes, so loops are counted once: %s", first_line(error))
        (arguments, results), work = map(list, sizes), _counted_once(compiled)
    return CodeAhead(
        key=key,
        arguments=tuple(arguments),
        results=tuple(results),
        argument_bytes=memory.argument_size_in_bytes,
        result_bytes=memory.output_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        host_temporaries=memory.host_temp_size_in_bytes,
        program=memory.generated_code_size_in_bytes,
        work=work,
        seconds=seconds,
        executable=serialized_ahead(compiled),
    )


def _counted_once(compiled: jax.stages.Compiled) -> HloWork:
    """The compiler's own count, in which a loop is its body, and collectives are nothing."""
    costs = compiled.cost_analysis() or {}
    return HloWork(int(costs.get("flops", 0.0)), int(costs.get("bytes accessed", 0.0)), unknown_loops=1)
