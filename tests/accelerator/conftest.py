"""Islands of the accelerators of this machine, or of its CPU devices, if these are asked for."""

import jax
import numpy
import pytest

import atoll


@pytest.fixture(scope="session")
def devices(request):
    """The devices that tests run on. Without any the test is skipped, and says what is missing."""
    asked = request.config.getoption("on")
    platform = asked or next((one for one in ("tpu", "gpu") if _found(one)), None)
    if platform is None:
        pytest.skip("jax finds no GPU and no TPU; pytest -m accelerator tests/accelerator --on cpu runs it on CPUs")
    found = _found(platform)
    if not found:
        pytest.skip(f"jax finds no {platform}")
    return found


def _found(platform):
    try:
        return jax.devices(platform)
    except RuntimeError:
        return []


@pytest.fixture
def islands(devices):
    """Makes a topology of the first devices: so many islands, each of so many devices."""

    def make(count, size):
        if len(devices) < count * size:
            pytest.skip(f"it needs {count * size} devices, and there are {len(devices)}")
        chosen = numpy.array(devices[: count * size]).reshape(count, size)
        return atoll.Topology.from_devices(
            {f"island{number}": jax.sharding.Mesh(some, ("devices",)) for number, some in enumerate(chosen)}
        )

    return make
