"""Scopes that see one microbatch alone, on islands: stages and replicas give what one would write by hand."""

import alone_steps
import jax
import jax.numpy as jnp
import numpy
import pytest
from alone_steps import by_hand, in_scope, normal
from atoll.compiler.errors import CompileError
from microbatched import compiled_by_xla, double_precision, evaluated  # noqa: F401 (fixtures)
from references import reference

import atoll

pytestmark = [pytest.mark.timeout(120), pytest.mark.own]


def normalised(h, scale):
    axes = tuple(range(h.ndim - 1))
    mean, variance = h.mean(axes), h.var(axes)
    return (h - mean) / jnp.sqrt(variance + 1e-3) * scale, mean, variance


def residual_network(part):
    """Two blocks of a convolution and a batch norm, on two stages; averages of the statistics go on."""

    def step(params, averages, x, y):
        def loss(params):
            h, made = x, []
            for number, (kernel, scale) in enumerate(params):
                with jax.named_scope(f"block{number}"):
                    z = jax.lax.conv_general_dilated(
                        h, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                    )
                    z, *statistics = part(normalised, (True, False), "emm")(z, scale)
                    h = h + jax.nn.relu(z)
                    made.append(statistics)
            return ((h.mean((1, 2)) - y) ** 2).mean(), made

        (value, made), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        averages = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, averages, made)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), averages, value

    return step


PARAMS = [(normal(3, 3, 2, 2, seed=seed) / 4, normal(2, seed=seed)) for seed in range(2)]
AVERAGES = [[jnp.zeros(2), jnp.ones(2)] for _ in PARAMS]
IMAGES = PARAMS, AVERAGES, normal(8, 4, 4, 2), normal(8, 2)

STEPS = {
    "stages": (residual_network, IMAGES, (2, 3), "2 x cpu[1]", 'microbatches=4, stages="block0 | block1"'),
    "replicas": (residual_network, IMAGES, (2, 3), "4 x cpu[1]", "microbatches=2, replicas=2, stages=2"),
    "experts": (*alone_steps.CASES["load_balancing"], "2 x cpu[1]", "microbatches=2, replicas=2, stages=1"),
    "layers": (*alone_steps.CASES["layers_in_a_loop"], "3 x cpu[1]", "microbatches=4, stages=3"),
    "deviation": (*alone_steps.CASES["logged_deviation"], "2 x cpu[1]", "replicas=2, microbatches=1"),
}


@pytest.mark.parametrize("name", STEPS)
def test_as_by_hand(name):
    make, arguments, batch, topology, plan = STEPS[name]
    plan = atoll.Plan.parse(f'{plan}, per_microbatch="part"')
    with atoll.compile(make(in_scope), *arguments, topology=topology, batch_argnums=batch, plan=plan) as step:
        got = step(*arguments)
        told = str(step.report())
    parts = plan.microbatches * (plan.replicas if isinstance(plan.replicas, int) else 1)
    wanted = reference(make(by_hand(parts)), *arguments)
    jax.tree.map(lambda a, b: numpy.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), got, wanted)
    assert "computed for each microbatch alone, as per_microbatch says: " in told
    assert 'per_microbatch="part"' in told


def refused(fn, *arguments, plan, **options):
    with pytest.raises(CompileError) as caught:
        atoll.lower(fn, *arguments, topology="1 x cpu[1]", plan=plan, **options)
    return str(caught.value)


def test_examples_in_another_order():
    """Time first, and both axes made one: a stretch of it has no whole examples."""

    def step(x):
        h = x.reshape(-1, 4)
        with jax.named_scope("part"):
            return h.std()

    plan = atoll.Plan(stages=1, microbatches=2, per_microbatch="part")
    text = refused(step, normal(3, 8, 4), plan=plan, batch_axes=(1,))
    assert "takes the examples in another order than microbatches have them" in text


def test_examples_that_are_joined():
    def step(x):
        h = jnp.sort(x @ normal(4, 4), 0)
        with jax.named_scope("part"):
            h = h - h.mean(0)
        return (h @ normal(4, 4)).sum()

    plan = atoll.Plan(stages=1, microbatches=2, per_microbatch="part")
    text = refused(step, normal(8, 4), plan=plan, batch_argnums=(0,))
    assert "takes the examples in another order" in text
    assert "  h = h - h.mean(0)" in text  # the line that is to blame, not the one that compiles


def test_a_module_was_made_for_so_many():
    """Of StableHLO alone nobody can say which numbers follow from the number of examples."""

    def step(x):
        with jax.named_scope("part"):
            return x - x.mean(0)

    plan = atoll.Plan(stages=1, microbatches=2, per_microbatch="part")
    lowered = atoll.lower(step, normal(8, 4), topology="1 x cpu[1]", batch_argnums=(0,), plan=plan)
    assert "parts = 2" in lowered.ir("stablehlo")
    assert "atoll.alone_cut" not in lowered.ir("timed")
