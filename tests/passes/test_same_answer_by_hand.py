"""Programs of every shape, cut into stages, compute what `jax.jit` computes: the scheduled module run call by call."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.compiler.export.job import Job
from atoll.compiler.plan.plan import Plan
from atoll.examples import decoder
from filled import decoder_state
from timed_harness import QUICKLY


def normal(seed, *shape):
    return jnp.asarray(numpy.random.default_rng(seed).normal(size=shape), jnp.float32)


def mlp_params(layers=4, width=8):
    return [{"w": normal(index, width, width) * 0.3, "b": normal(index + 50, width)} for index in range(layers)]


def mlp(params, x):
    for index, layer in enumerate(params):
        with jax.named_scope(f"layer_{index}"):
            x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x


def descend(loss, params, *rest, rate=0.1):
    value, gradients = jax.value_and_grad(loss)(params, *rest)
    return jax.tree.map(lambda p, g: p - rate * g, params, gradients), value


def train_mlp(params, x):
    return descend(lambda p: jnp.mean(mlp(p, x) ** 2), params)


def train_mlp_clipped(state, x):
    """Adam with clipping by global norm: an optimizer that looks at everything."""
    params, mean, square, count = state
    loss, gradients = jax.value_and_grad(lambda p: jnp.mean((mlp(p, x) - 1.0) ** 2))(params)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradients)))
    gradients = jax.tree.map(lambda g: g * jnp.minimum(1.0, 0.1 / norm), gradients)
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradients)
    square = jax.tree.map(lambda s, g: 0.99 * s + 0.01 * g * g, square, gradients)
    count = count + 1
    params = jax.tree.map(lambda p, m, s: p - 0.01 * m / (jnp.sqrt(s) + 1e-6 + 0.9**count), params, mean, square)
    return (params, mean, square, count), loss, norm


def u_net(params, x):
    skips = []
    for index in (0, 1):
        with jax.named_scope(f"layer_{index}"):
            x = jnp.tanh(x @ params[index]["w"])
            skips.append(x)
    for index in (2, 3):
        with jax.named_scope(f"layer_{index}"):
            x = jnp.tanh((x + skips.pop()) @ params[index]["w"] + params[index]["b"])
    return x


def train_u_net(params, x):
    return descend(lambda p: jnp.mean(u_net(p, x) ** 2), params)


def tied(params, tokens):
    with jax.named_scope("layer_0"):
        x = params["table"][tokens]
    with jax.named_scope("layer_1"):
        x = jnp.tanh(x @ params["w1"])
    with jax.named_scope("layer_2"):
        x = jnp.tanh(x @ params["w2"])
    with jax.named_scope("layer_3"):
        return x @ params["table"].T


def train_tied(params, tokens):
    return descend(lambda p: -jnp.mean(jax.nn.log_softmax(tied(p, tokens))[:, 0]), params)


def train_checkpointed(params, x):
    def model(params):
        y = x
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                y = jax.checkpoint(lambda w, b, y: jnp.tanh(jnp.sin(y @ w) + b))(layer["w"], layer["b"], y)
        return jnp.mean(y**2)

    return descend(model, params)


def scanned(params, x):
    with jax.named_scope("layer_0"):
        x = jnp.tanh(x @ params["first"])
    with jax.named_scope("layer_1"):
        x, rows = jax.lax.scan(lambda y, w: (jnp.tanh(y @ w), y.sum()), x, params["stack"])
    with jax.named_scope("layer_2"):
        x = x @ params["last"] * rows.sum()
    with jax.named_scope("layer_3"):
        return jnp.tanh(x)


def train_scanned(params, x):
    return descend(lambda p: jnp.mean(scanned(p, x) ** 2), params)


def capturing(params, x):
    """Regions that use values from outside of them, of this and of earlier stages, arguments and constants."""
    with jax.named_scope("layer_0"):
        a = jnp.tanh(x @ params[0]["w"])
    table = jnp.arange(8.0)
    with jax.named_scope("layer_1"):
        b = jax.lax.cond(a.sum() > 0, lambda: a @ params[1]["w"] + table, lambda: x - table)
    with jax.named_scope("layer_2"):
        _, c = jax.lax.while_loop(
            lambda carry: (carry[0] < 3) & (b.sum() < 1e9), lambda carry: (carry[0] + 1, carry[1] * a + b), (0, x)
        )
    with jax.named_scope("layer_3"):
        return jax.lax.fori_loop(0, 3, lambda i, y: jnp.tanh(y @ params[3]["w"]) + b + i, c)


def train_cond(params, x):
    def model(params):
        a = mlp(params[:2], x)
        with jax.named_scope("layer_2"):
            b = jax.lax.cond(a.sum() > 0, lambda a: a @ params[2]["w"], lambda a: a * params[2]["b"], a)
        with jax.named_scope("layer_3"):
            return jnp.mean((b @ params[3]["w"]) ** 2)

    return descend(model, params)


def no_parameters(x):
    for index in range(4):
        with jax.named_scope(f"layer_{index}"):
            x = jnp.sin(x) * x.mean()
    return x


def odd_results(params, x, _unused, flag):
    """Arguments that are results, one result twice, constants, an argument that nothing uses, integers and bools."""
    y = mlp(params, x)
    return {
        "argument": x,
        "parameter": params[3]["w"],
        "twice": (y, y),
        "constant": jnp.arange(5),
        "scalar": jnp.float32(3.0),
        "zeros": jnp.zeros((3, 3)),
        "flag": jnp.logical_not(flag),
        "flag itself": flag,
        "spread": jnp.broadcast_to(y.sum(), (2, 3)),
        "from a scalar argument": flag.astype(jnp.int32) + jnp.arange(3),
    }


def empty(x, y):
    return y, x, x


def only_constants():
    return jnp.arange(4.0), jnp.float32(2.0) * 3


def grad_of_grad(params, x):
    def penalty(params):
        loss, pull = jax.vjp(lambda y: jnp.mean(mlp(params, y) ** 2), x)
        (gradient,) = pull(jnp.float32(1.0))
        return loss + jnp.mean(gradient**2)

    return descend(penalty, params)


def with_dropout(params, x, key):
    def model(params):
        y, keys = x, jax.random.split(key, 4)
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                y = jnp.tanh(y @ layer["w"]) * jax.random.bernoulli(keys[index], 0.5, y.shape)
        return jnp.mean(y**2)

    return *descend(model, params), jax.random.split(key)[0]


def shared_mask(params, x):
    """One large value that every layer takes, made before all of them."""
    mask = jnp.where(jnp.cumsum(x, axis=1) > 0, x, 0.0)

    def model(params):
        y = x
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                y = jnp.tanh(y @ layer["w"]) * mask
        return jnp.mean(y**2)

    return descend(model, params)


def back_and_forth(params, x):
    """No gradient; the loss is looked at again at the beginning."""
    y = mlp(params, x)
    with jax.named_scope("layer_0"):
        pass
    with jax.named_scope("after"):
        return (y / jnp.max(y)) @ params[0]["w"]


def small_floats(params, x):
    x = mlp(jax.tree.map(lambda p: p.astype(jnp.bfloat16), params), x.astype(jnp.bfloat16))
    return x, x.astype(jnp.complex64) * 1j, jnp.zeros((0, 4)), x.astype(jnp.int8)


def custom(params, x):
    @jax.custom_vjp
    def clipped(y):
        return y * 2

    clipped.defvjp(lambda y: (y * 2, y), lambda y, g: (jnp.clip(g, -0.01, 0.01) * y,))

    def model(params):
        y = mlp(params[:2], x)
        with jax.named_scope("layer_2"):
            y = clipped(y @ params[2]["w"])
        with jax.named_scope("layer_3"):
            return jnp.mean((y @ params[3]["w"]) ** 2)

    return descend(model, params)


X = normal(7, 4, 8)
P = mlp_params()
TOKENS = numpy.arange(6) % 5
ZEROS = jax.tree.map(jnp.zeros_like, P)
TABLE = {"table": normal(1, 5, 8), "w1": normal(2, 8, 8), "w2": normal(3, 8, 8)}
STACK = {"first": normal(4, 8, 8), "stack": normal(5, 3, 8, 8) * 0.3, "last": normal(6, 8, 8)}
SMALL = decoder.Config(vocabulary=16, width=8, heads=2, layers=4, length=6)


def small_decoder(state, tokens):
    return decoder.train_step(state, tokens)


PROGRAMS = {
    "mlp": (mlp, P, X),
    "train mlp": (train_mlp, P, X),
    "train mlp clipped": (train_mlp_clipped, (P, ZEROS, ZEROS, jnp.int32(0)), X),
    "u-net": (u_net, P, X),
    "train u-net": (train_u_net, P, X),
    "tied": (tied, TABLE, TOKENS),
    "train tied": (train_tied, TABLE, TOKENS),
    "train checkpointed": (train_checkpointed, P, X),
    "scanned": (scanned, STACK, X),
    "train scanned": (train_scanned, STACK, X),
    "capturing": (capturing, P, X),
    "train cond": (train_cond, P, X),
    "no parameters": (no_parameters, X),
    "odd results": (odd_results, P, X, jnp.ones(3), jnp.bool_(True)),
    "empty": (empty, X, P[0]["b"]),
    "only constants": (only_constants,),
    "grad of grad": (grad_of_grad, P, X),
    "dropout": (with_dropout, P, X, jax.random.key(3)),
    "shared mask": (shared_mask, P, X),
    "back and forth": (back_and_forth, P, X),
    "small floats": (small_floats, P, X),
    "custom": (custom, P, X),
    "decoder": (
        small_decoder,
        decoder_state(SMALL),
        numpy.random.default_rng(0).integers(0, 16, (4, 7)),
    ),
}
# Layers by stage, for each number of stages; programs without such scopes are cut automatically alone.
TEXTS = {
    1: "layer_[0..3]",
    2: "layer_[0..1] | layer_[2..3]",
    3: "layer_0 | layer_[1..2] | layer_3",
    4: "layer_0 | layer_1 | layer_2 | layer_3",
}
WITHOUT_LAYERS = ("empty", "only constants")


def pytest_generate_tests(metafunc):
    """Every number of stages with every program, half of them automatically and half by text; or all, or each once."""
    if metafunc.function is not test_same_answer:
        return
    is_full, is_quick = map(metafunc.config.getoption, ("full", "quick"))
    chosen = []
    for number, name in enumerate(PROGRAMS):
        if is_full or name in WITHOUT_LAYERS:
            stages = [*TEXTS, *(() if name in WITHOUT_LAYERS else TEXTS.values())]
        else:
            stages = [one if (one + number) % 2 else TEXTS[one] for one in TEXTS]
        chosen += [(name, one) for one in (stages[number % 4 :][:1] if is_quick else stages)]
    metafunc.parametrize(("name", "stages"), [pytest.param(*one, id="-".join(map(str, one))) for one in chosen])


@pytest.mark.one_in(6)
def test_same_answer(name, stages, check):
    check(name, Plan(stages=stages))


@pytest.mark.one_in(5)
@pytest.mark.own
@pytest.mark.parametrize("name", ["train mlp clipped", "train u-net", "train tied", "train checkpointed", "train cond"])
@pytest.mark.parametrize("order", ["0123", "3210", "0101", "2002", "1330"])
def test_same_answer_wherever_layers_are_placed(name, order, check):
    """Also where values go against the order of the islands, and come back."""
    check(name, Plan(placement={f"layer_{layer}": f"island{island}" for layer, island in enumerate(order)}))


@pytest.mark.one_in(5)
@pytest.mark.own
@pytest.mark.parametrize("name", ["train mlp clipped", "train u-net", "capturing", "decoder", "odd results"])
@pytest.mark.parametrize("stages", [3, 7, 40])
def test_same_answer_with_several_stages_an_island(name, stages, check):
    check(name, Plan(stages=stages), "2 x cpu[1]")


@pytest.fixture
def check(module_at, run_by_hand, leaves):
    """Compares a program under a plan with `jax.jit`."""
    return partial(_check, module_at, run_by_hand, leaves)


@cache
def _by_jit(name):
    """What `jax.jit` gives, with as little trouble of XLA's as the fragments have: sums are in the same order."""
    fn, *args = PROGRAMS[name]
    return jax.jit(fn).lower(*args).compile(QUICKLY)(*args)


def _check(module_at, run_by_hand, leaves, name, plan, topology="4 x cpu[1]"):
    job = Job(*PROGRAMS[name])
    module = module_at(job, "scheduled", plan, topology)
    found, expected = run_by_hand(module, job), leaves(_by_jit(name))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        numpy.testing.assert_allclose(numpy.asarray(one).astype(complex), other.astype(complex), rtol=1e-5, atol=2e-6)
