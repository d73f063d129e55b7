"""Programs on one cluster, through the front door; `docs/programs.md` shows what they are for."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.compiler.errors import UsageError
from atoll.compiler.topology.topology import Topology
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

import atoll

X = jnp.arange(32.0).reshape(4, 8) / 32
PARAMS = {"first": jnp.ones((8, 8)) / 8, "second": jnp.ones((8, 4)) / 8}
STAGES = atoll.Plan(stages="first | second")


def predict(params, x):
    with jax.named_scope("first"):
        h = jnp.tanh(x @ params["first"])
    with jax.named_scope("second"):
        return h @ params["second"]


def train_step(params, x):
    loss, gradients = jax.value_and_grad(lambda params: jnp.sum(predict(params, x) ** 2))(params)
    return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradients), loss


@pytest.fixture
def cluster():
    with atoll.Cluster("3 x cpu[2] 1 MiB") as made:
        yield made


def test_programs_that_share_islands_compute_what_jit_does(cluster):
    """A trainer that overwrites its state, an evaluator on its islands, and a sampler on another and one of them."""
    train = atoll.compile(
        train_step, PARAMS, X, topology=cluster, islands=("island0", "island1"), plan=STAGES, donate_argnums=(0,)
    )
    programs = [
        atoll.compile(predict, PARAMS, X, topology=cluster, islands=islands, plan=STAGES)
        for islands in (("island0", "island1"), ("island2", "island0"))
    ]
    (state, _), expected = train.put(PARAMS, X), PARAMS
    for _ in range(5):
        state, loss = train(state, X)
        found = [program(state, X) for program in programs]
        expected, expected_loss = jax.jit(train_step)(expected, X)
        numpy.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
        for one in found:
            numpy.testing.assert_allclose(one, predict(expected, X), rtol=1e-5)
    # `first` is on island0 and has to come to island2; `second` is on island1 and has to come to island0.
    assert programs[1].stats().bytes_per_link == {
        ("island0", "island2"): 256,
        ("island1", "island0"): 128,
        ("island2", "island0"): 128,
    }


def test_a_saved_program_runs_on_some_islands_of_a_cluster(cluster, tmp_path):
    saved = atoll.lower(predict, PARAMS, X, topology="2 x cpu[2]", plan=STAGES)
    saved.save(tmp_path / "predict.atoll")
    step = atoll.load(tmp_path / "predict.atoll", topology=cluster)
    numpy.testing.assert_allclose(step(PARAMS, X), predict(PARAMS, X), rtol=1e-6)


def test_what_is_not_there_is_refused(cluster):
    with pytest.raises(atoll.TopologyError, match=r"^\S+: no island is called 'island7'; "):
        atoll.compile(predict, PARAMS, X, topology=cluster, islands=("island7",))
    with pytest.raises(
        atoll.TopologyError, match=r"^\S+: the islands are 'island0', of type str; name them in a tuple, as in "
    ):
        atoll.compile(predict, PARAMS, X, topology=cluster, islands="island0")
    with pytest.raises(atoll.TopologyError, match=r"^\S+: the islands are 5, of type int; name them in a tuple"):
        atoll.compile(predict, PARAMS, X, topology=cluster, islands=5)
    with pytest.raises(atoll.TopologyError, match=r"^\S+: no islands are named; name them"):
        atoll.compile(predict, PARAMS, X, topology=cluster, islands=())


def test_a_cluster_that_is_closed_closes_its_programs():
    with atoll.Cluster("1 x cpu[2]") as cluster:
        step = atoll.compile(predict, PARAMS, X, topology=cluster)
        found = step(PARAMS, X)
    numpy.testing.assert_allclose(found, predict(PARAMS, X), rtol=1e-6)  # results stay readable
    with pytest.raises(UsageError, match=r"this program was closed; compile or load it again"):
        step(PARAMS, X)
    with pytest.raises(UsageError, match=r"^.*test_cluster.py:\d+: this cluster was closed; make another one\n"):
        atoll.compile(predict, PARAMS, X, topology=cluster)


def test_memory_that_is_never_enough_is_refused(cluster):
    with pytest.raises(atoll.PlanError, match=r"a device of island island0 has 1 MiB and needs at least"):
        atoll.compile(lambda x: x * 2, jnp.ones((1 << 20,)), topology=cluster, islands=("island0",))


def test_some_islands_of_a_topology_keep_their_links():
    whole = Topology.parse(
        "island a : cpu[2]; island b : cpu[1]; island c : cpu[4]"
        "; link a <-> c : 1 GB/s, 1 ms; link a <-> b : 2 GB/s, 1 ms"
    )
    assert str(whole.only(("c", "a"))) == "island c : cpu[4]\nisland a : cpu[2]\nlink a <-> c : 1 GB/s, 1 ms"
