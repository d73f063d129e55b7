"""Batch arguments that a function gives on the islands that need them: the answer is that of the arrays."""

import dataclasses
import functools
import inspect
import re
import threading

import jax
import jax.numpy as jnp
import numpy
import pytest
from microbatched import compiled_by_xla, evaluated  # noqa: F401 (fixtures)

import atoll

pytestmark = pytest.mark.near  # they look at the objects that islands call

PARAMS = {"one": numpy.eye(4, dtype=numpy.float32) + 0.1, "two": numpy.ones((4, 2), numpy.float32)}
X = numpy.arange(64, dtype=numpy.float32).reshape(16, 4) / 64
BATCH = {"x": X, "y": X[:, :2] ** 2}


def predict(params, x):
    with jax.named_scope("one"):
        h = jnp.tanh(x @ params["one"])
    with jax.named_scope("two"):
        return h @ params["two"]


def train_step(params, batch):
    def loss_fn(params):
        return jnp.mean((predict(params, batch["x"]) - batch["y"]) ** 2)

    loss, gradients = jax.value_and_grad(loss_fn)(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), loss


def compiled(fn=train_step, *args, replicas=1, microbatches=1, **options):
    plan = atoll.Plan(stages="one | two", microbatches=microbatches, replicas=replicas)
    options = {"batch_argnums": 1, "topology": f"{2 * replicas} x cpu[1]", "plan": plan, **options}
    return atoll.compile(fn, *(args or (PARAMS, BATCH)), **options)


def batch_of(step):
    """Another one for each step."""
    return jax.tree.map(lambda leaf: leaf + numpy.float32(step), BATCH)


class Loader:
    """Notes by which island it was asked for what."""

    def __init__(self):
        self.asked = {}

    def __call__(self, step, start, stop):
        island = threading.current_thread().name.removeprefix("atoll ").removesuffix(", feeding")
        self.asked.setdefault(island, []).append((step, start, stop))
        return jax.tree.map(lambda leaf: leaf[start:stop], batch_of(step))


def bits(tree):
    return [numpy.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("plan", "ranges"),
    [
        ({}, [[(0, 16)]]),
        ({"microbatches": 2}, [[(0, 8), (8, 16)]]),
        ({"microbatches": 4}, [[(0, 4), (4, 8), (8, 12), (12, 16)]]),
        ({"microbatches": 2, "replicas": 2}, [[(0, 4), (4, 8)], [(8, 12), (12, 16)]]),
    ],
    ids=["whole", "2 microbatches", "4 microbatches", "2 replicas"],
)
def test_a_train_step_has_the_bits_that_it_has_of_arrays(plan, ranges):
    """Over three steps that follow each other; the same bytes cross; an island asks once a range for all its leaves.

    ranges: what the two islands of each replica need.
    """
    loader, found = Loader(), {}
    for kind in ("arrays", "feed"):
        with compiled(**plan) as step:
            params = PARAMS
            for number in range(3):
                params, loss = step(params, batch_of(number) if kind == "arrays" else atoll.Feed(loader))
            stats = step.stats()
            found[kind] = bits((params, loss)), stats.bytes_per_link, stats.messages, stats.order
            del params, loss
    assert found["feed"] == found["arrays"]
    assert loader.asked == {
        f"island{island}": [(number, *one) for number in range(3) for one in ranges[island // 2]]
        for island in range(2 * len(ranges))
    }


def test_islands_that_need_nothing_are_not_asked_and_leaves_of_other_types_come_too():
    """Random keys, and an argument that is passed through; two arguments may have one feed."""

    def fn(weights, batch, more):
        noise = jax.vmap(lambda key: jax.random.normal(key, (4,)))(batch["keys"])
        with jax.named_scope("one"):
            h = (batch["x"] + noise + more["x"]) @ weights["one"]
        with jax.named_scope("two"):
            return h @ weights["two"], batch["x"]

    x, keys = jnp.asarray(X), jax.random.split(jax.random.key(3), 16)
    batch = {"keys": keys, "x": x}
    asked = []

    def load(step, start, stop):
        asked.append((threading.current_thread().name, start, stop))
        return jax.tree.map(lambda leaf: leaf[start:stop], batch)

    with compiled(
        fn, PARAMS, batch, batch, batch_argnums=(1, 2), topology="island a : cpu[2]; island b : cpu[1]"
    ) as step:
        feed = atoll.Feed(load)
        assert bits(step(PARAMS, feed, feed)) == bits(step(PARAMS, batch, batch))
    assert asked == [("atoll a, feeding", 0, 16)] * 2


def test_a_donated_batch_and_a_program_that_was_loaded(tmp_path):
    with compiled(donate_argnums=(0, 1), microbatches=2) as step:
        expected = bits(step(PARAMS, BATCH))
        step.save(tmp_path / "step.atoll")
        assert bits(step(PARAMS, atoll.Feed(lambda _, *part: Loader()(0, *part)))) == expected
    with atoll.load(tmp_path / "step.atoll") as step:
        assert bits(step(PARAMS, atoll.Feed(Loader()))) == expected
        with pytest.raises(atoll.CompileError, match=r"argument params is given by a feed, but not all of it"):
            step(atoll.Feed(Loader()), BATCH)


@functools.partial(jax.tree_util.register_dataclass, data_fields=("x",), meta_fields=("told",))
@dataclasses.dataclass
class Pair:
    x: object
    told: object


def in_order(pair):
    return jax.tree.map(lambda leaf: leaf * 2, pair)


@pytest.mark.parametrize("told", ["text", print, numpy.dtype("int8")])
def test_a_loaded_program_returns_what_has_the_structure_of_an_argument(tmp_path, told):
    """Which is made anew from the file, if that can hold it."""
    with atoll.compile(in_order, Pair(X, told), topology="1 x cpu[1]", batch_argnums=0) as step:
        step.save(tmp_path / "step.atoll")
    feed = atoll.Feed(lambda _, start, stop: Pair(X[start:stop], told))
    with atoll.load(tmp_path / "step.atoll") as step:
        if isinstance(told, numpy.dtype):
            with pytest.raises(atoll.CompileError, match=r"results are like argument pair, .*; pass it without a feed"):
                step(feed)
            step(Pair(X, told))
        found = step(feed)
        assert found.told == told
        numpy.testing.assert_array_equal(found.x, 2 * X)


def test_the_next_step_is_loaded_while_this_one_is_computed():
    """A task of the first step waits for what the second one is asked for; another program's island goes on."""
    loaded = threading.Event()

    def load(step, start, stop):
        if step == 1:
            loaded.set()
        return X[start:stop]

    def wait(x):
        assert loaded.wait(60)
        return numpy.asarray(x)

    def fn(params, x):
        return predict(params, jax.pure_callback(wait, jax.ShapeDtypeStruct(x.shape, x.dtype), x))

    with atoll.compile(fn, PARAMS, X, topology="2 x cpu[1]", batch_argnums=1) as step:
        first, second = step(PARAMS, atoll.Feed(load)), step(PARAMS, atoll.Feed(load))
        assert bits(first) == bits(second)


def test_other_islands_go_on_while_one_waits_for_its_examples():
    gate = threading.Event()

    def load(_, start, stop):
        assert gate.wait(60)
        return X[start:stop]

    with atoll.Cluster("2 x cpu[1]") as cluster:
        step = atoll.compile(lambda x: x * 2, X, topology=cluster, islands=("island0",), batch_argnums=0)
        other = atoll.compile(lambda x: x * 3, X, topology=cluster, islands=("island1",))
        doubled = step(atoll.Feed(load))
        numpy.testing.assert_array_equal(other(X), X * 3)
        gate.set()
        numpy.testing.assert_array_equal(doubled, X * 2)


@pytest.mark.xla
def test_examples_of_64_bits_where_only_the_caller_enables_them():
    wide = X.astype(numpy.float64) + 1e-12
    with (
        jax.enable_x64(True),
        atoll.compile(lambda x: x - 1, wide, topology="1 x cpu[1]", batch_argnums=0) as step,
    ):
        assert bits(step(atoll.Feed(lambda _, start, stop: wide[start:stop]))) == [(wide - 1).tobytes()]


# Errors.


def here(function):
    return f"{__file__}:{inspect.getsourcelines(function)[1]}"


def test_what_goes_wrong_in_a_function_fails_its_step_alone():
    def load(step, start, stop):
        if step == 0:
            raise FileNotFoundError("part 7 is gone")
        part = Loader()(0, start, stop)
        return {"x": part["x"]} if step == 1 else {**part, "y": part["x"]} if step == 2 else part

    asked = f"{here(load)}: load, asked for examples 0..16 of step"
    with compiled() as step:
        expected = bits(step(PARAMS, BATCH)[1])
    with compiled() as step:
        found = [step(PARAMS, atoll.Feed(load))[1] for _ in range(4)]
        for loss, told in zip(
            found,
            (
                f"{asked} 0, raised FileNotFoundError: part 7 is gone",
                f"{asked} 1, returned no batch['y']; return a pytree like the argument",
                f"{asked} 2, returned batch['y'] as float32[16, 4]; return an array of float32[16, 2]",
            ),
            strict=False,
        ):
            with pytest.raises(atoll.AtollError, match=f"^{re.escape(told)}\n"):
                numpy.asarray(loss)
        assert bits(found[3]) == expected


def test_what_a_feed_is_not_for_is_refused_at_the_users_line():
    place = rf"^{re.escape(__file__)}:\d+: "
    feed = atoll.Feed(functools.partial(Loader()))
    with pytest.raises(
        atoll.AtollError, match=place + r"a feed needs a function, not dict; write atoll.Feed\(load\), "
    ):
        atoll.Feed(BATCH)
    with pytest.raises(
        atoll.CompileError, match=place + r"batch is a feed, which says nothing of the shapes .*ShapeDtypeStruct here"
    ):
        compiled(train_step, PARAMS, feed)
    with compiled() as step:
        with pytest.raises(
            atoll.CompileError,
            match=place + r"argument params is given by a feed, but not all of it has the batch on axis 0; "
            r"pass arrays, or compile with the argument in batch_argnums\n",
        ):
            step(feed, BATCH)
        with pytest.raises(atoll.AtollError, match=place + r"a feed cannot be put on islands, .* write \.\.\. here\n"):
            step.put(PARAMS, feed)
        with pytest.raises(atoll.AtollError, match=place + r"batch\['x'\] is a Feed, not an array; "):
            step(PARAMS, {**BATCH, "x": feed})
        numpy.asarray(step(PARAMS, feed)[1])
