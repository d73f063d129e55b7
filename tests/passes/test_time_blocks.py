"""Models that divide the examples themselves, so that each microbatch takes some of each of their blocks."""

import jax
import jax.numpy as jnp
import numpy
import optax
import pytest
from atoll.compiler.errors import CompileError
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.interface import piece_of
from atoll.compiler.module.main_function import entry_function
from jax import lax
from timed_harness import Program, check, lowered, pair_of, take_to

B, D, STEPS = 12, 3, 3


def normal(seed, *shape):
    return numpy.random.default_rng(seed).normal(size=shape)


W, X, Y = normal(1, D, D), normal(2, B, D), normal(3, B, D)
KEY = numpy.array([7, 9], "uint32")


def loss(w, x, y):
    return jnp.mean((jnp.tanh(x @ w) - y) ** 2)


def in_steps(array):
    return array.reshape(STEPS, -1, *array.shape[1:])


def accumulated(w, x, y):
    """Gradients that the user adds up, and then an optimizer."""

    def step(carry, examples):
        value, gradient = jax.value_and_grad(loss)(w, *examples)
        return jax.tree.map(lambda a, b: a + b / STEPS, carry, (value, gradient)), value

    (value, gradient), values = lax.scan(step, (jnp.zeros(()), jnp.zeros_like(w)), (in_steps(x), in_steps(y)))
    updates, _ = optax.adam(0.1).update(gradient, optax.adam(0.1).init(w))
    return optax.apply_updates(w, updates), value, values


def mapped(w, x, y):
    return lax.map(lambda one: jnp.tanh(one @ w), x, batch_size=B // STEPS), x * y


def halves(w, x, y):
    """Pairs in one argument: the chosen ones and then the rejected ones."""
    scores = (x @ w).sum(-1) + jnp.arange(B)
    return jax.nn.log_sigmoid(scores[: B // 2] - scores[B // 2 :]), jnp.roll(y, B // 2, 0), scores


def chunks_of_tokens(w, x, y):
    tokens = jnp.concatenate([x[:, None], y[:, None]], 1).reshape(2 * B, D)

    @jax.checkpoint
    def step(total, chunk):
        rows, labels = chunk
        return total - jnp.sum(jax.nn.log_softmax(rows @ w)[jnp.arange(len(labels)), labels]), None

    labels = jnp.arange(2 * B) % D
    return lax.scan(step, jnp.zeros(()), (in_steps(tokens), in_steps(labels)))[0]


def different_divisions(w, x, y):
    """Halves of one argument and thirds of the other, which a sixth suits."""
    return in_steps(y)[0].sum() - (x[: B // 2] @ w).sum() + (x * y).sum()


def dropped_in_steps(w, x, y):
    def step(total, examples):
        number, rows = examples
        key = jax.random.fold_in(jax.random.wrap_key_data(KEY), number)
        return total + (jax.random.bernoulli(key, 0.5, rows.shape) * rows @ w).sum(), None

    return lax.scan(step, y.sum(), (jnp.arange(STEPS), in_steps(x)))[0]


FOLDED = [accumulated, mapped, halves, chunks_of_tokens, different_divisions, dropped_in_steps]


def test_models_that_divide_the_examples_themselves():
    with jax.enable_x64(True):
        check([Program(fn, (W, X, Y), (1, 2), 2, fn.__name__) for fn in FOLDED])


@pytest.mark.parametrize(("fn", "blocks"), [(accumulated, STEPS), (halves, 2), (different_divisions, 2 * STEPS)])
def test_arguments_are_in_as_many_pieces_as_the_model_wants(fn, blocks):
    _, module, _ = lowered(Program(fn, (W, X, Y), (1, 2)))
    take_to(module, "timed", 2)
    pieces = [piece_of(marks) for marks in argument_attributes(entry_function(module))]
    assert [one.start for one in pieces if one] == [B // blocks * number for number in range(blocks)] * 2


def test_blocks_that_microbatches_cannot_share_evenly_are_refused_where_the_model_makes_them():
    said = (
        r"test_time_blocks.py:\d+: .*: reshape makes blocks of 4 examples, which 6 microbatches cannot share evenly; "
    )
    with pytest.raises(CompileError, match=said + "choose microbatches that divide these, or set microbatches=1"):
        pair_of(Program(accumulated, (W, X, Y), (1, 2), 6))
