"""Processes of this machine: which a process has started, and whether they are gone."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def processes_of(pid):
    """Those that a process has started, and those that they have."""
    parents = {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
    found = {pid}
    while new := {one for one, parent in parents.items() if parent in found} - found:
        found |= new
    return found - {pid}


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def command_of(pid):
    """What it runs; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def left_of(pids):
    """Those that have not ended within a minute."""
    deadline = time.monotonic() + 60
    while left := [pid for pid in pids if is_running(pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def kill_all(pid):
    """A process with all that it has started."""
    for one in (*processes_of(pid), pid):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
