"""What surrounds the model: optimizer, batches and spikes."""

import functools

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.examples.palm import optimizer
from atoll.examples.palm.data import TEXT, batch, decode, encode
from atoll.examples.palm.sizes import TOY
from atoll.examples.palm.spikes import Restart, batch_number, has_jumped, restart

MEMORY = ("momentum", "square")

# Optimizer.


def test_schedules():
    steps = jnp.array([1.0, 10_000.0, 40_000.0])
    assert numpy.allclose(optimizer.learning_rate(steps), [0.01, 0.01, 0.005])
    assert numpy.allclose(optimizer.second_moment_decay(steps), [0.0, 1 - 10_000**-0.8, 1 - 40_000**-0.8])


def by_hand(params, gradients, memory, step):
    """One step in numpy, for a tree of unstacked matrices, in float64."""
    rate, decay = min(1e-2, step**-0.5), 1 - step**-0.8
    norm = numpy.sqrt(sum(numpy.sum(g**2) for g in gradients.values()))
    for name, gradient in gradients.items():
        clipped = gradient * min(1, 1 / norm)
        memory["square"][name] = decay * memory["square"][name] + (1 - decay) * clipped**2
        scale = max(1e-3, numpy.sqrt(numpy.mean(params[name] ** 2)))
        ours = rate * scale * clipped / numpy.sqrt(memory["square"][name])
        memory["momentum"][name] = 0.9 * memory["momentum"][name] + 0.1 * ours
        params[name] = params[name] - memory["momentum"][name] - rate**2 * params[name]


@pytest.mark.parametrize("size", [0.01, 10.0], ids=["below the clip", "clipped"])
def test_three_steps_are_those_computed_by_hand(size):
    random = numpy.random.default_rng(0)
    shapes = {"a": (3, 4), "b": (5,)}
    expected = {name: random.normal(size=shape) for name, shape in shapes.items()}
    expected_memory = {kind: {name: numpy.zeros(shape) for name, shape in shapes.items()} for kind in MEMORY}
    params = {name: jnp.asarray(value, jnp.float32) for name, value in expected.items()}
    memory = optimizer.init(params)
    update = jax.jit(functools.partial(optimizer.update, stacked=dict.fromkeys(shapes, False)))
    for step in (1, 2, 3):
        gradients = {name: size * random.normal(size=shape) for name, shape in shapes.items()}
        by_hand(expected, gradients, expected_memory, step)
        ours = {name: jnp.asarray(value, jnp.float32) for name, value in gradients.items()}
        params, memory = update(params, ours, memory, jnp.float32(step))
    for found, wanted in zip(
        jax.tree.leaves((params, memory)), jax.tree.leaves((expected, expected_memory)), strict=True
    ):
        assert numpy.allclose(found, wanted, rtol=1e-5, atol=1e-9)


def test_stacked_matrices_are_scaled_each_by_its_own():
    param = jnp.stack([jnp.full((2, 3), 4.0), jnp.full((2, 3), -0.5), jnp.zeros((2, 3))])
    assert optimizer.scale_of(param, True).ravel().tolist() == pytest.approx([4.0, 0.5, 1e-3])
    assert optimizer.scale_of(param[0], False).ravel().tolist() == [4.0]


def test_a_gradient_that_is_zero_is_no_trouble():
    params = {"a": jnp.ones(3)}
    zero = {"a": jnp.zeros(3)}
    found, _ = optimizer.update(params, zero, optimizer.init(params), jnp.float32(1), {"a": False})
    assert numpy.allclose(found["a"], 1 - 1e-4, rtol=1e-6)


# Batches.


def test_every_text_has_tokens():
    text = "Aïtutaki, 礁湖"
    assert decode(encode(text)) == text
    assert int(encode(text).max()) < TOY.vocabulary
    assert "\ufffd" in decode(numpy.array([200, 65]))


def test_a_batch_depends_on_its_number_alone():
    assert batch(7, TOY).shape == (TOY.batch, TOY.length + 1)
    assert batch(7, TOY).tobytes() == batch(7, TOY).tobytes()
    assert batch(7, TOY).tobytes() != batch(8, TOY).tobytes()
    assert all(decode(row) in TEXT for row in batch(7, TOY))


def test_a_batch_is_the_same_on_every_machine():
    starts = [TEXT.index(decode(row)) for row in batch(0, TOY)]
    assert starts == [2228, 8052, 1610, 4089, 8280, 5385, 5988, 5363]


# Spikes.


def test_a_jump_of_the_loss_is_found():
    falling = [5.0 - 0.01 * step for step in range(200)]
    assert not any(has_jumped(falling[:end]) for end in range(len(falling) + 1))
    assert has_jumped([*falling, 4.0])
    assert has_jumped([*falling, float("nan")])


def test_batches_around_a_spike_are_left_out():
    assert restart(1234) == Restart(1100, (range(1100, 1434),))
    assert restart(1234, before=150, after=100) == Restart(1000, (range(1000, 1334),))
    assert restart(30) == Restart(0, (range(230),))


def test_the_batches_after_a_restart():
    first = restart(1234)
    assert [batch_number(step, first.skipped) for step in (0, 1099, 1100, 1101)] == [0, 1099, 1434, 1435]


def test_a_second_spike():
    first = restart(1234)
    # Behind what is left out already: step 2000 has batch 2334.
    assert restart(2100, first.skipped) == Restart(2000, (*first.skipped, range(2334, 2634)))
    # So soon that the run goes back to before it: step 1150 has batch 1484.
    again = restart(1150, first.skipped)
    assert again == Restart(1000, (range(1000, 1684),))
    assert batch_number(1000, again.skipped) == 1684


def test_no_batch_is_seen_twice():
    skipped = (range(10, 20), range(25, 30), range(40, 41))
    numbers = [batch_number(step, skipped) for step in range(100)]
    left_out = {number for gap in skipped for number in gap}
    assert numbers == [number for number in range(200) if number not in left_out][:100]
