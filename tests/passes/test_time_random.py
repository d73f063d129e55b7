"""Random programs: each is refused, or computes what `jax.jit` computes.

A failure shows the program as Python, with its seed; what is refused is counted by reason. `--full` tries a hundred and
twenty-five times as many, `--first-seed=N` others.
"""

import chosen
import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.errors import AtollError, CompileError, PlanError
from jax import lax
from random_programs import random_program
from refusal_counts import reasons
from timed_harness import ContractBrokenError, Pair, Program, faults, pair_of

pytestmark = pytest.mark.timeout(6 * 3600)  # for `--full`

COUNT = 80
PREPARED = 500  # programs at a time
# How far a smooth program's answers may be wrong where they cancel: their intermediate values are as large as this.
MAGNITUDE = 100.0


def prepared(seed):
    """The pair of a seed's program, or what was raised instead."""
    made = random_program(seed)
    text = f"# seed {made.seed}, {made.microbatches} microbatches of {made.batch} examples\n{made.text}"
    names = {"jax": jax, "jnp": jnp, "lax": lax}
    exec(compile(made.text, f"program_{seed}.py", "exec"), names)
    magnitude = MAGNITUDE if made.smooth else 0.0
    program = Program(names["program"], made.arguments, made.batch_argnums, made.microbatches, text, magnitude)
    with jax.enable_x64(True):
        try:
            return pair_of(program)
        except (AtollError, ContractBrokenError) as error:
            is_refused = isinstance(error, CompileError | PlanError) and "internal error" not in str(error)
            return error if is_refused else AssertionError(f"{type(error).__name__}: {error}\n{text}")


@pytest.fixture(scope="module")
def seeds(request):
    return chosen.seeds(request.config, COUNT, COUNT * 125)


def test_refused_or_right(seeds, capsys):
    accepted, wrong, defects, refused = 0, [], [], []
    for first in range(seeds.start, seeds.stop, PREPARED):
        made = [prepared(seed) for seed in seeds[first - seeds.start :][:PREPARED]]
        pairs = [one for one in made if isinstance(one, Pair)]
        wrong += filter(None, faults(pairs))
        defects += [str(one) for one in made if isinstance(one, AssertionError)]
        refused += [one for one in made if isinstance(one, AtollError)]
        accepted += len(pairs)
        with capsys.disabled():
            tried = f"{first + len(made) - seeds.start} of {len(seeds)}"
            print(f" [{tried} random programs: {accepted} accepted]", end="", flush=True)
    with capsys.disabled():
        print(reasons(refused))
    failures = [*sorted(wrong, key=len), *sorted(defects, key=len)]
    assert not failures, f"{len(wrong)} wrong answers and {len(defects)} defects, the first:\n{failures[0]}"
    assert accepted >= 0.4 * len(seeds)
