"""Programs with `shard_map`: the microbatches' answers are those of the whole batch, device by device.

Numpy does what each device does, so nothing is compiled, and no device can wait for another that does not come.
"""

import accepted_devices
import jax
import numpy
import pytest
from accepted_devices import MESH, NEEDED_BY_DEVICES, PROGRAMS, B
from atoll.compiler.errors import CompileError
from test_time_rules import pair_without
from timed_harness import Program, computed, differences, pair_of

# A mesh of more devices than an island has, of which each replica has some: how many replicas, of what.
OVER_REPLICAS = [(2, "2 x cpu[data=2, model=2]"), (4, "4 x cpu[model=2]")]
# What several microbatches of a replica would need of that.
REFUSED_OVER_REPLICAS = {
    ("experts_over_devices", 2): "does not consist of examples",
    ("experts_over_devices", 4): "does not consist of examples",
    ("examples_that_a_device_counts", 2): "asks for the place of a device along data",
}

# Two axes divide the examples of this one, so that each device has two of them.
MOST = {"both_axes_divide_examples": 2}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("is_most", [False, True], ids=["2", "most"])
def test_accepted_and_right(name, is_most):
    count = MOST.get(name, B // 2) if is_most else 2
    with jax.enable_x64(True):
        pair = pair_of(Program(*PROGRAMS[name], count, name))
        both = computed(pair)
    assert both is not None, "numpy cannot compute it"
    assert not differences(pair, *both)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "places_in_the_mesh"])
@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize(("replicas", "islands"), OVER_REPLICAS, ids=["two-devices-along", "one-device-along"])
def test_right_over_the_devices_of_all_replicas(name, microbatches, replicas, islands, monkeypatch):
    """What devices of several replicas tell each other is summed up; where one asks for its place, it is among all."""
    mesh = jax.sharding.AbstractMesh((4, 2), MESH.axis_names, axis_types=MESH.axis_types)
    monkeypatch.setattr(accepted_devices, "MESH", mesh)
    fn, args, batch = PROGRAMS[name]
    # Enough examples for each device to have some of each microbatch.
    args = tuple(jax.tree.map(twice, one) if number in batch else one for number, one in enumerate(args))
    program = Program(fn, args, batch, microbatches, name, replicas=replicas, islands=islands)
    told = REFUSED_OVER_REPLICAS.get((name, replicas)) if microbatches > 1 else None
    with jax.enable_x64(True):
        if told is not None:
            with pytest.raises(CompileError, match=told) as caught:
                pair_of(program)
            assert caught.value.where.startswith(accepted_devices.__file__)
            return
        pair = pair_of(program)
        both = computed(pair)
    assert both is not None, "numpy cannot compute it"
    assert not differences(pair, *both)


def twice(examples):
    return numpy.concatenate([examples, examples[::-1]])


@pytest.mark.parametrize("operation", NEEDED_BY_DEVICES)
def test_every_row_is_needed(operation):
    assert pair_without(Program(*PROGRAMS[NEEDED_BY_DEVICES[operation]]), operation) is None
