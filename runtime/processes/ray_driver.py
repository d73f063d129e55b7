"""Ray's driver, a process beside the controller's: `python -m atoll.runtime.processes.ray_driver ADDRESS`.

It takes questions from its standard input and answers on its standard output. When no more can come, since the
controller has closed the cluster or has ended in whichever way, it ends the processes of the islands. If the Ray is its
own, it ends all of Ray's processes too, and removes its files.
"""

import ctypes
import os
import pickle
import shutil
import signal
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import ray
from atoll.runtime.processes.assignment import Assignment, Seat
from atoll.runtime.processes.island_actor import IslandActor

# Where an own Ray has its files, in a folder named after this process. Short, as it becomes part of the names of
# sockets, which may have a hundred characters.
ROOT = Path(tempfile.gettempdir())
PREFIX = "atoll-ray-"

# What Ray calls the devices that a process needs; of CPU devices there are as many as one likes.
_RESOURCES = {"gpu": "GPU", "tpu": "TPU"}

_PR_SET_CHILD_SUBREAPER = 36


class Driver:
    """The processes of a cluster's islands."""

    def __init__(self, address: str) -> None:
        self._actors: dict[Seat, Any] = {}
        self._serving: dict[Seat, Any] = {}
        self._folder: Path | None = None
        options: dict[str, Any] = {"address": address}
        if address == "ray":
            sweep()
            self._folder = ROOT / f"{PREFIX}{os.getpid()}"
            self._folder.mkdir(mode=0o700)
            options = {"address": "local", "include_dashboard": False, "_temp_dir": str(self._folder)}
            _adopt_orphans()
        ray.init(log_to_driver=False, logging_level="error", **options)
        self.own_host = str(ray.util.get_node_ip_address()) if self._folder is None else "127.0.0.1"

    def missing(self, assignments: tuple[Assignment, ...]) -> str:
        """Which devices Ray does not have; for their processes it would wait without a word."""
        needed: Counter[str] = Counter()
        for one in assignments:
            needed[_RESOURCES.get(one.platform, "")] += one.size
        there = ray.cluster_resources()
        return next(
            (
                f"the islands need {count} devices of the kind {name}, and Ray has {there.get(name, 0):g}"
                for name, count in needed.items()
                if name and there.get(name, 0) < count
            ),
            "",
        )

    def start(self, assignments: tuple[Assignment, ...]) -> None:
        """Have a process begin to serve each of them."""
        for one in assignments:
            resource = _RESOURCES.get(one.platform)
            needs: dict[str, Any] = {"num_cpus": 0}
            if resource == "GPU":
                needs["num_gpus"] = one.size
            elif resource is not None:
                needs["resources"] = {resource: one.size}
            actor = ray.remote(IslandActor).options(**needs).remote()
            self._actors[one.seat] = actor
            # This call is pending for as long as the process is there.
            self._serving[one.seat] = actor.serve.remote(one)

    def trouble(self, _: None) -> str:
        """Why a process has ended, if one has; or why it cannot begin."""
        ended, _others = ray.wait(list(self._serving.values()), num_returns=1, timeout=0)
        for one in ended:
            try:
                ray.get(one)
            except Exception as error:
                return str(error).strip().splitlines()[-1]
            return "it has ended"
        return ""

    def end(self, seat: Seat) -> None:
        """End a process, whatever it is doing."""
        ray.kill(self._actors[seat])

    def close(self) -> None:
        """Tidy up."""
        for seat in self._actors:
            with suppress(Exception):  # it has ended
                self.end(seat)
        ray.shutdown()
        if self._folder is not None:
            _end_children()
            shutil.rmtree(self._folder, ignore_errors=True)


def sweep() -> None:
    """Remove the files of drivers that were killed."""
    for folder in ROOT.glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX)
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _adopt_orphans() -> None:
    """From now on what a process that this one has started leaves behind is a child of this one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _end_children() -> None:
    """End all children, whatever they are doing; the children of each are this process's then."""
    own = Path("/proc/self/task")
    while own.exists():
        children = [int(pid) for task in own.iterdir() for pid in (task / "children").read_text().split()]
        if not children:
            return
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def main(address: str, questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer questions until none can come."""

    def answer(fault: str, what: Any) -> None:  # noqa: ANN401 (the answer)
        pickle.dump((fault, what), answers)
        answers.flush()

    try:
        driver = Driver(address)
    except Exception as error:
        answer(" ".join(str(error).split()) or type(error).__name__, None)
        return
    try:
        answer("", driver.own_host)
        while True:
            name, argument = pickle.load(questions)
            try:
                answer("", getattr(driver, name)(argument))
            except Exception as error:
                answer(" ".join(str(error).split()), None)
    except (EOFError, BrokenPipeError):
        pass
    finally:
        driver.close()


if __name__ == "__main__":
    # Answers go where standard output was; what Ray has to say goes nowhere.
    answers = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    main(sys.argv[1], sys.stdin.buffer, answers)
