"""Optimizers as their users write them: models, and a step around each. What tests of optimizers share."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy
import optax
import zoo
from atoll.examples import decoder
from filled import decoder_params
from references import reference

STEPS = 3
FLOAT, COUNT, FLAG = 4, 4, 1  # bytes


# Two models of two stages, each with its state and its batches.


@dataclass(frozen=True, eq=False)
class Model:
    """stage_of: the stage of a parameter, by its path."""

    loss: Callable[..., jax.Array]
    params: Any
    batches: tuple[tuple[jax.Array, ...], ...]
    stage_of: Callable[[str], int]
    stages: int | str = 2


def mlp_loss(params, x, y):
    return zoo.squares(zoo.mlp(params, x).astype(y.dtype), y)


@functools.cache
def mlp() -> Model:
    batches = tuple((zoo.normal(90 + one, 8, 8), zoo.normal(95 + one, 8, 4)) for one in range(STEPS))
    return Model(mlp_loss, zoo.dense_params(1, 8, 8, 8, 8, 4), batches, lambda path: int(path[1]) // 2)


@functools.cache
def transformer() -> Model:
    """With one embedding for both ends."""
    config = decoder.Config(vocabulary=16, width=8, heads=2, layers=2, length=4)
    params = decoder_params(config)
    del params["head"]

    def loss(params, tokens):
        scores = decoder.logits({**params, "head": params["embedding"].T}, tokens[:, :-1], config)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores), tokens[:, 1:, None], axis=-1))

    def stage_of(path):
        return int("[1]" in path or path == "['norm']")

    batches = tuple((batch,) for batch in zoo.words(16, STEPS, 8, 5))
    return Model(loss, params, batches, stage_of, "embed, layer_0 | layer_1, head")


# Steps: what a user writes around a model. Each takes a model and gives a function and its first state, of which the
# parameters are the first part.


def plain(optimizer: optax.GradientTransformation) -> Callable[[Model], tuple[Any, Any]]:
    def build(model):
        def step(state, *batch):
            params, opt_state = state
            loss, grads = jax.value_and_grad(model.loss)(params, *batch)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), loss, grads

        return step, (model.params, optimizer.init(model.params))

    return build


def master_weights(optimizer: optax.GradientTransformation, half: Any) -> Callable[[Model], tuple[Any, Any]]:
    """Computed with in half the precision in which they are kept."""

    def rounded(tree):
        return jax.tree.map(lambda x: x.astype(half), tree)

    def build(model):
        def step(state, x, y):
            params, opt_state = state
            loss, grads = jax.value_and_grad(model.loss)(rounded(params), rounded(x), y)
            grads = jax.tree.map(lambda g, p: g.astype(p.dtype), grads, params)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), loss, grads

        return step, (model.params, optimizer.init(model.params))

    return build


def scaled_loss(select: Callable[..., Any]) -> Callable[[Model], tuple[Any, Any]]:
    """A scale that is halved where gradients overflow, and the update is skipped; and doubled after two good steps."""
    optimizer = optax.adam(1e-2)

    def build(model):
        def step(state, *batch):
            params, opt_state, scale, good = state
            loss, grads = jax.value_and_grad(lambda params: scale * model.loss(params, *batch))(params)
            grads = jax.tree.map(lambda g: g / scale, grads)
            is_finite = jax.tree.reduce(
                jnp.logical_and, jax.tree.map(lambda g: jnp.all(jnp.isfinite(g)), grads), jnp.array(True)
            )

            def update():
                updates, new_state = optimizer.update(grads, opt_state, params)
                return optax.apply_updates(params, updates), new_state

            params, opt_state = select(is_finite, update, lambda: (params, opt_state))
            good = jnp.where(is_finite, good + 1, 0)
            scale = jnp.where(is_finite, jnp.where(good % 2 == 0, 2 * scale, scale), scale / 2)
            return (params, opt_state, scale, good), loss / scale, grads

        return step, (model.params, optimizer.init(model.params), jnp.float32(1024), jnp.int32(0))

    return build


def where(is_true, update, skip):
    return jax.tree.map(lambda one, other: jnp.where(is_true, one, other), update(), skip())


def matrices(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


@dataclass(frozen=True)
class Row:
    """A step, and what it sends beside what plain gradient descent sends, in bytes.

    because: what that is. descent: the row of plain gradient descent. is_poisoned: its second batch is infinite.
    """

    build: Callable[[Model], tuple[Any, Any]]
    forward: int
    backward: int
    because: str
    is_poisoned: bool = False
    descent: str = "sgd"


def clipped(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(0.1), optimizer)


def skipping(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    return optax.MultiSteps(optimizer, 2, should_skip_update_fn=optax.skip_not_finite)


SCHEDULE = optax.warmup_cosine_decay_schedule(0.0, 1e-2, 2, 10)
STEP = "the number of the step"
ROWS = {
    "sgd": Row(plain(optax.sgd(0.1)), 0, 0, "nothing"),
    "momentum": Row(plain(optax.sgd(0.1, momentum=0.9, nesterov=True)), 0, 0, "nothing"),
    "adam": Row(plain(optax.adam(1e-2)), COUNT, 0, STEP),
    "adamw": Row(plain(optax.adamw(SCHEDULE, mask=matrices)), 2 * COUNT, 0, f"{STEP}, for Adam and for the schedule"),
    "factored": Row(plain(optax.adafactor(1e-2, min_dim_size_to_factor=4)), COUNT, 0, STEP),
    "unfactored": Row(plain(optax.adafactor(1e-2, factored=False)), COUNT, 0, STEP),
    "lion": Row(plain(optax.lion(1e-2)), 0, 0, "nothing"),
    "lamb": Row(plain(optax.lamb(1e-2)), COUNT, 0, STEP),
    "clipped": Row(plain(clipped(optax.adam(1e-2))), COUNT + FLOAT, FLOAT, f"{STEP}; a sum of squares, and the norm"),
    "multi_steps": Row(plain(optax.MultiSteps(optax.adam(1e-2), 2)), 2 * COUNT, 0, f"{STEP}, and of its part"),
    "multi_steps_clipped": Row(
        plain(skipping(clipped(optax.adam(1e-2)))),
        2 * COUNT + COUNT + FLOAT,
        COUNT + FLOAT,
        f"{STEP}, and of its part; how many numbers are infinite, here and in all; a sum of squares, and the norm",
        is_poisoned=True,
    ),
    "if_finite": Row(
        plain(optax.apply_if_finite(optax.adam(1e-2), 3)),
        COUNT + FLAG,
        FLAG,
        f"{STEP}; whether all is finite, here and in all",
        is_poisoned=True,
    ),
    "sgd_half": Row(master_weights(optax.sgd(0.1), jnp.bfloat16), 0, 0, "nothing", descent="sgd_half"),
    "master_half": Row(master_weights(optax.adam(1e-2), jnp.bfloat16), COUNT, 0, STEP, descent="sgd_half"),
    # The same in twice as many bits, where the rounding of each microbatch is too small to be seen.
    "sgd_single": Row(master_weights(optax.sgd(0.1), jnp.float32), 0, 0, "nothing", descent="sgd_single"),
    "master_single": Row(master_weights(optax.adam(1e-2), jnp.float32), COUNT, 0, STEP, descent="sgd_single"),
    **{
        f"loss_scale_{name}": Row(
            scaled_loss(select),
            COUNT + FLAG,
            FLOAT + FLAG,
            f"{STEP}; the scale; whether all is finite, here and in all",
            is_poisoned=True,
        )
        for name, select in (("cond", jax.lax.cond), ("where", where))
    },
}


def batches_of(model: Model, row: Row) -> Iterator[tuple[jax.Array, ...]]:
    for number, (first, *others) in enumerate(model.batches):
        is_infinite = row.is_poisoned and number == 1 and jnp.issubdtype(first.dtype, jnp.floating)
        yield (jnp.full_like(first, jnp.inf) if is_infinite else first, *others)


@functools.cache
def expected_of(model: Model, name: str) -> list[Any]:
    """What `jax.jit` gives, step by step."""
    step, state = ROWS[name].build(model)
    results = []
    for batch in batches_of(model, ROWS[name]):
        results.append(reference(step, state, *batch))
        state = results[-1][0]
    return results


def check_same(found: Any, expected: Any) -> None:
    """Parameters to one part in 10,000 of the greatest of them, all else to one in 100,000."""
    rows = zip(jax.tree_util.tree_leaves_with_path(found), zoo.leaves(found), zoo.leaves(expected), strict=True)
    for (path, _), ours, theirs in rows:
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        is_parameter = jax.tree_util.keystr(path).startswith("[0][0]")
        scale = numpy.max(numpy.abs(theirs), initial=0, where=numpy.isfinite(theirs))
        tolerance = float(scale) * (1e-4 if is_parameter else 1e-5)
        text = jax.tree_util.keystr(path)
        numpy.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, equal_nan=True, err_msg=text)
