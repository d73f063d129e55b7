"""The zoo cut in time in double precision, where sums in another order differ in the last digits only."""

from dataclasses import replace

import jax
import pytest
import zoo
from microbatched import (
    check_cut_in_time,
    compiled,
    compiled_by_xla,  # noqa: F401 (a fixture)
    double_precision,  # noqa: F401 (a fixture)
    error_of,
    evaluated,  # noqa: F401 (a fixture)
)
from references import reference
from test_microbatches import FOLDED

import atoll

KINDS = ("gpipe", "zb-h1", "interleaved-zb(2)", "zb-v", "1f1b", "dualpipe-v", "v-min")


def in_double(case):
    """Flax makes parameters of single precision even so."""
    return replace(
        case, args=jax.tree.map(lambda leaf: leaf.astype("float64") if leaf.dtype == "float32" else leaf, case.args)
    )


# They differ from `mlp_adamw_clipped` in nothing but what comes after the loop.
LIKE_ANOTHER = ("mlp_adafactor", "mlp_lion", "mlp_lamb")


@pytest.mark.one_in(5)
@pytest.mark.parametrize("name", [name for name in FOLDED if name not in LIKE_ANOTHER])
def test_same_answer_as_jit(name, request):
    number = FOLDED.index(name)
    if request.config.getoption("quick") and number % 4:
        pytest.skip("one model in four")
    case = in_double(zoo.CASES[name]())
    kinds = KINDS if request.config.getoption("full") else [KINDS[number % len(KINDS)]]
    for kind in kinds:
        with compiled(case, atoll.Plan(microbatches=(4, 8)[number % 2], schedule=kind), "2 x cpu[1]") as step:
            expected = list(zoo.leaves(reference(case.fn, *case.args)))
            assert {str(leaf.dtype) for leaf in expected} <= {"float64", "int32", "int64"}
            assert error_of(zoo.leaves(step(*zoo.arguments_of(case))), expected) < 1e-12
            check_cut_in_time(step, case, atoll.schedule(kind, islands=2, microbatches=(4, 8)[number % 2]))
