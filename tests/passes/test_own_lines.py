"""Programs of one form, compiled one after the other: what each is told names the line of its own program.

jax traces a function once for shapes that it has seen, also those that its own rules call for a line of the user's.
"""

import jax
import numpy
import pytest
from atoll.compiler.errors import CompileError
from atoll.compiler.module.noting import notes_of
from timed_harness import Program, lowered, pair_of, take_to

B, D = 4, 4
W = numpy.random.default_rng(1).normal(size=(D, D)).astype("float32")
X = numpy.random.default_rng(2).normal(size=(B, D)).astype("float32")

HEAD = """\
import jax, jax.numpy as jnp
from jax import lax

"""

# Bodies of `def fn(w, x)`. What mixes examples is on a line that ends in `# mixes`.
SINGLE = {
    "scan": """
    return lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), jnp.zeros(4), x)[0]  # mixes
""",
    "scan_backwards": """
    return lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), jnp.zeros(4), x, reverse=True)[1]  # mixes
""",
    "gradient_of_scan": """
    def loss(w):
        return lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), jnp.zeros(4), x)[0].sum()  # mixes
    return jax.grad(loss)(w)
""",
    "map": """
    return lax.map(lambda row: jnp.cumsum(row) @ w, x.T)  # mixes
""",
    "cond": """
    positive = (x @ w).sum() > 0  # mixes
    return lax.cond(positive, lambda y: jnp.cumsum(y, 0), lambda y: y, x)  # mixes
""",
    "cond_around": """
    return lax.cond(w.sum() > 0, lambda y: jnp.cumsum(y, 0), lambda y: y, x)  # mixes
""",
    "switch": """
    return lax.switch(w.argmax(), [lambda y: y, lambda y: jnp.flip(y, 0), lambda y: y * 2], x)  # mixes
""",
    "while_loop": """
    return lax.while_loop(lambda c: c.sum() < 10, lambda c: c + jnp.roll(c, 1, 0), x)  # mixes
""",
    "fori_loop": """
    return lax.fori_loop(0, 3, lambda i, c: jnp.roll(c, 1, 0), x)  # mixes
""",
    "fori_loop_that_indexes": """
    return lax.fori_loop(0, 4, lambda i, c: jnp.tanh(c @ w + x[i]), jnp.zeros(4))  # mixes
""",
    "checkpoint": """
    @jax.checkpoint
    def block(w):
        y = jnp.tanh(x @ w)
        return (y - jnp.median(y, 0)) ** 3  # mixes
    return jax.grad(lambda w: block(w).sum())(w)
""",
    "checkpoint_in_scan": """
    def body(h, x):
        return jnp.tanh(h @ w + x), h
    def loss(w):
        return lax.scan(jax.checkpoint(body), jnp.zeros(4), x @ w)[0].sum()  # mixes
    return jax.grad(loss)(w)
""",
    "custom_vjp": """
    @jax.custom_vjp
    def f(y):
        return y
    def forward(y):
        return y, y
    def backward(y, g):
        return (jnp.cumsum(g * y, 0),)  # mixes
    f.defvjp(forward, backward)
    return jax.grad(lambda w: (f(x @ w) ** 2).sum())(w)  # mixes
""",
    "custom_jvp": """
    @jax.custom_jvp
    def f(y):
        return y
    @f.defjvp
    def f_jvp(primals, tangents):
        return primals[0], jnp.flip(tangents[0], 0)  # mixes
    return jax.grad(lambda w: (f(x @ w) ** 2).sum())(w)  # mixes
""",
    "jit": """
    @jax.jit
    def inner(y):
        return jnp.roll(y, 1, 0)  # mixes
    return inner(x @ w)
""",
    "jit_around_scan": """
    @jax.jit
    def inner(w, x):
        return lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), jnp.zeros(4), x)[0]  # mixes
    return inner(w, x)
""",
    "inner_jit": """
    return jnp.median(x @ w, 0) * x  # mixes
""",
    "gradient_of_inner_jit": """
    def loss(w):
        y = x @ w
        return (jnp.cumsum(y, 0) ** 2).sum()  # mixes
    return jax.grad(loss)(w)
""",
    "gradient_of_sort": """
    def loss(w):
        y = x @ w
        return (jnp.sort(y, 0) ** 2 * y).sum()  # mixes
    return jax.grad(loss)(w)
""",
    "gradient_of_cumulative_product": """
    def loss(w):
        y = x @ w
        return (jnp.cumprod(y, 0) ** 2).sum()  # mixes
    return jax.grad(loss)(w)
""",
    "vmap_of_scan": """
    return jax.vmap(lambda v: lax.scan(lambda h, x: (jnp.tanh(h + x * v.sum()), h), jnp.zeros(4), x)[0])(w)  # mixes
""",
    "associative_scan": """
    return lax.associative_scan(jnp.add, x @ w)  # mixes
""",
}

# The same form stands twice in them, and only once does it mix examples.
DOUBLE = {
    "scan": """
    h = lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), jnp.zeros(4), w)[0]
    return lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), h, x)[0]  # mixes
""",
    "gradient_of_scan": """
    def loss(w):
        h = lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), jnp.zeros(4), w)[0]
        return lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), h, x)[0].sum()  # mixes
    return jax.grad(loss)(w)
""",
    "inner_jit": """
    v = jnp.median(w @ w, 0)
    return v * jnp.median(x @ w, 0) * x  # mixes
""",
    "gradient_of_inner_jit": """
    def loss(w):
        v = jnp.cumprod(w, 0)
        y = x @ v
        return (jnp.cumprod(y, 0) ** 2).sum()  # mixes
    return jax.grad(loss)(w)
""",
    "fori_loop": """
    c = lax.fori_loop(0, 3, lambda i, c: jnp.roll(c, 1, 0), w)
    return lax.fori_loop(0, 3, lambda i, c: jnp.roll(c, 1, 0), x @ c)  # mixes
""",
}


def written(folder, body, padding):
    """The function of a file that has a number of empty lines first, and the places that may be told."""
    path = folder / f"model_{padding}.py"
    text = "\n" * padding + HEAD + "def fn(w, x):" + body
    path.write_text(text)
    namespace = {}
    exec(compile(text, str(path), "exec"), namespace)
    marked = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# mixes")]
    return namespace["fn"], [f"{path}:{number}" for number in marked]


def assert_told_at(fn, places):
    """A refusal names one of the places, or a note on what is done for the whole batch."""
    _, module, _ = lowered(Program(fn, (W, X), (1,), 2))
    try:
        take_to(module, "timed", 2)
        told = [str(note.place) for note in notes_of(module)]
    except CompileError as refused:
        told = [refused.where]
    assert any(f"{one}:".startswith(f"{place}:") for one in told for place in places), f"{told}\nnot at {places}"


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", SINGLE)
def test_each_program_gets_its_own_line(name, tmp_path):
    for padding in (0, 7, 3):
        assert_told_at(*written(tmp_path, SINGLE[name], padding))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", DOUBLE)
def test_the_second_of_two_gets_its_own_line(name, tmp_path):
    for padding in (0, 7):
        assert_told_at(*written(tmp_path, DOUBLE[name], padding))


def test_a_line_is_not_that_of_a_program_that_jax_has_run(tmp_path):
    (first, _), (second, places) = (written(tmp_path, SINGLE["gradient_of_scan"], padding) for padding in (0, 7))
    for fn in (first, second):
        jax.jit(fn)(W, X)
    assert_told_at(second, places)


def test_what_was_compiled_stays_compiled(tmp_path):
    traced = []

    @jax.jit
    def inner(x):
        traced.append(x)
        return jax.numpy.roll(x, 1, 0)

    inner(X)
    before = len(traced)
    with pytest.raises(CompileError):
        pair_of(Program(lambda w, x: inner(x), (W, X), (1,), 2))
    during = len(traced)
    assert during > before
    inner(X)
    assert len(traced) == during
