"""Islands in processes write their parts of a checkpoint themselves. The processes are started without Ray."""

import os
import random
import signal
import time

import jax
import jax.numpy as jnp
import numpy
import orbax.checkpoint as ocp
import pytest
from atoll.checkpoint.manifest import LeafEntry, LeafPart
from atoll.checkpoint.writing_islands import WritingIslands
from atoll.compiler import cluster as cluster_module
from atoll.compiler.errors import AtollError
from atoll.runtime.leaves import LeafKind
from atoll.runtime.promise import Promise
from jax.sharding import PartitionSpec as P
from local_processes import LocalProcesses

import atoll

pytestmark = pytest.mark.own


def normal(seed, *shape):
    return numpy.random.default_rng(seed).normal(size=shape).astype("float32") / 3


def train_step(state, x, y):
    def loss_fn(params):
        h, _ = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, params["layers"])
        h, _ = jax.lax.scan(lambda h, w: (h * w, None), h, params["scales"])
        return jnp.mean((h - y) ** 2)

    loss, gradients = jax.value_and_grad(loss_fn)(state["params"])
    params = jax.tree.map(lambda p, g: p - 0.1 * g, state["params"], gradients)
    return {"params": params, "step": state["step"] + 1}, loss


def initial():
    return {"params": {"layers": normal(0, 8, 6, 6), "scales": normal(1, 7, 6)}, "step": numpy.int32(0)}


X, Y = normal(2, 8, 6), normal(3, 8, 6)
PLAN = atoll.Plan(stages=2, microbatches=2, schedule="1f1b")


DIVIDED = {"params": {"layers": P(None, "x"), "scales": P(None, "x")}, "step": P()}, P(), P()


def compiled(topology, plan=PLAN, shardings=None):
    options = {"batch_argnums": (1, 2), "donate_argnums": 0, "in_shardings": shardings}
    return atoll.compile(train_step, initial(), X, Y, topology=topology, plan=plan, **options)


def bits(state):
    return [numpy.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


@pytest.fixture
def started(monkeypatch):
    """A cluster in processes. before: what each does before it is an island, by its seat."""

    def start(topology, before=()):
        monkeypatch.setattr(cluster_module, "OnRay", lambda _: LocalProcesses(before))
        return atoll.Cluster(topology, cluster="ray", watchdog=20)

    return start


@pytest.fixture
def read_here(monkeypatch):
    """The paths of what is read by way of this process."""
    paths, computed = [], Promise.computed

    def noted(promise, handle):
        paths.append(promise.port.path)
        return computed(promise, handle)

    monkeypatch.setattr(Promise, "computed", noted)
    return paths


@pytest.mark.parametrize(
    ("topology", "plan", "shardings"),
    [
        ("4 x cpu[1]", atoll.Plan(stages=2, replicas=2, microbatches=2, schedule="1f1b"), None),
        ("2 x cpu[x=2] in 2 processes", PLAN, DIVIDED),
    ],
)
def test_what_islands_have_written_goes_on_anywhere(started, read_here, tmp_path, topology, plan, shardings):
    with started(topology) as cluster:
        step = compiled(cluster, plan, shardings)
        state, _ = step(initial(), X, Y)
        read_here.clear()
        saving = atoll.save_checkpoint(tmp_path, 1, state)
        assert not read_here
        expected = bits(state)
        step(state, X, Y)  # which donates what is being written
        saving.wait()
        assert [path.name for path in tmp_path.iterdir()] == ["1"]
        assert bits(atoll.load_checkpoint(tmp_path, like=state)) == expected
    assert bits(atoll.load_checkpoint(tmp_path, like=initial())) == expected
    with ocp.CheckpointManager(tmp_path) as manager:
        assert bits(manager.restore(1)) == expected


def test_a_cluster_does_not_end_before_its_islands_have_written(started, tmp_path):
    with started("2 x cpu[1]") as cluster:
        state = compiled(cluster).put(initial(), X, Y)[0]
        saving = atoll.save_checkpoint(tmp_path, 1, state)
    assert saving.is_done or not saving.wait()
    assert bits(atoll.load_checkpoint(tmp_path, like=initial())) == bits(initial())


BREAKS = """
import tensorstore
def fail(*_, **__):
    raise OSError("the disk is full")
tensorstore.open = fail
"""


def test_what_cannot_be_written_leaves_what_was_there(started, tmp_path, caplog):
    atoll.save_checkpoint(tmp_path, 1, initial()).wait()
    with started("2 x cpu[1]", {(1, 0): BREAKS}) as cluster:
        state = compiled(cluster).put(initial(), X, Y)[0]
        with pytest.raises(AtollError, match=r"checkpoint .*/2 was not written: the disk is full"):
            atoll.save_checkpoint(tmp_path, 2, state).wait()
    assert [one.name for one in caplog.records if one.levelname == "ERROR"] == ["atoll.checkpoint.saving"]
    assert atoll.checkpoint_steps(tmp_path) == (1,)


def test_an_island_that_cannot_write_has_it_written_here(started, read_here, tmp_path):
    """Without tensorstore there; so it is where the directory is another one."""
    with started("2 x cpu[1]", {(0, 0): "import sys; sys.modules['tensorstore'] = None"}) as cluster:
        state = compiled(cluster).put(initial(), X, Y)[0]
        atoll.save_checkpoint(tmp_path, 1, state).wait()
        assert read_here.count("state['params']['layers']") == 1
    assert bits(atoll.load_checkpoint(tmp_path, like=initial())) == bits(initial())


@pytest.fixture
def kills(request):
    return 20 if request.config.getoption("--full") else 2


def value_of(directory, step):
    """Which state the checkpoint of a step is; all of it has to say so."""
    found = atoll.load_checkpoint(directory, like=initial(), step=step)
    assert bits(found) == bits(numbered(int(found["step"])))
    return int(found["step"])


def numbered(value):
    """All of it says which one it is."""
    return jax.tree.map(lambda leaf: numpy.full_like(leaf, value), initial())


@pytest.mark.timeout(1800)  # each kill takes a cluster
def test_islands_that_are_killed_lose_at_most_what_is_being_saved(started, kills, tmp_path):
    chance, there = random.Random(5), ()
    for number in range(0, 2 * kills, 2):
        with started("2 x cpu[1]") as cluster:
            step = compiled(cluster)
            first, second = (step.put(numbered(value), X, Y)[0] for value in (number, number + 1))
            began = time.monotonic()
            atoll.save_checkpoint(tmp_path, number, first).wait()
            took = time.monotonic() - began
            saving = atoll.save_checkpoint(tmp_path, number + 1, second)
            time.sleep(chance.uniform(0, took))
            killed = chance.choice(("island0", "island1"))
            os.kill(cluster.shared.ground.pids[killed][0], signal.SIGKILL)
            saving.join()
            there, before = atoll.checkpoint_steps(tmp_path), (*there, number)
            if there == before:
                with pytest.raises(AtollError, match=rf"/{number + 1} was not written: island {killed} was lost"):
                    saving.wait()
            else:
                assert there == (*before, number + 1)
            with pytest.raises(atoll.IslandLost):
                step(second, X, Y)[1].block_until_ready()
        assert [value_of(tmp_path, one) for one in there] == list(there)


class Stuck:
    """What has an island whose processes answer, and write nothing."""

    def apply(self, name, function, patience):
        return [3, 4]


def test_an_island_that_writes_nothing_is_told():
    writing = WritingIslands()
    writing._number([((Stuck(), "left"), [True, True])])
    with pytest.raises(AtollError, match=r"^\S+: island left has written nothing for 600 seconds; look at the disk"):
        writing.finish()


def entry(shape, *parts):
    return LeafEntry(LeafKind(shape, "float32"), tuple(LeafPart(*one) for one in parts))


@pytest.mark.parametrize(
    ("one", "chunk", "whole"),
    [
        (entry((8, 4), (((0, 4), (0, 4)),), (((4, 8), (0, 4)),)), (4, 4), [True, True]),
        # blocks of one row would be tiny: the first part has one of four, the second the rest of the second
        (entry((7, 4), (((0, 4), (0, 4)),), (((4, 7), (0, 4)),)), (4, 4), [True, True]),
        (entry((7, 4), (((0, 3), (0, 4)),), (((3, 7), (0, 4)),)), (4, 4), [False, False]),
        (entry((7, 1 << 14), (((0, 3), (0, 1 << 14)),), (((3, 7), (0, 1 << 14)),)), (1, 1 << 14), [True, True]),
        # in two processes each
        (entry((8, 4), (((0, 8), (0, 4)), (), (4, 4))), (4, 4), [True]),
        (entry((8, 4), (((0, 4), (0, 4)), (), (2, 4)), (((4, 8), (0, 4)), (), (4, 2))), (4, 4), [False, False]),
    ],
)  # fmt: skip
def test_parts_in_whole_blocks(one, chunk, whole):
    assert one.chunk == chunk
    assert [one.is_in_whole_blocks(part) for part in one.parts] == whole
