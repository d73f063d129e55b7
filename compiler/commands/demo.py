"""`atoll demo`: trains a small PaLM on two replicas of two stages, and shows what atoll did with it.

At last each island gets a process of its own, for the first steps.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy
from atoll.compiler.commands.comparison import compare
from atoll.compiler.compiled import Compiled
from atoll.compiler.errors import UsageError
from atoll.compiler.lowered import Lowered
from atoll.compiler.plan.plan import Plan
from atoll.compiler.topology.devices import meshes_of
from atoll.compiler.topology.topology import topology
from atoll.examples.palm import toy
from atoll.examples.palm.data import batch
from atoll.examples.palm.hashes import hashes
from atoll.examples.palm.sizes import TOY, Size, layer_products, parameter_count
from atoll.examples.palm.train import init_state

import atoll

_TOPOLOGY = "4 x cpu[1]"
_REPLICAS, _STAGES = 2, 2
_PLAN = Plan(stages=_STAGES, microbatches=2, schedule="zb-h1", replicas=_REPLICAS)
_STEPS = 30
_CHECKED = 3  # the first steps, which `jax.jit` computes as well
_BAR = 30  # characters
_LINES = 6  # where no terminal can show a bar
# Sums are added up in another order, so their last digits differ. The optimizer divides gradients by their own size: a
# weight whose gradient is nearly zero takes a step of full length in a direction that these digits decide.
_TOLERANCE = {"loss": 1e-5, "gradients": 1e-5, "parameters": 1e-3, "momentum": 1.0}
_SCALARS = 64  # bytes; parts of the norm of all gradients, and the number of the step

_State = Any  # a pytree of arrays


def run(options: argparse.Namespace) -> int:
    """The command; the exit status is 1 if a result is not that of `jax.jit`, or replicas do not agree."""
    islands = topology(_TOPOLOGY)
    meshes_of(islands)  # makes the CPU devices, before anything starts jax's backend
    folder = Path(options.dir)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"A PaLM of {parameter_count(TOY):,} parameters, a plain train step: {_short(toy.__file__)}:job")
    print(f'on the islands "{_TOPOLOGY}", with the plan {_PLAN}')
    print(f"so its batch of {TOY.batch} is halved over the replicas, and cut into two microbatches on each\n")

    began = time.monotonic()
    lowered = atoll.lower(toy.job, topology=islands, plan=_PLAN)
    with lowered.compile_here() as step:
        print(f"compiled in {time.monotonic() - began:.0f} s\n", flush=True)
        state, is_same = _check(step)
        checked = dict(hashes(state))
        state = _train(step, state)
        is_agreed = _show_replicas(state)
        _show_transfers(step)
        with step.trace(folder / "trace.pftrace"):
            step(state, batch(_STEPS, TOY))
        print(f"\n{_indented(str(step.report()))}\n")
        (folder / "pipeline.svg").write_text(step.report().svg())
        step.view(folder / "view.html")
        for number, phase in enumerate(step.phases):
            (folder / f"{number}-{phase}.mlir").write_text(step.ir(phase, debug_info=True))
    print(f"The program at every phase, with your lines in it:  {folder}/0-{step.phases[0]}.mlir and on")
    print(f"One step for ui.perfetto.dev:                       {folder}/trace.pftrace")
    print(f"Gantt chart of it, as predicted and as measured:    {folder}/pipeline.svg")
    is_portable = _show_processes(lowered, checked)
    print(f"\nAll of it in a browser, beside your source:          {folder}/view.html")
    return 0 if is_same and is_agreed and is_portable else 1


def _check(step: Compiled) -> tuple[_State, bool]:
    """The first steps, each of which must give what `jax.jit` gives for the same state."""
    jitted, is_same, state = jax.jit(toy.train_step), True, _initial()
    print("largest difference of a leaf from that of jax.jit, relative to the largest number in it")
    print(f"step     loss   of:{''.join(f'{name:>12}' for name in _TOLERANCE)}")
    for number in range(_CHECKED):
        expected = jitted(jax.tree.map(numpy.asarray, state), batch(number, TOY))
        state, loss = step(state, batch(number, TOY))
        worst = _differences((state, loss), expected)
        is_same &= all(worst[name] <= _TOLERANCE[name] for name in _TOLERANCE)
        print(
            f"{number + 1:4}   {float(loss):.4f}      {''.join(f'{worst[name]:12.1e}' for name in _TOLERANCE)}",
            flush=True,
        )
    print(f"{len(jax.tree.leaves((state, loss)))} leaves are {'as' if is_same else 'NOT AS'} jax.jit gives them\n")
    return state, is_same


def _initial() -> _State:
    key = jax.random.key(0, impl="rbg")  # a generator that compiles in no time
    return jax.tree.map(numpy.asarray, jax.jit(init_state, static_argnums=1)(key, TOY))


def _differences(found: Any, expected: Any) -> dict[str, float]:  # noqa: ANN401 (a state and a loss)
    """The largest difference of a leaf in each part of what a step returns."""

    def furthest(ours: Any, theirs: Any) -> float:  # noqa: ANN401 (pytrees of arrays)
        pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
        return max(compare("", 0, one.to_jax(), other).relative for one, other in pairs)

    (state, loss), (state_expected, loss_expected) = found, expected
    memory, memory_expected = state["optimizer"], state_expected["optimizer"]
    return {
        "loss": furthest((loss, state["step"]), (loss_expected, state_expected["step"])),
        "gradients": furthest(memory["square"], memory_expected["square"]),
        "parameters": furthest(state["params"], state_expected["params"]),
        "momentum": furthest(memory["momentum"], memory_expected["momentum"]),
    }


def _train(step: Compiled, state: _State) -> _State:
    """The rest of the steps, with a bar; the state stays on its islands."""
    began, tokens = time.monotonic(), 0
    for number in range(_CHECKED, _STEPS):
        state, loss = step(state, batch(number, TOY))
        tokens += TOY.batch * TOY.length
        _show_progress(number + 1, float(loss), tokens / (time.monotonic() - began))
    print()
    return state


def _show_progress(done: int, loss: float, speed: float) -> None:
    """One line that is written over where there is a terminal, a few lines where there is none."""
    filled = _BAR * done // _STEPS
    line = f"[{'#' * filled}{'.' * (_BAR - filled)}]  step {done}/{_STEPS}   loss {loss:.4f}   {speed:,.0f} tokens/s"
    if sys.stdout.isatty():
        print(f"\r{line}", end="\n" if done == _STEPS else "", flush=True)
    elif done % (_STEPS // _LINES) == 0:
        print(line, flush=True)


def _show_replicas(state: _State) -> bool:
    """Whether every island holds the same bits as its twin."""
    found = list(hashes(state).items())
    twins = [found[stage::_STAGES] for stage in range(_STAGES)]
    for group in twins:
        print("   ".join(f"{name} holds {digest[:16]}" for name, digest in group))
    is_agreed = all(len({digest for _, digest in group}) == 1 for group in twins)
    print(f"after {_STEPS} steps the replicas hold {'the same bits' if is_agreed else 'DIFFERENT BITS'}\n")
    return is_agreed


def _show_processes(lowered: Lowered, expected: Mapping[str, str]) -> bool:
    """Whether the first steps give the same bits where each island has a process of its own."""
    began = time.monotonic()
    try:
        step = lowered.compile(cluster="ray")
    except UsageError as error:  # Ray is not installed
        print(f"\n{error}")
        return True
    with step:
        print(f"\neach island in a process of its own: ready in {time.monotonic() - began:.0f} s", flush=True)
        state = _initial()
        for number in range(_CHECKED):
            state, _ = step(state, batch(number, TOY))
        is_same = dict(hashes(state)) == expected
    print(f"after {_CHECKED} steps they hold {'the same bits as' if is_same else 'OTHER BITS THAN'} in one process")
    return is_same


def by_hand(size: Size) -> Mapping[tuple[str, str], Mapping[str, int]]:
    """The bytes that any such pipeline has to send over each link in a step, without scalars."""
    rows = size.batch // _REPLICAS
    stream = 4 * rows * size.length * size.width
    embedding = 4 * size.vocabulary * size.width
    layers = 4 * (sum(layer_products(size).values()) + size.width) * size.layers // _STAGES
    first = {"layers' gradients": layers, "embedding's gradient": embedding}
    last = {**first, "norm's gradient": 4 * size.width}
    sent: dict[tuple[str, str], Mapping[str, int]] = {}
    for replica in range(_REPLICAS):
        one, other = (f"island{_STAGES * replica + stage}" for stage in range(_STAGES))
        sent[one, other] = {
            "activations": stream,
            "embedding's gradient": embedding,
            "tokens": 4 * rows * (size.length + 1),
        }
        sent[other, one] = {"cotangents": stream, "embedding": embedding}
    sent |= {(f"island{one}", f"island{(one + _STAGES) % 4}"): last if one % 2 else first for one in range(4)}
    return sent


def _show_transfers(step: Compiled) -> None:
    """What was handed to each link in the last step, beside what has to be sent."""
    counted = by_hand(TOY)
    print(f"{'sent in a step':<20}{'bytes':>11}{'by hand':>11}")
    for (source, target), sent in step.stats().bytes_per_link.items():
        kinds = counted.get((source, target), {})
        total = sum(kinds.values())
        what = "" if sent - total in range(_SCALARS) else "   MORE THAN SCALARS ABOVE IT"
        print(f"{source + ' -> ' + target:<20}{sent:>11,}{total:>11,}   {', '.join(kinds)}; scalars{what}")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def _short(path: str) -> str:
    """The shortest way to write a path from here."""
    return path.removeprefix(f"{Path.cwd()}/")
