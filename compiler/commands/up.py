"""`atoll up`: starts the processes of islands, and keeps them for one program after another."""

import argparse

from atoll.compiler import activity, display
from atoll.compiler.cluster import wanted
from atoll.compiler.commands.topology_option import topology_asked
from atoll.compiler.errors import UsageError
from atoll.compiler.mlir.bindings import cpu_devices_to_come
from atoll.runtime.keeping import record as records
from atoll.runtime.keeping.keeper import Keeping
from atoll.runtime.keeping.starting import started


def run(options: argparse.Namespace) -> int:
    """The command."""
    islands, where = topology_asked(options), records.path()
    if not 0 < options.watchdog < float("inf"):
        raise UsageError(f"--watchdog is {options.watchdog:g}", remedy="give seconds above 0")
    if options.cluster == "up":
        raise UsageError('--cluster is "up", which is what this starts', remedy='write "ray", "auto" or "HOST:PORT"')
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
