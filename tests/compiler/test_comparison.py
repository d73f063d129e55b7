"""How `atoll run --check` judges what differs from `jax.jit`."""

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.compiler.commands.comparison import DRAWS, compare, judged_by_last_bits, with_other_last_bits

pytestmark = pytest.mark.own

RANDOM = numpy.random.default_rng(0)
SURE = numpy.linspace(1, 2, 400).astype("float32")


def signs():
    """What is left of rounding when only its sign is kept."""
    return RANDOM.choice([-1.0, 1.0], 100).astype("float32")


def results(of=signs):
    """A leaf of which the last 100 numbers are nothing but rounding."""
    return numpy.concatenate([SURE * (1 + RANDOM.normal(size=400) * 1e-7), of()]).astype("float32")


EXPECTED, OTHERS = results(), [results() for _ in range(DRAWS)]


def judged(found):
    difference = compare("w", 0, found, EXPECTED)
    assert difference.is_beyond_tolerance
    return judged_by_last_bits(difference, found, EXPECTED, OTHERS)


def test_what_moves_with_the_last_bits_may_differ_as_far():
    difference = judged(results())
    assert difference.is_as_far
    assert difference.by_last_bits == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda found: numpy.where(numpy.arange(500) < 400, found * 1.01, found), id="the other numbers"),
        pytest.param(lambda found: numpy.where(numpy.arange(500) < 20, -found, found), id="a few of the other numbers"),
        pytest.param(lambda found: found * 30, id="farther than they move"),
        pytest.param(lambda found: numpy.where(numpy.arange(500) == 450, numpy.nan, found), id="no number"),
        pytest.param(lambda found: found[1:], id="another shape"),
    ],
)
def test_a_wrong_answer_is_found_beside_what_moves(wrong):
    assert judged(wrong(results()).astype("float32")).is_too_large


def test_only_last_bits_are_moved():
    for dtype in ("float32", "bfloat16", "float16", "complex64", "float64"):
        with jax.enable_x64(dtype == "float64"):
            value = jnp.asarray(numpy.linspace(-3, 3, 50), dtype)
            moved = with_other_last_bits(value, RANDOM)
        assert moved.dtype == value.dtype
        assert 0 < numpy.max(numpy.abs(moved - numpy.asarray(value)) / 3) <= 2 * float(jnp.finfo(dtype).eps)
    key, whole = jax.random.key(0), jnp.arange(3)
    assert with_other_last_bits(key, RANDOM) is key
    assert with_other_last_bits(whole, RANDOM) is whole
    assert with_other_last_bits(7, RANDOM) == 7
    assert isinstance(with_other_last_bits(0.5, RANDOM), float)
