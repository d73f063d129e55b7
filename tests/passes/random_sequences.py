"""Random steps that go over the batch several times: layers with statistics, pairs and orders of the examples between
them, contrastive losses, and second gradients where the first one leads. Each is named by its seed.

Their numbers are float64 and their functions continuous and not steep, so that answers differ by rounding alone.
"""

import random

import numpy
from random_programs import RandomProgram

# What a step may do with its examples `h`. W stands for weights of its own.
LAYERS = ("h = jnp.tanh(h @ W)", "h = h + jnp.sin(h @ W)", "h = jax.nn.gelu(h @ W) @ W")
STATISTICS = (
    "h = h - h.mean(0)",
    "h = (h - h.mean(0)) / jnp.sqrt(h.var(0) + 1)",
    "h = h / (1 + jnp.sum(h**2))",
    "h = h * jnp.cos(jnp.mean(h @ W))",
    "h = jax.nn.softmax(h, 0)",
    "h = h - h.max(0)",
    "h = h - (mask * h).sum(0) / mask.sum(0)",
    "h = jnp.tanh(h @ (h.T @ h) / len(h))",
    "logs.append(h.std())",
    "logs.append(jnp.linalg.norm(h.T @ h))",
)
PAIRS = (
    "h = h + jax.nn.softmax(h @ h.T) @ h",
    "h = h + jnp.sort(h, 0)",
    "h = h + jnp.roll(h, 1, 0)",
    "h = jnp.cumsum(h, 0) / len(h)",
    "h = jnp.tanh(h) * h[::-1]",
    "loss = loss + jax.nn.logsumexp(h @ h.T, -1).mean()",
    "loss = loss - jnp.trace(jax.nn.log_softmax(h @ h.T)) / len(h)",
    "loss = loss + jnp.abs(h[:, None] - h[None]).mean()",
    "loss = loss + (h @ h.T - 2 * jnp.eye(len(h))).max(1).mean()",
    "loss = loss + jax.nn.relu(0.1 + (h @ h.T).max(0) - jnp.diagonal(h @ h.T)).mean()",
)

STEPS = {
    "forward": "    return loss_fn(w, x, y)",
    "gradient": "    return jax.value_and_grad(loss_fn, has_aux=True)(w, x, y)",
    "sharpness": """\
    g = jax.grad(loss_fn, has_aux=True)(w, x, y)[0]
    size = jnp.sqrt(1 + sum((one**2).sum() for one in g))
    w = [a + 0.1 * b / size for a, b in zip(w, g)]
    return jax.value_and_grad(loss_fn, has_aux=True)(w, x, y)""",
    "two steps": """\
    for _ in range(2):
        g, told = jax.grad(loss_fn, has_aux=True)(w, x, y)
        w = [a - 0.1 * jnp.tanh(b) for a, b in zip(w, g)]
    return w, told""",
    "meta": """\
    def led(w):
        g = jax.grad(loss_fn, has_aux=True)(w, x, y)[0]
        return loss_fn([a - 0.1 * jnp.tanh(b) for a, b in zip(w, g)], y, x)
    return jax.value_and_grad(led, has_aux=True)(w)""",
}


def random_sequence(seed: int) -> RandomProgram:
    chance = random.Random(seed)
    lines, weights = [], 0
    for number in range(chance.randrange(2, 6)):
        kinds = LAYERS if number == 0 else chance.choice((LAYERS, LAYERS, STATISTICS, STATISTICS, PAIRS))
        line = chance.choice(kinds)
        while "W" in line:
            line, weights = line.replace("W", f"w[{weights}]", 1), weights + 1
        lines.append(line)
    body = [
        "def loss_fn(w, x, y):",
        "    h, loss, logs, mask = x, 0.0, [], jax.nn.sigmoid(x[:, :1])",
        *(f"    {line}" for line in lines),
        "    return loss + ((h - y) ** 2).mean(), (logs, h)",
        "",
        "def program(x, y, *w):",
        "    w = list(w)",
        STEPS[chance.choice(list(STEPS))],
    ]
    numbers, size = numpy.random.default_rng(seed), chance.choice((3, 4, 8))
    batch, microbatches = chance.choice(((4, 2), (8, 2), (8, 4), (8, 8), (12, 3)))
    shapes = [(batch, size)] * 2 + [(size, size)] * weights
    arguments = tuple(numbers.normal(size=shape) / 2 for shape in shapes)
    return RandomProgram(seed, "\n".join(body), arguments, (0, 1), batch, microbatches, smooth=True, tame=False)
