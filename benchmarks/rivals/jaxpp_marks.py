"""What JaxPP makes of a train step whose model has no marks, and of the same step with them.

    pip install 'jax==0.9.2'             # in an environment of its own: JaxPP allows no newer one
    git clone https://github.com/NVIDIA/jaxpp
    PYTHONPATH=jaxpp/src python benchmarks/rivals/jaxpp_marks.py

The step is one of two layers, on two CPU devices, with four microbatches. JaxPP needs its own loop over these in either
case.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ["JAX_PLATFORMS"] = "cpu"

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import jaxpp
import numpy
from jaxpp import api

MICROBATCHES, WIDTH = 4, 8
Boundary = Callable[[jax.Array], jax.Array]


def step(mark: Boundary, mesh: api.MpmdMesh) -> Callable[..., object]:
    """The train step, with `mark` after each layer."""

    def loss_fn(weights: list[jax.Array], x: jax.Array) -> tuple[jax.Array, None]:
        for one in weights:
            x = mark(jnp.tanh(x @ one))
        return jnp.mean(x**2) / MICROBATCHES, None

    @partial(api.mpmd_jit_with_loop, mpmd_mesh=mesh)
    def train_step(weights: list[jax.Array], batch: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        gradient = partial(jax.value_and_grad(loss_fn, has_aux=True), weights)
        (losses, _), gradients = api.treduce(gradient, batch, schedule=api.Std1F1B(mesh.mpmd_dim))
        return [one - 0.1 * g for one, g in zip(weights, gradients, strict=True)], losses

    return train_step


def main() -> None:
    mesh = api.MpmdMesh(jax.sharding.Mesh(numpy.array(jax.devices()).reshape(2, 1), ("stages", "data")), "stages")
    weights = [jnp.eye(WIDTH)] * 2
    batch = jnp.ones((MICROBATCHES, 2, WIDTH))
    print(f"JaxPP {jaxpp.__version__}, jax {jax.__version__}, {MICROBATCHES} microbatches, two layers on two devices")
    for name, mark in (("with marks", api.mark_stage_end), ("without marks", lambda x: x)):
        try:
            jax.block_until_ready(step(mark, mesh)(weights, batch))
            print(f"{name}: runs")
        except Exception as error:  # whatever it says is what is asked
            print(f"{name}: {type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}")


if __name__ == "__main__":
    main()
