"""What of a Ray cluster is reserved for the processes of islands."""

import pytest
from atoll.runtime.processes.assignment import Assignment
from atoll.runtime.processes.booking import NoSlice, reserved

pytestmark = pytest.mark.own


def island(number, platform="tpu", processes=1, size=4):
    axes = (("devices", size * processes),)
    return [
        Assignment((number, index), f"island{number}", axes, platform, processes, 1, ("here", 1), b"")
        for index in range(processes)
    ]


def machine(name, number, chips=4.0, alive=True):
    labels = {"ray.io/tpu-slice-name": name, "ray.io/tpu-worker-id": str(number)}
    return {"Alive": alive, "Labels": labels, "Resources": {"TPU": chips, "CPU": 8.0}}


def places(found):
    return [(one.seat, *one.labels.values()) for one in found]


def test_cpu_devices_need_no_place():
    assert reserved(island(0, "cpu"), []) == []


def test_devices_are_of_one_machine_for_each_process():
    found = reserved([*island(0, "gpu", 2), *island(1, "tpu", size=8), *island(2, "cpu")], [])
    assert [(one.seat, one.needs) for one in found] == [
        ((0, 0), {"GPU": 4.0}),
        ((0, 1), {"GPU": 4.0}),
        ((1, 0), {"TPU": 8.0}),
    ]
    assert places(found) == [((0, 0),), ((0, 1),), ((1, 0),)]


def test_an_island_has_the_machines_of_one_slice_in_their_order():
    machines = [machine("small", number) for number in (1, 0)] + [machine("large", number) for number in (10, 2, 0)]
    found = reserved([*island(0, processes=2), *island(1, processes=3)], machines)
    assert places(found) == [
        ((0, 0), "small", "0"),
        ((0, 1), "small", "1"),
        ((1, 0), "large", "0"),
        ((1, 1), "large", "2"),
        ((1, 2), "large", "10"),
    ]


@pytest.mark.parametrize(
    ("machines", "left"),
    [
        ([machine("a", 0), machine("a", 1)], "none"),
        ([machine("a", 0), machine("a", 1), machine("b", 0)], "b of 1"),
        ([machine("a", 0), machine("a", 1), machine("b", 0), machine("b", 1, chips=2.0)], "b of 2"),
        ([machine("a", 0), machine("a", 1), machine("b", 0), machine("b", 1, alive=False)], "b of 1"),
    ],
)
def test_a_slice_that_is_missing_is_told(machines, left):
    found = reserved([*island(0, processes=2), *island(1, processes=2)], machines)
    what = "island island1 needs a TPU slice of 2 machines with 4 chips each, and Ray has left"
    assert found == NoSlice(f"{what} {left}")
