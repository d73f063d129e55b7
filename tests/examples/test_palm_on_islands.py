"""The toy of the PaLM family, trained: by `jax.jit`, and by atoll, which must give the same."""

import functools

import jax
import numpy
import pytest
from atoll.compiler.module.notes import NotFollowed
from atoll.examples.palm import sharding, toy
from atoll.examples.palm.sizes import TOY, Size
from atoll.examples.palm.train import init_state, shapes_of, train, train_step_of
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

import atoll


@functools.cache
def jitted():
    return jax.jit(toy.train_step, donate_argnums=0)


@pytest.fixture(scope="module")
def on_one_stage():
    with atoll.compile(
        toy.job, topology="1 x cpu[2]", plan=atoll.Plan(stages=1, microbatches=4, schedule="1f1b")
    ) as step:
        yield step


@pytest.fixture(scope="module")
def on_two_islands():
    with atoll.compile(
        toy.job, topology="2 x cpu[1]", plan=atoll.Plan(stages=2, microbatches=4, schedule="1f1b")
    ) as step:
        yield step


@functools.cache
def beginning():
    key = jax.random.key(0, impl="rbg")  # a generator that compiles in no time
    return jax.tree.map(numpy.asarray, jax.jit(init_state, static_argnums=1)(key, TOY))


def initial():
    """The same state every time, in arrays of its own, since steps are given them to keep."""
    return jax.tree.map(numpy.copy, beginning())


def clipped_gradients(state):
    """Of the first step, from what the optimizer remembers: their squares, and a momentum of their sign."""
    memory = jax.tree.map(numpy.asarray, state["optimizer"])
    return jax.tree.map(lambda m, s: numpy.sign(m) * numpy.sqrt(s), memory["momentum"], memory["square"])


def bits(state):
    return [numpy.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def worst_error(found, expected):
    """The greatest error of a leaf, relative to its greatest value."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    differences = [(numpy.asarray(ours) - numpy.asarray(theirs), theirs) for ours, theirs in pairs]
    return max(float(numpy.abs(one).max() / numpy.abs(theirs).max()) for one, theirs in differences)


@pytest.mark.parametrize("where", ["on_one_stage", "on_two_islands"])
def test_gradients_of_microbatches_are_those_of_jit(where, request):
    step = request.getfixturevalue(where)
    assert step.plan.microbatches == 4
    found, loss = train(step, initial(), range(1), TOY)
    expected, expected_loss = train(jitted(), initial(), range(1), TOY)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert worst_error(clipped_gradients(found), clipped_gradients(expected)) < 1e-5


def test_a_model_divided_within_islands_gives_the_same():
    size = Size(layers=4, heads=2, width=16, batch=8, head_width=16, vocabulary=256, length=80, dtype="float32")
    shapes = shapes_of(size)
    job = atoll.Job(
        train_step_of(size, sharding.stream),
        *shapes,
        batch_argnums=1,
        donate_argnums=0,
        in_shardings=(sharding.STATE, sharding.TOKENS),
        out_shardings=(sharding.STATE, None),
    )
    key = jax.random.key(0, impl="rbg")
    state = jax.tree.map(numpy.asarray, jax.jit(init_state, static_argnums=1)(key, size))
    expected, expected_loss = train(jax.jit(train_step_of(size)), state, range(1), size)
    plan = atoll.Plan(stages=2, microbatches=2, schedule="zb-h1")
    with atoll.compile(job, topology="2 x cpu[data=2, model=2]", plan=plan) as step:
        assert not any(isinstance(one.fact, NotFollowed) for one in step.report().notes)
        found, loss = train(step, state, range(1), size)
        assert loss == pytest.approx(expected_loss, rel=1e-5)
        assert worst_error(clipped_gradients(found), clipped_gradients(expected)) < 1e-5
        weights = next(one for one in step.program.inputs if one.path == "state['params']['layers']['up']")
        for place in weights.every_place:  # the layers of an island, divided over both of its axes
            assert step.program.buffer(place).shape == (2, 16, 64)
            assert step.program.buffer(place).spec == ((), ("data",), ("model",))


@pytest.mark.own
def test_training_on_islands_is_that_of_jit(on_two_islands):
    found, losses = train(on_two_islands, initial(), range(3), TOY)
    expected, expected_losses = train(jitted(), initial(), range(3), TOY)
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    assert worst_error(found["params"], expected["params"]) < 1e-4  # the errors of each step go into the next
    assert int(found["step"]) == 3


@pytest.mark.own
def test_the_toy_learns():
    _, losses = train(jitted(), initial(), range(16), TOY)
    assert losses[-1] < losses[0] - 3
    assert losses[-1] < 3.8


@pytest.mark.own
@pytest.mark.parametrize("where", ["jitted", "on_two_islands"])
def test_a_restart_gives_the_same_bits(where, tmp_path, request):
    step = jitted() if where == "jitted" else request.getfixturevalue(where)
    skipped = (range(2, 5),)
    expected, expected_losses = train(step, initial(), range(3), TOY, skipped)

    state, _ = train(step, initial(), range(1), TOY, skipped)
    atoll.save_checkpoint(tmp_path, 1, state)
    del state
    found, losses = train(step, atoll.load_checkpoint(tmp_path, like=toy.STATE), range(1, 3), TOY, skipped)
    assert losses == expected_losses[1:]
    assert bits(found) == bits(expected)


@pytest.mark.own
def test_batches_that_are_left_out_change_what_is_learnt():
    one, _ = train(jitted(), initial(), range(2), TOY)
    other, _ = train(jitted(), initial(), range(2), TOY, (range(1, 2),))
    assert bits(one) != bits(other)
