"""Programs whose plan is left open give the answer of `jax.jit`, into however many microbatches they are divided."""

import jax
import jax.numpy as jnp
import numpy
import pytest
from microbatched import double_precision, error_of, evaluated  # noqa: F401 (fixtures)
from references import reference
from zoo import leaves

import atoll

pytestmark = pytest.mark.own

RANDOM = numpy.random.default_rng(0)
WIDTH, LAYERS, BATCH = 128, 8, 128
WEIGHTS = RANDOM.normal(size=(LAYERS, WIDTH, WIDTH)) / WIDTH**0.5
EXAMPLES = RANDOM.normal(size=(BATCH, WIDTH))


def written_out(weights, x):
    for weight in weights:
        x = jnp.tanh(x @ weight)
    return x


def scanned(weights, x):
    return jax.lax.scan(lambda x, weight: (jnp.tanh(x @ weight), None), x, weights)[0]


def with_dropout(weights, x):
    """Which rows a microbatch has decides what is dropped."""
    kept = jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)
    return written_out(weights, jnp.where(kept, x, 0) + jnp.arange(BATCH)[:, None] / BATCH)


def normalised(weights, x):
    """Examples need the mean over all of them, so that microbatches would go over the stages more than once."""
    x = written_out(weights[:4], x)
    return written_out(weights[4:], (x - jnp.mean(x, axis=0)) / jnp.std(x, axis=0))


@pytest.mark.parametrize(
    ("model", "islands", "is_divided"),
    [
        (written_out, 1, False),
        (written_out, 4, True),
        (scanned, 2, True),
        (with_dropout, 4, True),
        (normalised, 2, False),
    ],
)
def test_the_answer_is_that_of_jit(model, islands, is_divided):
    def step(weights, x):
        loss, gradients = jax.value_and_grad(lambda weights: jnp.mean(model(weights, x) ** 2))(weights)
        return weights - 0.1 * gradients, loss

    compiled = atoll.compile(step, WEIGHTS, EXAMPLES, topology=f"{islands} x cpu[1]", batch_argnums=1)
    assert (compiled.plan.microbatches not in (1, "auto")) == is_divided
    expected = leaves(reference(step, WEIGHTS, EXAMPLES))
    assert error_of(leaves(compiled(WEIGHTS, EXAMPLES)), expected) < 1e-12
