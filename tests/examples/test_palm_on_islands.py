"""The toy of the PaLM family, trained: by `jax.jit`, and by atoll, which must give the same."""

import functools

import jax
import numpy
import pytest
from atoll.examples.palm import checkpoint, toy
from atoll.examples.palm.data import batch
from atoll.examples.palm.model import init_params, loss_fn
from atoll.examples.palm.sizes import TOY
from atoll.examples.palm.train import init_state, train

import atoll

PLAN = atoll.Plan(stages=2, microbatches=4)


def gradients(params, tokens):
    return jax.value_and_grad(loss_fn)(params, tokens, TOY)


@functools.cache
def expected_gradients():
    return jax.jit(gradients)(init_params(jax.random.key(0), TOY), batch(0, TOY))


@functools.cache
def jitted():
    return jax.jit(toy.train_step, donate_argnums=0)


@pytest.fixture(scope="module")
def compiled():
    with atoll.compile(toy.job, topology="2 x cpu[1]", plan=PLAN) as step:
        yield step


def initial():
    return init_state(jax.random.key(0), TOY)


def bits(state):
    return [numpy.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def worst_error(found, expected):
    """The greatest error of a leaf, relative to its greatest value."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    differences = [(numpy.asarray(ours) - numpy.asarray(theirs), theirs) for ours, theirs in pairs]
    return max(float(numpy.abs(one).max() / numpy.abs(theirs).max()) for one, theirs in differences)


@pytest.mark.parametrize(("topology", "stages"), [("1 x cpu[2]", 1), ("2 x cpu[1]", 2)])
def test_gradients_of_microbatches_are_those_of_jit(topology, stages):
    plan = atoll.Plan(stages=stages, microbatches=4)
    params, tokens = init_params(jax.random.key(0), TOY), batch(0, TOY)
    with atoll.compile(gradients, params, tokens, topology=topology, batch_argnums=1, plan=plan) as step:
        assert step.plan.microbatches == 4
        assert worst_error(step(params, tokens), expected_gradients()) < 1e-5


def test_training_on_islands_is_that_of_jit(compiled):
    found, losses = train(compiled, initial(), range(3), TOY)
    expected, expected_losses = train(jitted(), initial(), range(3), TOY)
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    # After three steps; the errors of each go into the next.
    assert worst_error(found["params"], expected["params"]) < 1e-4
    assert int(found["step"]) == 3


def test_the_toy_learns():
    _, losses = train(jitted(), initial(), range(30), TOY)
    assert losses[-1] < losses[0] - 3
    assert losses[-1] < 3.8


@pytest.mark.parametrize("runner", ["jit", "atoll"])
def test_a_restart_gives_the_same_bits(runner, tmp_path, request):
    step = jitted() if runner == "jit" else request.getfixturevalue("compiled")
    skipped = (range(3, 6),)
    expected, expected_losses = train(step, initial(), range(5), TOY, skipped)

    state, _ = train(step, initial(), range(2), TOY, skipped)
    checkpoint.save(tmp_path / "2.npz", state)
    del state
    found, losses = train(step, checkpoint.load(tmp_path / "2.npz", toy.STATE), range(2, 5), TOY, skipped)
    assert losses == expected_losses[2:]
    assert bits(found) == bits(expected)


def test_batches_that_are_left_out_change_what_is_learnt():
    one, _ = train(jitted(), initial(), range(2), TOY)
    other, _ = train(jitted(), initial(), range(2), TOY, (range(1, 2),))
    assert bits(one) != bits(other)
