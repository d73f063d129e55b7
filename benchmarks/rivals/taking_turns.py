"""What the steps of other systems share: the models, and how a step is timed. Nothing here needs atoll."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy

sys.path.append(str(Path(__file__).resolve().parent.parent))
from steps import models

__all__ = ["models", "print_median"]

_SECONDS = 0.5  # of a turn, at least


def print_median(
    system: str,
    step: Callable[..., Any],
    state: Any,  # noqa: ANN401 (a tree)
    examples: Any,  # noqa: ANN401
    rounds: int,
    arrays_in: Callable[[Any], list[jax.Array]] = jax.tree.leaves,
) -> None:
    """Print as JSON the seconds of a step, the median of turns, and the loss of the first step.

    That step compiles, and the first turn is for caches. The losses of microbatches are parts of the whole.
    arrays_in: those of jax's that a tree of the system's is made of.
    """
    state, losses = step(state, examples)
    jax.block_until_ready(arrays_in(state))
    first, taken = float(sum(numpy.sum(numpy.asarray(one)) for one in arrays_in(losses))), []
    for _ in range(rounds + 1):
        began, steps = time.perf_counter(), 0
        while not steps or time.perf_counter() - began < _SECONDS:
            state, losses = step(state, examples)
            jax.block_until_ready(arrays_in((state, losses)))
            steps += 1
        taken.append((time.perf_counter() - began) / steps)
    print(json.dumps({"system": system, "seconds": statistics.median(taken[1:]), "loss": first}))
