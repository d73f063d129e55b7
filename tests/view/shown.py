"""A train step of four layers on two replicas of two stages: what the tests of the page show."""

import jax
import jax.numpy as jnp

import atoll

TOPOLOGY = "4 x cpu[1]"
PLAN = atoll.Plan(stages=2, microbatches=2, schedule="zb-h1", replicas=2)
WIDTH = 8


def loss_fn(params, x, y):
    for index, layer in enumerate(params):
        with jax.named_scope(f"layer_{index}"):
            x = jnp.tanh(x @ layer)  # the products
    return jnp.mean((x - y) ** 2)


def train_step(params, x, y):
    loss, gradients = jax.value_and_grad(loss_fn)(params, x, y)
    return [p - 0.1 * g for p, g in zip(params, gradients, strict=True)], loss


def arguments():
    params = [jax.ShapeDtypeStruct((WIDTH, WIDTH), "float32")] * 4
    return params, *[jax.ShapeDtypeStruct((16, WIDTH), "float32")] * 2


def lowered():
    return atoll.lower(train_step, *arguments(), topology=TOPOLOGY, plan=PLAN, batch_argnums=(1, 2), donate_argnums=0)
