"""Models that make examples."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax
from programs import B, Program, layer_norm, layers, mlp, normal, real, trained, weights, whole

D = 6


def descend(params, grads, rate=0.05):
    return jax.tree.map(lambda p, g: p - rate * g, params, grads)


@real
def denoising_diffusion():
    """DDPM: times and noise are drawn in the step; an average of the parameters is kept."""
    alphas = jnp.cumprod(1 - jnp.linspace(1e-3, 0.2, 10))

    def step(state, x, key):
        times, noise = jax.random.split(jax.random.fold_in(key, state["count"]))
        t = jax.random.randint(times, (B,), 0, 10)
        noise = jax.random.normal(noise, x.shape)

        def loss_fn(params):
            a = alphas[t][:, None]
            noisy = jnp.sqrt(a) * x + jnp.sqrt(1 - a) * noise
            return jnp.mean((mlp(params, jnp.concatenate([noisy, jax.nn.one_hot(t, 10)], -1)) - noise) ** 2)

        loss, grads = jax.value_and_grad(loss_fn)(state["params"])
        params = descend(state["params"], grads)
        average = jax.tree.map(lambda a, p: 0.99 * a + 0.01 * p, state["average"], params)
        return {"params": params, "average": average, "count": state["count"] + 1}, loss

    params = layers(1, D + 10, 16, D)
    state = {"params": params, "average": jax.tree.map(jnp.copy, params), "count": jnp.int32(0)}
    return Program(step, (state, normal(2, B, D), jax.random.key(3)))


@real
def flow_matching():
    def step(params, key, x):
        key, a, b = jax.random.split(key, 3)
        t, start = jax.random.uniform(a, (x.shape[0], 1)), jax.random.normal(b, x.shape)

        def loss_fn(params):
            at = (1 - t) * start + t * x
            return optax.l2_loss(mlp(params, jnp.concatenate([at, t], -1)), x - start).mean()

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return descend(params, grads), key, loss

    return Program(step, (layers(1, D + 1, 16, D), jax.random.key(2), normal(3, B, D)), batch=(2,), state=2)


@real
def samples_by_many_small_steps():
    """DDIM: noise becomes an example in a counted loop over the model."""

    def step(noise, params):
        def denoise(i, x):
            t = jnp.full((x.shape[0], 1), 1 - i / 8)
            return x - mlp(params, jnp.concatenate([x, t], -1)) / 8

        return lax.fori_loop(0, 8, denoise, noise)

    return Program(step, (normal(1, B, D), layers(2, D + 1, 16, D)), batch=(0,))


@real
def guidance_without_a_class():
    """Classifier-free guidance: the model is called once, for the examples with and without their class."""

    def step(x, classes, params):
        twice = jnp.concatenate([x, x])
        given = jnp.concatenate([params["classes"][classes], jnp.zeros((x.shape[0], 4))])
        guided, free = jnp.split(mlp(params["model"], jnp.concatenate([twice, given], -1)), 2)
        return x - 0.1 * (free + 3 * (guided - free))

    params = {"classes": normal(1, 5, 4), "model": layers(2, D + 4, 16, D)}
    return Program(step, (normal(3, B, D), jnp.arange(B) % 5, params), batch=(0, 1))


@real
def guidance_in_two_calls():
    def step(x, classes, params):
        def model(given):
            return mlp(params["model"], jnp.concatenate([x, given], -1))

        free, guided = model(jnp.zeros((x.shape[0], 4))), model(params["classes"][classes])
        return x - 0.1 * (free + 3 * (guided - free))

    params = {"classes": normal(1, 5, 4), "model": layers(2, D + 4, 16, D)}
    return Program(step, (normal(3, B, D), jnp.arange(B) % 5, params), batch=(0, 1))


@real
def variational_autoencoder_that_warms_up():
    """The weight of the divergence grows with the number of the step."""

    def step(state, x):
        key = jax.random.fold_in(jax.random.PRNGKey(0), state["count"])
        beta = jnp.minimum(state["count"] / 4, 1.0)

        def loss_fn(params):
            mean, log_var = jnp.split(mlp(params["in"], x), 2, -1)
            z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape)
            found = optax.sigmoid_binary_cross_entropy(mlp(params["out"], z), jax.nn.sigmoid(x)).sum(-1)
            divergence = 0.5 * jnp.sum(jnp.exp(log_var) + mean**2 - 1 - log_var, -1)
            return jnp.mean(found + beta * divergence), (found.mean(), divergence.mean())

        (_, parts), grads = jax.value_and_grad(loss_fn, has_aux=True)(state["params"])
        return {"params": descend(state["params"], grads, 0.01), "count": state["count"] + 1}, parts

    params = {"in": layers(1, D, 16, 8), "out": layers(3, 4, 16, D)}
    return Program(step, ({"params": params, "count": jnp.int32(0)}, normal(2, B, D)))


def discriminate(params, x):
    return mlp(params, x)[:, 0]


def adversaries():
    return layers(1, 4, 16, D), layers(3, D, 16, 1)


@real
def generator_and_discriminator():
    """Both are updated in one step, the generator against the new discriminator."""

    def step(generator, critic, x, noise):
        def critic_loss(critic):
            made = mlp(generator, noise)
            return jnp.mean(jax.nn.softplus(-discriminate(critic, x)) + jax.nn.softplus(discriminate(critic, made)))

        loss, grads = jax.value_and_grad(critic_loss)(critic)
        critic = descend(critic, grads)
        other, grads = jax.value_and_grad(lambda g: jnp.mean(jax.nn.softplus(-discriminate(critic, mlp(g, noise)))))(
            generator
        )
        return descend(generator, grads), critic, loss, other

    return Program(step, (*adversaries(), normal(5, B, D), normal(6, B, 4)), batch=(2, 3), state=2)


@real
def penalty_on_the_critics_gradient():
    """WGAN-GP: the gradient of a gradient, of each example."""

    def step(critic, x, made, share):
        def loss_fn(critic):
            between = share[:, None] * x + (1 - share[:, None]) * made
            slopes = jax.vmap(jax.grad(lambda one: discriminate(critic, one[None])[0]))(between)
            penalty = jnp.mean((jnp.sqrt(jnp.sum(slopes**2, -1) + 1e-12) - 1) ** 2)
            return discriminate(critic, made).mean() - discriminate(critic, x).mean() + 10 * penalty

        loss, grads = jax.value_and_grad(loss_fn)(critic)
        return descend(critic, grads, 0.001), loss, grads

    share = jax.nn.sigmoid(normal(8, B))
    return Program(step, (adversaries()[1], normal(5, B, D), normal(6, B, D), share), batch=(1, 2, 3))


@real(double=True)
def critic_of_bounded_slope():
    """Spectral norm in Flax: each weight by its largest singular value, which a vector in the state follows."""

    class Critic(nn.Module):
        @nn.compact
        def __call__(self, x, is_training):
            for width in (16, 16):
                x = nn.leaky_relu(nn.SpectralNorm(nn.Dense(width))(x, update_stats=is_training))
            return nn.SpectralNorm(nn.Dense(1))(x, update_stats=is_training)[:, 0]

    critic = Critic()
    optimizer = optax.adam(1e-3, b1=0.0)

    def step(state, noise, real_x):
        def loss_fn(params):
            variables = {"params": params, "batch_stats": state["statistics"]}
            both = jnp.concatenate([real_x, mlp(state["generator"], noise)])
            scores, changes = critic.apply(variables, both, True, mutable=["batch_stats"])
            true, made = jnp.split(scores, 2)
            return jnp.mean(nn.relu(1 - true)) + jnp.mean(nn.relu(1 + made)), changes["batch_stats"]

        (loss, statistics), grads = jax.value_and_grad(loss_fn, has_aux=True)(state["params"])
        updates, memory = optimizer.update(grads, state["memory"])

        def fooled(generator):
            variables = {"params": state["params"], "batch_stats": statistics}
            return -critic.apply(variables, mlp(generator, noise), False).mean()

        state = {
            "params": optax.apply_updates(state["params"], updates),
            "statistics": statistics,
            "memory": memory,
            "generator": descend(state["generator"], jax.grad(fooled)(state["generator"])),
        }
        return state, loss, grads

    noise, x = normal(1, B, 4), normal(2, B, 6)
    variables = critic.init(jax.random.key(0), x, False)
    params = variables["params"]
    state = {"params": params, "statistics": variables["batch_stats"], "memory": optimizer.init(params)}
    return Program(step, (state | {"generator": layers(5, 4, 8, 6)}, noise, x), batch=(1, 2))


@real
def coupling_layers():
    """RealNVP: half of the features move the other half, and the logarithm of the determinant is known."""

    def loss_fn(params, x):
        total = 0.0
        for p in params:
            a, b = jnp.split(x, 2, -1)
            scale, shift = jnp.split(mlp(p, a), 2, -1)
            x = jnp.concatenate([b * jnp.exp(jnp.tanh(scale)) + shift, a], -1)
            total = total + jnp.tanh(scale).sum(-1)
        return -jnp.mean(-0.5 * jnp.sum(x**2, -1) + total)

    return trained(loss_fn, optax.sgd(0.01), [layers(10 * i, D // 2, 8, D) for i in range(3)], normal(50, B, D))


@real
def sliced_score_matching():
    """The derivative of the score along a random direction, forward through the model."""

    def step(params, key, x):
        key, drawn = jax.random.split(key)
        v = jax.random.rademacher(drawn, x.shape, x.dtype)

        def loss_fn(params):
            score, along = jax.jvp(lambda x: mlp(params, x), (x,), (v,))
            return jnp.mean(jnp.sum(v * along, -1) + 0.5 * jnp.sum(score**2, -1))

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return descend(params, grads), key, loss

    return Program(step, (layers(1, D, 16, D), jax.random.key(1), normal(2, B, D)), batch=(2,), state=2)


@real
def langevin_samples_of_an_energy():
    """Each step goes down the gradient of the energy, with noise from a key that is split in the loop."""

    def step(x, key, params):
        def move(carry, _):
            x, key = carry
            key, drawn = jax.random.split(key)
            down = jax.grad(lambda x: mlp(params, x).sum())(x)
            return (x - 0.1 * down + 0.01 * jax.random.normal(drawn, x.shape), key), None

        return lax.scan(move, (x, key), None, length=4)[0]

    return Program(step, (normal(1, B, D), jax.random.key(2), layers(3, D, 16, 1)), batch=(0,), state=2)


@real
def weights_made_by_another_network():
    """A hypernetwork: each example has a model of its own."""

    def loss_fn(params, task, x, y):
        made = mlp(params, task).reshape(-1, D, D)
        return jnp.mean((jnp.einsum("bnd,bde->bne", x, made) - y) ** 2)

    return trained(
        loss_fn, optax.adagrad(0.1), layers(1, 4, 8, D * D), normal(2, B, 4), normal(3, B, 5, D), normal(4, B, 5, D)
    )


@real(double=True)
def splines_between_knots():
    """Neural spline flows: half of the features bend the other half, by quotients of parabolas between knots."""
    count = 4

    def knots(sizes):
        ends = jnp.cumsum(6 * jax.nn.softmax(sizes), -1)
        return jnp.pad(ends, [(0, 0)] * (ends.ndim - 1) + [(1, 0)]) - 3

    def bent(x, given):
        xs, ys = knots(given[..., :count]), knots(given[..., count : 2 * count])
        slopes = jnp.pad(jax.nn.softplus(given[..., 2 * count :]), ((0, 0), (0, 0), (1, 1)), constant_values=1.0)
        inside = jnp.clip(x, -3, 3)
        at = jax.vmap(jax.vmap(lambda xs, x: jnp.searchsorted(xs, x, side="right")))(xs, inside) - 1
        at = jnp.clip(at, 0, count - 1)[..., None]
        x0, x1, y0, y1, d0, d1 = (
            jnp.take_along_axis(values, at + ahead, -1)[..., 0] for values in (xs, ys, slopes) for ahead in (0, 1)
        )
        slope, t = (y1 - y0) / (x1 - x0), (inside - x0) / (x1 - x0)
        below = slope + (d0 + d1 - 2 * slope) * t * (1 - t)
        y = y0 + (y1 - y0) * (slope * t**2 + d0 * t * (1 - t)) / below
        change = slope**2 * (d1 * t**2 + 2 * slope * t * (1 - t) + d0 * (1 - t) ** 2) / below**2
        is_inside = jnp.abs(x) < 3
        return jnp.where(is_inside, y, x), jnp.where(is_inside, jnp.log(change), 0.0)

    def loss_fn(params, x):
        total = 0.0
        for p in params:
            a, b = jnp.split(x, 2, -1)
            b, change = bent(b, mlp(p, a).reshape(*b.shape, 3 * count - 1))
            x, total = jnp.concatenate([b, a], -1), total + change.sum(-1)
        return -jnp.mean(-0.5 * jnp.sum(x**2, -1) + total)

    params = [layers(10 * i, D // 2, 8, D // 2 * (3 * count - 1)) for i in (1, 2)]
    return trained(loss_fn, optax.adam(1e-2), params, normal(50, B, D))


@real
def guesses_of_a_smaller_model():
    """Speculative decoding: three tokens are guessed for each example, and of these kept what a larger model takes."""
    length, words, ahead = 12, 11, 3

    def log_probs(params, tokens):
        x = params["embed"][tokens]
        scores = jnp.einsum("btd,bsd->bts", x @ params["q"], x @ params["k"])
        seen = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -1e9)
        return jax.nn.log_softmax((x + jax.nn.softmax(seen) @ (x @ params["v"])) @ params["embed"].T)

    def step(tokens, ends, key, small, large):
        def guess(carry, _):
            tokens, ends = carry
            told = jnp.take_along_axis(log_probs(small, tokens), (ends - 1)[:, None, None], 1)[:, 0]
            tokens = jax.vmap(lambda row, end, token: row.at[end].set(token))(tokens, ends, told.argmax(-1))
            return (tokens, ends + 1), None

        guessed = lax.scan(guess, (tokens, ends), None, length=ahead)[0][0]
        places = ends[:, None] + jnp.arange(ahead)
        chosen = jnp.take_along_axis(guessed, places, 1)[..., None]

        def likely(params):
            told = jnp.take_along_axis(log_probs(params, guessed), places[..., None] - 1, 1)
            return jnp.take_along_axis(told, chosen, 2)[..., 0]

        key, drawn = jax.random.split(key)
        taken = jnp.log(jax.random.uniform(drawn, places.shape)) < likely(large) - likely(small)
        ends = jnp.minimum(ends + jnp.cumprod(taken, 1).sum(1), length - ahead)
        return jnp.where(jnp.arange(length) < ends[:, None], guessed, 0), ends, key, taken.mean()

    def model(seed):
        return {"embed": normal(seed, words, D)} | {name: weights(seed + i, D, D) for i, name in enumerate("qkv", 1)}

    args = (whole(1, words, B, length), 2 + whole(2, 3, B), jax.random.key(3), model(10), model(20))
    return Program(step, args, batch=(0, 1), state=3)


@real
def diffusion_transformer():
    """DiT: the time and the class scale and gate each block; classes are left out by chance, clear examples count more
    up to a bound, and an average of the parameters is kept."""
    optimizer = optax.adamw(1e-3)

    def model(params, x, t, classes):
        given = jnp.concatenate([jnp.cos(10 * t), jnp.sin(10 * t)], -1) @ params["time"] + params["classes"][classes]
        h = x @ params["in"] + params["places"]
        for p in params["blocks"]:
            shift, scale, gate, gate_too = (y[:, None] for y in jnp.split(jax.nn.silu(given) @ p["given"], 4, -1))
            q, k, v = jnp.split((layer_norm(h) * (1 + scale) + shift) @ p["qkv"], 3, -1)
            heads = (y.reshape(*y.shape[:2], 2, 4) for y in (q, k, v))
            h = h + gate * (jax.nn.dot_product_attention(*heads).reshape(h.shape) @ p["out"])
            h = h + gate_too * jax.nn.gelu(layer_norm(h) @ p["up"]) @ p["down"]
        return layer_norm(h) @ params["out"]

    def step(state, x, classes):
        params, average, memory, key = state
        key, *keys = jax.random.split(key, 4)
        t, noise = jax.random.uniform(keys[0], (x.shape[0], 1)), jax.random.normal(keys[1], x.shape)
        classes = jnp.where(jax.random.bernoulli(keys[2], 0.1, classes.shape), 5, classes)
        signal, spread = jnp.cos(t * jnp.pi / 2), jnp.sin(t * jnp.pi / 2) + 1e-3
        noisy = signal[..., None] * x + spread[..., None] * noise
        weight = jnp.minimum((signal / spread) ** 2, 5)[:, 0]

        def loss_fn(params):
            return jnp.mean(weight * jnp.mean((model(params, noisy, t, classes) - noise) ** 2, (1, 2)))

        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, memory = optimizer.update(grads, memory, params)
        params = optax.apply_updates(params, updates)
        return (params, optax.incremental_update(params, average, 0.01), memory, key), loss, grads

    def block(seed):
        given, qkv = normal(seed, 8, 32, scale=0.1), weights(seed + 1, 8, 24)
        return {"given": given, "qkv": qkv, **{name: weights(seed + 2, 8, 8) for name in ("out", "up", "down")}}

    ends = {"time": weights(1, 2, 8), "classes": normal(2, 6, 8), "in": weights(3, D, 8), "out": weights(4, 8, D)}
    params = {**ends, "places": normal(5, 5, 8), "blocks": [block(10), block(20)]}
    state = (params, jax.tree.map(jnp.copy, params), optimizer.init(params), jax.random.PRNGKey(0))
    return Program(step, (state, normal(6, B, 5, D), whole(7, 5, B)), batch=(1, 2))
