"""Plans with absurd numbers are refused in a sentence, or work, and neither takes long."""

import time

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.errors import AtollError
from atoll.compiler.plan.plan import MOST_STAGES

import atoll

pytestmark = pytest.mark.own

WEIGHTS = jax.ShapeDtypeStruct((4, 4), "float32")


def gradient(w, x):
    def loss(w):
        hidden = x
        for _ in range(4):
            hidden = jnp.tanh(hidden @ w)
        return hidden.mean()

    return jax.grad(loss)(w)


def compiled(examples, **fields):
    x = jax.ShapeDtypeStruct((examples, 4), "float32")
    return atoll.compile(gradient, WEIGHTS, x, topology="2 x cpu[1]", plan=atoll.Plan(**fields), batch_argnums=1)


@pytest.mark.parametrize(
    ("examples", "fields"),
    [
        (4, {"stages": 10**9}),
        (4, {"stages": 10**15, "microbatches": 2, "schedule": "1f1b"}),
        (4, {"stages": MOST_STAGES, "microbatches": 2, "segments": 1000}),
        (4, {"segments": 10**9}),
        (4, {"replicas": 10**9}),
        (4, {"replicas": 10**15, "microbatches": 10**15}),
        (4, {"microbatches": 10**9}),
        (10**9, {"microbatches": 10**9}),
        (10**15, {"microbatches": 10**15}),
        (10**6, {"microbatches": 10**6}),
        (10**6, {"microbatches": 10**6, "schedule": "1f1b"}),
        (4, {"schedule": "interleaved-1f1b(1000000000)", "microbatches": 2}),
        (4, {"schedule": "looped-bfs(1000000000000000)"}),
        (4096, {"schedule": "looped-bfs(4096)", "microbatches": 4096}),
    ],
)
def test_a_sentence_comes_soon(examples, fields):
    start = time.process_time()
    with pytest.raises(AtollError) as caught:
        compiled(examples, **fields)
    assert "internal error" not in str(caught.value)
    assert caught.value.remedy
    assert time.process_time() - start < 20  # seconds; without a bound it was minutes, or all memory


@pytest.mark.parametrize(
    ("examples", "fields"),
    [
        (4, {"stages": MOST_STAGES}),
        (4, {"schedule": "interleaved-1f1b(1000)", "microbatches": 2}),
        (1000, {"microbatches": 1000, "schedule": "1f1b"}),
    ],
)
def test_what_is_large_and_allowed_compiles(examples, fields):
    with compiled(examples, **fields) as step:
        assert step.report()
