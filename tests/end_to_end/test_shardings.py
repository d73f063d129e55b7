"""Values divided over the devices of an island: by the arguments' shardings, and by constraints inside the model."""

import jax
import jax.numpy as jnp
import numpy
import optax
import pytest
import zoo
from jax.sharding import PartitionSpec as P
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

import atoll

ALIKE = "2 x cpu[data=2, model=2]"
UNLIKE = "island a : cpu[data=2, model=2]; island b : cpu[data=2]; island c : cpu[1]"


def constrained_step(constraint):
    """A train step whose activations are constrained, and the same without: only the bits' order may differ."""

    def loss(params, x, y):
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                x = jnp.tanh(x @ layer["w"] + layer["b"])
                x = jax.lax.with_sharding_constraint(x, constraint) if constraint else x
        return zoo.squares(x, y)

    return zoo.train(
        loss, optax.adam(1e-2), zoo.dense_params(1, 8, 16, 16, 4), zoo.normal(90, 12, 8), zoo.normal(91, 12, 4)
    )


def assert_same(found, expected):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        numpy.testing.assert_allclose(numpy.asarray(ours), numpy.asarray(theirs), rtol=1e-5, atol=1e-6)


def specs(step):
    """The ways in which the buffers of each island are divided."""
    return {island.name: {buffer.spec for buffer in island.buffers if buffer.spec} for island in step.program.islands}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("topology", [ALIKE, UNLIKE])
def test_data_and_model_parallel_within_islands(topology):
    plain, case = constrained_step(None), constrained_step(P("data", None))
    weights = jax.tree.map(lambda leaf: P(None, "model") if leaf.ndim == 2 else P(), case.args[0])
    with atoll.compile(case.fn, *case.args, topology=topology, in_shardings=(weights, P("data"), P("data"))) as step:
        assert_same(step(*case.args), jax.jit(plain.fn)(*plain.args))
        first, *others = step.program.islands
        assert any("model" in axes for spec in specs(step)[first.name] for axes in spec)
        assert any("data" in axes for spec in specs(step)[others[0].name] for axes in spec)
        told = str(step.report())
        assert ("replicated on b, which cannot divide some value over axis model" in told) == (topology == UNLIKE)
        for island in step.program.islands:
            known = {name for name, _ in island.axes}
            assert all(set(axes) <= known for spec in specs(step)[island.name] for axes in spec)


def test_an_axis_that_does_not_divide_is_left_out():
    def fn(x):
        return jnp.sin(x) * 2

    x = zoo.normal(1, 4, 3)
    with atoll.compile(fn, x, topology="island a : cpu[data=4]", in_shardings=(P("data"),)) as step:
        assert specs(step) == {"a": {(("data",), ())}}
        assert_same(step(x), fn(x))
    with atoll.compile(
        fn, x, topology="island a : cpu[data=2]; island b : cpu[data=3]", in_shardings=(P("data"),)
    ) as step:
        assert_same(step(x), fn(x))
        assert specs(step)["b"] == set()


@pytest.mark.one_in(2)
@pytest.mark.parametrize("fn", [lambda x: x * 2, lambda x: x.sum(axis=1)], ids=["rows", "sums"])
@pytest.mark.parametrize("spec", [P("data"), P(None, "model")], ids=str)
def test_results_that_carry_the_batch_are_divided_within_each_microbatch(fn, spec):
    x = zoo.normal(1, 16, 4)
    plan = atoll.Plan(microbatches=2)
    with atoll.compile(
        fn, x, topology="1 x cpu[data=2, model=2]", plan=plan, batch_argnums=0, in_shardings=(spec,)
    ) as step:
        assert_same(step(x), fn(x))
        (island,) = step.program.islands
        assert any(buffer.spec for buffer in island.buffers)


def test_results_are_divided_as_asked():
    x = zoo.normal(1, 8, 8)
    with atoll.compile(jnp.sin, x, topology="1 x cpu[data=2, model=2]", out_shardings=P("model", "data")) as step:
        (island,) = step.program.islands
        (place,) = step.program.outputs[0].every_place
        assert island.buffers[place[1]].spec == (("model",), ("data",))
        assert_same(step(x), jnp.sin(x))


def test_what_has_no_sharding_is_replicated():
    def fn(x, y):
        return jax.lax.with_sharding_constraint(x @ y, P("data", "model"))

    x, y = zoo.normal(1, 8, 8), zoo.normal(2, 8, 8)
    with atoll.compile(fn, x, y, topology="1 x cpu[data=2, model=2]") as step:
        (island,) = step.program.islands
        assert [island.buffers[number].spec for one in step.program.inputs for _, number in one.every_place] == [(), ()]
        assert (("data",), ("model",)) in specs(step)["island0"]
        assert_same(step(x, y), x @ y)


def test_divided_values_pass_through_loops_and_keys():
    def fn(x, layers, key):
        def body(x, layer):
            return jnp.tanh(x @ layer), x.sum()

        with jax.named_scope("loop"):
            x, sums = jax.lax.scan(body, x, layers)
        with jax.named_scope("noise"):
            return x + jax.random.normal(key, x.shape), sums

    args = (zoo.normal(1, 8, 16), zoo.normal(2, 3, 16, 16, scale=0.2), jax.random.key(3))
    with atoll.compile(
        fn,
        *args,
        topology=ALIKE,
        plan=atoll.Plan(stages="loop | noise"),
        in_shardings=(P("data"), P(None, None, "model"), P()),
    ) as step:
        assert_same(step(*args), jax.jit(fn)(*args))
        assert (("data",), ("model",)) in specs(step)["island1"]


def test_donated_divided_state_keeps_its_division():
    case = constrained_step(P("data", None))
    weights = jax.tree.map(lambda leaf: P(None, "model") if leaf.ndim == 2 else P(), case.args[0])
    shardings = (weights, P("data"), P("data"))
    with atoll.compile(
        case.fn,
        *case.args,
        topology=ALIKE,
        donate_argnums=0,
        in_shardings=shardings,
        out_shardings=(weights, P(), None),
    ) as step:
        state = jax.tree.map(jnp.copy, case.args[0])
        for _ in range(3):
            state, *_ = step(state, *case.args[1:])
        plain = constrained_step(None)
        reference = plain.args[0]
        for _ in range(3):
            reference, *_ = jax.jit(plain.fn)(reference, *plain.args[1:])
        for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(reference), strict=True):
            numpy.testing.assert_allclose(numpy.asarray(ours), numpy.asarray(theirs), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("shardings", "expected"),
    [
        ((P("rows"),), "the axes are data, model"),
        ((3,), "a sharding is an int"),
        ((P("data", None, "model"),), "fn cannot be traced"),
        ((P(("data", "model")),), "fn cannot be traced"),
        ((P("data"), P()), "; correct in_shardings and out_shardings: prefixes"),
        (({"x": P("data")},), "different types at key path pjit in_shardings[0]; correct in_shardings"),
    ],
)
def test_a_sharding_that_does_not_fit_is_one_sentence(shardings, expected):
    def fn(x):
        return x + 1

    with pytest.raises(atoll.CompileError, match=r"test_shardings\.py:\d+: ") as error:
        atoll.compile(fn, jnp.zeros((6, 3)), topology=ALIKE, in_shardings=shardings)
    assert expected in str(error.value)


def test_shardings_of_a_job_need_a_topology(capsys, tmp_path):
    from atoll.compiler.commands.cli import run_here

    file = tmp_path / "divided.py"
    file.write_text(
        "import atoll, jax\n"
        "from jax.sharding import PartitionSpec as P\n"
        "x = jax.ShapeDtypeStruct((8, 8), 'float32')\n"
        "job = atoll.Job(jax.numpy.sin, x, in_shardings=(P('data'),))\n"
    )
    assert run_here(["dump", f"{file}:job"]) == 1
    assert "divided.py:4: shardings need a topology" in capsys.readouterr().err
    assert run_here(["dump", f"{file}:job", "--topology", "2 x cpu[data=2]", "--phase", "placed"]) == 0
    assert 'sharding=<@mesh, [{"data"}, {}]>' in capsys.readouterr().out


def test_put_places_arguments_where_a_step_takes_them():
    case = constrained_step(P("data", None))
    with atoll.compile(case.fn, *case.args, topology=ALIKE) as step:
        state, x, y = step.put(*case.args)
        assert jax.tree.structure(state) == jax.tree.structure(case.args[0])
        assert {leaf.islands for leaf in jax.tree.leaves(state)} == {("island0",), ("island1",)}
        assert (x.islands, y.islands) == (("island0",), ("island1",))
        assert_same(step(state, x, y), step(*case.args))


# What links carry.


def two_stages(x, w, v):
    with jax.named_scope("first"):
        x = jnp.tanh(x @ w)
    with jax.named_scope("second"):
        return x, jnp.tanh(x @ v)


@pytest.fixture
def landed(monkeypatch):
    """The bytes that each `jax.device_put` brings to devices that had nothing of the array; islands alike in size."""
    seen = []
    put = jax.device_put

    def counted(array, target, **more):
        moved = put(array, target, **more)
        if isinstance(array, jax.Array) and not array.devices() & moved.devices():
            seen.append(sum(shard.data.nbytes for shard in moved.addressable_shards))
        return moved

    monkeypatch.setattr(jax, "device_put", counted)
    return seen


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("right", "shardings"),
    [
        ("cpu[1]", {}),
        ("cpu[4]", {}),
        ("cpu[data=2, model=2]", {}),
        ("cpu[data=2, model=2]", {"in_shardings": (P("data"), P(), P())}),
        ("cpu[data=2, model=2]", {"in_shardings": (P("data"), P(None, "model"), P())}),
        ("cpu[model=2]", {"in_shardings": (P(), P(None, "model"), P())}),
    ],
    ids=["one", "replicated", "replicated 2x2", "data", "data and model", "model"],
)
@pytest.mark.parametrize("left", ["cpu[data=2, model=2]", "cpu[data=2]"])
@pytest.mark.parametrize("rows", [8, 7])
def test_each_byte_crosses_a_link_once(left, right, shardings, rows, landed):
    """7 rows cannot be divided."""
    if rows == 7 and shardings:
        shardings = {"in_shardings": (P(), *shardings["in_shardings"][1:])}
    args = zoo.normal(1, rows, 16), zoo.normal(2, 16, 8), zoo.normal(3, 8, 4)
    topology = f"island a : {left}; island b : {right}"
    with atoll.compile(
        two_stages, *args, topology=topology, plan=atoll.Plan(stages="first | second"), **shardings
    ) as step:
        placed = step.put(*args)
        landed.clear()
        assert_same(step(*placed), two_stages(*args))
        told = {(one.source, one.target): one.bytes for one in step.report().links}
        assert told == step.stats().bytes_per_link == {("a", "b"): rows * 8 * 4}
        assert sum(landed) == rows * 8 * 4
