"""Where work goes: stage texts, free placement, real devices; and what is refused."""

import inspect

import flax.nnx
import jax
import jax.numpy as jnp
import numpy
import pytest
import zoo
from timed_harness import compiled_quickly, compiling_quickly  # noqa: F401 (a fixture)

import atoll

X = jnp.arange(12.0).reshape(3, 4)


def tasks(step):
    """The tasks of each island."""
    return {island.name: island.tasks for island in step.report().islands}


def links(step):
    return step.stats().bytes_per_link


def chain(v):
    """The example of the Pathways paper."""
    x = a(v)
    y = b(x)
    z = a(c(x))
    return y, z


def a(x):
    with jax.named_scope("a"):
        return 2 * x


def b(x):
    with jax.named_scope("b"):
        return x + 1


def c(x):
    with jax.named_scope("c"):
        return x / 2


def nested(v):
    with jax.named_scope("outer"):
        return a(v)


THREE = "island left : cpu[1]; island middle : cpu[2]; island right : cpu[data=2, model=2]"


# Free placement.


def test_the_example_of_the_pathways_paper():
    placement = {"a": "left", "b": "middle", "c": "right"}
    v = numpy.array([1, 2], numpy.float32)
    with atoll.compile(chain, v, topology=THREE, plan=atoll.Plan(placement=placement)) as f:
        y, z = f(v)
        assert (y.islands, z.islands) == (("middle",), ("left",))
        numpy.testing.assert_array_equal(y, [3, 5])
        numpy.testing.assert_array_equal(z, [2, 4])
        # `a` runs twice on its island: before and behind `c`.
        assert {name: len(names) for name, names in tasks(f).items()} == {"left": 2, "middle": 1, "right": 1}
        assert links(f) == {("left", "middle"): 8, ("left", "right"): 8, ("right", "left"): 8}


def test_there_and_back_and_there_again():
    def fn(x):
        for turn in range(6):
            with jax.named_scope("even" if turn % 2 == 0 else "odd"):
                x = jnp.tanh(x) + turn
        return x

    plan = atoll.Plan(placement={"even": "island0", "odd": "island1"})
    with atoll.compile(fn, X, topology="2 x cpu[1]", plan=plan) as step:
        numpy.testing.assert_array_equal(step(X), jax.jit(fn)(X))
        assert {name: len(names) for name, names in tasks(step).items()} == {"island0": 3, "island1": 3}
        assert links(step) == {("island0", "island1"): 3 * X.nbytes, ("island1", "island0"): 2 * X.nbytes}


def test_a_train_step_is_placed_freely():
    case = zoo.CASES["u_net"]()
    plan = atoll.Plan(placement={"down": "left", "bottom": "right", "up": "left"})
    with atoll.compile(case.fn, *case.args, topology=THREE, plan=plan) as step:
        results, expected = step(*case.args), jax.jit(case.fn)(*case.args)
        for ours, theirs in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True):
            numpy.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        (params, _), _, grads = results
        assert {name: value.islands for name, value in params.items()} == {
            name: ("right" if name == "c" else "left",) for name in "abcde"
        }
        assert all(grads[name].islands == params[name].islands for name in "abcde")
        assert tasks(step)["middle"] == ()


# Stages.


def test_parameters_live_with_their_layers():
    case = zoo.CASES["mlp_adam"]()
    plan = atoll.Plan(stages="layer_0 | layer_[1..2] | layer_3")
    with atoll.compile(case.fn, *case.args, topology="3 x cpu[1]", plan=plan) as step:
        (params, opt_state), _, grads = step(*case.args)
        for tree in (params, grads, opt_state[0].mu, opt_state[0].nu):
            assert [layer["w"].islands for layer in tree] == [("island0",), ("island1",), ("island1",), ("island2",)]
            assert [layer["b"].islands for layer in tree] == [("island0",), ("island1",), ("island1",), ("island2",)]


def test_a_model_without_scopes_is_cut_by_the_paths_of_its_parameters():
    case = zoo.CASES["flax_nnx"]()
    plan = atoll.Plan(stages="first | second | third")
    with atoll.compile(case.fn, *case.args, topology="3 x cpu[1]", plan=plan) as step:
        (params, _), _, _ = step(*case.args)
        for number, name in enumerate(("first", "second", "third")):
            assert {value.islands for value in jax.tree.leaves(params[name])} == {(f"island{number}",)}


def test_a_whole_nnx_module_as_state():
    graph, state = flax.nnx.split(zoo.Nnx(flax.nnx.Rngs(0)))

    def fn(state, x):
        return flax.nnx.merge(graph, state)(x)

    x = zoo.normal(90, 12, 8)
    with atoll.compile(fn, state, x, topology="2 x cpu[1]", plan=atoll.Plan(stages="first | second, third")) as step:
        numpy.testing.assert_array_equal(step(state, x), jax.jit(fn)(state, x))
        assert links(step) == {("island0", "island1"): 12 * 16 * 4}


def test_more_stages_than_islands_go_round():
    case = zoo.CASES["mlp_inference"]()
    plan = atoll.Plan(stages="layer_0 | layer_1 | layer_2")
    with atoll.compile(case.fn, *case.args, topology="2 x cpu[1]", plan=plan) as step:
        numpy.testing.assert_array_equal(step(*case.args), jax.jit(case.fn)(*case.args))
        assert tasks(step) == {"island0": ("F0", "F2"), "island1": ("F1",)}


def test_more_stages_than_cuts_leave_islands_empty():
    with atoll.compile(lambda x: jnp.sin(x) + 1, X, topology="4 x cpu[1]") as step:
        assert numpy.asarray(step(X)).shape == X.shape
        empty = [name for name, names in tasks(step).items() if not names]
        assert len(empty) >= 2
        assert str(step.report()).count("(empty: no stage)") == len(empty)


def test_a_tied_embedding_lives_once_and_crosses_once():
    case = zoo.CASES["tied_embedding"]()
    plan = atoll.Plan(stages="embed, layer_0 | layer_1, head")
    with atoll.compile(case.fn, *case.args, topology="2 x cpu[1]", plan=plan, donate_argnums=0) as step:
        embedding = case.args[0][0]["embedding"].nbytes
        # The embedding and its gradient, an activation and its gradient: all of one size here.
        large = [(one.source, one.target) for one in step.report().transfers if one.bytes >= embedding]
        assert sorted(large) == 2 * [("island0", "island1")] + 2 * [("island1", "island0")]
        [shared] = [one for one in step.report().shared if "embedding" in one.path]
        assert shared.bytes == embedding
        assert (shared.home, shared.islands) == ("island0", ("island0", "island1"))
        assert shared.why == "where its new value is made"
        assert f"{shared.path}  " in str(step.report())


@pytest.mark.own
def test_the_transformer_on_four_islands_sends_the_least_there_is():
    config = zoo.decoder.CONFIG
    plan = atoll.Plan(stages="embed, layer_0 | layer_1 | layer_2 | layer_3, head", microbatches=1)
    with atoll.compile(zoo.decoder.job, topology="4 x cpu[1]", plan=plan) as step:
        examples = zoo.decoder.TOKENS.shape[0]
        activations = examples * config.length * config.width * 4
        targets, count = examples * config.length * 4, 4
        least = 6 * activations + targets + 3 * count
        sent = sum(one.bytes for one in step.report().transfers)
        assert least <= sent <= 1.01 * least


# Devices.


def test_real_meshes_whose_devices_are_in_an_unusual_order():
    devices = jax.devices()
    left = jax.sharding.Mesh(numpy.array([devices[5], devices[2]]), ("model",))
    right = jax.sharding.Mesh(numpy.array([[devices[7], devices[0]], [devices[3], devices[1]]]), ("data", "model"))
    topology = atoll.Topology.from_devices({"left": left, "right": right})
    case = zoo.CASES["mlp_sgd"]()
    plan = atoll.Plan(stages="layer_[0..1] | layer_[2..3]")
    # Bits are compared, and those of a sum depend on the code that XLA makes.
    with compiling_quickly(False), atoll.compile(case.fn, *case.args, topology=topology, plan=plan) as step:
        results, expected = step(*case.args), jax.jit(case.fn)(*case.args)
        for ours, theirs in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True):
            numpy.testing.assert_array_equal(ours, theirs)
        assert {leaf.islands for leaf in jax.tree.leaves(results)} == {("left",), ("right",)}


def test_a_list_of_devices_for_each_island():
    devices = jax.devices()
    topology = atoll.topology([[devices[4]], [devices[6], devices[1]]])
    plan = atoll.Plan(placement={"a": "island0", "b": "island1", "c": "island1"})
    v = numpy.ones(2, numpy.float32)
    with atoll.compile(chain, v, topology=topology, plan=plan) as step:
        y, z = step(v)
        assert (y.islands, z.islands) == (("island1",), ("island0",))
        numpy.testing.assert_array_equal(y, [3, 3])


def test_too_few_devices_for_the_topology():
    with pytest.raises(atoll.TopologyError, match=r"needs 64 cpu devices, and there are 8; put jax.config.update"):
        atoll.compile(chain, X, topology="16 x cpu[4]")


# What is refused.


@pytest.mark.parametrize(
    ("fn", "plan", "sentence"),
    [
        (
            chain,
            {"stages": "a | b, c | d"},
            r"pattern d of stage 2 matches no scope and no parameter.*scopes are a, b, c",
        ),
        (nested, {"stages": "outer | a | b"}, r"outer/a is claimed by stage 0 \(outer\) and stage 1 \(a\)"),
        (chain, {"stages": "b | c | a"}, r"stage 0 \(b\) needs what stage 2 \(a\) computes"),
        (chain, {"placement": {"a": "up"}}, r"placement puts a on island up.*its islands are left, middle, right"),
        (chain, {"microbatches": 2}, r"no argument that is used carries the batch"),
        (chain, {"replicas": 2}, r"2 replicas, and 3 islands cannot be divided into so many"),
        (chain, {"schedule": "zb-v", "stages": 3}, r"cut into 6 stages, or take another schedule"),
    ],
)
def test_a_plan_that_does_not_fit(fn, plan, sentence):
    with pytest.raises(atoll.PlanError, match=sentence) as caught:
        atoll.compile(fn, X, topology=THREE, plan=atoll.Plan(**plan))
    assert "\n" not in caught.value.sentence
    assert caught.value.where


def test_the_order_of_stages_is_blamed_on_the_users_line():
    with pytest.raises(atoll.PlanError) as caught:
        atoll.compile(chain, X, topology=THREE, plan=atoll.Plan(stages="b | c | a"))
    file, _, line = caught.value.where.rpartition(":")
    assert file == __file__
    lines, first = inspect.getsourcelines(b)
    assert int(line) == first + len(lines) - 1


def test_a_limit_of_memory_that_does_not_hold_the_values():
    topology = "island left : cpu[1] 1 KiB; island right : cpu[1] 1 KiB"
    case = zoo.CASES["mlp_sgd"]()
    with pytest.raises(atoll.PlanError, match=r"a device of island left has 1 KiB and needs at least [0-9.]+ KiB"):
        atoll.compile(case.fn, *case.args, topology=topology)


def test_an_island_that_has_room_for_nothing_stays_empty():
    case = zoo.CASES["mlp_sgd"]()
    topology = "island left : cpu[1] 1 KiB; island right : cpu[1]"
    with atoll.compile(case.fn, *case.args, topology=topology) as step:
        assert tasks(step)["left"] == ()
        for found, expected in zip(
            *map(jax.tree.leaves, (step(*case.args), jax.jit(case.fn)(*case.args))), strict=True
        ):
            numpy.testing.assert_allclose(numpy.asarray(found), numpy.asarray(expected), rtol=1e-5, atol=1e-6)
