"""No pass changes what it is not about: loops, tasks and bytes of the zoo are those that are written down."""

import pytest
import zoo
from zoo_counts import FILE, HEAD, PLANS, counted

FIRST, *LINES = FILE.read_text(encoding="utf-8").splitlines()
EXPECTED = {line.partition(":")[0]: line for line in LINES}
RENEW = "`make zoo-counts` writes them anew, if the change is meant"

pytestmark = [
    pytest.mark.own,
    pytest.mark.skipif(HEAD.partition(",")[0] != FIRST.partition(",")[0], reason=f"counted with {FIRST}"),
]


@pytest.mark.one_in(10)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("model", zoo.CASES)
def test_counts_are_those_that_are_written_down(model, plan):
    assert counted(model, plan) == EXPECTED[f"{model}, {plan}"], RENEW


def test_every_model_is_written_down():
    assert (FIRST, list(EXPECTED)) == (HEAD, [f"{model}, {plan}" for model in zoo.CASES for plan in PLANS]), RENEW
