"""Measures what the runtime needs for a task: the step of a program whose tasks do next to nothing, on CPU devices."""

import time
from dataclasses import replace
from typing import Any

import jax
import numpy
from atoll.compiler.ahead.memory import runs_in_step
from atoll.compiler.compiled import Compiled
from atoll.compiler.lowered import lower
from atoll.compiler.plan.plan import Plan
from atoll.compiler.topology.topology import Topology

_MICROBATCHES, _STAGES = 16, 2
_STEPS, _REPEATS = 3, 7


def seconds_of_a_task(islands: Topology) -> float:
    """A task's part of a step in which a few numbers go over the islands, in two stages if there are two."""
    stages = min(_STAGES, len(islands.islands))
    plan = Plan(stages=stages, microbatches=_MICROBATCHES, replicas=1)
    roomy = tuple(replace(island, memory=None) for island in islands.islands[:stages])
    few = replace(islands, islands=roomy, links=(), rates=())
    examples = numpy.ones((_MICROBATCHES * max(island.size for island in few.islands), 1), numpy.float32)
    with lower(_twice, examples, topology=few, plan=plan, batch_argnums=0).compile() as step:
        assert isinstance(step, Compiled)  # CPU devices are here
        return _fastest_step(step, examples) / _tasks(step)


def _twice(x: jax.Array) -> jax.Array:
    for stage in range(_STAGES):
        with jax.named_scope(f"stage_{stage}"):
            x = x @ numpy.ones((1, 1), numpy.float32)
    return x


def _fastest_step(step: Compiled, examples: numpy.ndarray[Any, Any]) -> float:
    def steps() -> float:
        began = time.perf_counter()
        for _ in range(_STEPS):
            step(*placed).block_until_ready()
        return (time.perf_counter() - began) / _STEPS

    placed = step.put(examples)
    return min(steps() for _ in range(1 + _REPEATS))


def _tasks(step: Compiled) -> int:
    """How many there are in a step, on all islands."""
    return sum(runs_in_step(island).total() for island in step.program.islands)
