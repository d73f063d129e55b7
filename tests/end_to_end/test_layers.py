"""Models with stacked layers on islands give what `jax.jit` gives, whatever form their loops have."""

import itertools

import layered_loops
import layered_uses
import pytest
from layered import MODELS
from layered_checks import check
from microbatched import compiled_once, compiled_quickly  # noqa: F401 (fixtures)

NAMES = [name for name in MODELS if hasattr(layered_loops, name) or hasattr(layered_uses, name)]
ISLANDS, MICROBATCHES = (2, 4), (1, 4)

# The first of the stages is nothing but a transposition, of a cache whose new value is made in the second.
RESTLESS = pytest.mark.xfail(strict=True, reason="a donated argument lives where it is used, not where its result is")
MOVED = {("cache_with_the_batch_first", 4, 4)}


def pytest_generate_tests(metafunc):
    """Every pair of model, number of islands and number of microbatches; or all there is."""
    if "count" not in metafunc.fixturenames:
        return
    chosen = [
        pytest.param(name, count, microbatches, marks=RESTLESS if (name, count, microbatches) in MOVED else ())
        for number, name in enumerate(NAMES)
        for (row, count), (column, microbatches) in itertools.product(enumerate(ISLANDS), enumerate(MICROBATCHES))
        if metafunc.config.getoption("full") or (row + column + number) % 2 == 0
    ]
    metafunc.parametrize(("name", "count", "microbatches"), chosen)


def test_same_answer_as_jit(name, count, microbatches):
    check(name, count, microbatches)
