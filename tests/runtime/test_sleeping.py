"""Devices that sleep: their links, and islands that wait for them for long."""

import contextlib
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
from patient import in_the_end, until

pytestmark = pytest.mark.own

VECTOR = Buffer((256,), "float32")  # 1 KiB
CODE = Code("f", b"", (VECTOR,))
INPUT = Input("x", VECTOR.shape, VECTOR.dtype, places=((("left", 0),),))


def island(name, count, instructions):
    return IslandProgram(name, (("devices", 1),), (VECTOR,) * count, tuple(instructions))


@contextlib.contextmanager
def once_all_is_asked_for(program, meshes, throttles=None):
    """A step whose first task ends once everything is asked for, so that clocks alone say when what follows happens.

    Gives when that was, and the moment at which each result is there.
    """
    began, gate = time.perf_counter(), threading.Event()

    def seconds(task):
        """Of F0 so many that it ends no earlier than when the gate is opened."""
        if task != "F0":
            return 0.0
        assert gate.wait(60)
        return time.perf_counter() - began

    with (
        SleepingDevices(program, meshes, seconds, throttles) as sleeping,
        Controller(program, meshes, devices=sleeping.devices, timeout=120) as controller,
    ):
        results = controller.start([numpy.zeros(256, "float32")])
        assert set(controller._hosted.settle(60).values()) == {"has nothing to do"}
        gate.set()
        for result in results:
            result.block_until_ready()
        yield sleeping.slept[0].end, [one.promise.parts()[0][0].get(60).ended.time for one in results]


def test_a_link_sends_one_value_after_the_other(make_meshes):
    """Four values of 1 KiB at 10 KiB/s take 0.4 s, and a latency of 0.1 s comes once: they are under way together."""
    left = island(
        "left", 5, [*(Run(f"F{n}", 0, (0,), (n + 1,)) for n in range(4)), *(Send(n + 1, "right", n) for n in range(4))]
    )
    right = island("right", 4, [Receive(n, "left", n) for n in range(4)])
    outputs = tuple(Output(f"y{n}", VECTOR.shape, VECTOR.dtype, False, ((("right", n),),)) for n in range(4))
    program = Program((left, right), (CODE,), (INPUT,), outputs)
    with once_all_is_asked_for(program, make_meshes()) as (ended, arrived):
        assert arrived == [ended] * 4
    throttles = {("left", "right"): Throttle(10 * 1024, 0.1)}
    with once_all_is_asked_for(program, make_meshes(), throttles) as (ended, arrived):
        assert [moment - ended for moment in arrived] == pytest.approx([0.2, 0.3, 0.4, 0.5])


def test_all_links_of_an_island_leave_it_by_one_port(make_meshes):
    """What it sends to two others at 10 KiB/s arrives one after the other, 0.1 s apart by the clock."""
    islands = ("left", "middle", "right")
    left = island(
        "left", 3, [Run("F0", 0, (0,), (1,)), Run("F1", 0, (0,), (2,)), Send(1, "middle", 0), Send(2, "right", 1)]
    )
    others = [island(name, 1, [Receive(0, "left", tag)]) for tag, name in enumerate(islands[1:])]
    outputs = tuple(Output(name, VECTOR.shape, VECTOR.dtype, False, (((name, 0),),)) for name in islands[1:])
    program, meshes = Program((left, *others), (CODE,), (INPUT,), outputs), make_meshes(names=islands)
    throttles = {("left", name): Throttle(10 * 1024, 0.0) for name in islands[1:]}
    with once_all_is_asked_for(program, meshes, throttles) as (ended, arrived):
        assert sorted(moment - ended for moment in arrived) == pytest.approx([0.1, 0.2])


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


@pytest.mark.timeout(120)
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
        until(lambda: controller._hosted.settle(60)["left"] == "has nothing to do", "it gives up two tasks")
        gate.set()
        in_the_end(controller.stats)
        errors = controller._completed._records["left"].errors
        assert errors[0].startswith("island left has not ended a task after 0.5 seconds; look at what that island")
    assert not set(threading.enumerate()) - before
