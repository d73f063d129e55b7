"""Which devices the islands of a topology get."""

import jax
import numpy
import pytest
from atoll.compiler.topology.devices import meshes_of

import atoll


def test_islands_take_the_machines_devices_in_order():
    meshes = meshes_of(atoll.topology("island a : cpu[2]; island b : cpu[data=2, model=2]; island c : cpu[1]"))
    assert {name: dict(mesh.shape) for name, mesh in meshes.items()} == {
        "a": {"devices": 2},
        "b": {"data": 2, "model": 2},
        "c": {"devices": 1},
    }
    assert [device for mesh in meshes.values() for device in mesh.devices.flat] == jax.devices()[:7]


def test_real_meshes_are_taken_as_they_are():
    devices = jax.devices()
    mesh = jax.sharding.Mesh(numpy.array([devices[3], devices[1]]), ("model",))
    assert meshes_of(atoll.Topology.from_devices({"only": mesh})) == {"only": mesh}


def test_a_list_of_devices():
    devices = jax.devices()
    meshes = meshes_of(atoll.topology([[devices[3]], [devices[1], devices[0]]]))
    assert {name: list(mesh.devices.flat) for name, mesh in meshes.items()} == {
        "island0": [devices[3]],
        "island1": [devices[1], devices[0]],
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "100 x cpu[1]",
            r"needs 100 cpu devices, and there are 8; put jax.config.update\(\"jax_num_cpu_devices\", 100\)",
        ),
        ("1 x v4[2x2x4]", r"needs 16 tpu devices, and there are 0; take a kind that this machine has: cpu"),
    ],
)
def test_devices_that_are_not_there(text, sentence):
    with pytest.raises(atoll.TopologyError, match=sentence):
        meshes_of(atoll.topology(text))


@pytest.mark.parametrize(
    ("platforms", "fault", "sentence"),
    [
        (
            "gpu",
            RuntimeError("Unable to initialize backend 'rocm': none is here. (set JAX_PLATFORMS='' to choose one)"),
            "with JAX_PLATFORMS=gpu: RuntimeError: Unable to initialize backend 'rocm': none is here; correct it, or",
        ),
        ("cuda", AssertionError(), "with JAX_PLATFORMS=cuda: AssertionError, without a message; correct it, or leave"),
        (None, RuntimeError("no driver"), ": RuntimeError: no driver; set JAX_PLATFORMS=cpu, or repair the plugin"),
    ],
)
def test_a_jax_that_does_not_start(monkeypatch, platforms, fault, sentence):
    def devices(*_):
        raise fault

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setattr(type(jax.config), "jax_platforms", platforms)
    for asked in (meshes_of, lambda topology: atoll.lower(lambda: 0.0, topology=topology)):
        with pytest.raises(atoll.TopologyError, match="jax does not start") as caught:
            asked(atoll.topology("1 x cpu[1]"))
        assert f"jax does not start{sentence if platforms is None else ' ' + sentence}" in caught.value.sentence
