"""What atoll itself does for a computation: on devices that do nothing, all time is the host's."""

import statistics
import time
from collections.abc import Callable
from typing import Any

from atoll.compiler.lowered import Lowered
from atoll.compiler.topology.devices import meshes_of
from atoll.runtime.controller import Controller
from atoll.runtime.devices import Devices
from atoll.runtime.fragment import Executable
from atoll.runtime.site import AHEAD
from dispatch.computations import CHAINED, computation, lowered, lowered_chain, start
from dispatch.sides import through_controller

ROUNDS = 20


def idle(*_: Any) -> Callable[[], Executable]:  # noqa: ANN401 (what `lower_code` takes)
    """In place of `lower_code`: the task gives its argument back at once."""
    return lambda: Executable(lambda x: [x], may_fail=False)


def print_host_times(devices: int) -> None:
    print("on devices that do nothing, processor time of all threads")
    print(f"OpByOp   {_host_time(lowered(computation, devices), devices) * 1e6:6.1f} us a computation")
    print(f"Chained  {_host_time(lowered_chain(devices), devices, CHAINED) * 1e6:6.1f} us", flush=True)


def _host_time(made: Lowered, devices: int, computations: int = 1) -> float:
    """Processor seconds of a computation; a call makes so many."""
    meshes, found, count = meshes_of(made.topology), [], 8 * CHAINED
    with Controller(made.program, meshes, steps_ahead=AHEAD, devices=Devices(lower=idle)) as controller:
        side = through_controller(controller, computations)
        for _ in range(ROUNDS):
            began = time.process_time()
            side.measure(start(devices), count)
            found.append((time.process_time() - began) / count)
    return statistics.median(found)
