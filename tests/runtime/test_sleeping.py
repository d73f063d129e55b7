"""Devices that sleep: their links, and islands that wait for them for long."""

import time

import numpy
import pytest
from atoll.runtime.controller import Controller
from atoll.runtime.program import Buffer, Code, Input, IslandProgram, Output, Program, Receive, Run, Send
from atoll.runtime.site import AHEAD
from atoll.runtime.sleeping import SleepingDevices, Throttle

pytestmark = pytest.mark.own

VECTOR = Buffer((256,), "float32")  # 1 KiB
CODE = Code("f", b"", (VECTOR,))
INPUT = Input("x", VECTOR.shape, VECTOR.dtype, places=((("left", 0),),))


def island(name, count, instructions):
    return IslandProgram(name, (("devices", 1),), (VECTOR,) * count, tuple(instructions))


def step_time(program, meshes, seconds, throttles=None):
    with (
        SleepingDevices(program, meshes, lambda _: seconds, throttles) as sleeping,
        Controller(program, meshes, devices=sleeping.devices, timeout=20) as controller,
    ):
        (placed,) = controller.put([numpy.zeros(256, "float32")])
        began = time.perf_counter()
        for result in controller.start([placed]):
            result.block_until_ready()
        return time.perf_counter() - began


def test_a_link_sends_one_value_after_the_other(make_meshes):
    """Four values of 1 KiB at 10 KiB/s take 0.4 s, and a latency of 0.1 s comes once: they are under way together."""
    left = island(
        "left", 5, [*(Run(f"F{n}", 0, (0,), (n + 1,)) for n in range(4)), *(Send(n + 1, "right", n) for n in range(4))]
    )
    right = island("right", 4, [Receive(n, "left", n) for n in range(4)])
    outputs = tuple(Output(f"y{n}", VECTOR.shape, VECTOR.dtype, False, ((("right", n),),)) for n in range(4))
    program = Program((left, right), (CODE,), (INPUT,), outputs)
    throttles = {("left", "right"): Throttle(10 * 1024, 0.1)}
    assert step_time(program, make_meshes(), 0.0) < 0.2
    assert 0.5 <= step_time(program, make_meshes(), 0.0, throttles) < 0.7


@pytest.mark.timeout(60)
def test_an_island_waits_for_a_long_task_with_a_full_window(make_meshes):
    """More than a thousand looks at its devices, each a millisecond."""
    count = AHEAD + 2
    left = island("left", count + 1, [Run(f"F{n}", 0, (n,), (n + 1,)) for n in range(count)])
    output = Output("y", VECTOR.shape, VECTOR.dtype, False, ((("left", count),),))
    program = Program((left,), (CODE,), (INPUT,), (output,))
    meshes = make_meshes(names=("left",))
    with (
        SleepingDevices(program, meshes, lambda task: 1.3 * (task == "F0")) as sleeping,
        Controller(program, meshes, devices=sleeping.devices, timeout=20) as controller,
    ):
        (result,) = controller.start([numpy.zeros(256, "float32")])
        result.block_until_ready()
