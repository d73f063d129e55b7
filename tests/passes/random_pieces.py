"""Steps of random programs over pieces of the batch, as steps that add up gradients have, and data preparation."""

from random_writer import Writer


def in_pieces(w: Writer) -> None:
    """A loop whose iterations are the batch: what each adds up, gives for itself, or hands to the next."""
    one = w.pick(lambda one: one.kind == "f" and one.axis == 0 and one.blocks == 1 and one.rank < 4)
    if one is None:
        return
    size, rest = one.shape[0], one.shape[1:]
    count = w.random.choice([count for count in range(2, size + 1) if size % count == 0] or [1])
    pieces = f"{one.name}.reshape({(count, size // count, *rest)})"
    number = w.random.choice(["", " * number", f" + jnp.arange({size // count}.0).sum()"])
    part = w.random.choice(["r.sum(0)", "jnp.sort(r, 0)[0]", "jnp.flip(r, 0)[-1]", "(r * jnp.roll(r, 1, 0)).sum(0)"])
    own = w.random.choice(["r * 2", "r - r.sum(0)", "jnp.flip(r, 0)", "jnp.cumsum(r, 0)"])
    bound = (one.bound**2 + 9) * size * 9
    zeros, reverse = f"jnp.zeros({rest})", w.random.choice(["", ", reverse=True"])
    total = {"shape": rest, "axis": None, "whole": True, "bound": bound}
    if not w.tame:  # what one piece hands to the next
        step = w.random.choice([f"({part}, {own})", f"(c + {part}, {own} + c)", f"(-c + {part}, {own})"])
        w.add(f"lax.scan(lambda c, r: {step}, {zeros}, {pieces}{reverse})[0]", one, **total)
        return
    kind = w.random.choice(["added", "greatest", "stacked", "own", "mapped"])
    if kind == "added":
        w.add(f"lax.scan(lambda c, r: (c + {part}{number}, None), {zeros}, {pieces}{reverse})[0]", one, **total)
    elif kind == "greatest":
        w.add(f"lax.scan(lambda c, r: (jnp.maximum(c, {part}), None), {zeros}, {pieces}{reverse})[0]", one, **total)
    elif kind == "stacked":
        text = f"lax.scan(lambda c, r: (c + 1, {part}{number}), 0, {pieces}{reverse})[1]"
        w.add(text, one, **{**total, "shape": (count, *rest)})
    elif kind == "own":
        text = f"lax.scan(lambda c, r: (c, {own}{number}), 0, {pieces}{reverse})[1].reshape({one.shape})"
        w.add(text, one, bound=bound)
    else:
        w.add(f"lax.map(lambda r: r * 2{number}, {one.name}, batch_size={size // count})", one, bound=bound)


def prepared(w: Writer) -> None:
    """What mixes the examples of an argument before anything else is done with them."""
    one = w.pick(lambda one: one.name in "xyz")
    if one is None:
        return
    size = one.shape[0]
    options = [
        ("{}[jax.random.permutation(key, {})]", 1),
        ("jax.random.permutation(key, {})", 1),
        ("{} + jnp.flip({}, 0)", 2),
        ("jnp.roll({}, 1, 0)", 1),
        ("{} - {}.sum(0)", size + 1),
        ("jnp.sort({}, 0)", 1),
        ("jnp.cumsum({}, 0)", size),
    ]
    text, factor = w.random.choice(options)
    second = size if "key, {})]" in text else one.name
    w.add(text.format(one.name, second), one, bound=one.bound * factor)
