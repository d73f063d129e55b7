"""A saved program, loaded: called with the same pytrees it returns the same pytrees, without the user's source."""

import dataclasses
import os
import re
import subprocess
import textwrap
from typing import NamedTuple

import equinox
import flax.nnx
import flax.training.train_state
import jax
import jax.numpy as jnp
import numpy
import optax
import pytest
import standing_python
import zoo
from atoll.runtime.program_file import load_program, save_program
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

import atoll

TOPOLOGY = "island left : cpu[1]; island right : cpu[2]"

# Of every kind of pytree one.
CASES = ["mlp_adamw_clipped", "flax_linen", "flax_nnx", "equinox_mlp", "many_dtypes", "passed_through_twice_and_unused"]


class Scores(NamedTuple):
    total: object
    parts: object


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Summary:
    mean: object
    kind: str = dataclasses.field(metadata={"static": True}, default="plain")


@dataclasses.dataclass(frozen=True)
class Config:
    factor: float


def fresh(args):
    """Copies that may be donated."""
    return jax.tree.map(lambda leaf: leaf.copy() if isinstance(leaf, jax.Array) else leaf, args)


def words(leaf):
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return numpy.asarray(jax.random.key_data(leaf.to_jax()) if is_key else leaf)


def check_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        numpy.testing.assert_array_equal(words(one), words(other))


@pytest.fixture
def saved(tmp_path):
    """Compile and save; the path, and the compiled program."""
    path = tmp_path / "step.atoll"

    def save(fn, *args, **options):
        step = atoll.compile(fn, *fresh(args), **{"topology": TOPOLOGY, **options})
        step.save(path)
        return path, step

    return save


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", CASES)
def test_a_loaded_program_is_the_saved_one(name, saved):
    case = zoo.CASES[name]()
    path, step = saved(case.fn, *case.args, donate_argnums=case.donate)
    with step, atoll.load(path) as loaded:
        check_equal(loaded(*fresh(case.args)), step(*fresh(case.args)))
        assert loaded.plan == step.plan
        assert loaded.topology == step.topology
        assert loaded.report() == step.report()
        assert str(loaded.report()) == str(step.report())
        assert loaded.phases == ("program",)
        assert step.phases[-2:] == ("scheduled", "program")
        assert loaded.ir("program") == step.ir("program")
        assert loaded.stats().order == step.stats().order


def test_the_program_as_text(saved):
    case = zoo.CASES["mlp_inference"]()
    _, step = saved(case.fn, *case.args)
    text = step.ir("program")
    for line in (
        r"topology island left : cpu\[1\]",
        "plan stages=auto, microbatches=auto, schedule=auto, replicas=auto",
        r"input layers\[0\]\['b'\] : float32\[16\] -> left %\d",
        r"output result : float32\[8, 4\] <- right %\d+",
        r"island right \[devices=2\]",
        r"  run F0: \w+\(%\d+, .*\) -> \(%\d+: float32\[8, 16\]\)",
        r"  send %\d+ to right, 512 bytes, tag 0",
        r"  receive %\d+: float32\[8, 16\] from left, tag 0",
        r"  free %\d+",
        r"code 0 \w+: \d+ bytes, scopes layer_0, from .*zoo.py:\d+",
        r"    func.func public @main\(.*",
    ):
        assert re.search(f"^{line}", text, re.MULTILINE), f"{line}\n{text}"
    with pytest.raises(atoll.AtollError, match="there is no phase 'programme'; did you mean 'program'"):
        step.ir("programme")


def test_a_state_goes_round(saved):
    """A flax train state has functions in it, so it is taken from the call's argument."""
    state = flax.training.train_state.TrainState.create(
        apply_fn=lambda p, x: x @ p["w"], params={"w": jnp.ones((4, 2))}, tx=optax.adam(1e-2)
    )

    def train(state, x):
        loss, grads = jax.value_and_grad(lambda p: jnp.mean(state.apply_fn(p, x) ** 2))(state.params)
        return state.apply_gradients(grads=grads), loss

    x = jnp.ones((3, 4))
    expected = jax.jit(train)(*jax.jit(train)(state, x)[:1], x)
    path, step = saved(train, state, x, donate_argnums=0)
    with step, atoll.load(path) as loaded:
        again, _ = loaded(fresh(state), x)
        assert isinstance(again, flax.training.train_state.TrainState)
        again, loss = loaded(again, x)
        assert again.apply_fn is state.apply_fn
        numpy.testing.assert_allclose(again.params["w"], expected[0].params["w"], rtol=1e-5)
        numpy.testing.assert_allclose(loss, expected[1], rtol=1e-5)


def test_modules_as_arguments_and_results(saved):
    linear = equinox.nn.Linear(4, 2, key=zoo.KEY)
    state = flax.nnx.split(flax.nnx.Linear(2, 3, rngs=flax.nnx.Rngs(0)))[1]

    def fn(linear, state, x):
        grads = jax.grad(lambda one: one(x).sum())(linear)
        return {"state": jax.tree.map(jnp.tanh, state), "grads": grads}, Scores(x, Summary(x.sum(), "sum"))

    path, step = saved(fn, linear, state, jnp.ones(4))
    with step, atoll.load(path) as loaded:
        found = loaded(linear, state, jnp.ones(4))
        check_equal(found, step(linear, state, jnp.ones(4)))
        assert isinstance(found[1].parts, Summary)
        assert found[1].parts.kind == "sum"
        other = equinox.nn.Linear(4, 2, use_bias=False, key=zoo.KEY)
        with pytest.raises(atoll.CompileError, match=r"argument linear has another structure .*linear is equinox"):
            loaded(other, state, jnp.ones(4))


def test_a_class_that_cannot_be_made_again_is_refused(saved):
    class Local(NamedTuple):
        y: object

    with pytest.raises(
        atoll.CompileError, match=r"result\['a'\] is a .*<locals>.Local, which cannot be imported .*return a dict"
    ):
        saved(lambda x: {"a": Local(x + 1)}, jnp.ones(3))


def test_arguments_that_do_not_fit(saved):
    path, step = saved(lambda state, x: state["w"] * x, {"w": jnp.ones(3)}, 2.0)
    with step, atoll.load(path) as loaded:
        for one in (step, loaded):
            with pytest.raises(atoll.CompileError, match="was compiled for 2 arguments and is called with 1"):
                one({"w": jnp.ones(3)})
            with pytest.raises(atoll.CompileError, match="state is a dict with the keys v, not a dict with the keys w"):
                one({"v": jnp.ones(3)}, 2.0)
            with pytest.raises(atoll.AtollError, match=r"state\['w'\] is float32\[4\], but the step was compiled for"):
                one({"w": jnp.ones(4)}, 2.0)
            with pytest.raises(atoll.CompileError, match="is called with keyword x"):
                one({"w": jnp.ones(3)}, x=2.0)


def test_static_arguments(saved):
    def fn(config, activation, x):
        return activation(x) * config.factor

    path, step = saved(fn, Config(3.0), jax.nn.relu, jnp.ones(3), static_argnums=(0, 1))
    with step, atoll.load(path) as loaded:
        numpy.testing.assert_array_equal(loaded(Config(3.0), jax.nn.relu, jnp.ones(3)), 3 * numpy.ones(3))
        with pytest.raises(atoll.CompileError, match=r"static argument config is .* 4.0.*, compiled for .* 3.0"):
            loaded(Config(4.0), jax.nn.relu, jnp.ones(3))
        with pytest.raises(atoll.CompileError, match=r"static argument activation is .*gelu.*, compiled for .*relu"):
            loaded(Config(3.0), jax.nn.gelu, jnp.ones(3))
    with pytest.raises(atoll.CompileError, match="static argument activation is a function, which a file cannot desc"):
        saved(fn, Config(3.0), lambda x: x, jnp.ones(3), static_argnums=(0, 1))


def test_a_callback_cannot_be_saved(tmp_path):
    def fn(x):
        return jax.pure_callback(numpy.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x) + 1

    with atoll.compile(fn, jnp.ones(3), topology=TOPOLOGY) as step:
        numpy.testing.assert_allclose(step(jnp.ones(3)), jnp.sin(1.0) + 1, rtol=1e-6)
        with pytest.raises(
            atoll.CompileError, match=rf"{__file__}:\d+: this calls back into Python, so the program cannot be saved"
        ):
            step.save(tmp_path / "step.atoll")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: b"", "is no saved atoll program"),
        (lambda content: b"#!/bin/sh" + content, "is no saved atoll program"),
        (lambda content: content[:30], "is cut off"),
        (lambda content: content[:-1], "is damaged: its checksum does not match"),
        (lambda content: content[:-9] + b"x" + content[-8:], "is damaged: its checksum does not match"),
        (lambda content: content[:15] + b"\x0b" + content[16:], "has version 11 of the program file, this atoll reads"),
    ],
    ids=["empty", "another-file", "head-only", "truncated", "changed", "version"],
)
def test_a_file_that_is_not_whole(change, sentence, saved):
    path, step = saved(lambda x: x + 1, jnp.ones(3))
    step.close()
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(atoll.AtollError, match=f"step.atoll {sentence}"):
        atoll.load(path)


def test_a_file_that_does_not_tell_how_it_is_called(saved):
    path, step = saved(lambda x: x + 1, jnp.ones(3))
    step.close()
    save_program(dataclasses.replace(load_program(path), trees="{}"), path)
    with pytest.raises(atoll.AtollError, match=r"step.atoll does not tell how it is called; save it again\n"):
        atoll.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(atoll.AtollError, match=r"cannot read .*none.atoll: No such file or directory"):
        atoll.load(tmp_path / "none.atoll")


@pytest.mark.parametrize(
    ("topology", "sentence"),
    [
        ("2 x cpu[1]", "it has left, right, the topology island0, island1"),
        ("island right : cpu[2]; island left : cpu[1]", "it has left, right, the topology right, left"),
        (
            "island left : cpu[1]; island right : cpu[4]",
            r"right is cpu\[2\] in the program and cpu\[4\] in the topology",
        ),
        ("island left : cpu[1]; island right : cpu[a=2]", r"right is cpu\[2\] in the program and cpu\[a=2\] in"),
        ("island left : gpu[1]; island right : gpu[2]", r"it is for cpu, and the topology is of cuda"),
    ],
)
def test_other_islands_are_refused(topology, sentence, saved):
    path, step = saved(lambda x: x + 1, jnp.ones(3))
    step.close()
    with pytest.raises(atoll.TopologyError, match=f"was compiled for other islands: {sentence}"):
        atoll.load(path, topology=topology)


def test_other_devices_of_the_same_islands(saved):
    path, step = saved(lambda x: x + 1, jnp.ones(3))
    step.close()
    devices = numpy.array(jax.devices()[5:8])
    meshes = {
        "left": jax.sharding.Mesh(devices[:1], ("devices",)),
        "right": jax.sharding.Mesh(devices[1:], ("devices",)),
    }
    with atoll.load(path, topology=atoll.Topology.from_devices(meshes)) as loaded:
        result = loaded(jnp.ones(3))
        numpy.testing.assert_array_equal(result, 2 * numpy.ones(3))
    with atoll.load(path, topology=TOPOLOGY + "; link left <-> right : 1 GB/s, 1 ms") as loaded:
        numpy.testing.assert_array_equal(loaded(jnp.ones(3)), 2 * numpy.ones(3))


def test_another_process_without_the_source(tmp_path):
    train = """
        import atoll, jax.numpy as jnp
        from typing import NamedTuple

        class State(NamedTuple):
            w: object

        class Out(NamedTuple):
            loss: object

        def step(state, x):
            return State(state.w + x.sum()), Out(x.mean())

        if __name__ == "__main__":
            atoll.compile(step, State(jnp.ones(2)), jnp.ones(4), topology="2 x cpu[1]").save("step.atoll")
    """
    serve = """
        import atoll, jax.numpy as jnp
        step = atoll.load("step.atoll")
        from train import Out, State
        state, out = step(State(jnp.ones(2)), jnp.ones(4))
        assert type(state) is State and type(out) is Out
        print(float(state.w[0]), float(out.loss))
    """
    (tmp_path / "train.py").write_text(textwrap.dedent(train))
    (tmp_path / "serve.py").write_text(textwrap.dedent(serve))

    def run(file):
        settings = standing_python.settings() | {"XLA_FLAGS": os.environ["XLA_FLAGS"]}
        return subprocess.run(["python", file], cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)

    done = run("train.py")
    assert done.returncode == 0, done.stderr
    done = run("serve.py")
    assert done.stdout == "5.0 1.0\n", done.stderr
    (tmp_path / "train.py").rename(tmp_path / "gone.py")
    told = (
        "serve.py:3: result[1] of the saved program is a train:Out, which cannot be imported: No module named 'train'"
    )
    assert told in run("serve.py").stderr
