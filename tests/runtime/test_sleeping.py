"""Devices that sleep: their links, and islands that wait for them for long."""

import threading
import time
from collections import Counter

import numpy
import pytest
from atoll.compiler.errors import AtollError
from atoll.runtime.controller import Controller
from atoll.runtime.inbox import Inbox
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
    assert step_time(program, make_meshes(), 0.0) < 0.5
    assert 0.5 <= step_time(program, make_meshes(), 0.0, throttles) < 0.8  # were the latency that of each, 0.8


def test_all_links_of_an_island_leave_it_by_one_port(make_meshes):
    """What it sends to two others at 10 KiB/s arrives one after the other, 0.1 s apart by the clock."""
    islands = ("left", "middle", "right")
    left = island(
        "left", 3, [Run("F0", 0, (0,), (1,)), Run("F1", 0, (0,), (2,)), Send(1, "middle", 0), Send(2, "right", 1)]
    )
    others = [
        island(name, 2, [Receive(0, "left", tag), Run(f"F{tag + 2}", 0, (0,), (1,))])
        for tag, name in enumerate(islands[1:])
    ]
    outputs = tuple(Output(name, VECTOR.shape, VECTOR.dtype, False, (((name, 1),),)) for name in islands[1:])
    program, meshes = Program((left, *others), (CODE,), (INPUT,), outputs), make_meshes(names=islands)
    throttles = {("left", name): Throttle(10 * 1024, 0.0) for name in islands[1:]}
    with (
        SleepingDevices(program, meshes, lambda _: 0.0, throttles) as sleeping,
        Controller(program, meshes, devices=sleeping.devices, timeout=20) as controller,
    ):
        for result in controller.start([numpy.zeros(256, "float32")]):
            result.block_until_ready()
        starts = sorted(one.start for one in sleeping.slept if one.island != "left")
    assert starts[1] - starts[0] >= 0.1 - 1e-9


def chain(count):
    """Tasks on one island, each of which takes the result of the one before."""
    left = island("left", count + 1, [Run(f"F{n}", 0, (n,), (n + 1,)) for n in range(count)])
    output = Output("y", VECTOR.shape, VECTOR.dtype, False, ((("left", count),),))
    return Program((left,), (CODE,), (INPUT,), (output,))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("long", [0, AHEAD + 1], ids=["with a full window", "at the end of a step"])
def test_an_island_that_waits_for_a_long_task_sleeps(long, make_meshes, monkeypatch):
    """To look at its devices again and again would take time from them."""
    looks, get = Counter(), Inbox.get

    def counted(inbox, timeout=None):
        looks[threading.current_thread().name] += 1
        return get(inbox, timeout)

    program, meshes = chain(AHEAD + 2), make_meshes(names=("left",))
    with (
        SleepingDevices(program, meshes, lambda task: 0.5 * (task == f"F{long}")) as sleeping,
        Controller(program, meshes, devices=sleeping.devices, timeout=20) as controller,
    ):
        controller.compile()
        monkeypatch.setattr(Inbox, "get", counted)
        controller.start([numpy.zeros(256, "float32")])
        controller.stats()
    # The first of them is in an old get; one for each message, and for each time that a watched task has ended.
    assert 1 <= looks["atoll left"] < 15
    assert looks["atoll left, watching"] < 10


@pytest.mark.timeout(60)
def test_a_device_that_does_not_end_a_task_is_not_waited_for_for_ever(make_meshes):
    before, gate = set(threading.enumerate()), threading.Event()
    program, meshes = chain(AHEAD + 2), make_meshes(names=("left",))
    with (
        SleepingDevices(program, meshes, lambda _: 0.0 * gate.wait(60)) as sleeping,
        Controller(program, meshes, devices=sleeping.devices, timeout=0.5) as controller,
    ):
        controller.start([numpy.zeros(256, "float32")])
        with pytest.raises(AtollError, match=r"^\S+: step 0 has not ended on island left after 0.5 seconds"):
            controller.stats()
        time.sleep(0.3)
        gate.set()
        controller.stats()
        errors = controller._completed._records["left"].errors
        assert errors[0].startswith("island left has not ended a task after 0.5 seconds; look at what that island")
    assert not set(threading.enumerate()) - before
