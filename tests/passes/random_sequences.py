"""Random steps that go over the batch several times: layers with statistics, pairs, orders and groups of the examples
between them, contrastive losses, and second gradients where the first one leads. Each is named by its seed.

Their numbers are float64 and their functions not steep, so that answers differ by rounding alone. Where a function
jumps, it does so at numbers that are equal in every rounding, such as a greatest number and its copy. Arguments are
short numbers: one sum or product of these is exact.
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
    "h = h + 0.1 * h[jnp.argmax(h @ h.T - 9 * jnp.eye(len(h)), 1)]",
    "loss = loss + jax.lax.top_k((h**2).sum(1), 2)[0].mean()",
    "loss = loss + jnp.median((h**2).sum(1)) + jnp.quantile(h, 0.3)",
    "h = h * (jnp.abs(h) < jnp.abs(h).max())",
)
# With the groups that whole numbers divide the examples into. Some are empty, and some have one example.
GROUPS = (
    "h = h + jnp.tanh(h[label])",
    "h = h - jax.ops.segment_max(h, label, 5)[label]",
    "h = h + jnp.where(h == jax.ops.segment_min(h, label, 5)[label], jnp.sin(h), 0)",
    "h = h - (group.T @ h / jnp.maximum(group.sum(0), 1)[:, None])[label]",
    "h = h / (h >= (h * group[:, : h.shape[1]]).sum(1, keepdims=True)).sum(1, keepdims=True)",
    "h = h + jnp.where(h >= (h * (jnp.arange(len(h)) == 1)[:, None]).sum(0), jnp.sin(h), 0)",
    "h = h * (1 + (h == (h + 9 * (label == 0)[:, None]).min(0)))",
    "loss = loss + jnp.where(same, h @ h.T, -9.0).max(1).mean()",
    "loss = loss + jax.nn.relu(jnp.where(same, -9.0, h @ h.T).max(0) - jnp.where(same, h @ h.T, 9.0).min(1)).mean()",
    "loss = loss - ((jax.nn.log_softmax(h @ h.T) * same).sum(1) / same.sum(1)).mean()",
    "loss = loss + jnp.max(group.T @ (h**2).sum(1))",
)

STEPS = {
    "forward": "    return loss_fn(w, x, y, label)",
    "gradient": "    return jax.value_and_grad(loss_fn, has_aux=True)(w, x, y, label)",
    "sharpness": """\
    g = jax.grad(loss_fn, has_aux=True)(w, x, y, label)[0]
    size = jnp.sqrt(1 + sum((one**2).sum() for one in g))
    w = [a + 0.1 * b / size for a, b in zip(w, g)]
    return jax.value_and_grad(loss_fn, has_aux=True)(w, x, y, label)""",
    "two steps": """\
    for _ in range(2):
        g, told = jax.grad(loss_fn, has_aux=True)(w, x, y, label)
        w = [a - 0.1 * jnp.tanh(b) for a, b in zip(w, g)]
    return w, told""",
    "meta": """\
    def led(w):
        g = jax.grad(loss_fn, has_aux=True)(w, x, y, label)[0]
        return loss_fn([a - 0.1 * jnp.tanh(b) for a, b in zip(w, g)], y, x, label)
    return jax.value_and_grad(led, has_aux=True)(w)""",
}


def random_sequence(seed: int) -> RandomProgram:
    chance = random.Random(seed)
    lines, weights = [], 0
    for number in range(chance.randrange(2, 6)):
        kinds = LAYERS if number == 0 else chance.choice((LAYERS, LAYERS, STATISTICS, STATISTICS, PAIRS, GROUPS))
        line = chance.choice(kinds)
        while "W" in line:
            line, weights = line.replace("W", f"w[{weights}]", 1), weights + 1
        lines.append(line)
    body = [
        "def loss_fn(w, x, y, label):",
        "    h, loss, logs, mask = x, 0.0, [], jax.nn.sigmoid(x[:, :1])",
        "    group, same = jax.nn.one_hot(label, 8), label[:, None] == label",
        *(f"    {line}" for line in lines),
        "    return loss + ((h - y) ** 2).mean(), (logs, h)",
        "",
        "def program(x, y, label, *w):",
        "    w = list(w)",
        STEPS[chance.choice(list(STEPS))],
    ]
    numbers, size = numpy.random.default_rng(seed), chance.choice((3, 4, 8))
    batch, microbatches = chance.choice(((4, 2), (8, 2), (8, 4), (8, 8), (12, 3)))
    shapes = [(batch, size)] * 2 + [(size, size)] * weights
    x, y, *others = (numpy.rint(numbers.normal(size=shape) * 32) / 64 for shape in shapes)
    arguments = (x, y, numbers.integers(3, size=batch), *others)
    text = "\n".join(body)
    return RandomProgram(seed, text, arguments, (0, 1, 2), batch, microbatches, smooth=True, tame=False)
