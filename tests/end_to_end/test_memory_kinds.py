"""Values in the memory of the host, where the user puts some: same answers, there between tasks, counted apart."""

import jax
import jax.numpy as jnp
import numpy
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

import atoll

pytestmark = pytest.mark.xla

HOST, DEVICE = jax.memory.Space.Host, jax.memory.Space.Device
OFFLOADED = jax.checkpoint_policies.save_and_offload_only_these_names(
    names_which_can_be_saved=[],
    names_which_can_be_offloaded=["hidden"],
    offload_src="device",
    offload_dst="pinned_host",
)
W = {"one": numpy.full((8, 8), 0.1, "float32"), "two": numpy.full((8, 8), 0.2, "float32")}
X = numpy.arange(32, dtype="float32").reshape(4, 8) / 32


def on(size, kind):
    """A sharding on a mesh like the islands', in a kind of memory."""
    mesh = Mesh(numpy.array(jax.devices()[:size]), ("devices",))
    return NamedSharding(mesh, P(), memory_kind=kind)


def memories(array):
    """The kinds of memory in which islands have an array."""
    array.block_until_ready()
    return {copy.get(60).sharding.memory_kind for copies in array.promise.parts() for copy in copies}


def momentum_step(w, momentum, x):
    """A step whose state between steps is on the host."""

    def loss_fn(w):
        with jax.named_scope("one"):
            h = jnp.tanh(x @ w["one"])
        with jax.named_scope("two"):
            return jnp.mean((h @ w["two"]) ** 2)

    loss, gradients = jax.value_and_grad(loss_fn)(w)
    moved = jax.tree.map(lambda m, g: 0.9 * jax.device_put(m, DEVICE) + g, momentum, gradients)
    new = jax.tree.map(lambda p, m: p - 0.1 * m, w, moved)
    return new, jax.tree.map(lambda m: jax.device_put(m, HOST), moved), loss


@pytest.mark.parametrize("size", [1, 2])
def test_a_state_on_the_host(size):
    """It is there between steps, wherever it came from, and no island counts it among what its devices have."""
    momentum = jax.tree.map(numpy.zeros_like, W)
    there = jax.device_put(momentum, on(size, "pinned_host"))
    plan = atoll.Plan(stages="one | two", microbatches=2, schedule="1f1b")
    options = {"topology": f"2 x cpu[{size}]", "plan": plan, "batch_argnums": 2, "donate_argnums": (0, 1)}
    expected = jax.jit(momentum_step)(W, there, X)
    expected = jax.jit(momentum_step)(*expected[:2], X)
    with atoll.compile(momentum_step, W, there, X, **options) as step:
        w, m, _ = step(W, momentum, X)
        assert set().union(*map(memories, jax.tree.leaves(m))) == {"pinned_host"}
        w, m, loss = step(w, m, X)
        assert set().union(*map(memories, jax.tree.leaves(w))) == {"device"}
        for found, wanted in zip(jax.tree.leaves((w, m, loss)), jax.tree.leaves(expected), strict=True):
            numpy.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        # Of the momentum one array of 8 x 8 on each island, the old or the new.
        assert [one.host_bytes for one in step.report().islands] == [256, 256]
        assert "on the host, for each device: island0 256 B, island1 256 B" in str(step.report())
        kept = [one.peak_bytes for one in step.report().islands]

    def as_usual(w, momentum, x):
        new, moved, loss = momentum_step(w, momentum, x)
        return new, jax.tree.map(lambda m: jax.device_put(m, DEVICE), moved), loss

    usual = atoll.lower(as_usual, W, momentum, X, **options)
    assert [one.host_bytes for one in usual.report().islands] == [0, 0]
    # As much as the host has, less what the devices need for it while they update.
    for with_, without in zip(kept, [one.peak_bytes for one in usual.report().islands], strict=True):
        assert with_ <= without - 256


def test_results_that_the_user_asks_for_on_the_host():
    step = atoll.compile(
        lambda x: (jnp.sin(x), jnp.cos(x)),
        X,
        topology="1 x cpu[2]",
        out_shardings=(on(2, "pinned_host"), on(2, "device")),
    )
    with step:
        sine, cosine = step(X)
        assert (memories(sine), memories(cosine)) == ({"pinned_host"}, {"device"})
        numpy.testing.assert_allclose(sine, numpy.sin(X), rtol=1e-6)


def test_a_value_on_the_host_crosses_to_another_island():
    """It is read from there, and stays there; in another division, too."""

    def fn(s, x):
        with jax.named_scope("one"):
            h = jax.device_put(s, DEVICE) @ x
        with jax.named_scope("two"):
            return jax.device_put(s, DEVICE) @ h

    s = jax.device_put(W["one"], on(1, "pinned_host"))
    for topology in ("2 x cpu[1]", "island a : cpu[2]; island b : cpu[1]"):
        given = s if "2 x" in topology else W["one"]
        with atoll.compile(fn, given, X.T, topology=topology, plan=atoll.Plan(stages="one | two")) as step:
            numpy.testing.assert_allclose(step(s, X.T), W["one"] @ W["one"] @ X.T, rtol=1e-5)


def offloading(w, x):
    @lambda fn: jax.checkpoint(fn, policy=OFFLOADED)
    def block(w, x):
        return jnp.cos(checkpoint_name(jnp.sin(x @ w), "hidden") @ w)

    def loss_fn(w):
        with jax.named_scope("one"):
            h = block(w["one"], x)
        with jax.named_scope("two"):
            return block(w["two"], h).sum()

    return jax.grad(loss_fn)(w)


def test_residuals_that_a_policy_offloads():
    """On CPUs jax leaves them where they are; for TPUs each waits on its island's host, microbatch by microbatch."""
    options = {"batch_argnums": 1, "plan": atoll.Plan(stages="one | two", microbatches=2, schedule="gpipe")}
    with atoll.compile(offloading, W, X, topology="2 x cpu[1]", **options) as step:
        for found, wanted in zip(jax.tree.leaves(step(W, X)), jax.tree.leaves(jax.jit(offloading)(W, X)), strict=True):
            numpy.testing.assert_allclose(found, wanted, rtol=1e-5)
    program = atoll.lower(offloading, W, X, topology="2 x v5e[1x1]", **options).program
    for island in program.islands:
        runs = [one for one in island.instructions if hasattr(one, "task")]
        made = {
            number
            for run in runs
            if run.task.startswith("F")
            for number in run.outputs
            if island.buffers[number].on_host
        }
        taken = {number for run in runs if run.task.startswith("B") for number in run.inputs}
        assert len(made) == 2
        assert made <= taken
        assert [island.buffers[number].shape for number in made] == [(2, 8)] * 2


@pytest.mark.parametrize("stages", [1, 2])
def test_residuals_of_a_layer_loop_that_a_policy_offloads(stages):
    """The loop stacks them; each island has the stack of its own layers on its host."""

    def layer(h, w):
        return jnp.tanh(checkpoint_name(h, "hidden") @ w), None

    def fn(w, x):
        block = jax.checkpoint(layer, policy=OFFLOADED, prevent_cse=False)
        return jax.grad(lambda w: (jax.lax.scan(block, x, w)[0] ** 2).sum())(w)

    w = jax.ShapeDtypeStruct((4, 8, 8), "float32")
    plan = atoll.Plan(stages=stages, microbatches=2, schedule="gpipe")
    program = atoll.lower(fn, w, X, topology=f"{stages} x v5e[1x1]", batch_argnums=1, plan=plan).program
    for island in program.islands:
        on_host = [buffer.shape for buffer in island.buffers if buffer.on_host]
        assert on_host == [(4 // stages, 2, 8)] * 2


def test_a_memory_that_islands_do_not_have_is_refused():
    elsewhere = on(1, "unpinned_host")

    def inside(x):
        return jax.device_put(x + 1, elsewhere) * 2

    with pytest.raises(
        atoll.CompileError, match=r"memory_kinds.py:\d+: a value is to be in memory of kind unpinned_host"
    ):
        atoll.lower(inside, X, topology="1 x cpu[1]")
    with pytest.raises(atoll.CompileError, match="a sharding asks for memory of kind unpinned_host; write pinned_host"):
        atoll.lower(lambda x: x + 1, X, topology="1 x cpu[1]", out_shardings=elsewhere)


def test_a_saved_program_keeps_its_memories(tmp_path):
    def fn(s):
        return jax.device_put(jax.device_put(s, DEVICE) + 1, HOST)

    there = jax.device_put(X, on(1, "pinned_host"))
    with atoll.compile(fn, there, topology="1 x cpu[1]") as step:
        step.save(tmp_path / "step.atoll")
    with atoll.load(tmp_path / "step.atoll") as loaded:
        result = loaded(X)
        assert memories(result) == {"pinned_host"}
        numpy.testing.assert_array_equal(result, X + 1)


def adam_like(w, memory, x):
    """A step that says nothing of memories."""

    def loss_fn(w):
        with jax.named_scope("one"):
            h = jnp.tanh(x @ w["one"])
        with jax.named_scope("two"):
            return jnp.mean((h @ w["two"]) ** 2)

    loss, gradients = jax.value_and_grad(loss_fn)(w)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, memory["first"], gradients)
    second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, memory["second"], gradients)
    new = jax.tree.map(lambda p, m, v: p - 0.1 * m / (jnp.sqrt(v) + 1e-3), w, first, second)
    return {"w": new, "memory": {"first": first, "second": second}, "loss": loss}


def test_a_plan_that_offloads_the_optimizer():
    """The same bits; what the host has, the devices have not between tasks."""
    memory = {name: jax.tree.map(numpy.zeros_like, W) for name in ("first", "second")}
    options = {"topology": "2 x cpu[2]", "batch_argnums": 2, "donate_argnums": (0, 1)}
    found = []
    for offload in ("", "memory"):
        plan = atoll.Plan(stages="one | two", microbatches=4, schedule="gpipe", offload=offload)
        assert atoll.Plan.parse(str(plan)) == plan
        with atoll.compile(adam_like, W, memory, X, plan=plan, **options) as step:
            result = step(W, memory, X)
            result = step(result["w"], result["memory"], X)
            there = set().union(*map(memories, jax.tree.leaves(result["memory"])))
            assert there == ({"pinned_host"} if offload else {"device"})
            assert set().union(*map(memories, jax.tree.leaves(result["w"]))) == {"device"}
            found.append(([numpy.asarray(leaf) for leaf in jax.tree.leaves(result)], step.report()))
            assert step.stats().host_bytes == {one.name: one.host_bytes for one in step.report().islands}
            assert step.stats().peak_bytes == {one.name: one.peak_bytes for one in step.report().islands}
    (usual, before), (offloaded, after) = found
    for one, other in zip(usual, offloaded, strict=True):
        numpy.testing.assert_array_equal(one, other)
    for one, other in zip(before.islands, after.islands, strict=True):
        assert other.host_bytes == 2 * 256
        assert other.input_bytes == one.input_bytes - 2 * 256
        assert other.peak_bytes == one.peak_bytes - 2 * 256


@pytest.mark.parametrize("update", ["whole", "sharded"])
def test_replicas_keep_what_the_plan_offloads_on_their_hosts(update):
    memory = {name: jax.tree.map(numpy.zeros_like, W) for name in ("first", "second")}
    plan = atoll.Plan(stages=1, microbatches=2, replicas=2, update=update, offload="memory")
    expected = jax.jit(adam_like)(W, memory, X)
    with atoll.compile(adam_like, W, memory, X, topology="2 x cpu[1]", batch_argnums=2, plan=plan) as step:
        found = step(W, memory, X)
        assert set().union(*map(memories, jax.tree.leaves(found["memory"]))) == {"pinned_host"}
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            numpy.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_what_a_plan_cannot_offload():
    memory = {name: jax.tree.map(numpy.zeros_like, W) for name in ("first", "second")}
    options = {"topology": "1 x cpu[1]", "batch_argnums": 2}
    with pytest.raises(atoll.PlanError, match="offload names memry, which is in the path of no argument and no result"):
        atoll.lower(adam_like, W, memory, X, plan=atoll.Plan(offload="memry"), **options)
    with pytest.raises(atoll.PlanError, match=r"offload has 'w \| memory', which are patterns of several stages"):
        atoll.Plan(offload="w | memory")
    with pytest.raises(atoll.PlanError, match="offload takes scope patterns in a text, not list"):
        atoll.Plan(offload=["memory"])
