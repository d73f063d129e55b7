"""What only accelerators can show: answers, memory and transfers on devices that are not the host's.

    pytest -m accelerator tests/accelerator

With `--on cpu` it runs on CPU devices, which shows that these tests ask for what is so. Times are printed, not tested.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy
import pytest
from jax.sharding import PartitionSpec as P

import atoll

pytestmark = [pytest.mark.accelerator, pytest.mark.xla]

LAYOUTS = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)]
WIDTH, BATCH, MICROBATCHES = 128, 64, 4
HOST, DEVICE = jax.memory.Space.Host, jax.memory.Space.Device
COMPILED = "/jax/core/compile/backend_compile_duration"


def state_of(width=WIDTH):
    numbers = numpy.random.default_rng(0)
    weights = {name: numbers.normal(0, width**-0.5, (width, width)).astype("float32") for name in ("one", "two")}
    return {"w": weights, "m": jax.tree.map(numpy.zeros_like, weights)}


def batch_of(width=WIDTH, batch=BATCH):
    return numpy.random.default_rng(1).normal(size=(batch, width)).astype("float32")


def train_step(state, x):
    def loss_fn(w):
        with jax.named_scope("one"):
            h = jnp.tanh(jnp.matmul(x, w["one"], precision="highest"))
        with jax.named_scope("two"):
            return jnp.mean(jnp.matmul(h, w["two"], precision="highest") ** 2)

    loss, gradients = jax.value_and_grad(loss_fn)(state["w"])
    moved = jax.tree.map(lambda m, g: 0.9 * m + g, state["m"], gradients)
    return {"w": jax.tree.map(lambda p, m: p - 0.1 * m, state["w"], moved), "m": moved}, loss


def compiled(topology, **options):
    stages = "one | two" if len(topology.islands) > 1 else 1
    replicas = 2 if len(topology.islands) == 4 else 1
    plan = atoll.Plan(stages=stages, microbatches=MICROBATCHES, replicas=replicas, schedule="1f1b")
    options = {"topology": topology, "plan": plan, "batch_argnums": 1, "donate_argnums": 0, **options}
    return atoll.compile(train_step, state_of(), batch_of(), **options)


def in_use(device):
    """The bytes that a device's own statistics say are in use; None if it has none."""
    return (device.memory_stats() or {}).get("bytes_in_use")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: f"{one[0]}x{one[1]}")
def test_answers_are_those_of_jit_on_the_same_devices(layout, islands, devices):
    topology = islands(*layout)
    with jax.default_device(devices[0]):
        expected = state_of(), None
        for _ in range(3):
            expected = jax.jit(train_step)(expected[0], batch_of())
    with compiled(topology, in_shardings=(None, P("devices"))) as step:
        state = state_of()
        for _ in range(3):
            state, loss = step(state, batch_of())
        for found, wanted in zip(jax.tree.leaves((state, loss)), jax.tree.leaves(expected), strict=True):
            numpy.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-6)


def test_two_runs_have_the_same_bits(islands):
    with compiled(islands(1, 1)) as step:
        first, second = (step(state_of(), batch_of()) for _ in range(2))
        for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
            numpy.testing.assert_array_equal(numpy.asarray(one), numpy.asarray(other))


def test_a_donated_state_is_gone_and_memory_does_not_grow(islands, devices):
    with compiled(islands(1, 1)) as step:
        state, x = step.put(state_of(), batch_of())
        before, kept = state, None
        for number in range(6):
            state, loss = step(state, x)
            loss.block_until_ready()
            if number == 1:
                kept = in_use(devices[0])
        with pytest.raises(atoll.AtollError, match="was donated to a step and is gone"):
            numpy.asarray(before["w"]["one"])
        if kept is not None:
            assert in_use(devices[0]) <= kept + WIDTH * WIDTH * 4  # less than one more parameter


@pytest.mark.parametrize("size", [1, 2])
def test_what_crosses_arrives_bit_by_bit(size, islands):
    def fn(x):
        with jax.named_scope("one"):
            y = x * 2
        with jax.named_scope("two"):
            return y + 0, y

    x = numpy.random.default_rng(2).normal(size=(64, 256)).astype("float32")
    topology = islands(2, size)
    plan = atoll.Plan(stages="one | two")
    with atoll.compile(fn, x, topology=topology, plan=plan, in_shardings=P("devices")) as step:
        results = step(x)
        for one in results:
            numpy.testing.assert_array_equal(numpy.asarray(one), x * 2)
        assert sum(step.stats().bytes_per_link.values()) >= x.nbytes
        told = {(one.source, one.target): one.bytes for one in step.report().links}
        assert step.stats().bytes_per_link == told


def test_peaks_are_at_least_what_the_report_says(islands, devices):
    """The statistics of a device also have what XLA needs within tasks, so they may only be above it."""
    width, batch = 1024, 4096
    topology = islands(1, 1)
    plan = atoll.Plan(stages=1, microbatches=MICROBATCHES, schedule="gpipe")
    state, x = state_of(width), batch_of(width, batch)
    with atoll.compile(train_step, state, x, topology=topology, plan=plan, batch_argnums=1, donate_argnums=0) as step:
        told = step.report().islands[0].peak_bytes
        placed, there = step.put(state, x)
        _, loss = step(placed, there)
        loss.block_until_ready()
        measured = (devices[0].memory_stats() or {}).get("peak_bytes_in_use")
        if measured is None:  # CPU devices keep no statistics, so the runtime's own are taken
            measured = step.stats().peak_bytes["island0"]
        assert told >= sum(leaf.nbytes for leaf in jax.tree.leaves((state, x)))
        assert measured >= told


def test_what_the_user_puts_on_the_host_is_there(islands):
    def fn(s, x):
        return jax.device_put(jax.device_put(s, DEVICE) + x.sum(), HOST), x.sum()

    topology = islands(1, 1)
    there = jax.sharding.NamedSharding(topology.meshes[0], P(), memory_kind="pinned_host")
    s = jax.device_put(numpy.ones((256, 256), "float32"), there)
    x = numpy.ones(8, "float32")
    with atoll.compile(fn, s, x, topology=topology, donate_argnums=0) as step:
        for _ in range(2):
            s, total = step(s, x)
        numpy.testing.assert_array_equal(s, numpy.full((256, 256), 17, "float32"))
        ((copy,),) = s.promise.parts()
        assert copy.look().sharding.memory_kind == "pinned_host"
        assert step.report().islands[0].host_bytes == 256 * 256 * 4
        assert float(total) == 8


@pytest.mark.parametrize("layout", [(1, 1), (2, 2)], ids=["1x1", "2x2"])
def test_a_saved_program_is_loaded_with_its_executables(layout, islands, tmp_path):
    topology, seen = islands(*layout), []

    def note(event, _seconds, **_):
        seen.extend([event] * (event == COMPILED))

    with compiled(topology) as step:
        expected = step(state_of(), batch_of())
        step.save(tmp_path / "step.atoll", executables=True)
        jax.monitoring.register_event_duration_secs_listener(note)
        try:
            with atoll.load(tmp_path / "step.atoll", topology=topology) as loaded:
                assert not seen
                found = loaded(state_of(), batch_of())
                for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
                    numpy.testing.assert_array_equal(numpy.asarray(one), numpy.asarray(other))
        finally:
            jax.monitoring.unregister_event_duration_listener(note)


def test_control_beside_work_by_hand(islands, devices, record_property, capsys):
    """The same products, sums and update, in plain jax on one device. Only the answers are compared."""
    parts = numpy.split(batch_of(), MICROBATCHES)

    def loss_fn(w, x):
        return jnp.mean(jnp.matmul(jnp.tanh(jnp.matmul(x, w["one"], precision="highest")), w["two"]) ** 2)

    gradients_of = jax.jit(jax.grad(loss_fn))
    add = jax.jit(lambda total, one: jax.tree.map(jnp.add, total, one), donate_argnums=0)
    update = jax.jit(
        lambda state, total: (
            moved := jax.tree.map(lambda m, g: 0.9 * m + g / MICROBATCHES, state["m"], total),
            jax.tree.map(lambda p, m: p - 0.1 * m, state["w"], moved),
        ),
        donate_argnums=0,
    )

    def by_hand(state, parts):
        total = gradients_of(state["w"], parts[0])
        for part in parts[1:]:
            total = add(total, gradients_of(state["w"], part))
        moved, weights = update(state, total)
        return {"w": weights, "m": moved}

    def times(run, state):
        found = []
        for _ in range(20):
            began = time.perf_counter()
            state = jax.block_until_ready(run(state))
            found.append(time.perf_counter() - began)
        return 1000 * statistics.median(found[5:]), state

    with jax.default_device(devices[0]):
        placed = jax.device_put(parts, devices[0])
        hand, expected = times(lambda state: by_hand(state, placed), jax.device_put(state_of(), devices[0]))
    with compiled(islands(1, 1)) as step:
        state, x = step.put(state_of(), batch_of())

        def run(state):
            state, loss = step(state, x)
            loss.block_until_ready()
            return state

        own, found = times(run, state)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            numpy.testing.assert_allclose(one, other, rtol=5e-2, atol=5e-3)
    record_property("control", f"{own:.2f} ms a step, by hand {hand:.2f}")
    with capsys.disabled():
        print(f"\ncontrol: {own:.2f} ms a step, by hand {hand:.2f}, on {devices[0].device_kind}")
