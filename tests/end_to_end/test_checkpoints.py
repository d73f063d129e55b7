"""A run goes on from a checkpoint on other islands than those that it was saved from."""

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.runtime.promise import Promise
from microbatched import compiled_by_xla, evaluated  # noqa: F401 (fixtures)
from references import reference

import atoll

LAYERS, WIDTH, BATCH = 7, 6, 8  # one of four stages has a layer less


def normal(seed, *shape):
    return numpy.random.default_rng(seed).normal(size=shape).astype("float32") / 3


def loss_fn(params, x, y):
    def layer(x, w):
        return jnp.tanh(x @ w), None

    x, _ = jax.lax.scan(layer, x, params["layers"])
    return jnp.mean((x @ params["head"] - y) ** 2)


def train_step(state, x, y):
    """Adam, nearly: its moments are what replicas share."""
    loss, gradients = jax.value_and_grad(loss_fn)(state["params"], x, y)
    moments = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["moments"], gradients)
    params = jax.tree.map(lambda p, m: p - 0.1 * m, state["params"], moments)
    return {"params": params, "moments": moments, "step": state["step"] + 1}, loss


def initial():
    params = {"layers": normal(0, LAYERS, WIDTH, WIDTH), "head": normal(1, WIDTH, 4)}
    return {"params": params, "moments": jax.tree.map(numpy.zeros_like, params), "step": numpy.int32(0)}


X, Y = normal(2, BATCH, WIDTH), normal(3, BATCH, 4)


def compiled(topology, plan, **options):
    return atoll.compile(
        train_step, initial(), X, Y, topology=topology, plan=plan, batch_argnums=(1, 2), donate_argnums=0, **options
    )


def bits(state):
    return [numpy.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


@pytest.fixture(scope="module")
def few():
    """Two stages without replicas."""
    with compiled("2 x cpu[1]", atoll.Plan(stages=2, microbatches=2, schedule="1f1b")) as step:
        yield step


def test_a_run_of_four_stages_and_two_replicas_goes_on_elsewhere(few, tmp_path, monkeypatch):
    plan = atoll.Plan(stages=4, replicas=2, microbatches=2, schedule="1f1b", update="sharded")
    with compiled("8 x cpu[1]", plan) as many:
        state, _ = many(initial(), X, Y)
        layers, moments = state["params"]["layers"], state["moments"]["layers"]
        assert len(layers.parts) == 4
        assert len(moments.parts) > 4  # divided over replicas as well
        with monkeypatch.context() as patched:
            patched.setattr(Promise, "read", lambda promise: pytest.fail(f"{promise.port.path} is made whole"))
            atoll.save_checkpoint(tmp_path, 1, state)
        saved = bits(state)
        state, _ = many(state, X, Y)  # which donates what is being written
        like = jax.tree.map(jnp.zeros_like, initial())
        for place in (like, initial(), few.put(initial(), X, Y)[0], state):
            assert bits(atoll.load_checkpoint(tmp_path, like=place)) == saved
        on_few = atoll.load_checkpoint(tmp_path, like=few.put(initial(), X, Y)[0])
        assert len(on_few["params"]["layers"].parts) == 2
        again, _ = many(atoll.load_checkpoint(tmp_path, like=state), X, Y)
        assert bits(again) == bits(state)  # as if it had not stopped
        whole = atoll.load_checkpoint(tmp_path, like=initial())
        expected, expected_loss = reference(train_step, whole, X, Y)
        found, loss = few(on_few, X, Y)
        assert float(loss) == pytest.approx(float(expected_loss), rel=1e-5)
        for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            numpy.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_jit_goes_on_where_islands_stopped(few, tmp_path):
    state, _ = few(initial(), X, Y)
    atoll.save_checkpoint(tmp_path, 1, state)
    whole = atoll.load_checkpoint(tmp_path, like=initial())
    assert bits(whole) == bits(state)
    expected, _ = jax.jit(train_step)(whole, X, Y)
    found, _ = few(state, X, Y)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        numpy.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert state["step"].is_deleted()


def test_a_tree_on_islands_that_differs_is_told_before_anything_is_read(few, tmp_path):
    state, _ = few(initial(), X, Y)
    atoll.save_checkpoint(tmp_path, 1, state)
    with pytest.raises(atoll.AtollError, match=r"py:\d+: checkpoint .*/1 has no tree\['average'\], which in `like` is"):
        atoll.load_checkpoint(tmp_path, like={"average": state["params"]["head"], **state})


def test_to_jax_and_from_jax_are_there_and_back(few):
    state, _ = few(initial(), X, Y)
    whole = atoll.to_jax(state)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(whole))
    back = atoll.from_jax(jax.tree.map(lambda leaf: leaf + 1, whole), like=state)
    layers = back["params"]["layers"]
    assert [part.islands for part in layers.parts] == [("island0",), ("island1",)]
    first = layers.parts[0].index[0]
    assert f"<td>[{first.start}:{first.stop}, :, :]</td><td>island0</td>" in layers._repr_html_()
    assert set(layers.sharding) == {"island0", "island1"}
    numpy.testing.assert_array_equal(layers, numpy.asarray(whole["params"]["layers"]) + 1)
    found, _ = few(back, X, Y)
    assert found["step"] == 3
