"""Processes of islands that are started without Ray."""

import multiprocessing

import numpy
from atoll.runtime.controller import Controller

# What they import is imported once: each is a copy of one process that has done so.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["atoll.runtime.keeping.kept_process", "jax", "local_processes"])


def serve(assignment, before):
    """Be the process of an island."""
    from atoll.runtime.processes import island_actor

    exec(before, {})
    island_actor.serve(assignment)


class LocalProcesses:
    """As `atoll.runtime.processes.island_processes.Launcher`.

    before: by process, what it does before it serves.
    """

    own_host = "127.0.0.1"
    is_own = True

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


def assert_as_in_one_process(program, shared, meshes, values, steps):
    """A train program gives the same bits on islands in processes, with the same messages and the same memory."""
    with Controller(program, shared, timeout=60) as there, Controller(program, meshes, timeout=60) as here:
        (w, v, _), (near_w, near_v, _) = there.put(values), here.put(values)
        for _ in range(steps):
            loss = near_loss = None  # or the bytes of the one before would count for as long as a message takes
            w, v, loss = there.start([w, v, values[2]])
            near_w, near_v, near_loss = here.start([near_w, near_v, values[2]])
        for ours, theirs in ((w, near_w), (v, near_v), (loss, near_loss)):
            assert numpy.asarray(ours).tobytes() == numpy.asarray(theirs).tobytes()
        stats, expected = there.stats(), here.stats()
        assert there.compilations == here.compilations
        assert (stats.tasks, stats.order) == (expected.tasks, expected.order)
        assert (stats.messages, stats.bytes_per_link) == (expected.messages, expected.bytes_per_link)
        assert (stats.live_bytes, stats.peak_bytes) == (expected.live_bytes, expected.peak_bytes)
        assert stats.control == {"Start": 2, "StepEnded": 2, "Offer": 2}
