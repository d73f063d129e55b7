"""Programs that are saved with what XLA has made of them: loaded without compiling, or compiled elsewhere."""

import logging
from contextlib import contextmanager
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.runtime import prebuilt
from atoll.runtime.program_file import load_program, save_program

import atoll

pytestmark = pytest.mark.xla

W = {"one": numpy.full((8, 8), 0.1, "float32"), "two": numpy.full((8, 8), 0.2, "float32")}
X = numpy.linspace(0, 1, 64, dtype="float32").reshape(8, 8)
COMPILED = "/jax/core/compile/backend_compile_duration"


def train_step(w, x):
    def loss_fn(w):
        with jax.named_scope("one"):
            h = jnp.tanh(x @ w["one"])
        with jax.named_scope("two"):
            return jnp.mean((h @ w["two"]) ** 2)

    loss, gradients = jax.value_and_grad(loss_fn)(w)
    return jax.tree.map(lambda p, g: p - 0.1 * g, w, gradients), loss


@contextmanager
def compilations():
    """Counts what XLA compiles, as jax tells of it."""
    seen = []

    def note(event, _seconds, **_):
        if event == COMPILED:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def bits(tree):
    return [numpy.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file with executables, what its program makes of a step, and how many different fragments that has."""
    path = tmp_path_factory.mktemp("saved") / "step.atoll"
    plan = atoll.Plan(stages="one | two", microbatches=4, schedule="1f1b")
    with atoll.compile(train_step, W, X, topology="2 x cpu[2]", batch_argnums=1, donate_argnums=0, plan=plan) as step:
        step.save(path, executables=True)
        return path, bits(step(W, X)), len(step.program.codes)


def test_a_loaded_program_compiles_nothing_and_has_the_same_bits(saved):
    path, expected, codes = saved
    program = load_program(path)
    assert 1 < codes <= len(program.prebuilt)
    assert len({one.key for one in program.prebuilt}) == len(program.prebuilt)
    with compilations() as seen, atoll.load(path) as loaded:
        assert not seen
        assert bits(loaded(W, X)) == expected
    with compilations() as seen, atoll.load(path, executables=False) as loaded:
        assert len(seen) >= codes
        assert bits(loaded(W, X)) == expected


def test_other_devices_of_the_same_kind_load_it_too(saved):
    path, expected, _ = saved
    devices = numpy.array(jax.devices()[4:8])
    meshes = {f"island{number}": jax.sharding.Mesh(devices[2 * number :][:2], ("devices",)) for number in range(2)}
    with compilations() as seen, atoll.load(path, topology=atoll.Topology.from_devices(meshes)) as loaded:
        assert not seen
        assert bits(loaded(W, X)) == expected


def test_what_is_loaded_can_be_saved_with_all_it_has(saved, tmp_path):
    path, expected, _ = saved
    with atoll.load(path) as loaded:
        loaded.save(tmp_path / "again.atoll")
    assert load_program(tmp_path / "again.atoll").prebuilt == load_program(path).prebuilt
    with atoll.load(tmp_path / "again.atoll") as again:
        assert bits(again(W, X)) == expected


@pytest.mark.parametrize("change", ["flags", "version", "processor"])
def test_another_machine_compiles_and_says_so(change, saved, monkeypatch, caplog):
    path, expected, codes = saved
    if change == "flags":
        monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    elif change == "version":
        monkeypatch.setattr(prebuilt, "version", lambda name: "0.0.1")
    else:
        monkeypatch.setattr(prebuilt, "_features", lambda: "another one")
    with compilations() as seen, caplog.at_level(logging.WARNING), atoll.load(path) as loaded:
        assert len(seen) >= codes
        assert bits(loaded(W, X)) == expected
    (told,) = [one.getMessage() for one in caplog.records if "executables" in one.getMessage()]
    assert "fragments are compiled here: the program has executables for cpu, jax" in told


def test_executables_that_xla_cannot_load_are_compiled(saved, tmp_path, caplog):
    path, expected, codes = saved
    program = load_program(path)
    spoilt = tuple(replace(one, content=one.content[: len(one.content) // 2]) for one in program.prebuilt)
    save_program(replace(program, prebuilt=spoilt), tmp_path / "spoilt.atoll")
    with compilations() as seen, caplog.at_level(logging.WARNING), atoll.load(tmp_path / "spoilt.atoll") as loaded:
        assert len(seen) >= codes
        assert bits(loaded(W, X)) == expected
    assert "XLA cannot load F0, so it is compiled" in caplog.text


def test_a_key_tells_apart_what_xla_compiles_differently(saved):
    program = load_program(saved[0])
    island = program.islands[0]
    code = program.codes[0]
    one = prebuilt.key_of(code, island.buffers[:1], (), island.axes, "here")
    others = (
        (replace(code, results=()), island.buffers[:1], (), island.axes, "here"),
        (code, island.buffers[:2], (), island.axes, "here"),
        (code, [replace(island.buffers[0], on_host=True)], (), island.axes, "here"),
        (code, island.buffers[:1], (0,), island.axes, "here"),
        (code, island.buffers[:1], (), (("other", 2),), "here"),
        (code, island.buffers[:1], (), island.axes, "there"),
    )
    assert len({one, *(prebuilt.key_of(*other) for other in others)}) == 1 + len(others)
    # Where the user's lines are is none of it.
    assert prebuilt.key_of(replace(code, where="elsewhere.py:1"), island.buffers[:1], (), island.axes, "here") == one


def test_on_a_cluster_others_have_the_devices(tmp_path):
    islands = atoll.topology("2 x cpu[1]")
    refused = pytest.raises(atoll.AtollError, match="a program on a cluster cannot be saved with its executables")
    with atoll.Cluster(islands) as cluster, atoll.compile(lambda x: x + 1, X, topology=cluster) as step, refused:
        step.save(tmp_path / "step.atoll", executables=True)
