"""Random train steps with branches, in the model and in the update, give what `jax.jit` gives, however they are cut."""

import random

import jax
import jax.numpy as jnp
import pytest
import zoo
from microbatched import compiled_by_xla, double_precision, error_of, evaluated  # noqa: F401 (fixtures)
from references import reference

import atoll

COUNT = 16
LAYERS, WIDTH, BATCH = 3, 4, 8
ARRAYS = LAYERS * 2  # the parameters and the gradients
PLANS = ((2, 1, "gpipe", 2), (2, 4, "gpipe", 1), (3, 2, "gpipe", 2), (2, 1, "interleaved-1f1b(2)", 1))


def steps_of(chosen, depth):
    """Some random operations on arrays and scalars, the last ones in the branches of a choice."""
    steps = [(chosen.choice(OPERATIONS), chosen.random(), chosen.random()) for _ in range(chosen.randint(1, 9))]
    if depth:
        steps.insert(chosen.randint(0, len(steps)), choice_of(chosen, depth - 1))
    return steps


def choice_of(chosen, depth):
    """A choice by a flag or by something computed, with the number of results of each kind."""
    branches = [(steps_of(chosen, depth), chosen.random()) for _ in range(chosen.choice((2, 2, 3)))]
    return branches, chosen.random(), chosen.random()


def product(arrays, scalars, a, _):
    arrays.append(jnp.tanh(arrays[a % len(arrays)] @ arrays[-1]))


def looped(arrays, scalars, a, b):
    arrays.append(jax.lax.fori_loop(0, 2, lambda _, x: jnp.sin(x @ arrays[b % len(arrays)]), arrays[a % len(arrays)]))


def wave(arrays, scalars, a, b):
    arrays.append(jnp.sin(arrays[a % len(arrays)]) * arrays[b % len(arrays)].T)


def scaled(arrays, scalars, a, b):
    arrays.append(arrays[a % len(arrays)] / (2 + jnp.cos(scalars[b % len(scalars)])))


def total(arrays, scalars, a, _):
    scalars.append(jnp.tanh(jnp.sum(arrays[a % len(arrays)] ** 2)))


def joined(arrays, scalars, a, b):
    scalars.append(scalars[a % len(scalars)] + 0.5 * scalars[b % len(scalars)])


def element(arrays, scalars, a, _):
    scalars.append(arrays[a % len(arrays)][1, 2])


OPERATIONS = (product, looped, wave, wave, scaled, total, total, joined, joined, element)


def run(steps, arrays, scalars, flag):
    for one in steps:
        if callable(one[0]):
            one[0](arrays, scalars, int(97 * one[1]), int(97 * one[2]))
        else:
            choose(one, arrays, scalars, flag)


def choose(one, arrays, scalars, flag):
    branches, by, salt = one

    def branch(steps, start):
        def computed():
            mine, few = list(arrays), list(scalars)
            run(steps, mine, few, flag)
            # Some of what there was, some of what is new, some constants.
            first = int(start * len(mine))
            chosen = [(mine + mine)[first + 2 * number] for number in range(min(3, len(mine) // 2))]
            return [*chosen, mine[-1], jnp.full((WIDTH, WIDTH), start)], [few[-1], few[0]]

        return computed

    index = flag if by < 0.5 else (scalars[int(97 * salt) % len(scalars)] > by - 0.5).astype(int)
    more, few = jax.lax.switch(index, [branch(*each) for each in branches])
    arrays += more
    scalars += few


def step_of(seed):
    chosen = random.Random(seed)
    update, is_skipped = steps_of(chosen, 2), [chosen.random() < 0.6 for _ in range(LAYERS)]

    def step(params, flag, x, y):
        def loss_fn(params):
            h = x
            for number, layer in enumerate(params):
                with jax.named_scope(f"layer_{number}"):
                    h = jax.lax.cond((flag > number) | (not is_skipped[number]), layered, lambda h, _: h, h, layer)
            return jnp.mean((h - y) ** 2)

        loss, grads = jax.value_and_grad(loss_fn)(params)
        arrays, scalars = [*params, *grads], [loss]
        run(update, arrays, scalars, flag)
        return arrays[-LAYERS:], loss, grads, scalars

    return step


def layered(h, layer):
    return h + jnp.tanh(h @ layer)


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(COUNT // 4 if metafunc.config.getoption("quick") else COUNT))


@pytest.mark.one_in(4)
def test_same_answer_as_jit(seed):
    step = step_of(seed)
    params = [zoo.normal(one, WIDTH, WIDTH) for one in range(LAYERS)]
    args = (params, jnp.int32(seed % 3), zoo.normal(90, BATCH, WIDTH), zoo.normal(91, BATCH, WIDTH))
    islands, microbatches, schedule, segments = PLANS[seed % len(PLANS)]
    with atoll.compile(
        step,
        *args,
        topology=f"{islands} x cpu[1]",
        batch_argnums=(2, 3),
        plan=atoll.Plan(microbatches=microbatches, schedule=schedule, segments=segments),
    ) as compiled:
        for flag in range(3):
            args = (params, jnp.int32(flag), *args[2:])
            expected = list(zoo.leaves(reference(step, *args)))
            assert error_of(list(zoo.leaves(compiled(*args))), expected) < 1e-9
