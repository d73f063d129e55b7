"""Every model of the zoo, cut in time by every schedule, gives what `jax.jit` gives: gradients too."""

import itertools

import pytest
import zoo
from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.kinds import kind_named
from microbatched import (
    ROUND,
    STRAIGHT,
    ZIGZAG,
    bits_of,
    check_cut_in_time,
    codes_of_tasks,
    compiled,
    compiled_once,  # noqa: F401 (a fixture)
    error_of,
)

import atoll

FAMILIES = {"straight": STRAIGHT, "round": ROUND, "zigzag": ZIGZAG}
COUNTS = (1, 2, 3, 4)
MICROBATCHES = (1, 2, 4, 8)

# Models that no loop over microbatches computes, and why.
REFUSED = {
    "convolutions_with_batch_statistics": "mean, var = h.mean((0, 1, 2)), h.var((0, 1, 2))",
    "mixture_of_experts": "weights = jnp.zeros_like(gates)",
    "no_parameters": "return jnp.cumsum(z, axis=0)",
}
# No argument carries a batch.
WITHOUT_BATCH = ("many_dtypes",)
INFERENCE = ("mlp_inference", "passed_through_twice_and_unused")
FOLDED = [name for name in zoo.CASES if name not in REFUSED and name not in WITHOUT_BATCH]


def combinations():
    """Every pair of model and family, model and count, model and number of microbatches."""
    for number, name in enumerate(FOLDED):
        for row in range(4):
            families = ("straight", "round", "zigzag", "straight")
            family = families[row]
            yield name, family, COUNTS[(number + row) % 4], MICROBATCHES[(number // 4 + 3 * row) % 4]


def pytest_generate_tests(metafunc):
    if "family" in metafunc.fixturenames:
        full = itertools.product(FOLDED, FAMILIES, COUNTS, MICROBATCHES)
        chosen = list(full) if metafunc.config.getoption("full") else list(combinations())
        metafunc.parametrize(("name", "family", "count", "microbatches"), chosen)


def test_same_answer_as_jit_by_every_schedule(name, family, count, microbatches):
    """Twice the same bits; and among schedules with the same fragments too."""
    case, expected, _ = zoo.named(name)
    seen = {}
    for kind in [*FAMILIES[family], *(["forward-only"] if family == "straight" and name in INFERENCE else [])]:
        if microbatches < kind_named(kind).least_microbatches(count):
            with pytest.raises(PlanError, match=f"schedule {kind} needs at least {2 * count} microbatches"):
                compiled(case, atoll.Plan(microbatches=microbatches, schedule=kind), f"{count} x cpu[1]")
            continue
        results, codes = run(case, kind, count, microbatches)
        assert error_of(results, expected) < 1e-5
        for other, (theirs, shared) in seen.items():
            if shared == codes:
                assert bits_of(results) == bits_of(theirs), f"{kind} and {other} have the same fragments"
            else:
                assert error_of(results, theirs) < 1e-6, f"{kind} and {other}"
                same = bits_of(results) == bits_of(theirs)
                print(f"{kind} and {other}, whole and split: {'the same bits' if same else 'other bits'}")
        seen[kind] = results, codes


def run(case, kind, count, microbatches):
    """The results of a step, once it is checked that another gives the same, and the codes of its tasks."""
    plan = atoll.Plan(microbatches=microbatches, schedule=kind)
    with compiled(case, plan, f"{count} x cpu[1]") as step:
        results = list(zoo.leaves(step(*zoo.arguments_of(case))))
        again = step(*zoo.arguments_of(case))
        assert bits_of(again) == bits_of(results)
        schedule = atoll.schedule(kind, islands=count, microbatches=microbatches)
        check_cut_in_time(step, case, schedule)
        return results, codes_of_tasks(step)
