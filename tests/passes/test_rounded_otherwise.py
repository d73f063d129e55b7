"""The evaluator that rounds otherwise each time finds what is made again beside a copy of itself, and nothing else."""

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.passes.time.folding.same_everywhere import SameEverywhere
from rounded_otherwise import wrong_if_rounded_otherwise
from test_sequences_random import timed
from timed_harness import Program

pytestmark = pytest.mark.own

LABELS = numpy.array([0, 1, 2, 0, 1, 0, 3, 1])


def greatest_of_the_batch(w, x, labels):
    h = jnp.tanh(x @ w)
    return jnp.where(h == h.max(0), h, 0).sum()


def greatest_of_a_group(w, x, labels):
    h = jnp.tanh(x @ w)
    return jnp.where(h == jax.ops.segment_max(h, labels, 5)[labels], h, 0).sum()


def as_great_as_one_that_a_mask_picks(w, x, labels):
    h = jnp.tanh(x @ w)
    return jnp.where(h >= (h * (labels == 3)[:, None]).sum(0), h, -h).sum()


def mean_of_a_group_of_one(w, x, labels):
    h, group = jnp.tanh(x @ w), jax.nn.one_hot(labels, 5)
    mean = (group.T @ h) / jnp.maximum(group.sum(0), 1)[:, None]
    return jnp.where(h == mean[labels], h, 0).sum()


def judged_after(fn):
    numbers = numpy.random.default_rng(3)
    w, x = (numpy.rint(numbers.normal(size=shape) * 64) / 64 for shape in ((4, 6), (8, 4)))
    with jax.enable_x64(True):
        pair = timed(Program(fn, (w, x, LABELS), (1, 2), 4), "1000%, 0 B")
        return wrong_if_rounded_otherwise(pair, numbers)


@pytest.mark.parametrize(
    "fn",
    [greatest_of_the_batch, greatest_of_a_group, as_great_as_one_that_a_mask_picks, mean_of_a_group_of_one],
)
def test_what_has_copies_is_kept(fn, monkeypatch):
    assert not judged_after(fn)
    monkeypatch.setattr(SameEverywhere, "kept_by", lambda *_: {})
    assert "WRONG ANSWER" in judged_after(fn)
