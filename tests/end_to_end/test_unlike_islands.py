"""Islands that divide one value unlike: what is sent, on which island it is divided otherwise, and what comes out."""

import functools
import itertools
import threading

import jax
import jax.numpy as jnp
import numpy
import optax
import pytest
import zoo
from atoll.runtime.controller import Controller
from atoll.runtime.crossing import mover
from atoll.runtime.devices import Devices
from atoll.runtime.program import Receive, Run, Send
from jax.sharding import PartitionSpec as P
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)
from trace_reader import read_slices

import atoll

# Of a value that is divided over `data` and `model`, or over one of them: how the islands divide it.
DIVISIONS = {"rows": P("data"), "columns": P(None, "model"), "both": P("data", "model"), "joint": P(("data", "model"))}
PAIRS = {
    "4 to 2x2": ("cpu[data=4, model=1]", "cpu[data=2, model=2]"),
    "2x2 to 4": ("cpu[data=2, model=2]", "cpu[data=4, model=1]"),
    "4 to 2": ("cpu[data=4, model=1]", "cpu[data=2, model=1]"),
    "2 to 4": ("cpu[data=1, model=2]", "cpu[data=1, model=4]"),
    "1 to 4": ("cpu[data=1, model=1]", "cpu[data=2, model=2]"),
    "4 to 1": ("cpu[data=2, model=2]", "cpu[data=1, model=1]"),
    "4 to 3": ("cpu[data=4, model=1]", "cpu[data=3, model=1]"),
    "columns": ("cpu[data=4, model=1]", "cpu[data=1, model=4]"),
}


def train(constraint):
    """A train step whose activations are divided as asked for; the bits' order may differ from one without."""

    def loss(params, x, y):
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                x = jnp.tanh(x @ layer["w"] + layer["b"])
                x = jax.lax.with_sharding_constraint(x, constraint) if constraint is not None else x
        return zoo.squares(x, y)

    args = zoo.dense_params(1, 12, 24, 24, 12), zoo.normal(90, 48, 12), zoo.normal(91, 48, 12)
    return zoo.train(loss, optax.sgd(1e-2), *args)


@functools.cache
def reference():
    case = train(None)
    return jax.jit(case.fn)(*case.args)


def assert_same(found, expected):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        numpy.testing.assert_allclose(numpy.asarray(ours), numpy.asarray(theirs), rtol=1e-5, atol=1e-6)


def reshards(step):
    """The tasks of each island that divide a value otherwise."""
    return {
        island.name: [one.task for one in island.instructions if isinstance(one, Run) and one.name.kind == "R"]
        for island in step.program.islands
    }


def check_links(step):
    """Each value crosses once."""
    sent = {
        (island.name, one.to, one.tag): island.buffers[one.buffer]
        for island in step.program.islands
        for one in island.instructions
        if isinstance(one, Send)
    }
    received = {
        (one.source, island.name, one.tag): island.buffers[one.buffer]
        for island in step.program.islands
        for one in island.instructions
        if isinstance(one, Receive)
    }
    assert sent.keys() == received.keys()
    told = {(one.source, one.target): one.bytes for one in step.report().links}
    assert told == step.stats().bytes_per_link
    for link in told:
        assert told[link] == sum(buffer.bytes for key, buffer in sent.items() if key[:2] == link)


def pytest_generate_tests(metafunc):
    """Of the pairs, divisions and numbers of microbatches one in four together; or all."""
    if metafunc.function is not test_unlike_islands_compute_what_one_does:
        return
    every = itertools.product(enumerate(PAIRS), enumerate(DIVISIONS), (1, 2))
    is_full = metafunc.config.getoption("full")
    chosen = [
        (pair, division, count) for (i, pair), (j, division), count in every if is_full or (i + j + count) % 4 == 0
    ]
    metafunc.parametrize(("pair", "division", "microbatches"), chosen)


@pytest.mark.one_in(4)
def test_unlike_islands_compute_what_one_does(pair, division, microbatches):
    case = train(DIVISIONS[division])
    left, right = PAIRS[pair]
    plan = atoll.Plan(stages="layer_0 | layer_[1..2]", microbatches=microbatches)
    weights = jax.tree.map(lambda leaf: P(None, "model") if leaf.ndim == 2 else P(), case.args[0])
    with atoll.compile(
        case.fn,
        *case.args,
        topology=f"island left : {left}; island right : {right}",
        plan=plan,
        batch_argnums=(1, 2) if microbatches > 1 else (),
        in_shardings=(weights, P("data"), P("data")),
    ) as step:
        for _ in range(2):
            assert_same(step(*case.args), reference())
        check_links(step)


# Where a task divides a value otherwise, and when.


def two_stages(x, w, v):
    with jax.named_scope("first"):
        x = jnp.tanh(x @ w)
    with jax.named_scope("second"):
        return jnp.tanh(x @ v)


ARGS = zoo.normal(1, 48, 16), zoo.normal(2, 16, 24), zoo.normal(3, 24, 4)


def divided(left, right, division, **more):
    """Two stages between which a value is divided as asked for."""
    return atoll.compile(
        lambda x, w, v: two_stages(x, w, v),
        *ARGS,
        topology=f"island left : {left}; island right : {right}",
        plan=atoll.Plan(stages="first | second"),
        in_shardings=(P(division[0]), P(None, division[1]), P()),
        **more,
    )


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("left", "right", "division", "tasks"),
    [
        ("cpu[data=4]", "cpu[data=4]", ("data", None), {"left": [], "right": []}),
        ("cpu[data=2, model=2]", "cpu[data=2]", ("data", None), {"left": [], "right": []}),
        ("cpu[data=2]", "cpu[data=4]", ("data", None), {"left": [], "right": []}),
        ("cpu[model=1]", "cpu[model=4]", (None, "model"), {"left": [], "right": []}),
        ("cpu[data=4]", "cpu[data=2]", ("data", None), {"left": ["R0"], "right": []}),
        ("cpu[data=4]", "cpu[data=1]", ("data", None), {"left": ["R0"], "right": []}),
        ("cpu[data=4]", "cpu[data=3]", ("data", None), {"left": ["R0"], "right": []}),
        ("cpu[data=3]", "cpu[data=4]", ("data", None), {"left": ["R0"], "right": []}),
        ("cpu[data=4]", "cpu[model=4]", ("data", None), {"left": [], "right": ["R0"]}),
        ("cpu[data=4, model=1]", "cpu[data=2, model=2]", ("data", "model"), {"left": ["R0"], "right": []}),
        ("cpu[data=4, model=1]", "cpu[data=1, model=4]", ("data", "model"), {"left": ["R0"], "right": []}),
        ("cpu[data=2, model=1]", "cpu[data=1, model=4]", ("data", "model"), {"left": [], "right": ["R0"]}),
    ],
)
def test_a_task_reshards_where_it_is_cheapest(left, right, division, tasks):
    with divided(left, right, division) as step:
        assert reshards(step) == tasks
        for _ in range(2):
            assert_same(step(*ARGS), jax.jit(two_stages)(*ARGS))
        check_links(step)
        assert step.stats().tasks.get("R", 0) == sum(map(len, tasks.values()))
        (told,) = [one for one in step.report().transfers if one.bytes == 48 * 24 * 4]
        assert told.resharded == tuple(name for name, some in tasks.items() if some)
        where = "".join(f", resharded on {name}" for name in told.resharded)
        assert f"{told.where}{where}\n" in f"{step.report()}\n"
        assert type(step.report()).from_json(step.report().to_json()) == step.report()


def test_a_value_is_resharded_once_for_several_islands():
    def fn(x, w):
        with jax.named_scope("first"):
            x = jnp.tanh(x @ w)
        with jax.named_scope("second"):
            y = jnp.sin(x)
        with jax.named_scope("third"):
            return y, jnp.cos(x)

    islands = {"first": "left", "second": "middle", "third": "right"}
    with atoll.compile(
        fn,
        *ARGS[:2],
        topology="island left : cpu[data=4]; island middle : cpu[data=2]; island right : cpu[data=2]",
        plan=atoll.Plan(placement=islands),
        in_shardings=(P("data"), P()),
    ) as step:
        assert reshards(step) == {"left": ["R0"], "middle": [], "right": []}
        assert_same(step(*ARGS[:2]), jax.jit(fn)(*ARGS[:2]))
        check_links(step)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("replicas", [1, 2])
def test_microbatches_reshard_with_one_code(replicas):
    """The batch goes ahead to the second island, which divides it otherwise as well."""

    def loss(params, x, y):
        first, second = params
        with jax.named_scope("first"):
            z = jnp.tanh(x @ first)
        with jax.named_scope("second"):
            return zoo.squares(jnp.tanh(z @ second) + x.sum(), y)

    case = zoo.train(loss, optax.sgd(1e-2), ARGS[1:], ARGS[0], zoo.normal(4, 48, 4))
    islands = [
        f"island {name}{number} : cpu[data={size}]" for number in range(2) for name, size in (("a", 2), ("b", 1))
    ]
    with atoll.compile(
        case.fn,
        *case.args,
        topology="; ".join(islands[: 2 * replicas]),
        plan=atoll.Plan(stages="first | second", microbatches=4, replicas=replicas),
        batch_argnums=(1, 2),
        donate_argnums=0,
        in_shardings=(P(), P("data"), P("data")),
    ) as step:
        expected, state = jax.jit(case.fn)(*case.args), jax.tree.map(jnp.copy, case.args[0])
        assert_same(step(state, *case.args[1:]), expected)
        check_links(step)
        tasks = reshards(step)
        assert {task for task in tasks["a0"] if "@" in task} >= {f"R{one}@0" for one in range(4 // replicas)}
        assert len(tasks["a0"]) == len(set(tasks["a0"]))
        told = {island.name: island.tasks for island in step.report().islands}
        assert any("R0" in one for one in told["a0"])
        codes = {
            one.code for one in step.program.islands[0].instructions if isinstance(one, Run) and one.name.kind == "R"
        }
        shapes = {step.program.codes[code].results for code in codes}
        assert len(codes) == len(shapes) < len(tasks["a0"])
        if replicas == 2:
            assert tasks["a0"] == tasks["a1"]


def test_a_saved_program_reshards(tmp_path):
    with divided("cpu[data=4, model=1]", "cpu[data=2, model=2]", ("data", "model")) as step:
        expected = numpy.asarray(step(*ARGS))
        step.save(tmp_path / "step.atoll")
    with atoll.load(tmp_path / "step.atoll") as step:
        assert numpy.asarray(step(*ARGS)).tobytes() == expected.tobytes()


def test_a_trace_tells_what_was_resharded(tmp_path):
    with divided("cpu[data=4]", "cpu[data=2]", ("data", None)) as step:
        step(*ARGS).block_until_ready()
        with step.trace(tmp_path / "trace.pftrace"):
            step(*ARGS)
        slices = read_slices(tmp_path / "trace.pftrace")
        (told,) = [one for one in slices if one.category == "R"]
        assert (told.name, told.args["fragment"], told.args["bytes"]) == ("R0", "reshard", 48 * 24 * 4)
        assert "stage" not in told.args
        assert {"send F0 to right", "receive F0 from left"} <= {one.name for one in slices}
        assert ">R0<" in step.report().svg()


def test_keys_and_small_things_cross_unlike_islands():
    def fn(key, mask, x):
        with jax.named_scope("first"):
            keys, mask, half, empty = jax.random.split(key, 8), ~mask, x.astype(jnp.bfloat16) * 2, x[:, :0] + 1
            tiny = (x * 3).astype(jnp.int4)
        with jax.named_scope("second"):
            noise = jax.vmap(lambda one: jax.random.normal(one, (4,)))(keys)
            return noise, jnp.where(mask, 1.0, x), half + 1, empty * 2, tiny.astype(jnp.int32) + 1, x.sum() + 1

    args = jax.random.key(3), zoo.normal(4, 8, 4) > 0, zoo.normal(5, 8, 4)
    with atoll.compile(
        fn,
        *args,
        topology="island left : cpu[data=4]; island right : cpu[data=2]",
        plan=atoll.Plan(stages="first | second"),
        in_shardings=(P(), P("data"), P("data")),
    ) as step:
        assert len(reshards(step)["left"]) >= 3
        assert_same(step(*args), jax.jit(fn)(*args))
        check_links(step)


def test_an_island_does_not_wait_for_what_it_sends(monkeypatch):
    """What the first stage computes is there only after all that a step sends has been sent."""
    all_sent, crossed = threading.Event(), []

    def recording(source, target):
        move = mover(source, target)

        def put(array):
            moved = move(array)
            if not source.device_set & target.device_set:
                crossed.append(array.is_ready())
                all_sent.set()
            return moved

        return put

    def wait(x):
        if is_steady:
            assert all_sent.wait(60)
        return x

    def fn(x, w, v):
        with jax.named_scope("first"):
            x = jax.pure_callback(wait, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
            x = jax.lax.with_sharding_constraint(jnp.tanh(x @ w), P("data"))
        with jax.named_scope("second"):
            return jnp.tanh(x @ v)

    is_steady = False
    monkeypatch.setitem(Controller.__init__.__kwdefaults__, "devices", Devices(mover=recording))
    with atoll.compile(
        fn,
        *ARGS,
        topology="island left : cpu[data=4]; island right : cpu[data=2]",
        plan=atoll.Plan(stages="first | second"),
    ) as step:
        assert reshards(step)["left"] == ["R0"]
        placed = step.put(*ARGS)
        step(*placed).block_until_ready()
        all_sent.clear()
        crossed.clear()
        is_steady = True
        assert_same(step(*placed), jax.jit(two_stages)(*ARGS))
        assert crossed == [False]
