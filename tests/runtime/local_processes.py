"""Processes of islands that are started without Ray."""

import multiprocessing

# What they import is imported once: each is a copy of one process that has done so.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["atoll.runtime.processes.island_process", "jax", "local_processes"])


def serve(assignment, before):
    """Be the process of an island."""
    from atoll.runtime.processes import island_process

    exec(before, {})
    island_process.serve(assignment)


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
            process = _FORKS.Process(target=serve, args=(one, self._before.get(one.seat, "")), daemon=True)
            process.start()
            self.running[one.seat] = process

    def trouble(self):
        codes = [one.exitcode for one in self.running.values()]
        return next((f"it ended with {code}" for code in codes if code is not None), "")

    def end(self, seat):
        self.running[seat].kill()

    def close(self):
        for process in self.running.values():
            process.join(10)
            if process.exitcode is None:
                process.kill()
                process.join(10)
