"""Language models whose past is a state of a fixed size."""

import jax
import jax.numpy as jnp
import optax
from jax import lax
from programs import B, cross_entropy, layer_norm, normal, real, trained, weights, whole

T, D, V = 4, 8, 16


def shifted(x, fill=0.0):
    """What was one step before."""
    return jnp.pad(x, ((0, 0), (1, 0), (0, 0)), constant_values=fill)[:, :-1]


@real
def averages_that_fade_with_a_running_maximum():
    """RWKV: sums of what was, weighed by exponentials, by an associative scan that keeps these from overflowing."""

    def joined(one, other):
        (fading, sums, norms, most), (fading_too, sums_too, norms_too, most_too) = one, other
        top = jnp.maximum(most + fading_too, most_too)
        old, new = jnp.exp(most + fading_too - top), jnp.exp(most_too - top)
        return fading + fading_too, sums * old + sums_too * new, norms * old + norms_too * new, top

    def mixed(p, k, v):
        fading = jnp.broadcast_to(-jnp.exp(p["fade"]), k.shape)
        _, sums, norms, most = lax.associative_scan(joined, (fading, v, jnp.ones_like(v), k), axis=1)
        sums, norms, most = shifted(sums), shifted(norms), shifted(most, -1e30)
        top = jnp.maximum(most, p["first"] + k)
        old, new = jnp.exp(most - top), jnp.exp(p["first"] + k - top)
        return (sums * old + v * new) / (norms * old + new)

    def loss_fn(params, tokens):
        x = params["embed"][tokens[:, :-1]]
        for p in params["blocks"]:
            h = layer_norm(x * p["mix"] + shifted(x) * (1 - p["mix"]))
            x = x + jax.nn.sigmoid(h @ p["r"]) * mixed(p, h @ p["k"], h @ p["v"]) @ p["o"]
            h = layer_norm(x)
            x = x + jax.nn.sigmoid(h @ p["gate"]) * (jnp.square(jax.nn.relu(h @ p["up"])) @ p["down"])
        return cross_entropy(layer_norm(x) @ params["embed"].T, tokens[:, 1:])

    def block(seed):
        square = {name: weights(seed + i, D, D) for i, name in enumerate(("r", "k", "v", "o", "gate", "up", "down"))}
        return {**square, "mix": jnp.full(D, 0.5), "fade": normal(seed + 8, D), "first": normal(seed + 9, D)}

    params = {"embed": normal(1, V, D), "blocks": [block(10), block(30)]}
    return trained(loss_fn, optax.adam(1e-3), params, whole(3, V, B, T + 1))


@jax.custom_vjp
def root(x):
    return jnp.sqrt(x)


root.defvjp(lambda x: (jnp.sqrt(x), x), lambda x, g: (g / jnp.sqrt(jnp.maximum(4 * x, 1e-3)),))


@real
def gated_recurrence_over_stacked_layers_and_a_last_one():
    """Griffin: a scan over time in a scan over layers, a root whose gradient has a bound, and a layer by itself."""

    def recurrence(p, x):
        heads = x.reshape(*x.shape[:2], 2, D // 2)
        taken, kept = (jax.nn.sigmoid(jnp.einsum("bthi,hij->bthj", heads, p[n]).reshape(x.shape)) for n in ("in", "at"))
        log_a = -8 * kept * jax.nn.softplus(p["fade"])
        steps = jnp.exp(log_a).swapaxes(0, 1), (x * taken * root(1 - jnp.exp(2 * log_a))).swapaxes(0, 1)

        def cell(h, now):
            h = now[0] * h + now[1]
            return h, h

        return lax.scan(cell, jnp.zeros_like(x[:, 0]), steps)[1].swapaxes(0, 1)

    @jax.checkpoint
    def layer(x, p):
        h = layer_norm(x)
        padded = jnp.pad(h @ p["x"], ((0, 0), (3, 0), (0, 0)))
        near = sum(padded[:, i : i + x.shape[1]] * p["near"][i] for i in range(4))
        x = x + (jax.nn.gelu(h @ p["y"]) * recurrence(p, near)) @ p["o"]
        return x + jax.nn.gelu(layer_norm(x) @ p["up"]) @ p["down"], None

    def loss_fn(params, tokens):
        x, _ = lax.scan(layer, params["embed"][tokens[:, :-1]] * jnp.sqrt(D), params["layers"])
        x, _ = layer(x, params["last"])
        return cross_entropy(30 * jnp.tanh(layer_norm(x) @ params["embed"].T / 30), tokens[:, 1:])

    def made(seed, *layers):
        square = {name: weights(seed + i, *layers, D, D) for i, name in enumerate(("x", "y", "o", "up", "down"))}
        gates = {name: weights(seed + 6 + i, *layers, 2, D // 2, D // 2) for i, name in enumerate(("in", "at"))}
        return {**square, **gates, "fade": normal(seed + 8, *layers, D), "near": normal(seed + 9, *layers, 4, D)}

    params = {"embed": normal(1, V, D), "layers": made(10, 2), "last": made(30)}
    return trained(loss_fn, optax.adafactor(1e-2, min_dim_size_to_factor=4), params, whole(3, V, B, T + 1))
