"""`atoll run`: compiles a job, a module at any phase or a saved program, and runs it."""

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import jax
import numpy
from atoll.compiler import activity, compiled, display, lowered
from atoll.compiler.commands.comparison import (
    DRAWS,
    Difference,
    compare,
    judged_by_last_bits,
    with_other_last_bits,
)
from atoll.compiler.commands.example_values import seeded
from atoll.compiler.commands.lowering import Asked, lower_target, open_target
from atoll.compiler.commands.target import check_no_marks
from atoll.compiler.compiled import Compiled
from atoll.compiler.emit.emit import signature_of_module
from atoll.compiler.errors import InternalError, UsageError
from atoll.compiler.export.alone.job import as_planned
from atoll.compiler.export.job import Job
from atoll.compiler.export.leaves import leaves_of
from atoll.compiler.export.reference import Reference, reference_of
from atoll.compiler.files import check_writable
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.feedback import StateLeaf, replacements
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from atoll.compiler.text.quantities import bytes_text
from atoll.compiler.topology.devices import reserve_cpu_devices
from atoll.compiler.topology.topology import topology
from atoll.runtime.array import Array, dtype_of
from atoll.runtime.fragment import Fragment
from atoll.runtime.program import Output, Port
from atoll.runtime.program_file import load_program

# How many scalar results are printed for a step.
_MOST_SCALARS = 8
# How many leaves are listed that are judged by the last bits of the arguments.
_MOST_TOLD = 8


@dataclass(frozen=True)
class _Opened:
    """A target that is ready to run.

    given: the values that the target brings along, for some of the inputs.
    reference: what to compare with, or why there is nothing.
    """

    compiled: Compiled
    given: Sequence[Any]
    reference: Reference | str


def run(options: argparse.Namespace) -> int:
    """The command; it fails if --check finds a difference that is too large."""
    asked = Asked.of(options)
    for name, value, least in (("--steps", options.steps, 1), ("--seed", options.seed, 0)):
        if value < least:
            raise UsageError(f"{name} is {value}", remedy=f"it must be at least {least}")
    check_writable(options.save, options.view)
    opened = _open(options, asked)
    with opened.compiled as program:
        if options.check and isinstance(opened.reference, str):
            raise UsageError(f"--check cannot be done: {opened.reference}", options.target)
        if options.save is not None:
            program.save(options.save)
        with display.shown():
            status = _run(opened, options.steps, options.seed, options.check, is_traced=options.view is not None)
        if options.view is not None:
            program.view(options.view)
            print(f"view: {options.view}")
        return status


# Opening.


def _open(options: argparse.Namespace, asked: Asked) -> _Opened:
    text: str = options.target
    if text.endswith(".atoll"):
        check_no_marks(options, "a saved program is compiled")
        return _open_program(Path(text), asked)
    target = open_target(options, asked)
    return _open_job(target, asked) if isinstance(target, Job) else _open_module(target, asked)


def _open_job(job: Job, asked: Asked) -> _Opened:
    assert asked.islands is not None
    given = [leaf.value for leaf in leaves_of(job)]
    plan = asked.plan or Plan()
    made = lowered.compile(job, topology=asked.islands, plan=plan)
    planned = as_planned(job, resolved(plan, len(asked.islands.islands)))
    return _Opened(made, given, reference_of(planned, asked.islands))


def _open_module(module: ir.Module, asked: Asked) -> _Opened:
    made = lower_target(module, asked)
    whole = PHASES[0].name
    reference: Reference | str = f"it is cut up at phase {made.phases[0]}; run the job, or a module at {whole}"
    if whole in made.phases:
        reference = _reference_of(parse_text(made.ir(whole)))
    return _Opened(made.compile_here(), (), reference)


def _reference_of(module: ir.Module) -> Reference:
    """The whole module as one function."""
    outputs = signature_of_module(module).outputs
    results = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in outputs]  # type: ignore[no-untyped-call] # jax's
    run_whole = jax.jit(Fragment.of(module, results))
    return lambda leaves: run_whole(*leaves)


def _open_program(path: Path, asked: Asked) -> _Opened:
    if asked.plan is not None:
        raise UsageError("a saved program has its plan", str(path), "leave --plan out, or run the job")
    reserve_cpu_devices(asked.islands or topology(load_program(path).topology))
    return _Opened(compiled.load_flat(path, asked.islands), (), "a saved program has no function; check the job")


# Running.


def _run(opened: _Opened, steps: int, seed: int, is_checked: bool, *, is_traced: bool) -> int:
    """is_traced: whether the last step is recorded, which makes it slower."""
    program = opened.compiled.program
    donated = {number: _leaf(one) for number, one in enumerate(program.inputs) if one.donated}
    replaced = replacements(donated, list(map(_leaf, program.outputs)))

    def first(number: int) -> Any:  # noqa: ANN401 (any array)
        one = program.inputs[number]
        value = opened.given[number] if opened.given else None
        if value is None or isinstance(value, jax.ShapeDtypeStruct):
            return seeded(one, seed)
        return value.copy() if one.donated and isinstance(value, jax.Array) else value

    _check_memory(opened)
    values = [first(number) for number in range(len(program.inputs))]
    differences: list[Difference] = []
    activity.expect(steps, alike=True)
    for step in range(steps):
        activity.announce(f"running step {step}")
        given = [_to_jax(value) for value in values] if is_checked else []
        began = time.monotonic()
        with _trace(opened.compiled) if is_traced and step == steps - 1 else contextlib.nullcontext():
            results = opened.compiled.call_flat(values)
            for result in results:
                result.block_until_ready()
        print(f"step {step}: {_scalars(program.outputs, results)} ({(time.monotonic() - began) * 1000:.0f} ms)")
        if is_checked:  # after the step, whose errors say better what fails
            assert not isinstance(opened.reference, str)
            differences += _differences(opened.reference, given, program.outputs, results, step)
        for number, one in enumerate(program.inputs):
            if number in replaced:
                values[number] = results[replaced[number]]
            elif one.donated:
                values[number] = first(number)
        activity.piece_ended()
    _print_stats(opened.compiled)
    if is_checked:
        _judge(differences)
    return 0


@contextlib.contextmanager
def _trace(program: Compiled) -> Iterator[None]:
    """Record a step for the report alone."""
    with tempfile.TemporaryDirectory() as folder, program.trace(Path(folder) / "trace"):
        yield


def _leaf(port: Port) -> StateLeaf:
    return StateLeaf(port.path, (port.shape, port.dtype))


def _check_memory(opened: _Opened) -> None:
    """Refuse to draw what this machine cannot hold, rather than be killed on the way."""
    given = opened.given or [None] * len(opened.compiled.program.inputs)
    drawn = [
        one
        for one, value in zip(opened.compiled.program.inputs, given, strict=True)
        if value is None or isinstance(value, jax.ShapeDtypeStruct)
    ]
    needed = sum(prod(one.shape) * dtype_of(one.dtype).itemsize for one in drawn)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        what = f"its arguments take {bytes_text(needed)}, and this machine has {bytes_text(there)}"
        raise UsageError(what, remedy="run a smaller job; `atoll dump` needs no arrays")


def _to_jax(value: Any) -> Any:  # noqa: ANN401 (whatever is an argument)
    """A copy that stays when a step takes the value itself."""
    if isinstance(value, Array):
        return value.to_jax()
    return value.copy() if isinstance(value, jax.Array) else value


def _scalars(outputs: Sequence[Output], results: Sequence[Array]) -> str:
    """The results that are one number each."""
    found = [
        f"{output.path} = {result.item():.6g}"
        for output, result in zip(outputs, results, strict=True)
        if not output.shape and not output.dtype.startswith("key<")
    ]
    more = [f"{len(found) - _MOST_SCALARS} more"] if len(found) > _MOST_SCALARS else []
    return ", ".join([*found[:_MOST_SCALARS], *more]) or f"{len(results)} results"


def _print_stats(program: Compiled) -> None:
    stats = program.stats()
    tasks = ", ".join(f"{count} {kind}" for kind, count in stats.tasks.items())
    print(f"tasks: {tasks or 'none'}; messages: {stats.messages}; controller: {stats.controller_us:.0f} us")
    for (source, target), count in stats.bytes_per_link.items():
        print(f"{source} -> {target}: {count:,} bytes")


def _differences(
    reference: Reference, given: Sequence[Any], outputs: Sequence[Output], results: Sequence[Array], step: int
) -> list[Difference]:
    """How far the results are from what `jax.jit` gives; what is far, judged by what it gives for other last bits."""
    expected, found = reference(given), [result.to_jax() for result in results]
    differences = [
        compare(output.path, step, *leaves) for output, *leaves in zip(outputs, found, expected, strict=True)
    ]
    if not any(one.is_beyond_tolerance for one in differences):
        return differences
    random = numpy.random.default_rng(step)
    moved = [reference([with_other_last_bits(leaf, random) for leaf in given]) for _ in range(DRAWS)]
    return [
        judged_by_last_bits(difference, one, other, [leaves[number] for leaves in moved])
        if difference.is_beyond_tolerance
        else difference
        for number, (difference, one, other) in enumerate(zip(differences, found, expected, strict=True))
    ]


def _judge(differences: Sequence[Difference]) -> None:
    """Print how far the results are from those of `jax.jit`; InternalError if that is too far."""
    if not differences:
        print("check: there are no results")
        return
    near = [one for one in differences if not one.is_as_far]
    worst = max(near, key=lambda one: (one.is_too_large, one.relative), default=None)
    leaves = {one.path for one in differences}
    equal = leaves - {one.path for one in differences if not one.is_bit_equal}
    largest = 0.0 if worst is None else worst.relative
    print(f"check: max relative difference {largest:.1e}, bit-equal on {len(equal)} of {len(leaves)} leaves")
    _tell_as_far([one for one in differences if one.is_as_far])
    if worst is not None and worst.is_too_large:
        what = f"{worst.path} of step {worst.step} differs from jax.jit by {worst.relative:.1e}"
        what += f", more than {worst.tolerance:.0e}"
        if worst.by_last_bits is not None:
            what += f", and other last bits in the arguments move it by {worst.by_last_bits:.0e}"
        raise InternalError(what, remedy="this is a defect; please report it")


def _tell_as_far(differences: Sequence[Difference]) -> None:
    """Print which leaves were not judged by the tolerance, and why."""
    if not differences:
        return
    worst = {one.path: one for one in sorted(differences, key=lambda one: one.relative)}
    leaves = f"{len(worst)} more leaves are" if len(worst) > 1 else "one more leaf is"
    print(f"check: {leaves} as far from jax.jit as its own results move with the last bits of the arguments,")
    print("       as an update by Adam does where a gradient is zero but for rounding:")
    for one in list(worst.values())[:_MOST_TOLD]:
        print(f"       {one.path} of step {one.step} by {one.relative:.1e}, which moves by {one.by_last_bits:.1e}")
    if len(worst) > _MOST_TOLD:
        print(f"       and {len(worst) - _MOST_TOLD} more")
