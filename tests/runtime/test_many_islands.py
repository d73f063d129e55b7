"""What a step costs the controller: it grows with the islands, and with nothing else.

Hosts that do nothing stand for the islands, so all that is counted is the controller's. It is counted in bytecodes that
Python carries out, which no load of the machine changes.
"""

import contextlib
import itertools
import sys

import numpy
import pytest
from atoll.runtime.controller import Controller
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.messages import Load, Loaded, Ping, Start, StepEnded, Told
from atoll.runtime.program import Buffer, Code, Free, Input, IslandProgram, Output, Program, Receive, Run, Send
from atoll.runtime.record import Record

pytestmark = pytest.mark.own


class IdleHost:
    """Says at once that a step is over."""

    def __init__(self, number, tell):
        self.number = number
        self._tell = tell

    def receive(self, message):
        match message:
            case Load(program):
                self._tell(Loaded(program, self.number, 0))
            case Start(program=program, step=step, orders=orders):
                for name in orders:
                    self._tell(StepEnded(program, step, name, Record(program, step, name, is_enqueued=True)))
            case Ping(request):
                self._tell(Told(request, {}))

    def join(self, patience):
        pass


class IdleGround:
    """An `atoll.runtime.ground.Ground` of which each island has a host of its own."""

    is_near = False

    def __init__(self, names):
        self.names = names

    def connect(self, tell):
        return {name: IdleHost(number, tell) for number, name in enumerate(self.names)}

    def meshes_for(self, program):
        return {}

    def placing(self, program):
        return lambda value, name, number: value

    def close(self):
        pass


def pipeline(islands, devices=1):
    """A value goes through all islands; each has a weight that it trains."""
    names = [f"island{number}" for number in range(islands)]
    buffer = Buffer((64,), "float32", (("devices",),))
    weight, value, new = range(3)

    def instructions(number):
        if number:
            yield Receive(value, names[number - 1], 0)
        yield Run("F0", 0, (weight, value), (new,), donated=(weight,))
        if number < islands - 1:
            yield Send(value, names[number + 1], 0)
        yield Free((value,))

    made = [
        IslandProgram(name, (("devices", devices),), (buffer,) * 3, tuple(instructions(number)))
        for number, name in enumerate(names)
    ]
    weights = [Input(f"w[{name}]", (64,), "float32", donated=True, places=(((name, weight),),)) for name in names]
    results = [Output(f"w[{name}]", (64,), "float32", False, (((name, new),),)) for name in names]
    x = Input("x", (64,), "float32", places=(((names[0], value),),))
    return Program(tuple(made), (Code("F0", b"", (buffer,)),), (*weights, x), tuple(results))


@contextlib.contextmanager
def counting():
    """How many bytecodes this thread carries out."""
    counted = itertools.count()

    def trace(frame, event, _):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            next(counted)
        return trace

    sys.settrace(trace)
    try:
        yield counted
    finally:
        sys.settrace(None)


def costs(islands, devices=1):
    """Bytecodes to make the program ready, and of a step; and the messages of that step."""
    program = pipeline(islands, devices)
    x = numpy.zeros(64, "float32")
    with counting() as counted:
        hosted = HostedIslands(IdleGround([one.name for one in program.islands]))
        with Controller(program, hosted) as controller:
            *state, x = controller.put([x] * (islands + 1))
            ready = next(counted)
            state = controller.start([*state, x])
            before = next(counted)
            controller.start([*state, x])
            step = next(counted) - before
            sys.settrace(None)
            return ready, step, controller.stats().control


def test_a_step_is_one_message_to_each_host():
    *_, control = costs(64)
    assert control["Start"] == control["StepEnded"] == 64


def test_a_step_costs_the_controller_nothing_for_devices():
    assert costs(16, devices=1)[1] == pytest.approx(costs(16, devices=64)[1], rel=0.01)


def test_costs_are_linear_in_the_islands():
    few, many = (costs(islands) for islands in (128, 1024))
    assert [more / less for less, more in zip(few[:2], many[:2], strict=True)] == pytest.approx([8, 8], rel=0.02)
