"""Models of nature, of tables and of people's choices."""

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.scipy.stats import norm
from programs import B, Program, layers, mlp, normal, real, trained, weights, whole

D = 6


def descend(params, grads, rate=0.05):
    return jax.tree.map(lambda p, g: p - rate * g, params, grads)


@real
def differential_equation_of_a_neural_network():
    """A neural ODE, by Runge and Kutta."""

    def solved(params, x):
        def field(x):
            return mlp(params, x)

        def step(x, _):
            a = field(x)
            b = field(x + 0.05 * a)
            c = field(x + 0.05 * b)
            return x + 0.1 / 6 * (a + 2 * b + 2 * c + field(x + 0.1 * c)), None

        return lax.scan(step, x, None, length=3)[0]

    def loss_fn(params, x, y):
        return jnp.mean((solved(params, x) - y) ** 2)

    return trained(loss_fn, optax.sgd(0.1), layers(1, D, 8, D), normal(2, B, D), normal(3, B, D))


@real
def variational_posterior():
    """SVI: a guide of the global weights, drawn by a key, and its evidence bound."""

    def step(guide, key, x, y):
        key, drawn = jax.random.split(key)

        def loss_fn(guide):
            scale = jax.nn.softplus(guide["scale"])
            w = guide["mean"] + scale * jax.random.normal(drawn, (D,))
            likelihood = norm.logpdf(y, x @ w, 0.5).sum() * 10
            return -(likelihood + norm.logpdf(w).sum() - norm.logpdf(w, guide["mean"], scale).sum())

        loss, grads = jax.value_and_grad(loss_fn)(guide)
        return descend(guide, grads, 1e-4), key, loss

    guide = {"mean": jnp.zeros(D), "scale": jnp.zeros(D)}
    return Program(step, (guide, jax.random.key(0), normal(1, B, D), normal(2, B)), batch=(2, 3), state=2)


@real
def operator_of_functions():
    """DeepONet: the places at which functions are asked for are the same for all."""

    def loss_fn(params, functions, places, values):
        return jnp.mean((mlp(params["branch"], functions) @ mlp(params["trunk"], places).T - values) ** 2)

    def step(params, functions, places, values):
        loss, grads = jax.value_and_grad(loss_fn)(params, functions, places, values)
        return descend(params, grads), loss

    params = {"branch": layers(1, D, 8, 8), "trunk": layers(3, 1, 8, 8)}
    return Program(step, (params, normal(5, B, D), normal(6, 10, 1), normal(7, B, 10)), batch=(1, 3))


@real
def fourier_layers():
    def loss_fn(params, x, y):
        h = x[..., None] * params["in"]
        for p in params["layers"]:
            modes = jnp.fft.rfft(h, axis=1)
            mixed = jnp.einsum("bmd,mde->bme", modes[:, :3], p["re"] + 1j * p["im"])
            h = jnp.tanh(jnp.fft.irfft(jnp.pad(mixed, ((0, 0), (0, 6), (0, 0))), n=16, axis=1) + h @ p["w"])
        return jnp.mean((h @ params["out"] - y) ** 2)

    blocks = [{"re": weights(i, 3, D, D), "im": weights(i + 1, 3, D, D), "w": weights(i + 2, D, D)} for i in (1, 5)]
    params = {"in": normal(20, D), "layers": blocks, "out": normal(21, D)}
    return trained(loss_fn, optax.sgd(0.01), params, normal(22, B, 16), normal(23, B, 16))


@real
def mixture_of_densities():
    def loss_fn(params, x, y):
        weight, mean, log_scale = jnp.split(mlp(params, x), 3, -1)
        each = norm.logpdf(y[:, None], mean, jnp.exp(log_scale))
        return -jax.nn.logsumexp(jax.nn.log_softmax(weight) + each, axis=-1).mean()

    return trained(loss_fn, optax.sgd(0.01), layers(1, D, 8, 9), normal(2, B, D), normal(3, B))


@real
def factors_of_users_and_things():
    """Recommendations by pairs: what was taken above what was not; tables are updated where they were read."""

    def loss_fn(params, users, taken, left):
        u = params["users"][users]
        margin = jnp.sum(u * (params["things"][taken] - params["things"][left]), -1)
        return -jax.nn.log_sigmoid(margin).mean() + 1e-3 * jnp.mean(u**2)

    params = {"users": normal(1, 10, D), "things": normal(2, 12, D)}
    return trained(loss_fn, optax.adagrad(0.1), params, whole(3, 10, B), whole(4, 12, B), whole(5, 12, B))


@real
def table_with_columns_of_kinds():
    """DeepFM in the way of Keras: a table for each column, their products, and a network over all."""

    def loss_fn(params, row, clicked):
        columns = jnp.stack([table[row["kinds"][:, i]] for i, table in enumerate(params["tables"])], 1)
        pairs = 0.5 * jnp.sum(columns.sum(1) ** 2 - jnp.sum(columns**2, 1), -1)
        deep = mlp(params["deep"], jnp.concatenate([columns.reshape(-1, 12), row["numbers"]], -1))[:, 0]
        return optax.sigmoid_binary_cross_entropy(pairs + deep, clicked).mean()

    params = {"tables": [normal(i, 5, 4) for i in range(3)], "deep": layers(5, 14, 8, 1)}
    row = {"kinds": whole(8, 5, B, 3), "numbers": normal(9, B, 2)}
    return trained(loss_fn, optax.rmsprop(1e-3, momentum=0.9), params, row, whole(10, 2, B).astype(jnp.float32))


@real
def two_towers():
    """Retrieval: the things that others took are what was not taken."""

    def loss_fn(params, users, things):
        scores = mlp(params["user"], users) @ mlp(params["thing"], things).T
        return -jnp.mean(jnp.diagonal(jax.nn.log_softmax(scores)))

    params = {"user": layers(1, D, 8, 4), "thing": layers(3, D, 8, 4)}
    return trained(loss_fn, optax.sgd(0.1), params, normal(5, B, D), normal(6, B, D))


@real
def time_until_an_event():
    """Cox: each event against those who were still there, in the order of their times."""

    def loss_fn(params, x, times, happened):
        order = jnp.argsort(-times)
        risk = mlp(params, x)[:, 0][order]
        return -jnp.mean((risk - jnp.log(jnp.cumsum(jnp.exp(risk)))) * happened[order])

    return trained(loss_fn, optax.sgd(0.1), layers(1, D, 8, 1), normal(2, B, D), normal(3, B), normal(4, B))


@real
def gaussian_process():
    """The covariance of all examples with all others."""

    def loss_fn(params, x, y):
        apart = jnp.sum((x[:, None] - x[None]) ** 2, -1)
        covariance = jnp.exp(params["scale"] - apart / jnp.exp(params["length"])) + jnp.eye(B)
        lower = jnp.linalg.cholesky(covariance)
        return 0.5 * y @ jax.scipy.linalg.cho_solve((lower, True), y) + jnp.log(jnp.diagonal(lower)).sum()

    params = {"scale": jnp.float32(0), "length": jnp.float32(1)}
    return trained(loss_fn, optax.sgd(0.01), params, normal(1, B, D), normal(2, B))


@real
def energies_and_forces():
    """A potential: forces are the gradient by the places, and are fitted too."""

    def energy(params, places):
        far = jnp.sum((places[:, None] - places[None] + jnp.eye(4)[..., None]) ** 2, -1)
        return mlp(params, jnp.exp(-far).reshape(-1, 1)).sum()

    def step(params, places, energies):
        def loss_fn(params):
            found = jax.vmap(energy, (None, 0))(params, places)
            return jnp.mean((found - energies) ** 2)

        loss, grads = jax.value_and_grad(loss_fn)(params)
        forces = -jax.vmap(jax.grad(energy, 1), (None, 0))(params, places)
        return descend(params, grads, 1e-3), loss, forces

    return Program(step, (layers(1, 1, 8, 1), normal(2, B, 4, 3), normal(3, B)), batch=(1, 2))


@real(double=True)
def depth_without_end():
    """A deep equilibrium: a state that its layer leaves as it is, and the derivative of that by a series."""

    def layer(params, z, x):
        return jnp.tanh(0.3 * z @ params["w"] + x @ params["u"])

    @jax.custom_vjp
    def settled(params, x):
        return lax.fori_loop(0, 30, lambda _, z: layer(params, z, x), jnp.zeros_like(x))

    def backward(kept, gradient):
        params, x, z = kept
        through = jax.vjp(lambda z: layer(params, z, x), z)[1]
        total = lax.fori_loop(0, 30, lambda _, total: gradient + through(total)[0], gradient)
        return jax.vjp(lambda params, x: layer(params, z, x), params, x)[1](total)

    settled.defvjp(lambda params, x: (z := settled(params, x), (params, x, z)), backward)

    def loss_fn(params, x, y):
        return jnp.mean((settled(params["layer"], x @ params["in"]) @ params["out"] - y) ** 2)

    params = {"in": weights(1, D, D), "layer": {"w": weights(2, D, D), "u": weights(3, D, D)}, "out": weights(4, D, 3)}
    return trained(loss_fn, optax.sgd(0.1), params, normal(5, B, D), normal(6, B, 3))
