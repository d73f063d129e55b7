"""What researchers bring along that the zoo does not have: library calls, host calls, odd dtypes, trees and meshes.

Islands of several devices, where jax itself lowers other things than on one.
"""

import copy
import pickle
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy
import optax
import pytest
import standing_python
import zoo
from flax.training.train_state import TrainState
from jax.experimental import io_callback
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

import atoll

ISLANDS = "3 x cpu[2]"
DIVIDED = "2 x cpu[data=2, model=2]"
X = zoo.normal(90, 4, 4)
WEIGHTS = [zoo.normal(number, 4, 4) for number in range(2)]

MODELS: dict[str, Callable[[], zoo.Case]] = {}


def model(build: Callable[[], zoo.Case]) -> Callable[[], zoo.Case]:
    MODELS[build.__name__] = build
    return build


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if jnp.issubdtype(theirs.dtype, jax.dtypes.prng_key):
            ours, theirs = jax.random.key_data(ours.to_jax()), jax.random.key_data(theirs)
        ours, theirs = numpy.asarray(ours), numpy.asarray(theirs)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if ours.tobytes() != theirs.tobytes():
            numpy.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def two_layers(weights, x):
    with jax.named_scope("one"):
        x = jnp.tanh(x @ weights[0])
    with jax.named_scope("two"):
        return x @ weights[1]


# Models.


@model
def linear_algebra() -> zoo.Case:
    def fn(a, b):
        def loss(a):
            square = a @ a.T + 3 * jnp.eye(4)
            lower = jnp.linalg.cholesky(square)
            q, r = jnp.linalg.qr(lower @ b)
            return jnp.linalg.svd(r, compute_uv=False).sum() + jnp.linalg.eigh(square)[0].sum() + q[0, 0]

        return jax.value_and_grad(loss)(a), jnp.linalg.solve(a, b), jax.scipy.linalg.expm(b), jnp.linalg.eigvals(a)

    return zoo.Case(fn, (X, WEIGHTS[0]))


@model
def transforms_sorts_and_segments() -> zoo.Case:
    def fn(x, ids):
        spectrum = jnp.fft.irfft(jnp.fft.rfft(x) * 2)
        sums = jax.ops.segment_sum(spectrum, ids, num_segments=3)
        prefixes = jax.lax.associative_scan(jnp.maximum, sums, reverse=True)
        order = jnp.argsort(sums[:, 0])
        return prefixes[order], jnp.unique(ids, size=3, fill_value=-1), jnp.lexsort((x[:, 0], ids)), jnp.median(x)

    return zoo.Case(fn, (X, jnp.array([0, 1, 1, 2])))


@model
def loops_in_loops_with_keys() -> zoo.Case:
    def fn(weights, key, x):
        def inner(carry, _):
            key, x = carry
            key, own = jax.random.split(key)
            x = jnp.tanh(x @ weights[0]) * jax.random.bernoulli(own, 0.8, x.shape)
            return (key, x), x.sum()

        def loss(weights):
            (last, out), sums = jax.lax.scan(
                lambda carry, _: jax.lax.scan(inner, carry, None, length=3), (key, x), None, length=2
            )
            return jnp.mean(jax.lax.map(lambda row: row @ weights[1], out) ** 2), (last, sums)

        return jax.value_and_grad(loss, has_aux=True)(weights)

    return zoo.Case(fn, (WEIGHTS, jax.random.key(3), X))


@model
def loops_and_branches_under_vmap() -> zoo.Case:
    def fn(x, counts):
        grown = jax.vmap(
            lambda row, count: jax.lax.while_loop(lambda c: c[1] < count, lambda c: (c[0] * 1.1, c[1] + 1), (row, 0))[0]
        )(x, counts)
        return jax.vmap(lambda row, count: jax.lax.switch(count % 3, [jnp.sin, jnp.cos, jnp.negative], row))(
            grown, counts
        )

    return zoo.Case(fn, (X, jnp.arange(4)))


@model
def integers_and_small_floats() -> zoo.Case:
    def fn(int4, int32, float8, half):
        mixed = (int32 * 7 + 3) % 13 ^ jax.lax.population_count(int32)
        return int4 * int4, mixed << 3, mixed // 3, float8.astype("float32") @ half.astype("float32"), half * half

    return zoo.Case(
        fn,
        (
            jnp.arange(-4, 4).astype(jnp.int4),
            jnp.arange(8),
            X.astype(jnp.float8_e4m3fn),
            X.astype(jnp.float16),
        ),
    )


@model
def captured_arrays() -> zoo.Case:
    plain, placed = numpy.ones((4, 64), "float32"), jax.device_put(X, jax.devices()[3])
    return zoo.Case(lambda x: (jnp.tanh(x @ plain) @ plain.T @ placed, placed), (X,))


@model
def trees_without_leaves() -> zoo.Case:
    def fn(tree, rest):
        return None, {"x": None, "y": []}, (), tree["w"] * 2, {"rest": rest}

    return zoo.Case(fn, ({"w": X, "n": None, "e": [], "d": {}}, [None, (None, X)]))


@dataclass
class State:
    """A node registered by hand."""

    weights: Any
    step: Any


jax.tree_util.register_pytree_node(
    State, lambda state: ((state.weights, state.step), None), lambda _, children: State(*children)
)


@model
def a_node_registered_by_hand() -> zoo.Case:
    def fn(state, x):
        grads = jax.grad(lambda weights: two_layers(weights, x).sum())(state.weights)
        return State(jax.tree.map(jnp.subtract, state.weights, grads), state.step + 1)

    return zoo.Case(fn, (State(WEIGHTS, 0), X))


@model
def several_steps_in_one() -> zoo.Case:
    optimizer = optax.MultiSteps(optax.apply_if_finite(optax.adamw(1e-2), 3), 2)
    return zoo.train(lambda w, x: jnp.mean(two_layers(w, x) ** 2), optimizer, WEIGHTS, X)


class Normalised(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        x = flax.linen.BatchNorm(use_running_average=False)(flax.linen.Dense(8)(x))
        return flax.linen.Dense(2)(flax.linen.Dropout(0.2, deterministic=False)(x))


class StateWithStatistics(TrainState):
    statistics: Any
    key: jax.Array


@model
def flax_state_with_batch_statistics() -> zoo.Case:
    net = Normalised()
    variables = net.init({"params": zoo.KEY, "dropout": zoo.KEY}, X)
    state = StateWithStatistics.create(
        apply_fn=net.apply,
        params=variables["params"],
        tx=optax.sgd(1e-2),  # adam would blow up what is noise: the gradient of a bias that is normalised away
        statistics=variables["batch_stats"],
        key=jax.random.key(4),
    )

    def step(state, x):
        key = jax.random.fold_in(state.key, state.step)

        def loss(params):
            variables = {"params": params, "batch_stats": state.statistics}
            out, changed = state.apply_fn(variables, x, mutable=["batch_stats"], rngs={"dropout": key})
            return jnp.mean(out**2), changed["batch_stats"]

        (value, statistics), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
        return state.apply_gradients(grads=grads, statistics=statistics), value

    return zoo.Case(step, (state, X))


@model
def scopes_with_odd_names() -> zoo.Case:
    names = ("a/b", "a b", "x|y", "[0]", "l(1)", "", "jit(f)", '"quote"', "a\nb", "%s{}", "ä", "*")
    weights = [zoo.normal(number, 4, 4) for number in range(len(names))]

    def loss(weights, x):
        for name, weight in zip(names, weights, strict=True):
            with jax.named_scope(name):
                x = jnp.tanh(x @ weight)
        return jnp.mean(x**2)

    return zoo.train(loss, optax.sgd(0.1), weights, X)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", MODELS)
def test_same_answer_as_jit(name):
    case = MODELS[name]()
    expected = jax.jit(case.fn)(*case.args)
    with atoll.compile(case.fn, *case.args, topology=ISLANDS) as step:
        for _ in range(2):
            assert_same(step(*case.args), expected)


def test_forty_stages_on_two_islands():
    weights = [zoo.normal(number, 4, 4) for number in range(40)]

    def loss(weights, x):
        for index, weight in enumerate(weights):
            with jax.named_scope(f"layer_{index}"):
                x = jnp.tanh(x @ weight)
        return jnp.mean(x**2)

    case = zoo.train(loss, optax.sgd(0.1), weights, X)
    plan = atoll.Plan(stages=" | ".join(f"layer_{index}" for index in range(40)))
    with atoll.compile(case.fn, *case.args, topology="2 x cpu[1]", plan=plan) as step:
        assert_same(step(*case.args), jax.jit(case.fn)(*case.args))
        assert {len(island.tasks) for island in step.report().islands} == {60}  # twenty of F, B and U


# Host calls.


def host_calls_of(run, calls):
    """What the host is called with while something runs, in no order."""
    calls.clear()
    result = run()
    jax.block_until_ready([leaf if isinstance(leaf, jax.Array) else leaf.to_jax() for leaf in jax.tree.leaves(result)])
    jax.effects_barrier()
    return result, sorted(calls)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("shardings", [None, (P("model"), P("data"))], ids=["replicated", "divided"])
@pytest.mark.parametrize("islands", ["2 x cpu[1]", DIVIDED])
def test_each_call_of_the_host_happens_once(islands, shardings, capsys):
    if shardings and islands != DIVIDED:
        pytest.skip("one device cannot be divided over")
    calls = []

    def host(name, result=None):
        return lambda *_: (calls.append(name), result)[1]

    def fn(weights, x):
        jax.debug.callback(host("no arguments"))
        x = jnp.tanh(x @ weights[0])
        jax.debug.print("printed {}", x.shape[0])
        jax.debug.callback(host("debug"), x.sum())
        number = io_callback(host("io", numpy.float32(2)), jax.ShapeDtypeStruct((), "float32"), x)
        x = jax.pure_callback(lambda v: numpy.asarray(v) * 2, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
        x = jax.lax.fori_loop(0, 3, lambda i, x: (jax.debug.callback(host("loop"), i), x + 1)[1], x)
        return x @ weights[1] * number

    expected, planned = host_calls_of(lambda: jax.jit(fn)(WEIGHTS, X), calls)
    assert planned == sorted(["no arguments", "debug", "io", "loop", "loop", "loop"])
    with atoll.compile(fn, WEIGHTS, X, topology=islands, in_shardings=shardings) as step:
        found, made = host_calls_of(lambda: step(WEIGHTS, X), calls)
        assert made == planned
        assert_same(found, expected)
    assert capsys.readouterr().out.count("printed 4") == 2


def test_inside_shard_map_the_host_is_called_for_each_part():
    calls = []

    def part(x):
        jax.debug.callback(lambda v: calls.append(v.shape), x)
        return jax.pure_callback(lambda v: numpy.asarray(v) * 2, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    def fn(weights, x):
        spec = P("data", "model")
        return two_layers(weights, jax.shard_map(part, in_specs=spec, out_specs=spec)(x))

    with atoll.compile(fn, WEIGHTS, X, topology=DIVIDED) as step:
        found, made = host_calls_of(lambda: step(WEIGHTS, X), calls)
        assert made == [(2, 2)] * 4
        assert_same(found, jax.jit(two_layers)(WEIGHTS, 2 * X))


# Meshes of the user's own.


def own_mesh(kind=jax.sharding.AxisType.Explicit):
    return jax.make_mesh((2, 2), ("rows", "columns"), axis_types=(kind, kind), devices=jax.devices()[:4])


@pytest.mark.one_in(2)
@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit], ids=str)
@pytest.mark.parametrize("islands", ["2 x cpu[1]", DIVIDED])
def test_a_mesh_that_the_user_has_set_is_no_matter(kind, islands):
    expected = jax.jit(two_layers)(WEIGHTS, X)
    with jax.set_mesh(own_mesh(kind)), atoll.compile(two_layers, WEIGHTS, X, topology=islands) as step:
        assert_same(step(WEIGHTS, X), expected)


def test_arguments_may_live_on_a_mesh_of_their_own():
    x = jax.device_put(X, NamedSharding(own_mesh(), P("rows")))
    with atoll.compile(two_layers, WEIGHTS, x, topology=DIVIDED) as step:
        assert_same(step(WEIGHTS, x), jax.jit(two_layers)(WEIGHTS, X))


def test_a_captured_array_on_a_mesh_of_its_own_is_told_what_to_do():
    captured = jax.device_put(X, NamedSharding(own_mesh(), P("rows")))
    with pytest.raises(
        atoll.CompileError, match=r"test_hostile\.py:\d+: .*; correct the function, or compile it under "
    ):
        atoll.compile(lambda x: x @ captured, X, topology=DIVIDED)
    with (
        jax.set_mesh(jax.make_mesh((4,), ("data",), devices=jax.devices()[:4])),
        pytest.raises(atoll.CompileError, match=r"test_hostile\.py:\d+: .*; it uses an array .* as an argument\n"),
    ):
        atoll.compile(lambda x: x @ captured, X, topology=DIVIDED)


# What is refused, in one sentence with the caller's line.


@pytest.mark.parametrize(
    ("transform", "name"),
    [(jax.jit, "jit"), (jax.vmap, "vmap"), (lambda fn: jax.grad(lambda x: fn(x).to_jax().sum()), "grad")],
)
def test_a_step_inside_a_transformation_is_refused(transform, name):
    with (
        atoll.compile(jnp.sin, X, topology="1 x cpu[1]") as step,
        pytest.raises(atoll.AtollError, match=r"test_hostile\.py:\d+: x is being traced: .*; transform the function"),
    ):
        transform(step)(jnp.stack([X, X]) if name == "vmap" else X)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (jax.ShapeDtypeStruct((), "int32"), "n is a ShapeDtypeStruct, not an array"),
        (2**40, "n is no array for jax: Python int 1099511627776 too large"),
        (numpy.ma.array(3), "n is no array for jax: numpy masked arrays"),
    ],
)
def test_what_jax_takes_for_no_array_is_refused(value, sentence):
    with atoll.compile(lambda n: n + 1, 3, topology="1 x cpu[1]") as step:
        with pytest.raises(atoll.AtollError, match=rf"test_hostile\.py:\d+: {sentence}"):
            step(value)
        assert int(step(4)) == 5


def test_without_jit_a_step_is_computed_all_the_same():
    before = jax.config.jax_disable_jit
    jax.config.update("jax_disable_jit", True)  # on all threads, unlike jax.disable_jit
    try:
        with atoll.compile(two_layers, WEIGHTS, X, topology="2 x cpu[1]", plan=atoll.Plan(stages=2)) as step:
            found, expected = step(WEIGHTS, X), two_layers(WEIGHTS, X)
            assert_same(found, expected)
    finally:
        jax.config.update("jax_disable_jit", before)


@pytest.mark.parametrize(
    ("flag", "number", "found"), [("nans", -1, "a NaN"), ("infs", 0, "an infinity"), ("nans", 0, None)]
)
def test_flags_that_look_for_nans_are_heard(flag, number, found):
    with atoll.compile(lambda n: (n, jnp.log(n)), 2.0, topology="1 x cpu[1]") as step:
        with getattr(jax, f"debug_{flag}")(True):
            if found:
                with pytest.raises(atoll.AtollError, match=rf"test_hostile\.py:\d+: result\[1\] has {found} in it"):
                    step(float(number))
            else:
                assert float(step(float(number))[1]) == -numpy.inf
        step(float(number))


def test_a_nan_that_a_later_stage_takes_out_is_no_result_of_a_step():
    def masked(weights, x):
        with jax.named_scope("one"):
            logs = jnp.log(x @ weights[0])
        with jax.named_scope("two"):
            return jnp.where(jnp.isfinite(logs), logs, 0) @ weights[1]

    with atoll.compile(masked, WEIGHTS, X, topology="2 x cpu[1]", plan=atoll.Plan(stages="one | two")) as step:
        jax.config.update("jax_debug_nans", True)  # on all threads, unlike jax.debug_nans
        try:
            assert_same(step(WEIGHTS, X), jax.jit(masked)(WEIGHTS, X))
            with pytest.raises(atoll.AtollError, match=r"test_hostile\.py:\d+: result has a NaN in it"):
                step([WEIGHTS[0], numpy.full((4, 4), numpy.nan, "float32")], X)
        finally:
            jax.config.update("jax_debug_nans", False)


@pytest.mark.parametrize(
    ("plan", "found"), [("stages=2", "'stages=2', of type str"), (None, "None"), (2, "2, of type int")]
)
def test_a_plan_of_another_class_is_refused(plan, found):
    with pytest.raises(atoll.PlanError, match=rf"test_hostile\.py:\d+: the plan is {found}; write atoll\.Plan"):
        atoll.compile(two_layers, WEIGHTS, X, topology="2 x cpu[1]", plan=plan)


def test_what_a_topology_is_made_of():
    devices = jax.devices()
    with atoll.compile(two_layers, WEIGHTS, X, topology=[[devices[1]], [devices[0]]]) as step:
        assert_same(step(WEIGHTS, X), jax.jit(two_layers)(WEIGHTS, X))
    for wrong, found in (
        (None, "None"),
        (2, "2, of type int"),
        ({}, "{}, of type dict"),
        (devices, "one list of all devices"),
    ):
        with pytest.raises(atoll.TopologyError, match=rf"test_hostile\.py:\d+: .* for each island, not {found}"):
            atoll.compile(two_layers, WEIGHTS, X, topology=wrong)


def test_without_the_devices_jax_is_left_as_it_was():
    text = (
        "import atoll, contextlib, jax\n"
        "with contextlib.suppress(atoll.TopologyError):\n"
        "    atoll.compile(lambda x: x, 1.0, topology='1 x v5e[2x2]')\n"
        "print(len(jax.devices('cpu')))"
    )
    command, settings = ["python", "-c", text], standing_python.settings()
    found = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert found.stdout.strip().isdigit(), found.stderr


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_compiled_program_is_saved_and_not_copied(copied):
    with atoll.compile(jnp.sin, X, topology="1 x cpu[1]") as step:
        assert repr(step).startswith("Compiled(sin on '1 x cpu[1]': stages=auto, ")
        with pytest.raises(atoll.AtollError, match=r"test_hostile\.py:\d+: a compiled .*; write it by \.save\(FILE\)"):
            copied(step)


def test_an_attribute_of_jax_arrays_is_told_where_to_find():
    with atoll.compile(jnp.sin, X, topology="1 x cpu[1]") as step:
        result = step(X)
        with pytest.raises(AttributeError, match=r"no devices; .* write \.to_jax\(\)\.devices$"):
            result.devices()
        with pytest.raises(AttributeError, match=r"no nonsense$"):
            result.nonsense  # noqa: B018 (asked for)
