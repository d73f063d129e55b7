"""What SpectraX makes of two losses that a mean over microbatches does not give, beside `jax.jit` and atoll.

    pip install spectrax-lib==0.1.4      # in an environment of its own: it is under the AGPL
    python benchmarks/rivals/spectrax_answers.py

One loss is summed over the batch, the other centres its examples by their mean. Each is cut in two stages, on two CPU
devices, with eight microbatches.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ["JAX_PLATFORMS"] = "cpu"

from collections.abc import Callable
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy
import spectrax
from spectrax.runtime.mpmd import sxjit, sxstage_iter, sxvalue_and_grad
from spectrax.runtime.schedules import Std1F1B

import atoll

MICROBATCHES = 8
Weights = list[jax.Array]
Boundary = Callable[[jax.Array], jax.Array]
Loss = Callable[[Weights, jax.Array, Boundary], jax.Array]


def summed(weights: Weights, x: jax.Array, boundary: Boundary) -> jax.Array:
    h = boundary(jnp.tanh(x @ weights[0]))
    return jnp.sum((h @ weights[1]) ** 2)


def centred(weights: Weights, x: jax.Array, boundary: Boundary) -> jax.Array:
    h = boundary(jnp.tanh(x @ weights[0]))
    y = h @ weights[1]
    return jnp.mean((y - jnp.mean(y, axis=0)) ** 2)


def main() -> None:
    draw = numpy.random.default_rng(0).normal
    weights = [draw(size=(8, 8)).astype("float32") / 3 for _ in range(2)]
    x = draw(size=(32, 8)).astype("float32")
    mesh = spectrax.create_mesh(axis_dims=(2, 1, -1, 1, 1, 1), mpmd_axis="pp")
    print(f"SpectraX {version('spectrax-lib')}, jax {jax.__version__}, {MICROBATCHES} microbatches")
    print(f"{'loss':<10}{'jax.jit':>10}{'atoll':>10}{'SpectraX':>10}")
    for loss in (summed, centred):
        expected = jax.jit(lambda weights, x, loss=loss: loss(weights, x, lambda h: h))(weights, x)
        found = (by_atoll(loss, weights, x), by_spectrax(loss, weights, x, mesh))
        print(f"{loss.__name__:<10}" + "".join(f"{float(one):10.4f}" for one in (expected, *found)))


def by_atoll(loss: Loss, weights: Weights, x: jax.Array) -> jax.Array:
    def gradient(weights: Weights, x: jax.Array) -> tuple[jax.Array, Weights]:
        return jax.value_and_grad(lambda weights: loss(weights, x, lambda h: h))(weights)

    plan = atoll.Plan(stages=2, microbatches=MICROBATCHES)
    with atoll.compile(gradient, weights, x, topology="2 x cpu[1]", batch_argnums=1, plan=plan) as step:
        return step(weights, x)[0].to_jax()


def by_spectrax(loss: Loss, weights: Weights, x: jax.Array, mesh: object) -> jax.Array:
    @sxjit(mesh=mesh, schedule=Std1F1B(microbatches=MICROBATCHES), batch_argnums=(1,))
    def cut(weights: Weights, x: jax.Array) -> jax.Array:
        return loss(weights, x, sxstage_iter)

    return sxvalue_and_grad(cut)(weights, x)[0]


if __name__ == "__main__":
    main()
