"""Which arguments may be weakly typed or not: of functions as jax traces them, without islands."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest
from atoll.compiler.errors import CompileError
from atoll.compiler.export.frontend import lower_traced, settled_signature, trace
from atoll.compiler.export.job import Job
from atoll.compiler.export.signature import Parameter, Signature
from atoll.compiler.export.weak_types import Variant, settle
from atoll.compiler.topology.topology import topology

ISLANDS = topology("1 x cpu[1]")
X = jnp.ones((4, 3))
NARROW = jnp.ones((4, 3), "bfloat16")


def settled(fn, *args, **options):
    job = Job(fn, *args, **options)
    traced = trace(job, ISLANDS)
    return settled_signature(job, traced, lower_traced(job, traced, "cpu")[0], ISLANDS)


def either(fn, *args, **options):
    """The arguments that may be of either kind."""
    return [one.path for one in settled(fn, *args, **options).inputs if one.either]


def temperature(optimizer):
    """A contrastive model's temperature, which CLIP begins with a logarithm of a Python number."""

    def step(state, x):
        def loss(params):
            return jnp.mean((x @ params["w"] * jnp.exp(params["t"]) - 1) ** 2)

        params, momentum = state
        value, gradients = jax.value_and_grad(loss)(params)
        updates, momentum = optimizer.update(gradients, momentum, params)
        return (optax.apply_updates(params, updates), momentum), value

    params = {"w": jnp.ones((3, 3)), "t": jnp.log(1 / 0.07)}
    return step, (params, optimizer.init(params)), X


def line_search():
    optimizer = optax.lbfgs(memory_size=2)

    def loss(w):
        return jnp.sum((w - 1) ** 4)

    def step(state):
        w, search = state
        value, gradient = optax.value_and_grad_from_state(loss)(w, state=search)
        updates, search = optimizer.update(gradient, search, w, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(w, updates), search

    w = jnp.ones(3)
    return step, (w, optimizer.init(w))


def loss_scale(state, x):
    """As Flax's `DynamicScale`: the scale begins as a number, and counts as well."""
    is_finite = jnp.isfinite(x.sum() * state["scale"])
    scale = jnp.where(is_finite, jnp.minimum(state["scale"] * 2.0, jnp.finfo(jnp.float32).max), state["scale"] / 2.0)
    return {"scale": scale, "steps": jnp.where(is_finite, state["steps"] + 1, 0)}, x * scale


def becomes_weak(state, x):
    return {"rate": jnp.full((), 0.5), "x": state["x"] * state["rate"]}, x.sum()


def narrow(state, x):
    """With a number `x * scale` is narrow; with an array of float32 it is not."""
    return {"scale": state["scale"] * jnp.float32(0.5), "sum": state["sum"] + (x * state["scale"]).sum()}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (temperature(optax.sgd(0.1)), ["state[0]['t']"]),
        (temperature(optax.adam(0.1)), ["state[0]['t']", "state[1][0].mu['t']", "state[1][0].nu['t']"]),
        (
            line_search(),
            [f"state[1][2].info.{one}" for one in ("num_linesearch_steps", "decrease_error", "curvature_error")],
        ),
        ((loss_scale, {"scale": 65536.0, "steps": 0}, X), ["state['scale']", "state['steps']"]),
        ((becomes_weak, {"rate": jnp.float32(0.5), "x": X}, X), ["state['rate']"]),
        ((lambda w, x, rate: (w - rate * x, x.sum()), X, X, 0.1), ["rate"]),
        ((lambda x: x * 2, X), []),
    ],
    ids=["sgd", "adam", "lbfgs", "scale", "becomes weak", "no state", "nothing weak"],
)
def test_what_may_be_of_either_kind(made, expected):
    assert either(*made) == expected


def test_results_have_the_kinds_that_they_settle_at():
    step, *args = temperature(optax.adam(0.1))
    for _ in range(3):
        args[0], value = jax.jit(step)(*args)
    found = settled(step, *temperature(optax.adam(0.1))[1:]).outputs
    assert [one.weak_type for one in found] == [leaf.weak_type for leaf in jax.tree.leaves((args[0], value))]


HERE = re.escape(__file__)


@pytest.mark.parametrize(
    ("fn", "state", "sentence"),
    [
        (
            narrow,
            {"scale": 1.0, "sum": jnp.zeros((), "bfloat16")},
            r"state\['scale'\] is weakly typed, as a Python number is, and in the second step has a dtype of its own, "
            r'for which jax.jit would compile another program; begin with jax.numpy.asarray\(value, "float32"\)',
        ),
        (
            lambda state, x: {
                "scale": 1.0 * jnp.full((), 0.5),
                "x": state["x"] + (x * state["scale"]).astype("float32"),
            },
            {"scale": jnp.float32(1), "x": X},
            r"state\['scale'\] has a dtype of its own, and in the second step is weakly typed, as a Python number is, "
            r'for which jax.jit would compile another program; return jax.numpy.asarray\(value, "float32"\) for it',
        ),
    ],
    ids=["weak first", "weak later"],
)
def test_a_state_that_needs_another_program_is_refused_before_the_first_step(fn, state, sentence):
    with pytest.raises(CompileError, match=rf"^{HERE}:\d+: {sentence}\n"):
        settled(fn, state, NARROW)


def test_a_number_that_a_result_only_looks_like_is_no_state():
    def fn(w, x, rate):
        return w - rate * x, jnp.float32(0) + x.sum().astype("float32")

    assert either(fn, NARROW, NARROW, 0.1) == []


def test_results_that_give_way_only_for_one_kind_are_not_shared():
    """`result` would be weakly typed if `rate` is, and a caller may go on with either."""
    assert either(lambda rate, x: (rate * 2, x.sum().astype("int32")), 0.1, X) == []
    assert either(lambda rate, x: (rate * x, x), 0.1, X) == ["rate"]


def test_kinds_that_cannot_be_traced_are_not_shared():
    def fn(count, x):
        assert jax.typeof(count).weak_type, "a number"
        return x * count

    assert either(fn, 3, X) == []


def test_a_state_that_never_settles_is_followed_only_so_far():
    made = []

    def variant(weak):
        """The next step's kinds are the next number's bits."""
        made.append(weak)
        number = sum(is_weak << bit for bit, is_weak in enumerate(weak)) + 1
        names = [str(bit) for bit in range(len(weak))]
        inputs = tuple(
            Parameter(f"state[{name}]", (), "float32", is_weak) for name, is_weak in zip(names, weak, strict=True)
        )
        outputs = tuple(Parameter(f"result[{name}]", (), "float32", bool(number >> int(name) & 1)) for name in names)
        return Variant(Signature(inputs, outputs), lambda: "" if number < 8 else "another")

    with pytest.raises(CompileError, match="would compile another program"):
        settle(variant((False,) * 6), variant, "here.py:1")
    assert len(made) < 12
