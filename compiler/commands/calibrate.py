"""`atoll calibrate`: measures what the CPU devices of this machine do, and writes it into a topology."""

import argparse
import json
import logging
import os
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from atoll.compiler import display
from atoll.compiler.activity import announce
from atoll.compiler.ahead.cache import Cache
from atoll.compiler.commands.topology_option import topology_asked
from atoll.compiler.cost.measured_rates import rates_of_devices
from atoll.compiler.errors import AtollError, UsageError
from atoll.compiler.topology.devices import meshes_of
from atoll.compiler.topology.rates import Rates
from atoll.compiler.topology.topology import Topology

log = logging.getLogger(__name__)

_FILE = "rates.json"


def run(options: argparse.Namespace) -> int:
    """The command."""
    islands = topology_asked(options)
    if {island.kind for island in islands.islands} != {"cpu"}:
        what = "only CPU devices are measured, and the topology has others"
        raise UsageError(what, remedy="write `rates KIND : ...` with what is known of these")
    file, machine = Cache.usual().folder / _FILE, machine_with(islands)
    rates = None if options.again else kept_rates(file, machine)
    if rates is None:
        with display.shown():
            announce("measuring what CPU devices do, alone and together")
            devices = [device for mesh in meshes_of(islands).values() for device in mesh.devices.flat]
            rates = rates_of_devices(devices)
        keep_rates(file, machine, rates)
    print(replace(islands, rates=(rates,)))
    return 0


def machine_with(islands: Topology) -> str:
    """What rates depend on: the processor, its cores, who compiles, and how many devices work at once."""
    devices = sum(island.size for island in islands.islands)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()} {_processor()}, {cores} cores, jaxlib {version('jaxlib')}, {devices} devices"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def kept_rates(file: Path, machine: str) -> Rates | None:
    """What was measured of a machine before; None if nothing was, or nothing that can be read."""
    try:
        text = json.loads(file.read_text(encoding="utf-8"))[machine]
        (found,) = Topology.parse(f"1 x cpu[1]; {text}").rates
    except (OSError, ValueError, KeyError, TypeError, AtollError):
        return None
    return found


def keep_rates(file: Path, machine: str, rates: Rates) -> None:
    """Keep it beside that of other machines; what cannot be kept is measured again."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        known = known if isinstance(known, dict) else {}
    except (OSError, ValueError):
        known = {}
    draft = file.with_name(f"{file.name}.{os.getpid()}.draft")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(known | {machine: str(rates)}, indent=2), encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        log.info("nothing is kept in %s: %s", file, error.strerror)
