"""Random programs that sort rows by a key, as layers of experts do, as text that Python runs; some do it wrongly.

Each takes a choice at every step: how the key is made, by what the rows are sorted, of what they are counted, what is
done with them in between, and how they are put back. Most choices are right; nothing depends on which, as a program is
refused, or it is right. All numbers are small and whole.
"""

import random
from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class SortedProgram:
    text: str
    arguments: tuple[numpy.ndarray, ...]
    microbatches: int


def sorted_program(seed: int) -> SortedProgram:
    chosen = random.Random(seed)
    examples, width = 8, 3
    each, experts = chosen.choice([1, 1, 2]), chosen.choice([2, 3, 8, 16])

    def choose(right: list[str], wrong: list[str], share: float = 0.08) -> str:
        return chosen.choice(wrong if wrong and chosen.random() < share else right)

    rows = examples * each
    scores = "(x @ router)"
    keys = {
        "argmax": f"jnp.argmax({scores}, -1)",
        "clip": f"jnp.clip({scores}[:, 0].astype(int), 0, {experts - 1})",
        "raw": "given",
        "wide": f"jnp.maximum({scores}[:, 0].astype(int), 0)",
    }
    key = f"jax.lax.top_k({scores}, 2)[1].reshape(-1)"
    if each == 1:
        key = choose([keys["argmax"], keys["argmax"], keys["clip"]], [keys["raw"], keys["wide"]], 0.2)
    elif chosen.random() < 0.1:
        key = f"jax.lax.top_k({scores}, 2)[1].T.reshape(-1)"
    other = f"jnp.argmax(-{scores}, -1).repeat({each})"
    plain = [
        "jnp.argsort(key)",
        "jnp.argsort(key, stable=False)",
        f"jax.lax.sort((key, jnp.arange({rows})), num_keys=1)[1]",
        f"jax.lax.sort_key_val(key, jnp.arange({rows}))[1]",
    ]
    turned = ["jnp.argsort(other)", "jnp.argsort(-key)", f"jnp.arange({rows})", f"jnp.arange({rows})[::-1]"]
    order = choose(plain, [*turned, "jnp.argsort(jnp.argsort(key))", "jnp.argsort(key, descending=True)"])

    def counts() -> str:
        of = choose(["key"], ["other", "key[order]", "(key + 1)", "(key // 2)"])
        return chosen.choice(
            [
                f"jnp.bincount({of}, length={experts})",
                f"jax.nn.one_hot({of}, {experts}, dtype=int).sum(0)",
                f"jnp.zeros({experts}, int).at[{of}].add(1)",
                f"jax.ops.segment_sum(jnp.ones_like({of}), {of}, {experts})",
                f"({of}[:, None] == jnp.arange({experts})).sum(0)",
            ]
        )

    taken = f"x[order // {each}]" if each > 1 else "x[order]"
    first = choose([taken], ["x[jnp.argsort(order)]" if each == 1 else "x[order % 8]", f"x[order][:{rows}]"])
    between = [
        "rows * 2",
        "jnp.maximum(rows, 0)",
        "rows + bias[key[order]]",
        "rows - rows.sum(-1, keepdims=True)",
        "jnp.where(key[order][:, None] > 0, rows, 1)",
    ]
    mixing = [
        "jnp.cumsum(rows, 0)",
        "rows - jnp.roll(rows, 1, 0)",
        f"rows + jnp.arange({rows})[:, None]",
        f"rows + x.repeat({each}, 0)",
        "rows[::-1]",
        "rows * order[:, None]",
        "rows - rows.max(0)",
        f"rows * (jnp.arange({rows}) < sizes[0])[:, None]",
        f"rows * (jnp.arange({rows}) <= jnp.cumsum(sizes)[0])[:, None]",
        f"jnp.where(jnp.arange({rows})[:, None] < 3, rows, 0)",
        "rows + jnp.sort(key)[:, None]",
    ]
    lines = [f"key = {key}", f"other = {other}", f"order = {order}", f"sizes = {counts()}", f"rows = {first}"]
    for _ in range(chosen.randint(0, 2)):
        lines.append(f"rows = {choose(between, mixing, 0.15)}")
    if chosen.random() < 0.85:
        lines.append("rows = jax.lax.ragged_dot(rows, experts, sizes)")
    for _ in range(chosen.randint(0, 2)):
        lines.append(f"rows = {choose(between, mixing, 0.1)}")
    back = ["rows[jnp.argsort(order)]", "jnp.zeros_like(rows).at[order].set(rows)"]
    if each > 1:
        back = [f"{one}.reshape(8, 2, -1).sum(1)" for one in back]
    back += [f"jnp.zeros_like(x).at[order // {each}].add(rows)", f"jax.ops.segment_sum(rows, order // {each}, 8)"]
    astray = ["rows[:8]", "rows[order][:8]", "jnp.zeros_like(rows).at[jnp.argsort(order)].set(rows)[:8]"]
    astray += [f"jnp.ones_like(x).at[order // {each}].set(rows)", "rows[jnp.argsort(jnp.argsort(other))][:8]"]
    lines.append(f"made = {choose(back, astray)}")
    lines.append(f"return made, (made * x).sum(), {chosen.choice(['sizes', 'made.sum(0)', '(rows ** 2).sum()'])}")
    body = "\n    ".join(lines)
    text = f"def forward(router, experts, bias, x, given):\n    {body}\n"
    text += "def program(router, experts, bias, x, given):\n"
    if chosen.random() < 0.7:
        text += "    def loss(*weights):\n        made, total, last = forward(*weights, x, given)\n"
        text += "        return total + (made ** 2).sum(), (made, last)\n"
        text += "    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(router, experts, bias)\n"
    else:
        text += "    return forward(router, experts, bias, x, given)\n"
    draw = numpy.random.default_rng(seed)

    def numbers(*shape: int) -> numpy.ndarray:
        return draw.integers(-2, 3, shape).astype("float32")

    weights = numbers(width, experts), numbers(experts, width, width), numbers(experts, width)
    return SortedProgram(
        text, (*weights, numbers(8, width), draw.integers(-1, experts, 8).astype("int32")), chosen.choice([2, 4])
    )
