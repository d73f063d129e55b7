"""Control flow, and sums over the batch that loops and branches carry."""

import jax
import jax.numpy as jnp
import numpy
from accepted import KEY, SEQUENCE, B, D, W, X, accepted, grads, normal
from jax import lax

# Control flow


@accepted(W, X, 3)
def loop_of_an_unchanging_length(w, x, n):
    y = lax.fori_loop(0, n, lambda i, y: jnp.tanh(y @ w) + i, x)
    return y, lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 2), (0, x))[1], y.sum()


@accepted(W, X)
@grads
def loop_that_sums_examples(w, x):
    def body(i, carry):
        return carry + jnp.sum((x * i) @ w, 0)

    return jnp.sum(lax.fori_loop(0, 3, body, jnp.zeros(D, x.dtype)) * jnp.arange(D))


@accepted(W, X, True)
@grads
def branch_on_a_flag(w, x, flag):
    return jnp.mean(lax.cond(flag, lambda x: jnp.tanh(x @ w), lambda x: x, x) ** 2)


@accepted(W, X, 1)
@grads
def switch_on_a_number(w, x, which):
    branches = [lambda x: x @ w, lambda x: jnp.sin(x @ w), lambda x: x]
    return jnp.mean(lax.switch(which, branches, x) ** 2) + lax.switch(
        which, [jnp.sum, jnp.mean, lambda y: 2 * y.sum()], x @ w
    )


@accepted(W, X)
def branch_of_each_example(w, x):
    return jax.vmap(lambda x: lax.cond(x[0] > 0, lambda x: x @ w, lambda x: -x, x))(x)


@accepted(W, X)
@grads
def checkpointed(w, x):
    for _ in range(3):
        x = jax.checkpoint(lambda x: jnp.tanh(jnp.sin(x @ w)))(x)
    return jnp.mean(x**2)


@accepted(W, X)
@grads
def barriers(w, x):
    x, w = lax.optimization_barrier((x, w))
    return jnp.mean(lax.optimization_barrier(jnp.tanh(x @ w)) ** 2)


@jax.custom_vjp
def clipped_gradient(x):
    return x * 2


clipped_gradient.defvjp(lambda x: (x * 2, x), lambda x, g: (jnp.clip(g, -0.01, 0.01) * x,))


@jax.custom_jvp
def soft(x):
    return jnp.log1p(jnp.exp(x))


soft.defjvp(lambda x, t: (soft(x[0]), t[0] * jax.nn.sigmoid(x[0])))


@accepted(W, X)
@grads
def custom_derivatives(w, x):
    return jnp.mean(soft(clipped_gradient(x @ w)) ** 2)


@accepted(W, X)
@grads
def stopped_gradients(w, x):
    y = x @ w
    return jnp.mean((y - lax.stop_gradient(jnp.tanh(y))) ** 2) * lax.stop_gradient(jnp.sum(w))


@accepted(W, X)
def elementwise_of_all_kinds(w, x):
    y = x @ w
    functions = (
        *(jnp.exp, jnp.sin, jnp.abs, jnp.sign, jnp.floor, jnp.ceil, jnp.round, jnp.exp2, jnp.tan, jnp.arctan),
        *(jnp.sinh, jnp.cosh, jnp.arcsinh, jnp.cbrt, jnp.square, jnp.isnan, jnp.signbit, jnp.expm1, jnp.logical_not),
        *(jax.nn.relu, jax.nn.gelu, jax.nn.silu, jax.nn.elu, jax.nn.softplus, jax.nn.sigmoid, jax.nn.hard_tanh),
        *(jax.scipy.special.erf, jax.scipy.special.erfinv, jax.scipy.special.digamma, jax.scipy.special.bessel_jn),
    )
    return [one(y) for one in functions[:-1]], [
        jnp.power(jnp.abs(y), 1.5),
        jnp.arctan2(y, x),
        jnp.nextafter(y, x),
        y % 0.7,
        jnp.clip(y, -0.5, x),
        jnp.hypot(x, y),
        lax.reduce_precision(y, 5, 7),
        y.astype(jnp.int32),
        (y > x).astype(jnp.float32),
    ]


@accepted(normal(1, D, D) @ normal(1, D, D).T + 5 * numpy.eye(D), X)
def linear_algebra_of_parameters(a, x):
    return x @ jnp.linalg.inv(a), jnp.linalg.cholesky(a) @ x.sum(0), jnp.linalg.det(a) * x


# Sums over the batch that are carried by loops, changed and combined


@accepted(W, X)
def gram_matrices_of_layers(w, x):
    def layer(carry, scale):
        h, total, count = carry
        h = jnp.tanh(h @ w * scale)
        total = total * 2 + jnp.where(count > 1, h.T @ h, h.T @ x)
        return (h, total, count + 1), (total.sum(), h.sum(0), count)

    return lax.scan(layer, (x, jnp.ones((D, D), x.dtype), 0), jnp.arange(3, dtype=x.dtype))


@accepted(W, X)
def largest_of_layers(w, x):
    def body(i, carry):
        most, least, any_, all_ = carry
        most = jnp.maximum(most[::-1], (x * i).max(0))
        return most, least.at[i].min(jnp.min(x[:, i] * w[i, i])), any_ | jnp.any(x * i > 2, 0), all_ & jnp.all(x < i, 0)

    false = jnp.zeros(D, bool)
    return lax.fori_loop(0, 3, body, (jnp.full(D, 0.3, x.dtype), jnp.zeros(D, x.dtype), false, ~false))


@accepted(W, X)
def sums_in_branches_of_loops(w, x):
    def body(i, carry):
        h, total = carry
        h = lax.switch(i, [lambda h: h @ w, lambda h: jnp.ones_like(h), lambda h: h], h)
        return h, lax.cond(i > 1, lambda: total + h.sum(0), lambda: total - 1.0)

    return lax.fori_loop(0, 3, body, (x, jnp.zeros(D, x.dtype)))


@accepted(W, X)
@grads
def gradient_of_sums_in_nested_loops(w, x):
    def outer(h, scale):
        def inner(total, step):
            return total * 0.5 + jnp.sum(h * step, 0), None

        total, _ = lax.scan(inner, jnp.zeros(D, x.dtype), jnp.arange(3, dtype=x.dtype))
        return jnp.sin(h @ w) * scale, total

    return jnp.sum(lax.scan(outer, x, jnp.arange(1, 4, dtype=x.dtype))[1])


@accepted(W, X)
def sums_overwritten(w, x):
    zeros = jnp.zeros(D, x.dtype)
    return (
        lax.fori_loop(0, 3, lambda i, a: jnp.where(i == 1, jnp.ones_like(a), a + x.sum(0)), zeros),
        lax.fori_loop(0, 3, lambda i, a: lax.cond(i == 1, jnp.ones_like, lambda a: a + x.sum(0), a), zeros),
        lax.fori_loop(0, 3, lambda i, a: lax.dynamic_update_slice(a, x.sum()[None] * i, (i,)), w[1]),
    )


@accepted(W, X)
def sums_moved_about(w, x):
    def again(step):
        return lax.fori_loop(0, 3, step, w[1])

    return (
        again(lambda i, a: a + x.sum(0) + w[0]),
        again(lambda i, a: a + jnp.pad(x.sum(0)[1:], (1, 0), constant_values=5.0)),
        again(lambda i, a: jnp.concatenate([a[1:], x.sum()[None] * i])),
        again(lambda i, a: a[jnp.array([0, 0, 1, 2])] + x.sum(0)),
        again(lambda i, a: lax.reduce_window(a, 1.0, lax.add, (2,), (1,), "SAME") + x.sum(0)),
        again(lambda i, a: lax.reduce(jnp.outer(a, w[0]) + x.sum(0), numpy.ones((), x.dtype), lax.add, (0,))),
        again(lambda i, a: jnp.cumsum(a) * 0.1 - x.sum(0) / 3),
        again(lambda i, a: a.at[i].add(x.sum()) @ w),
    )


@accepted(W, X)
def reductions_from_other_values(w, x):
    three = numpy.full((), 3.0, x.dtype)
    return lax.reduce(x, three, lax.add, (0,)), lax.reduce(x, w[0, 0], lax.add, (0, 1))


@accepted(W, X)
def cheap_sums_before_the_model(w, x):
    a = x / jnp.abs(x).sum(0)
    b = a / jnp.sqrt((a**2).sum(0))
    return (b / (b**4).sum(0)) @ w, (b @ w).sum(0)


@accepted(W, X)
def sums_as_long_as_the_batch(w, x):
    """What is complete meets the batch along another dimension than the one that was summed."""
    total = x.sum(0)
    return x * total[:, None], (x + jnp.outer(total, total)) @ w, jnp.roll(x.max(0), 1)[:, None] * x


@accepted(W, X)
def a_gradient_through_a_branch_with_a_sum(w, x):
    def sums(w, x):
        def layer(carry, p):
            h, total, count = carry
            total = lax.cond(count > 1, lambda: total + h.sum() * p, lambda: total - p)
            return (jnp.sin(h) + p, total, count + 1), h.sum(0)

        return lax.scan(layer, (x, jnp.ones(D, x.dtype), 0), jnp.arange(3, dtype=x.dtype))[0][1]

    def loss(w, x):
        total = sums(w, x)
        return jnp.sum(total**2), total

    return jax.value_and_grad(loss, (0, 1), has_aux=True)(w, x)


@accepted(KEY, X)
def a_carried_key(key, x):
    def layer(carry, _):
        x, key = carry
        one, other = jax.random.split(jax.random.wrap_key_data(key))
        return (x * jax.random.bernoulli(one, 0.5, (B, D)), jax.random.key_data(other)), key

    return lax.scan(layer, (x, key), None, length=3)


@accepted(W, X)
def a_barrier_around_all(w, x):
    total, x, w = lax.optimization_barrier((x.sum(), x, w))
    return total, x @ w


@accepted(normal(1, 3), SEQUENCE, X, batch=(1, 2))
def kernels_of_each_example(w, x, kernels):
    def one(x, kernel):
        names = ("NHC", "OIH", "NHC")
        return lax.conv_general_dilated(x[None], kernel[None, None], (1,), "SAME", dimension_numbers=names)

    def loss(kernels):
        return jnp.sum(jax.vmap(one)(x[:, :, :1], kernels) ** 2)

    return jax.value_and_grad(loss)(kernels), w
