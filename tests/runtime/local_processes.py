"""Processes of islands that are started without Ray."""

import pickle
import subprocess
import sys

SERVE = """
import pickle, sys
from atoll.runtime.processes.island_process import serve
serve(pickle.load(sys.stdin.buffer))
"""


class LocalProcesses:
    """As `atoll.runtime.processes.island_processes.Launcher`.

    before: by process, what it does before it serves.
    """

    own_host = "127.0.0.1"

    def __init__(self, before=()):
        self._before = dict(before)
        self.running = {}

    def start(self, assignments):
        for one in assignments:
            process = subprocess.Popen(
                [sys.executable, "-c", self._before.get(one.seat, "") + SERVE], stdin=subprocess.PIPE
            )
            process.stdin.write(pickle.dumps(one))
            process.stdin.close()
            self.running[one.seat] = process

    def trouble(self):
        codes = [one.poll() for one in self.running.values()]
        return next((f"it ended with {code}" for code in codes if code is not None), "")

    def end(self, seat):
        self.running[seat].kill()

    def close(self):
        for process in self.running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
