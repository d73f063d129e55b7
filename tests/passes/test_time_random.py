"""Random programs: each is refused, or computes what `jax.jit` computes.

A failure shows the program as Python, with its seed. `--full` tries ten times as many.
"""

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.errors import CompileError
from jax import lax
from random_programs import random_program
from timed_harness import Program, answers, differences, pair_of

COUNT = 1000
AT_ONCE = 50  # programs in one XLA module
# How far a smooth program's answers may be wrong where they cancel: their intermediate values are as large as this.
MAGNITUDE = 100.0


def prepared(seed):
    """The program of a seed, and its pair or the error that refuses it."""
    made = random_program(seed)
    text = f"# seed {made.seed}, {made.microbatches} microbatches of {made.batch} examples\n{made.text}"
    names = {"jax": jax, "jnp": jnp, "lax": lax}
    exec(compile(made.text, f"program_{seed}.py", "exec"), names)
    program = Program(names["program"], made.arguments, made.batch_argnums, made.microbatches, text)
    with jax.enable_x64(True):
        try:
            return made, pair_of(program)
        except CompileError as error:
            if "internal error" in str(error) or "cannot be traced" in str(error):
                raise AssertionError(f"{error}\n{text}") from error
            return made, error


@pytest.fixture(scope="module")
def count(request):
    return COUNT * (10 if request.config.getoption("--full") else 1)


def test_refused_or_right(count, capsys):
    accepted, tame, failures = 0, 0, []
    for start in range(0, count, AT_ONCE):
        some = [prepared(seed) for seed in range(start, start + AT_ONCE)]
        pairs = [(made, pair) for made, pair in some if not isinstance(pair, CompileError)]
        accepted, tame = accepted + len(pairs), tame + sum(made.tame for made, _ in some)
        for (made, pair), both in zip(pairs, answers([pair for _, pair in pairs]), strict=True):
            told = differences(pair, *both, magnitude=MAGNITUDE if made.smooth else 0.0)
            if told:
                failures.append("\n".join([pair.program.text, *told, pair.module]))
    with capsys.disabled():
        print(f" [{accepted} of {count} random programs accepted]", end="")
    assert not failures, f"{len(failures)} WRONG ANSWERS, the first:\n{min(failures, key=len)}"
    assert accepted >= 0.4 * count
