"""`atoll up`: starts the processes of islands, and keeps them for one program after another."""

import argparse

from atoll.compiler import activity, display
from atoll.compiler.cluster import wanted
from atoll.compiler.errors import UsageError
from atoll.compiler.mlir.bindings import cpu_devices_to_come
from atoll.compiler.topology.topology import topology
from atoll.runtime.keeping import record as records
from atoll.runtime.keeping.keeper import Keeping
from atoll.runtime.keeping.starting import started


def run(options: argparse.Namespace) -> int:
    """The command."""
    if options.topology is None:
        raise UsageError("--topology is missing", remedy='say which islands there are: --topology "2 x cpu[1]"')
    if not 0 < options.watchdog < float("inf"):
        raise UsageError(f"--watchdog is {options.watchdog:g}", remedy="give seconds above 0")
    if options.cluster == "up":
        raise UsageError('--cluster is "up", which is what this starts', remedy='write "ray", "auto" or "HOST:PORT"')
    islands, where = topology(options.topology), records.path()
    if told := records.sweep(where):
        print(told)
    count = sum(island.processes for island in islands.islands)
    text = " ".join(options.topology.split())
    asked = Keeping(wanted(islands), text, options.cluster, options.watchdog, cpu_devices_to_come(), where)
    with display.shown():
        activity.announce(f"starting {count} processes")
        record = started(asked)
    print(f"{count} processes are up for {text}, kept by process {record.pid}")
    print('a program uses them with cluster="up"; `atoll down` ends them')
    return 0
