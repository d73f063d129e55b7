"""Random programs that sort rows by a key: each is refused, or right. `--full` tries eighty times as many."""

import chosen
import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.errors import AtollError, CompileError, PlanError
from sorted_programs import sorted_program
from timed_harness import ContractBrokenError, Pair, Program, computed, differences, faults, pair_of

COUNT = 15


def prepared(seed, platform="cpu"):
    """The pair of a seed's program, or what was raised instead."""
    made = sorted_program(seed)
    names = {"jax": jax, "jnp": jnp}
    exec(compile(made.text, f"sorted_{seed}.py", "exec"), names)
    text = f"# seed {seed}, {made.microbatches} microbatches\n{made.text}"
    program = Program(names["program"], made.arguments, (3, 4), made.microbatches, text, platform=platform)
    try:
        return pair_of(program)
    except (AtollError, ContractBrokenError) as error:
        is_refused = isinstance(error, CompileError | PlanError) and "defect" not in str(error)
        is_refused = is_refused and "internal error" not in str(error)
        return error if is_refused else AssertionError(f"{type(error).__name__}: {error}\n{text}")


@pytest.mark.timeout(3600)  # for `--full`
def test_refused_or_right(request):
    made = [prepared(seed) for seed in chosen.seeds(request.config, COUNT, COUNT * 80)]
    pairs = [one for one in made if isinstance(one, Pair)]
    defects = [str(one) for one in made if isinstance(one, AssertionError)]
    failures = sorted([*filter(None, faults(pairs)), *defects], key=len)
    assert not failures, f"{len(failures)} are wrong, the first:\n{failures[0]}"
    assert len(pairs) >= 0.3 * len(made)


@pytest.mark.timeout(3600)  # for `--full`
def test_refused_or_right_where_groups_are_multiplied_at_once(request):
    """As TPUs and GPUs do it: jax leaves `ragged_dot` as one operation, which numpy computes here."""
    made = [prepared(seed, "tpu") for seed in chosen.seeds(request.config, COUNT, COUNT * 80)]
    assert not [one for one in made if isinstance(one, AssertionError)]
    pairs = [one for one in made if isinstance(one, Pair)]
    in_loops = 0
    for pair in pairs:
        both = computed(pair)
        assert both is not None, "numpy cannot compute it"
        wrong = differences(pair, *both)
        assert not wrong, "\n".join([*wrong, pair.program.text, pair.module])
        in_loops += "chlo.ragged_dot" in pair.module.partition("mpmd.return")[0]
    assert in_loops > len(made) // 5
