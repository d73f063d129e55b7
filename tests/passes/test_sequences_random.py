"""Random steps that go over the batch several times: each is refused, or computes what `jax.jit` computes, whether what
several loops need is kept or made again, and however that is rounded then."""

import re

import chosen
import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.compiler.errors import AtollError, CompileError, InternalError, PlanError
from random_sequences import random_sequence
from refusal_counts import reasons
from rounded_otherwise import wrong_if_rounded_otherwise
from timed_harness import Pair, Program, faults, judged, lowered, take_to

pytestmark = [pytest.mark.timeout(6 * 3600), pytest.mark.own]

COUNT = 12  # with `--full` 5,000
AT_ONCE = 250  # programs
MAGNITUDE = 10.0  # of the values that results are made of, where these may cancel
# The usual; the work that is allowed, if not the memory; and with no memory for what can be made again.
EXTRA = (50, 1000, "1000%, 0 B")


def prepared(seed):
    """The pair of a seed's program, or the error that refuses it."""
    made = random_sequence(seed)
    text = f"# seed {seed}, {made.microbatches} microbatches of {made.batch} examples\n{made.text}"
    names = {"jax": jax, "jnp": jnp}
    exec(compile(made.text, f"sequence_{seed}.py", "exec"), names)
    program = Program(names["program"], made.arguments, made.batch_argnums, made.microbatches, text, MAGNITUDE)
    with jax.enable_x64(True):
        try:
            return timed(program, EXTRA[seed % len(EXTRA)])
        except InternalError:
            raise
        except (CompileError, PlanError) as error:
            return error


def timed(program, extra):
    """The pair of a program; with what a refusal says that would allow it, if it does."""
    job, module, original = lowered(program)
    try:
        take_to(module, "timed", program.microbatches, extra)
    except CompileError as error:
        allowing = re.search(r'allow it by extra="([^"]+)"', str(error))
        if allowing is None:
            raise
        return timed(program, allowing[1])
    return judged(program, job, module, original)


def test_refused_or_right(request, capsys):
    seeds = chosen.seeds(request.config, COUNT, 5000)
    accepted, refused, wrong = 0, [], []
    for start in range(seeds.start, seeds.stop, AT_ONCE):
        made = [prepared(seed) for seed in range(start, min(start + AT_ONCE, seeds.stop))]
        refused += [one for one in made if isinstance(one, AtollError)]
        pairs = [one for one in made if isinstance(one, Pair)]
        numbers = numpy.random.default_rng(start)
        wrong += filter(None, faults(pairs))
        wrong += filter(None, (wrong_if_rounded_otherwise(one, numbers) for one in pairs))
        accepted += len(pairs)
        with capsys.disabled():
            print(f" [up to seed {start + AT_ONCE}: {accepted} accepted, {len(wrong)} wrong]", end="", flush=True)
    with capsys.disabled():
        print(reasons(refused))
    assert not wrong, f"{len(wrong)} WRONG ANSWERS, the first:\n{min(wrong, key=len)}"
    assert accepted >= 0.7 * len(seeds)
