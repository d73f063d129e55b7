"""Models of sound, and of other series."""

import jax
import jax.numpy as jnp
import optax
from jax import lax
from programs import B, Program, cross_entropy, layer_norm, layers, mlp, normal, real, trained, weights, whole

T, D = 16, 6


@real
def words_of_unknown_times():
    """CTC over frames with time first, as recurrent layers want them: the batch is on axis 1."""

    def step(params, frames, labels):
        def loss_fn(params):
            def cell(h, x):
                h = jnp.tanh(x @ params["in"] + h @ params["h"])
                return h, h @ params["out"]

            logits = lax.scan(cell, jnp.zeros((frames.shape[1], 8)), frames)[1].swapaxes(0, 1)
            return optax.ctc_loss(logits, jnp.zeros(logits.shape[:2]), labels, jnp.zeros(labels.shape)).mean()

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), loss

    params = {"in": weights(1, D, 8), "h": weights(2, 8, 8), "out": weights(3, 8, 5)}
    return Program(step, (params, normal(4, T, B, D), 1 + whole(5, 4, B, 3)), axes=(None, 1, 0))


@real
def dilated_convolutions():
    """WaveNet: gates, and what all layers give is added up."""

    def loss_fn(params, wave):
        x, total = wave[..., None] * params["in"], 0.0
        for number, p in enumerate(params["layers"]):
            far = 2**number
            both = jnp.concatenate([jnp.pad(x, ((0, 0), (far, 0), (0, 0)))[:, :-far], x], -1)
            h = jnp.tanh(both @ p["filter"]) * jax.nn.sigmoid(both @ p["gate"])
            x, total = x + h @ p["out"], total + h @ p["skip"]
        aims = jnp.clip((wave[:, 1:] + 2) * 2, 0, 7).astype(jnp.int32)
        return cross_entropy(jax.nn.relu(total[:, :-1]) @ params["head"], aims)

    shapes = {"filter": (2 * D, D), "gate": (2 * D, D), "out": (D, D), "skip": (D, D)}
    blocks = [{name: weights(9 * i + j, *s) for j, (name, s) in enumerate(shapes.items())} for i in range(3)]
    params = {"in": normal(50, D), "layers": blocks, "head": weights(51, D, 8)}
    return trained(loss_fn, optax.novograd(1e-2), params, normal(52, B, T))


@real
def spectrogram_with_masks():
    """Frames, a window and a Fourier transform; in training a stretch of time is hidden in each example."""

    def step(params, key, wave, labels):
        key, drawn = jax.random.split(key)
        frames = wave[:, jnp.arange(0, 4 * T - 8, 4)[:, None] + jnp.arange(8)] * jnp.hanning(8)
        power = jnp.log(jnp.abs(jnp.fft.rfft(frames)) ** 2 + 1e-2)
        start = jax.random.randint(drawn, (wave.shape[0], 1), 0, power.shape[1] - 3)
        at = jnp.arange(power.shape[1])
        hidden = (at >= start) & (at < start + 3)

        def loss_fn(params):
            x = jnp.where(hidden[..., None], 0.0, power)
            h = lax.conv_general_dilated(x, params["conv"], (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
            return cross_entropy(jax.nn.relu(h).max(1) @ params["head"], labels)

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), key, loss

    params = {"conv": normal(1, 3, 5, 8, scale=0.3), "head": weights(2, 8, 4)}
    return Program(step, (params, jax.random.key(3), normal(4, B, 4 * T), whole(5, 4, B)), batch=(2, 3), state=2)


@real
def convolution_and_attention():
    """A block of a Conformer."""

    def loss_fn(p, x, labels):
        x = x + 0.5 * jax.nn.silu(layer_norm(x) @ p["up"]) @ p["down"]
        scores = layer_norm(x) @ p["q"] @ x.swapaxes(1, 2)
        x = x + jax.nn.softmax(scores) @ x
        a, b = jnp.split(layer_norm(x) @ p["point"], 2, -1)
        h = lax.conv_general_dilated(
            a * jax.nn.sigmoid(b),
            p["depth"],
            (1,),
            "SAME",
            dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=D,
        )
        return cross_entropy((x + jax.nn.silu(h)).mean(1), labels)

    shapes = {"up": (D, 12), "down": (12, D), "q": (D, D), "point": (D, 2 * D)}
    params = {name: weights(i, *s) for i, (name, s) in enumerate(shapes.items())} | {"depth": normal(9, 3, 1, D)}
    return trained(loss_fn, optax.sgd(0.1), params, normal(10, B, T, D), whole(11, D, B))


@real
def recurrent_state_between_calls():
    """A long recording in pieces: the state of each stream goes from one call to the next."""

    def step(params, h, x, y):
        def loss_fn(params):
            def cell(h, x):
                z, r = jnp.split(jax.nn.sigmoid(jnp.concatenate([x, h], -1) @ params["gates"]), 2, -1)
                new = jnp.tanh(jnp.concatenate([x, r * h], -1) @ params["new"])
                h = (1 - z) * h + z * new
                return h, h

            last, all_of_them = lax.scan(cell, h, x.swapaxes(0, 1))
            return jnp.mean((all_of_them.swapaxes(0, 1) @ params["out"] - y) ** 2), last

        (loss, last), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), last, loss

    params = {"gates": weights(1, D + 8, 16), "new": weights(2, D + 8, 8), "out": weights(3, 8, 1)}
    args = (params, jnp.zeros((B, 8)), normal(4, B, T, D), normal(5, B, T, 1))
    return Program(step, args, batch=(1, 2, 3), state=2)


@real
def trend_and_season():
    """N-BEATS: each block takes what it explains off the past, and adds to the forecast."""

    def loss_fn(params, past, future):
        forecast = 0.0
        for p in params:
            back, ahead = jnp.split(mlp(p, past), [T], -1)
            past, forecast = past - back, forecast + ahead
        error = future - forecast
        return jnp.mean(jnp.maximum(0.9 * error, -0.1 * error)) + 1e-3 * jnp.mean(past**2)

    return trained(
        loss_fn, optax.sgd(0.05), [layers(i, T, 16, T + 4) for i in (1, 5)], normal(9, B, T), normal(10, B, 4)
    )


@real(double=True)
def state_spaces_of_complex_numbers():
    """S5: a diagonal recurrence by an associative scan, of one sequence, which `vmap` makes one of many."""

    def joined(one, other):
        return other[0] * one[0], other[0] * one[1] + other[1]

    def layer(p, u):
        rate = -jnp.exp(p["rate"][0]) + 1j * p["rate"][1]
        decay = jnp.exp(rate * jnp.exp(p["step"]))
        drive = ((decay - 1) / rate)[:, None] * lax.complex(*p["in"])
        decays = jnp.repeat(decay[None], len(u), 0)
        _, states = lax.associative_scan(joined, (decays, u @ drive.T))
        y = jax.nn.gelu((states @ lax.complex(*p["out"]).T).real + p["skip"] * u)
        return u + y * jax.nn.sigmoid(y @ p["gate"])

    def loss_fn(params, sounds, labels):
        def read(x):
            x = x @ params["embed"]
            for p in params["blocks"]:
                x = layer(p, layer_norm(x))
            return x.mean(0) @ params["head"]

        return cross_entropy(jax.vmap(read)(sounds), labels)

    def block(seed):
        parts = {"rate": normal(seed, 2, 4), "step": normal(seed + 1, 4) - 2, "skip": normal(seed + 2, D)}
        mixing = {"in": normal(seed + 3, 2, 4, D), "out": normal(seed + 4, 2, D, 4), "gate": weights(seed + 5, D, D)}
        return parts | mixing

    params = {"embed": weights(1, 3, D), "head": weights(2, D, 4), "blocks": [block(10), block(20)]}
    return trained(loss_fn, optax.adam(1e-2), params, normal(3, B, 8, 3), whole(4, 4, B))


@real
def words_on_a_lattice():
    """A transducer: each frame gives a word or goes on, and all ways through the lattice of both are summed up."""

    def ways(stay, word, frames):
        """The logarithm of the likelihood of one example: over frames outside, over words inside."""

        def frame(before, now):
            stay, word = now

            def along(left, now):
                above, word = now
                here = jnp.logaddexp(above, left + word)
                return here, here

            above = before + stay
            return lax.scan(along, above[0], (above[1:], word))[1], above[0]

        def row(before, now):
            rest, first = frame(before, now)
            row = jnp.concatenate([first[None], rest])
            return row, row

        first = jnp.concatenate([jnp.zeros(1), jnp.cumsum(word[0])])
        rows = jnp.concatenate([first[None], lax.scan(row, first, (stay[:-1], word[1:]))[1]])
        return rows[frames - 1, -1] + stay[frames - 1, -1]

    def loss_fn(params, sound, words, frames):
        heard = jnp.tanh(sound @ params["sound"])
        said = jnp.pad(params["words"][words], ((0, 0), (1, 0), (0, 0)))
        log_probs = jax.nn.log_softmax(jnp.tanh(heard[:, :, None] + said[:, None]) @ params["out"])
        word = jnp.take_along_axis(log_probs[:, :, :-1], words[:, None, :, None], -1)[..., 0]
        return -jax.vmap(ways)(log_probs[..., 0], word, frames).mean()

    params = {"sound": weights(1, D, D), "words": normal(2, 8, D), "out": weights(3, D, 8)}
    return trained(loss_fn, optax.adam(1e-2), params, normal(4, B, 5, D), 1 + whole(5, 7, B, 3), 3 + whole(6, 3, B))
