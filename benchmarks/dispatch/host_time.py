"""What atoll itself does for a computation: on devices that do nothing, all time is the host's.

On a machine that others use, time tells little. How many bytecodes Python carries out is nearly the same in every run.
"""

import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from types import FrameType
from typing import Any

from atoll.compiler.lowered import Lowered
from atoll.compiler.topology.devices import meshes_of
from atoll.runtime.controller import Controller
from atoll.runtime.devices import Devices
from atoll.runtime.fragment import Executable
from atoll.runtime.site import AHEAD
from dispatch.computations import ARRAYS, CHAINED, computation, lowered, lowered_chain, lowered_state, start
from dispatch.sides import Side

ROUNDS = 20


def idle(*_: Any) -> Callable[[], Executable]:  # noqa: ANN401 (what `lower_code` takes)
    """In place of `lower_code`: the task gives its arguments back at once."""
    return lambda: Executable(lambda *arguments: arguments, may_fail=False)


def print_host_times(devices: int) -> None:
    print("on devices that do nothing, processor time of all threads, and bytecodes")
    for name, made, computations in (
        ("OpByOp", lowered(computation, devices), 1),
        ("Chained", lowered_chain(devices), CHAINED),
        (f"State of {ARRAYS}", lowered_state(devices), ARRAYS),
    ):
        seconds, bytecodes = _host_costs(made, devices, computations)
        print(f"{name:<12} {seconds * 1e6:6.1f} us a computation, {bytecodes:6.0f} bytecodes", flush=True)


def _host_costs(made: Lowered, devices: int, computations: int) -> tuple[float, float]:
    """Processor seconds of a computation, and bytecodes; a call makes so many."""
    many, found = 8 * CHAINED, []
    with _counting() as counted, _controller(made) as controller:
        side = _side(controller, computations)
        side.measure(start(devices), many)  # what is done once alone
        before = next(counted)
        side.measure(start(devices), many)
        bytecodes = (next(counted) - before - 1) / many
    with _controller(made) as controller:
        side = _side(controller, computations)
        for _ in range(ROUNDS):
            began = time.process_time()
            side.measure(start(devices), many)
            found.append((time.process_time() - began) / many)
    return statistics.median(found), bytecodes


def _side(controller: Controller, computations: int) -> Side:
    """With as many values of one kind as the program takes, and gives."""
    count = len(controller.program.inputs)
    return Side(controller.start, lambda x: controller.put([x] * count), computations)


def _controller(made: Lowered) -> Controller:
    return Controller(made.program, meshes_of(made.topology), steps_ahead=AHEAD, devices=Devices(lower=idle))


@contextmanager
def _counting() -> "Iterator[count[int]]":
    """What is one more than before for each bytecode that this thread, or one that starts meanwhile, carries out."""
    counted = count()

    def trace(frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401 (itself)
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            next(counted)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        yield counted
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type] # typeshed knows of no way to end it
