"""What processes do, as Linux counts it: on a machine that others use, time tells little."""

import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.processes.island_processes import IslandProcesses


@dataclass
class Counted:
    """wake_ups: how often a thread has waited and gone on. seconds: of processors."""

    wake_ups: int = 0
    seconds: float = 0.0

    def add(self, other: "Counted", times: int) -> None:
        self.wake_ups += times * other.wake_ups
        self.seconds += times * other.seconds


def processes_of(islands: HostedIslands) -> tuple[int, ...]:
    """Those that have the islands; this one, if they are near."""
    ground = islands.ground
    return tuple(chain(*ground.pids.values())) if isinstance(ground, IslandProcesses) else (os.getpid(),)


@contextmanager
def on_own_cores(processes: Iterable[int]) -> Iterator[None]:
    """Holds each of these processes to a core of its own, as those of two hosts have: on one, to wake each other up
    takes a tenth of the time, and whether they are on one is the scheduler's choice."""
    held, cores = list(processes), sorted(os.sched_getaffinity(0))
    try:
        for number, process in enumerate(held):
            _hold(process, {cores[number % len(cores)]})
        yield
    finally:
        for process in held:
            _hold(process, cores)


def _hold(process: int, cores: Iterable[int]) -> None:
    for thread in Path(f"/proc/{process}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), cores)


@contextmanager
def counting(processes: Iterable[int]) -> Iterator[Counted]:
    """Counts what the threads of these processes do inside; not what this one does to find out about others."""
    others, found = [one for one in processes if one != os.getpid()], Counted()
    is_own = len(others) < len([*processes])
    for one in others:
        found.add(_of_another(one), -1)
    found.add(_own(), -is_own)
    yield found
    found.add(_own(), is_own)
    for one in others:
        found.add(_of_another(one), 1)


def _own() -> Counted:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Counted(used.ru_nvcsw, used.ru_utime + used.ru_stime)


def _of_another(process: int) -> Counted:
    found = Counted()
    for thread in Path(f"/proc/{process}/task").iterdir():
        found.add(Counted(_wake_ups(thread), int((thread / "schedstat").read_text().split()[0]) / 1e9), 1)
    return found


def _wake_ups(thread: Path) -> int:
    lines = (thread / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
