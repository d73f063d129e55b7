"""`atoll demo`: trains a decoder language model as a pipeline of two islands, and shows what atoll did with it."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy
from atoll.compiler.compiled import Compiled
from atoll.compiler.devices import meshes_of
from atoll.compiler.dump_folder import DumpFolder
from atoll.compiler.entry import PLAN, TOPOLOGY
from atoll.compiler.frontend import export
from atoll.compiler.ir_text import print_module
from atoll.compiler.mlir import ir
from atoll.compiler.pass_base import Step, step_name
from atoll.compiler.pass_manager import run_passes
from atoll.compiler.pipeline import PHASES
from atoll.compiler.plan import Plan
from atoll.compiler.registry import steps_of_phase
from atoll.compiler.topology import topology
from atoll.examples import decoder

import atoll

_TOPOLOGY = "2 x cpu[2]"
_STAGES = "embed, layer_[0..1] | layer_[2..3], head"
_MICROBATCHES, _SCHEDULE = 4, "zb-h1"
_STEPS = 25
_TOLERANCE = 1e-4  # between two ways to sum the same float32 numbers, relative to the largest of a result
_TEXT = "A plain train step, without markers or wrappers, runs on many islands and gives the same answer. "


def run(options: argparse.Namespace) -> int:
    """The command; the exit status is 1 if the first step differs from that of `jax.jit`."""
    islands, plan = topology(_TOPOLOGY), Plan(stages=_STAGES, microbatches=_MICROBATCHES, schedule=_SCHEDULE)
    meshes_of(islands)  # makes the CPU devices, before anything starts jax's backend
    print(f"The train step of a {decoder.CONFIG.layers}-layer decoder in plain JAX, {_short(decoder.__file__)}:job")
    print(f'on the islands "{_TOPOLOGY}", with the plan stages="{_STAGES}",')
    size = decoder.TOKENS.shape[0]
    print(f"its batch of {size} cut into {_MICROBATCHES} microbatches, in the order of {_SCHEDULE}\n")

    folder = DumpFolder(Path(options.dir))
    began = time.monotonic()
    _dump(str(islands), str(plan), folder)
    with atoll.compile(decoder.job, topology=islands, plan=plan) as step:
        print(f"compiled in {time.monotonic() - began:.0f} s\n\n{_indented(str(step.report()))}\n")
        same = _train(step, folder.path / "trace.json")
        _show_transfers(step)
        _show_order(step, folder.path / "pipeline.svg")
    print(f"\nThe IR after every pass, with your lines in it: {folder.path}/00-export.mlir to {folder.count - 1:02d}")
    return 0 if same else 1


def _dump(islands: str, plan: str, folder: DumpFolder) -> None:
    """The IR after every pass, as files."""
    module = export(decoder.job)
    with module.context:
        module.operation.attributes[TOPOLOGY] = ir.StringAttr.get(islands)
        module.operation.attributes[PLAN] = ir.StringAttr.get(plan)
    folder.write("export", print_module(module, debug_info=True))

    def write(step: Step, now: ir.Module) -> None:
        folder.write(step_name(step), print_module(now, debug_info=True))

    for phase in PHASES:
        run_passes(module, steps_of_phase(phase), write)


def _train(step: Compiled, trace: Path) -> bool:
    """Learn one small batch by heart; the first step must give what `jax.jit` gives."""
    state, tokens = decoder.init_state(jax.random.key(0)), _tokens()
    expected = jax.tree.leaves(jax.jit(decoder.train_step)(state, tokens))
    state, loss = step(state, tokens)
    print("step   loss")
    print(f"{1:4}   {float(loss):.4f}   {len(expected)} results, ", end="")
    difference = _difference(jax.tree.leaves((state, loss)), expected)
    same = difference <= _TOLERANCE
    print(f"{'as' if same else 'NOT AS'} jax.jit gives them: they differ by at most {difference:.0e} of the largest")
    began = time.monotonic()
    for number in range(2, _STEPS + 1):
        state, loss = step(state, tokens)
        if number % 6 == 1:
            print(f"{number:4}   {float(loss):.4f}")
    milliseconds = 1000 * (time.monotonic() - began) / (_STEPS - 1)
    print(f"{milliseconds:.0f} ms a step; the state stayed on its islands\n")
    with step.trace(trace):
        step(state, tokens)
    return same


def _tokens() -> jax.Array:
    """Pieces of a short text that repeats itself."""
    count, length = decoder.TOKENS.shape
    text = numpy.frombuffer((_TEXT * length).encode(), dtype=numpy.uint8)
    return jnp.asarray([text[7 * start : 7 * start + length] for start in range(count)], jnp.int32)


def _difference(found: Sequence[jax.typing.ArrayLike], expected: Sequence[jax.Array]) -> float:
    """The largest difference in any result, relative to the largest value there."""
    worst = 0.0
    for ours, theirs in zip(map(numpy.asarray, found), map(numpy.asarray, expected), strict=True):
        scale = float(numpy.max(numpy.abs(theirs), initial=0)) or 1.0
        worst = max(worst, float(numpy.max(numpy.abs(ours - theirs), initial=0)) / scale)
    return worst


def _show_transfers(step: Compiled) -> None:
    """What was handed to the links in the last step, beside what is sent by hand in any such pipeline."""
    batch, length = decoder.TOKENS.shape[0], decoder.CONFIG.length
    activations = 4 * batch * length * decoder.CONFIG.width
    by_hand = 2 * activations + 4 * batch * length + 4
    sent = sum(step.stats().bytes_per_link.values())
    print(f"sent in each step   {sent:7} bytes, in {step.stats().messages} messages")
    print(f"needed, by hand     {by_hand:7} bytes: activations, their gradient, the targets, a count")


def _show_order(step: Compiled, picture: Path) -> None:
    """The order of tasks as a table and, beside what was measured in one more step, as a picture."""
    order = step.schedule
    assert order is not None
    picture.write_text(step.report().svg())
    print(f"\n{_indented(order.table())}\n")
    print(f"This order, as predicted and as measured in one more step: {picture}")
    print(f"That step for ui.perfetto.dev: {picture.with_name('trace.json')}")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def _short(path: str) -> str:
    """A path as short as it can be said from here."""
    return path.removeprefix(f"{Path.cwd()}/")
