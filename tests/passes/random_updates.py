"""Random updates of an optimizer's state, as text that Python runs; each is named by its seed.

They compute with small whole numbers in float64, so that every sum is exact in any order and every answer has to be
right to the last bit.
"""

import random
from dataclasses import dataclass

import numpy

STATE = {"a": (4, 6), "b": (6, 4), "c": (4,), "d": (6,), "e": (4, 3), "n": ()}
GIVEN = {"g": (4, 6), "h": (6, 4), "k": (4,), "s": ()}

# Ways to make a value of others, by the shapes that they take and make.
_LIKE = ("{0} + {1}", "{0} - {1}", "{0} * {1}", "jnp.maximum({0}, {1})", "jnp.where({0} > {1}, {0}, {1} + 1)")
_ALONE = (
    "-{0}",
    "jnp.abs({0})",
    "{0} % 5",
    "{0} * s",
    "{0} + jnp.sum({0})",
    "{0} - jnp.max({0})",
    "jnp.where(jnp.all({0} > -4), {0}, 0)",
    "lax.cond({0}.sum() > 0, lambda x: x + 1, lambda x: x * 2, {0})",
    "lax.cond(s > 0, lambda: {0} * 2, lambda: {0})",
    "lax.cond(s > 0, lambda: {0} - jnp.sum({0}), lambda: {0})",
    "{0} + jnp.arange({0}.size).reshape({0}.shape)",
    "{0}.reshape(-1).reshape({0}.shape)",
)
_ROWS = (
    "{0} + lax.broadcasted_iota('float64', {0}.shape, 0)",
    "{0} + lax.broadcasted_iota('float64', {0}.shape, 1)",
    "{0} - {0}.max(axis=0)",
    "{0} + {0}.sum(axis=1, keepdims=True)",
    "lax.cond(s > 0, lambda x: x - x.sum(axis=0), lambda x: x, {0})",
    "lax.cond(s > 1, lambda x: x + x.max(axis=1, keepdims=True), lambda x: x, {0})",
)
# What mixes along dimensions, so that it has to be whole there.
_MIXING = ("jnp.sort({0}, axis=0)", "jnp.cumsum({0}, axis=-1)", "jnp.flip({0}, 0)", "jnp.roll({0}, 1, 0)")


@dataclass(frozen=True)
class RandomUpdate:
    """text: a function of the state and of what is given to it, that returns a new state and more."""

    seed: int
    text: str
    state: dict[str, numpy.ndarray]
    given: tuple[numpy.ndarray, ...]


def random_update(seed: int) -> RandomUpdate:
    rng = random.Random(seed)
    numbers = numpy.random.default_rng(seed)
    shapes = {**{f"state['{name}']": shape for name, shape in STATE.items()}, **GIVEN}
    lines = []
    for number in range(rng.randint(3, 9)):
        text, shape = _expression(rng, shapes)
        lines.append(f"    v{number} = jnp.clip({text}, -9, 9)")
        shapes[f"v{number}"] = shape
    new = {name: _latest(rng, shapes, shape) for name, shape in STATE.items()}
    more = rng.sample(sorted(shapes), 2)
    lines.append(f"    new = {{{', '.join(f'{name!r}: {text}' for name, text in new.items())}}}")
    lines.append(f"    return new, {', '.join(more)}")
    text = "\n".join([f"def update(state, {', '.join(GIVEN)}):", *lines])
    state, given = (
        {name: numbers.integers(-4, 5, shape).astype("float64") for name, shape in shapes_.items()}
        for shapes_ in (STATE, GIVEN)
    )
    return RandomUpdate(seed, text, state, tuple(given.values()))


def _expression(rng: random.Random, shapes: dict[str, tuple[int, ...]]) -> tuple[str, tuple[int, ...]]:
    """A value made of others, and its shape."""
    name = rng.choice(sorted(shapes))
    shape = shapes[name]
    alike = [other for other in sorted(shapes) if shapes[other] == shape]
    kinds = ["like"] * 4 + ["alone"] * 3 + (["total"] if shape else [])
    kinds += ["rows"] * 2 if len(shape) == 2 else []
    kinds += ["mixing"] if shape and rng.random() < 0.4 else []
    kinds += ["turned", "column", "sum", "product"] if shape in ((4, 6), (6, 4)) else []
    match rng.choice(kinds):
        case "like":
            return rng.choice(_LIKE).format(name, rng.choice(alike)), shape
        case "alone":
            return rng.choice(_ALONE).format(name), shape
        case "total":
            return f"jnp.{rng.choice(('sum', 'max', 'min'))}({name})", ()
        case "rows":
            return rng.choice(_ROWS).format(name), shape
        case "mixing":
            return rng.choice(_MIXING).format(name), shape
        case "turned":
            return f"{name}.T", shape[::-1]
        case "column":
            vectors = [other for other in sorted(shapes) if shapes[other] == shape[:1]]
            return f"{name} + {rng.choice(vectors)}[:, None]", shape
        case "sum":
            gone = rng.choice((0, 1))
            return f"{name}.sum(axis={gone})", (shape[1 - gone],)
        case _:
            return f"{name} @ jnp.clip({name}.T @ {name}, -2, 2)", shape


def _latest(rng: random.Random, shapes: dict[str, tuple[int, ...]], shape: tuple[int, ...]) -> str:
    """A value of a shape: the last that was made, or the one before it."""
    return rng.choice([name for name, one in shapes.items() if one == shape][-2:])
