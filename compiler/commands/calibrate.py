"""`atoll calibrate`: measures what the CPU devices of this machine do, and writes it into a topology."""

import argparse
import logging
import os
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from atoll.compiler import display
from atoll.compiler.activity import announce
from atoll.compiler.ahead.cache import Cache, key_of
from atoll.compiler.commands.task_time import seconds_of_a_task
from atoll.compiler.commands.topology_option import topology_asked
from atoll.compiler.cost.measured_rates import rates_of_devices
from atoll.compiler.errors import AtollError, UsageError
from atoll.compiler.topology.devices import meshes_of
from atoll.compiler.topology.rates import Rates
from atoll.compiler.topology.topology import Topology

log = logging.getLogger(__name__)

_SUFFIX = ".rates"
# The part of the cores that others may keep busy before it is told: what they do changes what is measured.
_BUSY = 0.5


def run(options: argparse.Namespace) -> int:
    """The command."""
    islands = topology_asked(options)
    if {island.kind for island in islands.islands} != {"cpu"}:
        what = "only CPU devices are measured, and the topology has others"
        raise UsageError(what, remedy="write `rates KIND : ...` with what is known of these")
    kept, key = Cache.usual(_SUFFIX), key_of(machine_with(islands))
    rates = None if options.again else read_rates(kept.find(key))
    if rates is None:
        with display.shown():
            rates = measured_rates_of(islands)
        kept.keep(key, str(rates).encode())
    print(replace(islands, rates=(rates,)))
    return 0


def measured_rates_of(islands: Topology) -> Rates:
    """What the CPU devices of some islands do, and what the runtime needs for a task."""
    _tell_if_busy()
    announce("measuring what CPU devices do, alone and together")
    devices = [device for mesh in meshes_of(islands).values() for device in mesh.devices.flat]
    rates = rates_of_devices(devices)
    announce("measuring what a task takes that does nothing")
    return replace(rates, task=round(seconds_of_a_task(islands) * 1e6) * 1000)


def machine_with(islands: Topology) -> str:
    """What rates depend on: the processor, its cores, who compiles, and how many devices work at once."""
    devices = sum(island.size for island in islands.islands)
    return f"{platform.machine()} {_processor()}, {_cores()} cores, jaxlib {version('jaxlib')}, {devices} devices"


def _tell_if_busy() -> None:
    load = os.getloadavg()[0]
    if load > _BUSY * _cores():
        told = "the machine is busy with something else (its load is %.1f) and can do more than is measured now; "
        log.warning(told + "measure with --again when it is not", load)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def read_rates(content: bytes | None) -> Rates | None:
    """What was measured before; None if nothing was, or nothing that can be read."""
    try:
        (found,) = Topology.parse(f"1 x cpu[1]; {(content or b'').decode()}").rates
    except (ValueError, AtollError):
        return None
    return found
