"""Judges the passes of phase `timed`: what they make of a function computes what `jax.jit` computes.

Programs are compiled many to an XLA module, each as jax lowered it and as the time passes left it, side by side.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy
import pytest
from atoll.compiler.export.frontend import lower_traced, trace
from atoll.compiler.export.job import Job
from atoll.compiler.export.leaves import leaves_of
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import PATH, PLAN, TOPOLOGY
from atoll.compiler.pipeline.pass_base import Step
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import PHASES, phase_named
from atoll.compiler.pipeline.registry import steps_of_phase
from atoll.compiler.plan.allowance import EXTRA
from atoll.compiler.plan.plan import Plan
from atoll.runtime.fragment import Fragment
from evaluating import module_of
from jax._src.interpreters import pxla
from timed_contract import breaches
from untimed import part_results, untime

# How far results may be from jax's, as a part of the largest magnitude beside them. Nothing but the order of sums may
# differ; narrow floats are accumulated in float32, where XLA rounds more often.
TOLERANCES = {
    "float64": 1e-12,
    "complex128": 1e-12,
    "float32": 1e-5,
    "complex64": 1e-5,
    "float16": 4e-3,
    "bfloat16": 3e-2,
}

# Programs in one XLA module.
AT_ONCE = 40

# Of the programs that numpy finds right, one in so many is compiled anyhow.
COMPILED = 10

# The programs are tiny and run once: compiling is what takes the time.
QUICKLY: dict[str, bool | int] = {"xla_backend_optimization_level": 0, "xla_cpu_parallel_codegen_split_count": 1}
if jax.__version_info__ < (0, 11):  # newer ones have no such option
    QUICKLY["xla_cpu_use_fusion_emitters"] = False


_usual_options = pxla.create_compile_options


def _quick_options(*given: Any) -> Any:
    *about, backend, devices, options = given
    return _usual_options(*about, backend, devices, {**(QUICKLY if backend.platform == "cpu" else {}), **options})


@contextmanager
def compiling_quickly(is_wanted: bool = True) -> Iterator[None]:
    """All that is compiled for CPUs takes XLA less trouble: what `jax.jit` compiles, single operations, and tasks.

    Or it is compiled as it is for users, amid a module that asked for the other.
    """
    before = jax.config.read("jax_disable_most_optimizations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pxla, "create_compile_options", _quick_options if is_wanted else _usual_options)
        jax.config.update("jax_disable_most_optimizations", is_wanted)
        try:
            yield
        finally:
            jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly() -> Iterator[None]:
    """In a module that imports it XLA takes little trouble."""
    with compiling_quickly():
        yield


@dataclass(frozen=True)
class Program:
    """A function with arguments, some of which hold examples along axis 0, or along the axes that are given.

    text: what to show of it in a failure.
    magnitude: how large the values are that results are made of, where these may cancel.
    rounded_to: a narrower type than their own that floats are rounded to on the way.
    replicas: how many there are, of so many microbatches each.
    islands: the topology.
    platform: for which it is lowered.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    batch: tuple[int, ...]
    microbatches: int = 2
    text: str = ""
    magnitude: float = 0.0
    rounded_to: str | None = None
    axes: Any = None
    replicas: int = 1
    islands: str = "2 x cpu[1]"
    platform: str = "cpu"


@dataclass(frozen=True)
class Pair:
    """A program as jax lowered it and as the time passes left it, on the whole batch.

    examples: the dimension along which results are per example, by the number of the result.
    """

    program: Program
    original: Fragment
    timed: Fragment
    given: tuple[Any, ...]
    kept: tuple[int, ...]
    examples: dict[int, int] = field(hash=False)
    module: str = ""


class ContractBrokenError(AssertionError):
    """The module is not what the passes behind phase `timed` rely on."""


def pair_of(program: Program) -> Pair:
    """A program through the time passes. CompileError: they refuse it; ContractBrokenError: they break their word."""
    job, module, original = lowered(program)
    take_to(module, "timed", program.microbatches, replicas=program.replicas, islands=program.islands)
    return judged(program, job, module, original)


def take_to(
    module: ir.Module,
    phase: str,
    microbatches: int,
    extra: int | str = EXTRA,
    replicas: int = 1,
    islands: str = Program.islands,
) -> None:
    """Run the passes up to a phase."""
    plan = Plan(microbatches=microbatches, extra=extra, replicas=replicas)
    with module.context:
        module.operation.attributes[TOPOLOGY] = ir.StringAttr.get(islands)
        module.operation.attributes[PLAN] = ir.StringAttr.get(str(plan))
    for steps in _steps(phase):
        run_passes(module, steps)


@functools.cache
def _steps(phase: str) -> list[tuple[Step, ...]]:
    return [steps_of_phase(one) for one in PHASES[: PHASES.index(phase_named(phase)) + 1]]


def lowered(program: Program) -> tuple[Job, ir.Module, Fragment]:
    """A program's module before any pass, and the fragment of that."""
    job = Job(program.fn, *program.args, batch_argnums=program.batch, batch_axes=program.axes)
    traced = trace(job)
    module = lower_traced(job, traced, program.platform)[0]
    return job, module, Fragment.of(module, jax.tree.leaves(traced.out_info))


def judged(program: Program, job: Job, module: ir.Module, original: Fragment) -> Pair:
    """The pair of a program and the module of phase `timed` that was made of it."""
    text = str(module)
    broken = breaches(module, program.microbatches * program.replicas)
    if broken:
        raise ContractBrokenError("\n".join([*broken, program.text, text]))
    leaves = list(leaves_of(job))
    paths = [leaf.path for leaf in leaves]
    main = entry_function(module)
    untime(main)
    kept = tuple(paths.index(text_attribute(marks, PATH) or "") for marks in argument_attributes(main))
    examples = part_results(main)
    if not module.operation.verify():
        raise ContractBrokenError(f"parts do not fit together\n{program.text}\n{text}")
    given = tuple(_array(leaf.value) for leaf in leaves)
    return Pair(program, original, Fragment.of(module, original.results), given, kept, examples, text)


def _array(value: Any) -> Any:
    """An array as jax takes it, now that it may be set to 32 or to 64 bits."""
    if isinstance(value, jax.Array):
        return value
    return numpy.asarray(value, jax.dtypes.canonicalize_dtype(jax.dtypes.result_type(value)))


def faults(pairs: Sequence[Pair]) -> list[str]:
    """What is wrong with each pair, as a text; an empty one if they agree.

    Compiling tiny programs takes longer than all else: what numpy finds equal is compiled for one in ten alone. What is
    wrong then counts if it is so where XLA takes its time as well, as for users: in haste it computes twice, and rounds
    otherwise, what a maximum is taken of and what is compared with that.
    """
    found = [computed(pair) for pair in pairs]
    doubtful = [
        number
        for number, both in enumerate(found)
        if number % COMPILED == 0 or both is None or differences(pairs[number], *both)
    ]
    told = [""] * len(pairs)
    for start in range(0, len(doubtful), AT_ONCE):
        some = doubtful[start : start + AT_ONCE]
        for number, both in zip(some, answers([pairs[one] for one in some]), strict=True):
            pair = pairs[number]
            wrong = differences(pair, *both) and differences(pair, *answers([pair], {})[0])
            told[number] = "\n".join(["WRONG ANSWER", *wrong, pair.program.text, pair.module]) if wrong else ""
    return told


Answers = tuple[list[numpy.ndarray], list[numpy.ndarray]]


def computed(pair: Pair) -> Answers | None:
    """What numpy makes of both programs; None if it cannot do what is in them."""
    given = [_numbers(value) for value in pair.given]
    kept = [given[index] for index in pair.kept]
    original, timed = (module_of(one.bytecode) for one in (pair.original, pair.timed))
    return None if original is None or timed is None else (original(*given), timed(*kept))


def answers(pairs: Sequence[Pair], options: Mapping[str, bool | int] = QUICKLY) -> list[Answers]:
    """What jax computes and what the timed programs compute, pair by pair, from one XLA module."""

    def both(arguments: Sequence[Sequence[jax.Array]]) -> list[Any]:
        return [
            (pair.original(*given), pair.timed(*(given[index] for index in pair.kept)))
            for pair, given in zip(pairs, arguments, strict=True)
        ]

    with jax.enable_x64(True):
        arguments = [pair.given for pair in pairs]
        compiled = jax.jit(both, keep_unused=True).lower(arguments).compile(compiler_options=dict(options))
        return jax.tree.map(_numbers, compiled(arguments))


def _numbers(array: jax.Array) -> numpy.ndarray:
    is_key = jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)
    return numpy.asarray(jax.random.key_data(array) if is_key else array)


def differences(pair: Pair, expected: Sequence[numpy.ndarray], found: Sequence[numpy.ndarray]) -> list[str]:
    """In which results a timed program differs from jax's, each as a sentence."""
    program, told = pair.program, []
    for index, (one, other) in enumerate(zip(expected, found, strict=True)):
        worst = difference(one, other, pair.examples.get(index), program.magnitude, program.rounded_to)
        if worst:
            told.append(f"result {index}: {worst}\nexpected\n{one}\nfound\n{other}")
    return told


def difference(
    expected: numpy.ndarray,
    found: numpy.ndarray,
    examples: int | None = None,
    magnitude: float = 0.0,
    rounded_to: str | None = None,
) -> str:
    """How an array differs from the one it should be; empty if it does not.

    Floats are compared with the largest magnitude of the array; of the same example, where there is one a row.
    """
    if (expected.shape, expected.dtype) != (found.shape, found.dtype):
        return f"it is {found.dtype}{found.shape}, not {expected.dtype}{expected.shape}"
    tolerance = TOLERANCES.get(expected.dtype.name)
    if tolerance is None:
        wrong = expected != found
        return f"{wrong.sum()} of {wrong.size} elements differ" if wrong.any() else ""
    if rounded_to is not None:
        tolerance = TOLERANCES[rounded_to]
    wide = numpy.complex128 if numpy.iscomplexobj(expected) else numpy.float64
    one, other = expected.astype(wide), found.astype(wide)
    usual = numpy.isfinite(one) & numpy.isfinite(other)
    same = (one == other) | (numpy.isnan(one) & numpy.isnan(other))
    if not (usual | same).all():
        return "infinities and NaNs are in different places"
    with numpy.errstate(invalid="ignore"):
        distance = numpy.where(usual, abs(one - other), 0)
    axes = tuple(axis for axis in range(one.ndim) if axis != examples)
    largest = numpy.max(numpy.where(usual, abs(one), 0), axis=axes, keepdims=True, initial=magnitude)
    wrong = distance > tolerance * largest
    return f"{wrong.sum()} of {wrong.size} elements differ, by up to {distance.max():.3g}" if wrong.any() else ""


def check(programs: Sequence[Program]) -> None:
    """Fail unless every program is accepted and computes what jax computes."""
    wrong = next(filter(None, faults([pair_of(program) for program in programs])), "")
    assert not wrong, wrong
