"""Random train steps over stacked layers give what `jax.jit` gives, wherever their loops are cut.

What is done with the stacks before, in, between and behind the loops is drawn: some of it goes layer by layer, some
mixes layers, so that stacks are divided, joined, and divided anew.
"""

import random
import re

import jax
import jax.numpy as jnp
import numpy
import pytest
import zoo
from atoll.compiler.errors import CompileError
from microbatched import compiled_by_xla, double_precision, error_of, evaluated  # noqa: F401 (fixtures)
from references import reference

import atoll

COUNT = 16
WIDTH, BATCH = 3, 4
PLANS = ((2, 1, 2), (2, 2, 1), (3, 1, 1), (3, 2, 2), (1, 2, 3))

# What becomes of a stack before a loop goes over it.
PREPARED = (
    lambda p: p,
    lambda p: p,
    lambda p: jnp.sin(p),
    lambda p: p * jnp.linspace(0.5, 1, p.shape[0])[:, None, None],
    lambda p: p.swapaxes(1, 2),
    lambda p: p[::-1],
    lambda p: jnp.roll(p, 1, axis=0),
    lambda p: p.at[0].multiply(0.5),
    lambda p: p.at[-1].add(0.1),
    lambda p: jnp.concatenate([p[1:], p[:1]]),
    lambda p: p - p.mean(axis=0),
    lambda p: p / (1 + jnp.linalg.norm(p, axis=(1, 2), keepdims=True)),
    lambda p: jnp.moveaxis(jnp.moveaxis(p, 0, 1) * 0.7, 1, 0),
    lambda p: jnp.cumsum(p, axis=0) * 0.3,
    lambda p: jnp.where(jnp.arange(p.shape[0])[:, None, None] % 2 == 0, p, 0.5 * p),
    lambda p: p.reshape(p.shape[0], -1).reshape(p.shape),
    lambda p: jnp.tanh(jnp.einsum("lij,ljk->lik", p, p)),
)

# What a layer makes of the stream, its parameters and its number.
LAYERS = (
    lambda x, p, i: jnp.tanh(x @ p),
    lambda x, p, i: x + jnp.sin(x @ p) / (1 + i),
    lambda x, p, i: jax.lax.cond(i % 2 == 0, lambda: jnp.tanh(x @ p), lambda: x + 0.1),
    lambda x, p, i: jax.lax.fori_loop(0, 2, lambda _, y: jnp.tanh(y @ p), x),
    lambda x, p, i: jnp.where(i == 1, x, jnp.cos(x @ p + 0.1 * i)),
    jax.checkpoint(lambda x, p, i: x + jnp.tanh(jnp.tanh(x @ p) @ p.T)),
)

# What a layer gives beside the stream.
GIVEN = (
    lambda x, p: None,
    lambda x, p: None,
    lambda x, p: jnp.mean(p**2),
    lambda x, p: x,
    lambda x, p: p @ p,
)

# What the update makes of a stack and its gradient.
UPDATES = (
    lambda p, g: p - 0.1 * g,
    lambda p, g: p - 0.1 * g / (1 + jnp.sqrt(jnp.sum(g**2))),
    lambda p, g: p - 0.1 * jnp.sign(g) * jnp.max(jnp.abs(g), axis=(1, 2), keepdims=True),
    lambda p, g: jax.lax.cond(jnp.all(jnp.isfinite(g)), lambda: p - 0.1 * g, lambda: p),
    lambda p, g: p - 0.1 * (g - g.mean(axis=0)),
    lambda p, g: p - 0.1 * jnp.sort(g, axis=0),
    lambda p, g: (p.reshape(-1) - 0.1 * g.reshape(-1)).reshape(p.shape),
)


def model_of(chosen):
    """A train step, how many layers it has, and whether its loop has to be cut."""
    count = chosen.randint(3, 5)
    prepared = [chosen.choice(PREPARED) for _ in range(2)]
    loops = [
        (chosen.choice(LAYERS), chosen.choice(GIVEN), chosen.random() < 0.3, chosen.choice((1, 1, 1, 2)))
        for _ in range(chosen.choice((1, 1, 2)))
    ]
    updates = [chosen.choice(UPDATES) for _ in range(2)]

    def loss(stacks, x):
        value = 0.0
        for number, (layer, given, is_reverse, unroll) in enumerate(loops):
            stack = prepared[number](stacks[number])

            def body(x, both, layer=layer, given=given):
                p, i = both
                x = layer(x, p, i)
                return x, given(x, p)

            x, rows = jax.lax.scan(body, x, (stack, jnp.arange(count)), reverse=is_reverse, unroll=unroll)
            if rows is not None:
                value = value + jnp.mean(rows**2)
        return value + jnp.mean(x**2)

    def step(stacks, x):
        value, grads = jax.value_and_grad(loss)(stacks, x)
        return [update(p, g) for update, p, g in zip(updates, stacks, grads, strict=True)], value

    # Beside a single loop there is nothing to cut; of two, and of what is unrolled, there may be.
    return step, count, len(loops) == 1 and loops[0][-1] == 1


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(COUNT // 4 if metafunc.config.getoption("quick") else COUNT))


@pytest.mark.one_in(4)
@pytest.mark.usefixtures("double_precision", "evaluated")
def test_random_layers(seed):
    chosen = random.Random(seed)
    step, count, is_cut = model_of(chosen)
    drawn = numpy.random.default_rng(seed)
    stacks = [jnp.asarray(0.5 * drawn.standard_normal((count, WIDTH, WIDTH))) for _ in range(2)]
    x = jnp.asarray(drawn.standard_normal((BATCH, WIDTH)))
    islands, microbatches, segments = PLANS[seed % len(PLANS)]
    expected = reference(step, stacks, x)
    try:
        compiled = compile_for(step, stacks, x, islands, microbatches, segments)
    except CompileError as error:
        if "pass fold-batch" not in str(error):
            raise
        compiled = compile_for(step, stacks, x, islands, 1, segments)
    with compiled:
        assert not is_cut or len(loops_in(compiled)) > 2
        results = compiled(stacks, x)
        assert error_of(zoo.leaves(results), list(zoo.leaves(expected))) < 1e-9
        expected = reference(step, jax.tree.map(atoll.Array.to_jax, results[0]), x)
        assert error_of(zoo.leaves(compiled(results[0], x)), list(zoo.leaves(expected))) < 1e-9


def loops_in(compiled):
    """The loops of the program; uncut there is one forward and one backward."""
    return re.findall(r"stablehlo\.while\(", compiled.ir("staged"))


def compile_for(step, stacks, x, islands, microbatches, segments):
    plan = atoll.Plan(stages=islands, microbatches=microbatches, schedule="1f1b", segments=segments)
    return atoll.compile(step, stacks, x, topology=f"{islands} x cpu[1]", batch_argnums=1, plan=plan)
