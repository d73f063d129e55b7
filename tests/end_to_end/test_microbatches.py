"""Every model of the zoo, cut in time by every schedule, gives what `jax.jit` gives: gradients too."""

import itertools

import pytest
import zoo
from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.kinds import kind_named
from microbatched import (
    BY_XLA,
    ROUND,
    STRAIGHT,
    ZIGZAG,
    bits_of,
    check_cut_in_time,
    codes_of_tasks,
    compiled,
    compiled_by_xla,  # noqa: F401 (a fixture)
    error_of,
    evaluated,  # noqa: F401 (a fixture)
)
from references import reference

import atoll

FAMILIES = {"straight": STRAIGHT, "round": ROUND, "zigzag": ZIGZAG}
COUNTS = (1, 2, 3, 4)
MICROBATCHES = (2, 4, 8)

# Models that no loop over microbatches computes; that have no batch; that go over the stages more than twice.
REFUSED = ("convolutions_with_batch_statistics", "no_parameters")
WITHOUT_BATCH = ("many_dtypes",)
MORE_SWEEPS = ("gradient_of_gradient",)
# Those that `forward-only` is for.
INFERENCE = ("mlp_inference", "passed_through_twice_and_unused")
FOLDED = [name for name in zoo.CASES if name not in (*REFUSED, *WITHOUT_BATCH, *MORE_SWEEPS)]


def cover(is_quick):
    """Every family of schedules, number of islands and number of microbatches, and every pair of these.

    Each model once, and one in three twice, once of these by XLA, which compiles what schedules share once for a test.
    """
    families = list(FAMILIES)
    for number, name in enumerate(FOLDED):
        for row in range(1 if is_quick or number % 3 else 2):
            family, count = families[(number + row) % 3], COUNTS[(number + row) % 4]
            marks = BY_XLA if row == 0 and number % 3 == 0 else ()
            yield pytest.param(name, family, count, MICROBATCHES[(number // 3 + row) % 3], marks=marks)
    yield from (("mlp_sgd", family, count, 1) for family, count in zip(FAMILIES, (4, 2, 2), strict=True))


def pytest_generate_tests(metafunc):
    if "family" in metafunc.fixturenames:
        is_full, is_quick = map(metafunc.config.getoption, ("full", "quick"))
        chosen = itertools.product(FOLDED, FAMILIES, COUNTS, (1, *MICROBATCHES)) if is_full else cover(is_quick)
        metafunc.parametrize(("name", "family", "count", "microbatches"), list(chosen))


@pytest.mark.one_in(6)
def test_same_answer_as_jit_by_every_schedule(name, family, count, microbatches, request):
    """Twice the same bits; among schedules with the same fragments too. And all schedules send as much.

    Of the family two schedules, others for each model; or all. Quickly one: the order of tasks is no question to jax.
    """
    case = zoo.CASES[name]()
    seen, links = {}, []
    kinds = FAMILIES[family]
    if not request.config.getoption("full"):
        kinds = some_of(kinds, 1 if request.config.getoption("quick") else 2, FOLDED.index(name), count, microbatches)
    if family == "straight" and name in INFERENCE:
        kinds = [*kinds, "forward-only"]
    for kind in kinds:
        if microbatches < kind_named(kind).least_microbatches(count):
            with pytest.raises(PlanError, match=f"schedule {kind} needs at least {2 * count} microbatches"):
                compiled(case, atoll.Plan(microbatches=microbatches, schedule=kind), f"{count} x cpu[1]")
            continue
        results, codes, sent = run(case, kind, count, microbatches)
        if not seen:
            expected = list(zoo.leaves(reference(case.fn, *case.args)))
        assert error_of(results, expected) < 1e-5
        for other, (theirs, shared) in seen.items():
            same = bits_of(results) == bits_of(theirs)
            if shared == codes:
                assert same, f"{kind} and {other} have the same fragments"
            else:
                assert error_of(results, theirs) < 1e-6, f"{kind} and {other}"
                print(f"{kind} and {other}, one of which splits backward tasks: {'the same' if same else 'other'} bits")
        seen[kind] = results, codes
        links.append(sent)
    assert links[1:] == links[:-1]


def some_of(kinds, most, number, count, microbatches):
    """Of the schedules a few, others for each number; one of them at least goes with so few microbatches."""
    first = (number + number // 2) % len(kinds)  # so that nearly every pair of schedule and number of islands is there
    turned = [*kinds[first:], *kinds[:first]]
    able = [kind for kind in turned if microbatches >= kind_named(kind).least_microbatches(count)]
    return [able[0], *(kind for kind in turned if kind != able[0])][:most]


def run(case, kind, count, microbatches):
    """What a step gives, once it is checked that another gives the same; the codes of its tasks; what it sends."""
    plan = atoll.Plan(microbatches=microbatches, schedule=kind)
    with compiled(case, plan, f"{count} x cpu[1]") as step:
        results = list(zoo.leaves(step(*zoo.arguments_of(case))))
        assert bits_of(step(*zoo.arguments_of(case))) == bits_of(results)
        check_cut_in_time(step, case, atoll.schedule(kind, islands=count, microbatches=microbatches))
        return results, codes_of_tasks(step), step.stats().bytes_per_link
