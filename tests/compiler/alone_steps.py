"""Steps with something in scope `part` that a plan may have done for each microbatch alone; and what that comes to, as
one would write it by hand with `jax.vmap`.

A step is made by a function of `part`: from a function, which of its arguments are examples, and for each result
whether it is of each example or a mean (`"e"` or `"m"`), it gives the function to call.
"""

import jax
import jax.numpy as jnp
import numpy

CASES = {}


def case(*arguments, batch):
    def register(make):
        CASES[make.__name__] = make, arguments, batch
        return make

    return register


def normal(*shape, seed=0):
    return numpy.random.default_rng([seed, *shape]).normal(size=shape)


def in_scope(function, taken, given):
    """As users write it."""

    def part(*args):
        with jax.named_scope("part"):
            return function(*args)

    return part


def by_hand(microbatches):
    """The same for each microbatch alone."""

    def part(function, taken, given):
        def run(*args):
            cut = [
                a.reshape(microbatches, -1, *a.shape[1:]) if is_taken else a
                for a, is_taken in zip(args, taken, strict=True)
            ]
            made = jax.vmap(function, [0 if is_taken else None for is_taken in taken])(*cut)
            made = made if isinstance(made, tuple) else (made,)
            whole = [
                one.reshape(-1, *one.shape[2:]) if kind == "e" else one.mean(0)
                for one, kind in zip(made, given, strict=True)
            ]
            return tuple(whole) if len(whole) > 1 else whole[0]

        return run

    return part


X, Y, W, V, G = normal(8, 4), normal(8, 4, seed=1), normal(4, 4), normal(4, 4, seed=2), normal(4)
ONE, ALL = (True,), (True, False)


def normalised(h, scale):
    mean, variance = h.mean(0), h.var(0)
    return (h - mean) / jnp.sqrt(variance + 1e-3) * scale, mean, variance


def centred(h):
    return h - h.mean(0), h.mean(0)


@case((W, G, V), (G, G), X, Y, batch=(2, 3))
def batch_norm(part):
    """Statistics in training, and averages of them that go on from step to step."""

    def step(params, averages, x, y):
        def loss(params):
            w, scale, v = params
            h, mean, _ = part(normalised, ALL, "emm")(x @ w, scale)
            h, _, variance = part(normalised, ALL, "emm")(jnp.tanh(h) @ v, scale)
            return ((h - y) ** 2).mean(), (0.9 * averages[0] + 0.1 * mean, 0.9 * averages[1] + 0.1 * variance)

        return jax.value_and_grad(loss, has_aux=True)(params)

    return step


@case((W, normal(4, 3)), X, Y, batch=(1, 2))
def load_balancing(part):
    """The auxiliary loss of experts comes back into the router, and into all that is before it."""

    def route(h, router):
        shares = jax.nn.softmax(h @ router)
        chosen = jax.nn.one_hot(shares.argmax(-1), 3)
        return shares, 3 * (chosen.mean(0) * shares.mean(0)).sum()

    def step(params, x, y):
        def loss(params):
            h = jnp.tanh(x @ params[0])
            shares, balance = part(route, ALL, "em")(h, params[1])
            return (((shares[..., None] * h[:, None]).sum(1) - y) ** 2).mean() + 0.01 * balance

        return jax.value_and_grad(loss)(params)

    return step


@case(W, X, Y, batch=(1, 2))
def logged_deviation(part):
    def step(w, x, y):
        def loss(w):
            h = x @ w
            return ((h - y) ** 2).mean(), part(lambda h: h.std(), ONE, "m")(h)

        return jax.value_and_grad(loss, has_aux=True)(w)

    return step


@case(W, X, Y, batch=(1, 2))
def the_loss_itself(part):
    """What comes back to it is the seed of the gradient: a number in the program."""

    def loss(h, y):
        return ((h - h.mean(0) - y) ** 2).mean()

    def step(w, x, y):
        return jax.value_and_grad(lambda w: part(loss, (True, True), "m")(jnp.tanh(x @ w), y))(w)

    return step


@case(W, X, Y, batch=(1, 2))
def contrastive(part):
    def loss(h, y):
        return -jnp.trace(jax.nn.log_softmax(h @ y.T)) / len(h)

    def step(w, x, y):
        return jax.value_and_grad(lambda w: part(loss, (True, True), "m")(x @ w, y @ w))(w)

    return step


@case(W, X, batch=(1,))
def numbers_of_examples(part):
    """Divisors, lengths and places are those of a microbatch."""

    def counted(h):
        return h * len(h) + jnp.arange(len(h))[:, None], h.var(0, ddof=1)

    def step(w, x):
        def loss(w):
            h, variance = part(counted, ONE, "em")(x @ w)
            return (h**2).sum() + (variance**3).sum()

        return jax.value_and_grad(loss)(w)

    return step


@case(W, X, batch=(1,))
def sorted_and_greatest(part):
    def ordered(h):
        return jnp.sort(h, 0), jnp.argsort(h[:, 0]), h - h.max(0), jnp.median(h, 0)

    def step(w, x):
        def loss(w):
            h, places, below, middle = part(ordered, ONE, "eeem")(x @ w)
            return (h * x).sum() + (below**2).sum() + (middle**3).sum(), places

        return jax.value_and_grad(loss, has_aux=True)(w)

    return step


@case((W, G), X, Y, batch=(1, 2))
def the_same_for_all(part):
    """What a scope makes of parameters alone is not divided, though it stands in the scope."""

    def scaled(h, scale):
        return h * jnp.exp(scale), jnp.exp(scale)

    def step(params, x, y):
        def loss(params):
            h, scale = part(scaled, ALL, "em")(x @ params[0], params[1])
            return ((h * scale - y) ** 2).mean() + (scale**2).sum()

        return jax.value_and_grad(loss)(params)

    return step


@case(W, X, Y, batch=(1, 2))
def two_gradients(part):
    """Sharpness-aware: the second gradient is taken where the first one leads."""

    def step(w, x, y):
        def loss(w):
            return ((part(centred, ONE, "em")(x @ w)[0] - y) ** 2).mean()

        return jax.grad(loss)(w + 0.1 * jax.grad(loss)(w))

    return step


@case(W, X, Y, batch=(1, 2))
def forwards(part):
    def step(w, x, y):
        return jax.jvp(lambda w: ((part(centred, ONE, "em")(x @ w)[0] - y) ** 2).mean(), (w,), (w,))

    return step


@case(W, X, Y, batch=(1, 2))
def jitted(part):
    @jax.jit
    def model(w, x):
        h, mean = jax.jit(part(centred, ONE, "em"))(x @ w)
        return jax.nn.relu(h), mean

    def step(w, x, y):
        def loss(w):
            h, mean = model(w, x)
            return ((h - y) ** 2).mean() + (mean**2).sum()

        return jax.grad(loss)(w)

    return step


@case(normal(3, 4, 4), X, Y, batch=(1, 2))
def layers_in_a_loop(part):
    """On the way back a loop takes what each microbatch had, and no mean of it."""

    def step(weights, x, y):
        def layer(h, w):
            h, mean = part(normalised, ALL, "emm")(h @ w, w[0])[:2]
            return jnp.tanh(h), mean

        def loss(weights):
            h, means = jax.lax.scan(layer, x, weights)
            return ((h - y) ** 2).mean() + (means**3).sum(), means

        return jax.value_and_grad(loss, has_aux=True)(weights)

    return step


@case(normal(3, 4, 4), X, Y, batch=(1, 2))
def rematerialised(part):
    def step(weights, x, y):
        @jax.checkpoint
        def layer(h, w):
            h, mean = part(centred, ONE, "em")(h @ w)
            return jnp.tanh(h), mean

        def loss(weights):
            h, means = jax.lax.scan(layer, x, weights)
            h, mean = layer(h, weights[0])
            return ((h - y) ** 2).mean() + (means**2).sum() + (mean**3).sum()

        return jax.value_and_grad(loss)(weights)

    return step


@case(W, numpy.float64(1), X, Y, batch=(2, 3))
def in_a_branch(part):
    def step(w, is_training, x, y):
        def loss(w):
            h, mean = jax.lax.cond(
                is_training > 0, part(centred, ONE, "em"), lambda h: (h, jnp.zeros_like(h[0])), x @ w
            )
            return ((h - y) ** 2).mean() + (mean**3).sum()

        return jax.value_and_grad(loss)(w)

    return step


@case(W, X, batch=(1,))
def in_a_while(part):
    def step(w, x):
        def turn(carry):
            number, h = carry
            return number + 1, part(centred, ONE, "em")(h @ w)[0]

        return jax.lax.while_loop(lambda carry: carry[0] < 3, turn, (0, x))[1]

    return step


@case(W, X, batch=(1,))
def an_end_of_its_own(part):
    """Each microbatch goes on until its own examples are small."""

    def halved(h):
        return jax.lax.while_loop(lambda h: (h**2).sum() > 1, lambda h: h / 2, h)

    def step(w, x):
        return part(halved, ONE, "e")(x @ w)

    return step


@case(W, X, batch=(1,))
def a_gradient_within(part):
    """Each microbatch takes that of its own."""

    def led(h):
        return h - h.mean(0) - jax.grad(lambda h: (h.var(0) ** 2).sum())(h)

    def step(w, x):
        return part(led, ONE, "e")(x @ w)

    return step


@case(W, X, batch=(1,))
def pooled(part):
    """What a gradient makes of `max_pool`, of a complex number and of a transform."""

    def one(h):
        spread = jnp.abs(jnp.fft.fft(h, axis=0) + 1j * h)
        return jax.lax.reduce_window(spread, -jnp.inf, jax.lax.max, (2, 1), (1, 1), "SAME")

    def step(w, x):
        return jax.value_and_grad(lambda w: (part(one, ONE, "e")(x @ w) ** 2).mean())(w)

    return step
