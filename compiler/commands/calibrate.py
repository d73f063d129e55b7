"""`atoll calibrate`: measures what the CPU devices of this machine do, and writes it into a topology."""

import argparse
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

_SUFFIX = ".rates"
# The part of the cores that others may keep busy before it is noted: what they do changes what is measured.
_BUSY = 0.5


def run(options: argparse.Namespace) -> int:
    """The command."""
    islands = topology_asked(options)
    if {island.kind for island in islands.islands} != {"cpu"}:
        what = "only CPU devices are measured, and the topology has others"
        raise UsageError(what, remedy="write `rates KIND : ...` with what is known of these")
    kept, key = Cache.usual(_SUFFIX), key_of(machine_with(islands))
    told = None if options.again else read_rates(kept.find(key))
    if told is None:
        note = _note_if_busy()
        with display.shown():
            told = f"{measured_rates_of(islands)}{note}"
        kept.keep(key, told.encode())
    print(replace(islands, rates=()))
    print(told)
    return 0


def measured_rates_of(islands: Topology) -> Rates:
    """What the CPU devices of some islands do, and what the runtime needs for a task."""
    announce("measuring what CPU devices do, alone and together")
    devices = [device for mesh in meshes_of(islands).values() for device in mesh.devices.flat]
    rates = rates_of_devices(devices)
    announce("measuring what a task takes that does nothing")
    return replace(rates, task=round(seconds_of_a_task(islands) * 1e6) * 1000)


def machine_with(islands: Topology) -> str:
    """What rates depend on: the processor, its cores, who compiles, how many devices work at once, and on what."""
    devices = sum(island.size for island in islands.islands)
    compiles, measures = f"jaxlib {version('jaxlib')}", "layers there and back, and in another order"
    return f"{platform.machine()} {_processor()}, {_cores()} cores, {compiles}, {devices} devices, {measures}"


def _note_if_busy() -> str:
    """A comment behind the rates, which goes where they go."""
    load = os.getloadavg()[0]
    if load <= _BUSY * _cores():
        return ""
    return f"  # by a machine with other work (a load of {load:.1f}), which may do more"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def read_rates(content: bytes | None) -> str | None:
    """What was measured before, as it was told; None if nothing was, or nothing that can be read."""
    try:
        told = (content or b"").decode()
        (_,) = Topology.parse(f"1 x cpu[1]; {told}").rates
    except (ValueError, AtollError):
        return None
    return told
