"""Runs a StableHLO function under `jax.jit`. This is where the runtime meets MLIR.

A primitive's lowering copies the function into the module that jax is building and calls it there: dispatch, donation,
shardings and placement are then jax's own.
"""

import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import jax
import numpy
from atoll.compiler.mlir.artifacts import is_portable
from atoll.compiler.mlir.binary import Binary
from atoll.compiler.mlir.bindings import caller, func, initialize_lapack, ir, new_context, sdy, stablehlo
from atoll.compiler.mlir.effects import acts, calls_lapack, host_calls_in
from atoll.compiler.mlir.functions import body_of, functions_in, operations_in, type_of
from atoll.compiler.mlir.memory_kinds import HOST
from atoll.runtime.program import AxisPart, Buffer, Code, Place, Program
from jax.extend.core import Primitive
from jax.interpreters import mlir
from jax.sharding import NamedSharding, PartitionSpec

# Executables that jax compiles ahead of time refuse arrays of these: it expects a packed layout that it does not make.
_SUB_BYTE = frozenset(("int2", "uint2", "int4", "uint4", "float4_e2m1fn"))

# What the slowest device computes in a second, and reads or writes; and how many operations an exponential counts for.
_FLOPS, _BYTES, _TRANSCENDENTAL = 2e9, 4e9, 20.0

# A task that takes no longer needs no memory that could be missing.
_SHORT = 20e-6

# Operations whose cost XLA's analysis does not know: how often a loop runs, which branch, what a library does.
_UNCOUNTED = frozenset(f"stablehlo.{name}" for name in ("while", "case", "if", "custom_call"))

# Where such a call runs, as jax says it: once, on the first device; inside `shard_map`, once on each.
_SHARDING = "sdy.sharding"
_ON_ONE_DEVICE = "<mesh<[], device_ids=[0]>, []>"
_ON_EACH_DEVICE = "<mesh<[]>, [{dimensions}]>"


# What a fragment without results returns.
_ENDED = Buffer((), "bool")

# What jax makes of a host function when it lowers `jax.pure_callback` and its kin.
Callback = Callable[..., Any]


@dataclass(frozen=True)
class Fragment:
    """The code of a task: a module's `@main`, as plain data. It is called with arrays and returns arrays.

    callbacks: the host functions that the module calls by their index.
    """

    bytecode: bytes
    results: tuple[jax.core.ShapedArray, ...]
    callbacks: tuple[Callback, ...] = ()

    @classmethod
    def of(cls, module: ir.Module, results: Sequence[jax.ShapeDtypeStruct]) -> "Fragment":
        """The fragment of a module; `results` are the shapes that its `@main` returns."""
        bytecode = io.BytesIO()
        module.operation.write_bytecode(bytecode)
        return cls(bytecode.getvalue(), tuple(jax.core.ShapedArray(one.shape, one.dtype) for one in results))

    def __call__(self, *arguments: jax.typing.ArrayLike) -> list[jax.Array]:
        called: list[jax.Array] = _call_fragment.bind(*arguments, fragment=self)  # type: ignore[no-untyped-call] # jax's
        return called


@dataclass(frozen=True)
class Executable:
    """A fragment, compiled for a set of devices.

    call: takes and returns arrays; a fragment without results returns one that only tells when the task has ended.
    may_fail: whether it can fail on its devices, unless what it is given has failed: it may need much memory, or do
        more than compute.
    calls_python: whether it calls host functions, which jax does within the call.
    is_found: whether it was here already, compiled for another controller.
    """

    call: Callable[..., Sequence[jax.Array]]
    may_fail: bool
    calls_python: bool = False
    is_found: bool = False


@dataclass(frozen=True)
class SharedBinary:
    """A fragment that is ready for XLA, to be compiled once for its own island and all that are like it, or to be
    loaded where it was compiled before."""

    binary: Binary
    runs_straight: bool

    @property
    def is_shared(self) -> bool:
        """Whether what is compiled for one island is loaded for the others."""
        return self.binary.is_shared

    def __call__(self) -> Executable:
        """For its own island."""
        return self.load([self.binary.devices])[0]

    def load(self, islands: Sequence[Sequence[jax.Device]], parts: int = 1) -> list[Executable]:
        """For the devices of each of these, of which the first are its own. parts: as `Binary` has them."""
        if not self.is_shared:
            return self._executables([self.binary.lowered.compile()])
        return self._executables(self.binary.load(islands, parts))

    def loaded(self, content: bytes, islands: Sequence[Sequence[jax.Device]]) -> list[Executable]:
        """For the devices of each of these, of what `serialized` gave."""
        return self._executables(self.binary.loaded(content, islands))

    def serialized(self) -> bytes:
        """What XLA makes of it, as bytes that a machine of the same kind can load."""
        return self.binary.serialized()

    def _executables(self, found: Sequence[jax.stages.Compiled]) -> list[Executable]:
        may_fail = not (self.runs_straight and _costs_little(found[0]))
        return [Executable(caller(one), may_fail) for one in found]


def lower_code(
    code: Code,
    inputs: Sequence[Buffer],
    donated: Sequence[int],
    mesh: jax.sharding.Mesh,
    callbacks: Sequence[Callback] = (),
) -> Callable[[], Executable]:
    """A program's fragment, ready for XLA, for one set of devices; to be compiled by whichever thread calls it.

    donated: the positions, among the inputs, of those whose memory the results may take over.
    callbacks: the host functions that the module calls by their index.
    """
    jitted = _jitted(code, inputs, donated, mesh, callbacks)
    calls_python = bool(callbacks) and _calls_python(code.module)
    if any(one.dtype in _SUB_BYTE for one in inputs):
        return lambda: Executable(jitted, may_fail=True, calls_python=calls_python)  # compiled at its first call
    lowered = _lowered(jitted, inputs, mesh)
    runs_straight = _runs_straight(code.module)
    if Binary.can_be_made(lowered):
        return SharedBinary(Binary(lowered), runs_straight)

    def finish() -> Executable:
        compiled = lowered.compile()
        may_fail = not (runs_straight and _costs_little(compiled))
        return Executable(caller(compiled), may_fail, calls_python)

    return finish


def lower_ahead(
    code: Code, inputs: Sequence[Buffer], donated: Sequence[int], mesh: jax.sharding.Mesh
) -> jax.stages.Lowered:
    """The same for devices that are not here, on which nothing can be loaded: what jax has lowered."""
    if any(one.dtype in _SUB_BYTE for one in inputs):
        raise NotImplementedError("jax compiles nothing ahead that takes numbers of less than a byte")
    return _lowered(_jitted(code, inputs, donated, mesh), inputs, mesh)


def _jitted(
    code: Code,
    inputs: Sequence[Buffer],
    donated: Sequence[int],
    mesh: jax.sharding.Mesh,
    callbacks: Sequence[Callback] = (),
) -> Any:  # noqa: ANN401 (what `jax.jit` returns)
    results = tuple(
        jax.core.ShapedArray(one.shape, numpy.dtype(one.dtype), memory_space=_space(one)) for one in code.results
    )
    fragment = Fragment(code.module, results, tuple(callbacks))

    def run(*arguments: jax.Array) -> list[jax.Array]:
        return fragment(*arguments) or [jax.numpy.zeros((), bool)]

    run.__name__ = run.__qualname__ = code.name  # what profiles and XLA's dumps show
    return jax.jit(
        run,
        in_shardings=tuple(sharding_of(one, mesh) for one in inputs),
        out_shardings=[sharding_of(one, mesh) for one in code.results or (_ENDED,)],
        donate_argnums=tuple(donated),
        keep_unused=True,
    )


def _lowered(jitted: Any, inputs: Sequence[Buffer], mesh: jax.sharding.Mesh) -> jax.stages.Lowered:  # noqa: ANN401 (as above)
    shapes = [
        # jax wants to be told twice which arguments are on the host.
        abstract(one).update(sharding=sharding_of(one, mesh)) if one.on_host else abstract(one)  # type: ignore[no-untyped-call] # jax's
        for one in inputs
    ]
    with jax.set_mesh(None):  # a mesh that the user has set is not the island's
        lowered: jax.stages.Lowered = jitted.lower(*shapes)
    return lowered


def _space(buffer: Buffer) -> Any:  # noqa: ANN401 (jax's)
    return jax.memory.Space.Host if buffer.on_host else jax.memory.Space.Device


def _costs_little(compiled: jax.stages.Compiled) -> bool:
    """Whether even slow devices compute it in a few microseconds, if it has no loops."""
    try:
        costs = compiled.cost_analysis()
    except NotImplementedError:
        return False
    if not costs:
        return False
    operations = costs.get("flops", 0.0) + _TRANSCENDENTAL * costs.get("transcendentals", 0.0)
    return bool(operations / _FLOPS + costs.get("bytes accessed", 0.0) / _BYTES <= _SHORT)


def _runs_straight(bytecode: bytes) -> bool:
    """Whether its cost can be counted: no loops or branches, nothing that calls a library or acts on the world."""
    module = _parse(bytecode, new_context())
    bodies = (body_of(function).operations for function in functions_in(module).values())
    inside = [one for body in bodies for operation in body for one in operations_in(operation, ir.OpView)]
    # Calls do what their functions do, which are among those that are looked at.
    counted = (one for one in inside if not isinstance(one, func.CallOp))
    return not any(one.operation.name in _UNCOUNTED or acts(one) for one in counted)


def _calls_python(bytecode: bytes) -> bool:
    return bool(host_calls_in(_parse(bytecode, new_context()).operation))


def sharding_at(program: Program, meshes: Mapping[str, jax.sharding.Mesh], place: Place) -> NamedSharding:
    """How an island holds a buffer. meshes: of the islands that are here; that of another one is abstract."""
    name, _ = place
    if name in meshes:
        return sharding_of(program.buffer(place), meshes[name])
    axes = next(island.axes for island in program.islands if island.name == name)
    names, sizes = zip(*axes, strict=True) if axes else ((), ())
    return sharding_of(program.buffer(place), jax.sharding.AbstractMesh(sizes, names, axis_types=_auto(len(axes))))


def sharding_of(buffer: Buffer, mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh) -> NamedSharding:
    """How the devices of an island hold a buffer; over a mesh with more axes, if its spec names parts of axes."""
    sizes = dict(mesh.shape)
    spec = [[AxisPart.of(axis, sizes) for axis in axes] for axes in buffer.spec]
    if any(one.size != sizes[one.axis] for axes in spec for one in axes):
        mesh, spec = _cut_mesh(mesh, spec)
    names = [tuple(one.text(sizes) for one in axes) or None for axes in spec]
    kind = HOST if buffer.on_host else None
    return NamedSharding(mesh, PartitionSpec(*names), memory_kind=kind)  # type: ignore[no-untyped-call] # jax's


def _cut_mesh(
    mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh, spec: Sequence[Sequence[AxisPart]]
) -> tuple[jax.sharding.Mesh | jax.sharding.AbstractMesh, list[list[AxisPart]]]:
    """A mesh of the same devices with an axis for each part that a spec names, and the spec in these axes."""
    sizes = dict(mesh.shape)
    borders = {axis: {1, size} for axis, size in sizes.items()}
    for one in chain.from_iterable(spec):
        borders[one.axis] |= {one.before, one.before * one.size}
    axes = [
        AxisPart(axis, before, after // before)
        for axis, found in borders.items()
        for before, after in pairwise(sorted(found))
    ]
    shape, names = tuple(one.size for one in axes), tuple(one.text(sizes) for one in axes)
    made: jax.sharding.Mesh | jax.sharding.AbstractMesh
    if isinstance(mesh, jax.sharding.Mesh):
        made = jax.sharding.Mesh(mesh.devices.reshape(shape), names, axis_types=_auto(len(axes)))
    else:
        made = jax.sharding.AbstractMesh(shape, names, axis_types=_auto(len(axes)))
    return made, [[axis for one in parts for axis in axes if axis.is_in(one)] for parts in spec]


def _auto(count: int) -> tuple[jax.sharding.AxisType, ...]:
    return (jax.sharding.AxisType.Auto,) * count


def abstract(buffer: Buffer) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(buffer.shape, numpy.dtype(buffer.dtype))  # type: ignore[no-untyped-call] # jax's


def _results(*_: jax.core.ShapedArray, fragment: Fragment) -> tuple[jax.core.ShapedArray, ...]:
    return fragment.results


def _lower(context: mlir.LoweringRuleContext, *arguments: ir.Value[Any], fragment: Fragment) -> list[ir.Value[Any]]:
    """Copy the functions and meshes into jax's module, under names that are free there, and call `@main`."""
    into = context.module_context
    # Held until all is copied: operations do not keep their module alive.
    module = _parse(fragment.bytecode, into.context)
    _connect_callbacks(module, fragment.callbacks, into)
    if calls_lapack(module.operation):
        initialize_lapack()
    main = functions_in(module)["main"]
    main.attributes["sym_visibility"] = ir.StringAttr.get("private", context=module.context)
    symbols = list(module.body.operations)
    there = into.symbol_table
    new = [one for one in symbols if _name(one) not in there or not _is_same_mesh(one, there[_name(one)])]
    # All get their names before any is copied: a copy would go on calling others by their old names.
    for symbol in new:
        _rename(symbol, "fragment" if symbol == main else _name(symbol), module, there)
    for symbol in new:
        there.insert(symbol.operation.clone(ip=ir.InsertionPoint(into.module.body)))
    callee = ir.FlatSymbolRefAttr.get(_name(main))
    call = ir.Operation.create("func.call", type_of(main).results, arguments, {"callee": callee})
    return list(call.results)


def _parse(module: bytes, context: ir.Context) -> ir.Module:
    if is_portable(module):
        return stablehlo.deserialize_portable_artifact(context, module)
    return ir.Module.parse(module, context)


def _connect_callbacks(module: ir.Module, callbacks: Sequence[Callback], into: mlir.ModuleContext) -> None:
    """Register the host functions that the module calls, and renumber the calls; an unknown number would crash."""
    for call in host_calls_in(module.operation):
        config = ir.DictAttr(call.attributes["mhlo.backend_config"])
        index = ir.IntegerAttr(config["index"])
        if index.value >= len(callbacks):
            raise ValueError("it calls back into Python, which only the process that compiled it can do")
        into.add_host_callback(callbacks[index.value])
        number = ir.IntegerAttr.get(index.type, len(into.host_callbacks) - 1)
        call.attributes["mhlo.backend_config"] = ir.DictAttr.get({"index": number}, context=module.context)
        call.attributes[_SHARDING] = _where_called(call.operation)


def _where_called(call: ir.Operation) -> ir.Attribute:
    """On which devices a host call runs. XLA refuses one with side effects that does not say so, on several devices."""
    around = call.parent
    while around is not None and around.name != sdy.ManualComputationOp.OPERATION_NAME:
        around = around.parent
    ranks = [ir.RankedTensorType(result.type).rank for result in call.results] or [0]
    texts = [
        _ON_ONE_DEVICE if around is None else _ON_EACH_DEVICE.format(dimensions=", ".join(["{}"] * rank))
        for rank in ranks
    ]
    return ir.Attribute.parse(f"#sdy.sharding_per_value<[{', '.join(texts)}]>", call.context)


def _rename(symbol: ir.OpView, wanted: str, module: ir.Module, taken: ir.SymbolTable) -> None:
    """Give a function or a mesh a free name wherever the module uses it: the wanted one, or one with a number."""
    old, own = _name(symbol), ir.SymbolTable(module.operation)
    names = itertools.chain([wanted], (f"{wanted}_{count}" for count in itertools.count()))
    new = next(name for name in names if name not in taken and (name == old or name not in own))
    if new != old:
        ir.SymbolTable.replace_all_symbol_uses(old, new, module.operation)
        symbol.attributes["sym_name"] = ir.StringAttr.get(new, context=module.context)


def _name(symbol: ir.OpView) -> str:
    return ir.StringAttr(symbol.attributes["sym_name"]).value


def _is_same_mesh(one: ir.OpView, other: ir.OpView) -> bool:
    meshes = isinstance(one, sdy.MeshOp) and isinstance(other, sdy.MeshOp)
    return meshes and one.attributes["mesh"] == other.attributes["mesh"]


_call_fragment = Primitive("call_fragment")
_call_fragment.multiple_results = True
_call_fragment.def_abstract_eval(_results)  # type: ignore[no-untyped-call] # jax's
mlir.register_lowering(_call_fragment, _lower)
