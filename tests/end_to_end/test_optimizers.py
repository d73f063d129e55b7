"""Optimizers live with the parameters: what crosses is what plain gradient descent sends, and a few scalars."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy
import pytest
from microbatched import BY_XLA, compiled_by_xla, evaluated  # noqa: F401 (fixtures)
from optimized import ROWS, Model, Row, batches_of, check_same, expected_of, mlp, transformer

import atoll

FORWARD, BACKWARD = ("island0", "island1"), ("island1", "island0")
IN_HALF, IN_SINGLE = ("sgd_half", "master_half"), ("sgd_single", "master_single")
# Of the transformer, every number of microbatches with one optimizer without branches and one with them.
EVERY = [name for name in ROWS if name not in (*IN_HALF, *IN_SINGLE)]
# Its work on the tiny parameters of the MLP has the cut fall within a layer; the transformer's has not.
IN_A_LAYER = "multi_steps_clipped"
TRIED = [
    *((mlp, name, (1, 4)[number % 2]) for number, name in enumerate(EVERY) if name != IN_A_LAYER),
    *((mlp, name, 1) for name in IN_HALF),
    *((transformer, *one) for one in (("adamw", 1), ("loss_scale_cond", 1))),
    *((transformer, *one) for one in (("unfactored", 4), ("multi_steps_clipped", 4))),
]


def compiled(model: Model, row: Row, microbatches: int) -> tuple[Any, atoll.Compiled]:
    """The first state, and the step on islands."""
    step, state = row.build(model)
    return state, atoll.compile(
        step,
        state,
        *model.batches[0],
        topology="2 x cpu[1]",
        batch_argnums=tuple(range(1, 1 + len(model.batches[0]))),
        donate_argnums=(0,),
        plan=atoll.Plan(stages=model.stages, microbatches=microbatches, schedule="1f1b"),
    )


@functools.cache
def sent_by_descent(model: Model, name: str, microbatches: int) -> dict[tuple[str, str], int]:
    """The bytes on each link of plain gradient descent: activations, cotangents, and an embedding with its gradient."""
    state, step = compiled(model, ROWS[name], microbatches)
    with step:
        step(jax.tree.map(jnp.copy, state), *model.batches[0])
        return step.stats().bytes_per_link


def check_places(model: Model, state: Any) -> None:
    """Each matrix is on the island of its layer, and each array of the optimizer's on that of its parameter."""
    places = {jax.tree_util.keystr(path): leaf.islands for path, leaf in jax.tree_util.tree_leaves_with_path(state[0])}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state[0]):
        # A bias may begin the next stage, where that is more even.
        if leaf.ndim > 1:
            text = jax.tree_util.keystr(path)
            assert leaf.islands == (f"island{model.stage_of(text)}",), text
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        text = jax.tree_util.keystr(path)
        owner = next((one for one in places if text.endswith(one)), None)
        # Where Adafactor keeps nothing for a parameter it has one zero, which is anywhere.
        if owner is not None and numpy.prod(leaf.shape) > 1:
            assert leaf.islands == places[owner], text


def check(model: Model, name: str, microbatches: int) -> None:
    row = ROWS[name]
    descent = sent_by_descent(model, row.descent, microbatches)
    assert all(descent.values())
    state, step = compiled(model, row, microbatches)
    state = jax.tree.map(jnp.copy, state)
    with step:
        for batch, expected in zip(batches_of(model, row), expected_of(model, name), strict=True):
            state, *rest = step(state, *batch)
            check_same((state, *rest), expected)
            check_places(model, state)
            sent = step.stats().bytes_per_link
            assert sent == {FORWARD: descent[FORWARD] + row.forward, BACKWARD: descent[BACKWARD] + row.backward}


# What XLA compiles: branches and factors.
COMPILED = [(transformer, "adamw", 1), (mlp, "loss_scale_cond", 1), (mlp, "factored", 1)]


def pytest_generate_tests(metafunc):
    """Every optimizer, with and without microbatches by turns; or with --full each with both."""
    if "build" in metafunc.fixturenames:
        others = [(mlp, name, (4, 1)[number % 2]) for number, name in enumerate(EVERY) if name != IN_A_LAYER]
        tried = [*TRIED, *(others if metafunc.config.getoption("full") else ())]
        marked = [pytest.param(*one, marks=BY_XLA if one in COMPILED else ()) for one in tried]
        metafunc.parametrize(("build", "name", "microbatches"), marked)


@pytest.mark.one_in(7)
def test_state_stays_with_its_layer(build, name, microbatches):
    check(build(), name, microbatches)


@pytest.fixture
def double_precision():
    """For all threads, as islands have their own."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", IN_SINGLE)
@pytest.mark.parametrize("microbatches", [1, 4])
def test_master_weights_of_double_precision(name, microbatches, double_precision):
    model = mlp.__wrapped__()
    assert {leaf.dtype.name for leaf in jax.tree.leaves(model.params)} == {"float64"}
    check(model, name, microbatches)
