"""Several batches one after another, on islands: as arguments, as results, and fed back."""

import jax
import jax.numpy as jnp
import numpy
import pytest
import zoo
from microbatched import compiled_by_xla, evaluated  # noqa: F401 (fixtures)
from references import reference

import atoll

BATCH = 12
WEIGHTS = {"a": zoo.normal(1, 4, 8), "b": zoo.normal(2, 8, 4)}
X, Y = zoo.normal(3, BATCH, 4), zoo.normal(4, BATCH, 4)
PLANS = {
    "pipeline": ("2 x cpu[1]", atoll.Plan(stages="one | two", microbatches=2, schedule="1f1b")),
    "replicas": ("4 x cpu[1]", atoll.Plan(stages="one | two", microbatches=3, replicas=2, schedule="1f1b")),
}


def model(weights, x):
    with jax.named_scope("one"):
        h = jnp.tanh(x @ weights["a"])
    with jax.named_scope("two"):
        return h @ weights["b"]


def pairs(weights, x, y):
    """Scores of both batches, and the update for their differences."""

    def loss(weights):
        scores = model(weights, jnp.concatenate([x, y]))
        return jnp.mean((scores[:BATCH] - scores[BATCH:]) ** 2), scores

    (value, scores), gradients = jax.value_and_grad(loss, has_aux=True)(weights)
    return jax.tree.map(lambda w, g: w - 0.1 * g, weights, gradients), value, scores, scores.T


def halves(weights, x, keys):
    """Each half of the one batch with noise of its own, and the same noise for both."""
    noise = jax.vmap(lambda key: jax.random.uniform(key, (4,)))(keys)
    scores = model(weights, x + noise)
    return scores[: BATCH // 2] * scores[BATCH // 2 :], scores, jnp.roll(keys, BATCH // 2), x


def compiled(fn, *args, name):
    topology, plan = PLANS[name]
    return atoll.compile(fn, *args, topology=topology, batch_argnums=(1, 2), plan=plan)


def same(found, expected):
    for ours, theirs in zip(zoo.leaves(found), zoo.leaves(expected), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        tolerance = 1e-5 if ours.dtype.kind == "f" else 0
        numpy.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", PLANS)
def test_joined_batches_are_results_in_their_order(name):
    with compiled(pairs, WEIGHTS, X, Y, name=name) as step:
        results = step(WEIGHTS, X, Y)
        same(results, reference(pairs, WEIGHTS, X, Y))
        assert len(results[2].parts) == 2 * step.plan.microbatches * (2 if name == "replicas" else 1)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", PLANS)
def test_a_batch_that_the_model_divides_itself(name, tmp_path):
    """Given as arrays, placed ahead of time, as the results of the step before, and to the program from a file."""
    keys = jax.random.split(jax.random.key(5), BATCH)
    expected = reference(halves, WEIGHTS, X, keys)
    with compiled(halves, WEIGHTS, X, keys, name=name) as step:
        results = step(WEIGHTS, X, keys)
        same(results, expected)
        same(step(*step.put(WEIGHTS, X, keys)), expected)
        same(step(WEIGHTS, results[1], results[2]), reference(halves, WEIGHTS, *expected[1:3]))
        step.save(tmp_path / "step.atoll")
    with atoll.load(tmp_path / "step.atoll", topology=PLANS[name][0]) as loaded:
        same(loaded(WEIGHTS, X, keys), expected)


def test_a_feed_is_asked_for_each_range_of_a_microbatch():
    asked = set()

    def load(_, start, stop):
        asked.add((start, stop))
        return X[start:stop]

    keys = jax.random.split(jax.random.key(5), BATCH)
    with compiled(halves, WEIGHTS, X, keys, name="pipeline") as step:
        same(step(WEIGHTS, atoll.Feed(load), keys), reference(halves, WEIGHTS, X, keys))
    assert sorted(asked) == [(0, 3), (3, 6), (6, 9), (9, 12)]
