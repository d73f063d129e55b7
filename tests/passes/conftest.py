"""What tests of whole phases share: a job taken to a phase, and the scheduled module run by hand."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy
import pytest
from atoll.compiler.emit.fragment_code import code_of
from atoll.compiler.export.frontend import export
from atoll.compiler.export.job import Job
from atoll.compiler.export.leaves import leaves_of
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, body_of, functions_in, result_attributes
from atoll.compiler.mlir.ir_text import copy_module, parse_text, to_bytecode
from atoll.compiler.module.interface import numbers_by_path, piece_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import PATH, PLAN, TOPOLOGY
from atoll.compiler.module.memories import Memories
from atoll.compiler.module.mesh_types import island_of, local_type
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import PHASES, phase_named
from atoll.compiler.pipeline.registry import steps_of_phase
from atoll.compiler.plan.plan import Plan
from atoll.runtime.fragment import Fragment
from atoll.runtime.program import Code
from evaluating import module_of
from timed_harness import QUICKLY


def _module_at(job: Job, phase: str, plan: Plan, topology: str) -> ir.Module:
    module = _planned(export(job), plan, topology)
    for one in PHASES[: PHASES.index(phase_named(phase)) + 1]:
        run_passes(module, steps_of_phase(one))
    return module


def _planned(module: ir.Module, plan: Plan, topology: str) -> ir.Module:
    with module.context:
        module.operation.attributes[TOPOLOGY] = ir.StringAttr.get(topology)
        module.operation.attributes[PLAN] = ir.StringAttr.get(str(plan))
    return module


def _phases_of(job: Job, topology: str) -> Callable[[str, int | str], ir.Module]:
    """Takes a job to a phase by a number of stages or their text. It is traced once, and each phase is made of the one
    before, once: nobody may change a module."""
    exported = functools.cache(lambda: to_bytecode(export(job)))

    @functools.cache
    def at(phase: str, stages: int | str) -> ir.Module:
        number = PHASES.index(phase_named(phase))
        if number == 0:
            module = _planned(parse_text(exported()), Plan(stages=stages), topology)
        else:
            module = copy_module(at(PHASES[number - 1].name, stages))
        run_passes(module, steps_of_phase(PHASES[number]))
        return module

    return at


@functools.cache
def _computing(fragment: Fragment, inputs: tuple[jax.ShapeDtypeStruct, ...]) -> Callable[..., list[Any]]:
    """What computes a fragment: numpy, or where it cannot, XLA with little trouble. Equal ones are made once."""
    return module_of(fragment.bytecode) or jax.jit(fragment.__call__).lower(*inputs).compile(QUICKLY)


def _call(fragment: Fragment, operands: Sequence[Any]) -> list[numpy.ndarray]:
    inputs = tuple(jax.ShapeDtypeStruct(one.shape, one.dtype) for one in operands)
    return list(map(numpy.asarray, _computing(fragment, inputs)(*map(numpy.asarray, operands))))


def _fragment(code: Code) -> Fragment:
    return Fragment(code.module, tuple(jax.core.ShapedArray(one.shape, numpy.dtype(one.dtype)) for one in code.results))


def _run_by_hand(module: ir.Module, job: Job) -> list[jax.Array]:
    """What a scheduled module computes from the job's arguments: its calls in order, transfers as identity.

    Whatever an operand is not on the call's island is an error here, as it would be there.
    """
    given = {leaf.path: leaf.value for leaf in leaves_of(job)}
    main = entry_function(module)
    values: dict[ir.Value, jax.Array] = {}
    for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
        value = given[text_attribute(marks, PATH)]
        piece = piece_of(marks)
        if piece is not None:
            size = ir.RankedTensorType(local_type(argument.type)).get_dim_size(piece.dimension)
            value = jax.lax.slice_in_dim(value, piece.start, piece.start + size, axis=piece.dimension)
        is_key = hasattr(value, "dtype") and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
        values[argument] = jax.random.key_data(value) if is_key else jax.numpy.asarray(value)
    fragments = {
        name: _fragment(code_of(function, Memories()))
        for name, function in functions_in(module).items()
        if name != "main"
    }
    for operation in body_of(main).operations:
        operands = [values[operand] for operand in operation.operation.operands]
        if isinstance(operation, mpmd.FragmentCallOp):
            island = ir.StringAttr(operation.attributes["mesh_name"]).value
            assert {island_of(one.type) for one in operation.operation.operands} <= {island}
            callee = ir.FlatSymbolRefAttr(operation.attributes["callee"]).value
            values.update(zip(operation.operation.results, _call(fragments[callee], operands), strict=True))
        elif isinstance(operation, mpmd.TransferOp):
            values[operation.operation.results[0]] = operands[0]
        else:
            returned = operands
    marks = result_attributes(main)
    return [
        jax.numpy.concatenate([returned[one] for one in numbers], piece_of(marks[numbers[0]]).dimension)
        if len(numbers) > 1
        else returned[numbers[0]]
        for numbers in numbers_by_path(marks).values()
    ]


def _transfers(module: ir.Module) -> list[tuple[str, str, ir.Type]]:
    """Source, target and tensor of each transfer."""
    found = []
    for operation in body_of(entry_function(module)).operations:
        if isinstance(operation, mpmd.TransferOp):
            source, target = operation.operation.operands[0], operation.operation.results[0]
            found.append((island_of(source.type), island_of(target.type), local_type(target.type)))
    return found


@pytest.fixture(scope="session")
def module_at():
    """Takes a job to a phase: `module_at(job, "staged", Plan(stages=2), "2 x cpu[1]")`."""
    return _module_at


@pytest.fixture(scope="session")
def phases_of():
    """For many tests that look at one program: `phases_of(job, "2 x cpu[1]")("staged", 2)`, which is made once."""
    return _phases_of


@pytest.fixture(scope="session")
def run_by_hand():
    """Computes the results of a scheduled module, call by call."""
    return _run_by_hand


@pytest.fixture(scope="session")
def transfers():
    """Lists the transfers of a placed or scheduled module."""
    return _transfers


@pytest.fixture(scope="session")
def leaves():
    """The leaves of a function's results, keys as their data."""

    def leaves(tree: object) -> Sequence[numpy.ndarray]:
        found = jax.tree.leaves(tree)
        return [
            numpy.asarray(jax.random.key_data(one) if jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key) else one)
            for one in found
        ]

    return leaves
