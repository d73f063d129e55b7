"""Ray's driver, a process beside the controller's: `python -m atoll.runtime.processes.ray_driver ADDRESS`.

It takes questions from its standard input and answers on its standard output. When no more can come, since the
controller has closed the cluster or has ended in whichever way, it ends the processes of the islands. If the Ray is its
own, it ends all of Ray's processes too, and removes its files.
"""

import ctypes
import os
import pickle
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import ray
from atoll.runtime.processes.assignment import Assignment, Seat
from atoll.runtime.processes.booking import RESOURCES, NoSlice, reserved
from atoll.runtime.processes.island_actor import IslandActor
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

# Where an own Ray has its files, in a folder named after this process. Short, as it becomes part of the names of
# sockets, which may have a hundred characters.
ROOT = Path(tempfile.gettempdir())
PREFIX = "atoll-ray-"

# How many seconds Ray may take to reserve what is there: another program may just be letting go of it.
_RESERVING = 20.0

_PR_SET_CHILD_SUBREAPER = 36


class Driver:
    """The processes of a cluster's islands."""

    def __init__(self, address: str) -> None:
        self._actors: dict[Seat, Any] = {}
        self._serving: dict[Seat, Any] = {}
        self._places: dict[Seat, PlacementGroupSchedulingStrategy] = {}  # of processes that need devices
        self._folder: Path | None = None
        options: dict[str, Any] = {"address": address}
        if address == "ray":
            sweep()
            self._folder = own_folder()
            self._folder.mkdir(mode=0o700)
            options = {"address": "local", "include_dashboard": False, "_temp_dir": str(self._folder)}
            _adopt_orphans()
        try:
            ray.init(log_to_driver=False, logging_level="error", **options)
        except ConnectionError:
            if address != "auto" or "RAY_ADDRESS" in os.environ:
                raise
            raise ConnectionError("none runs on this machine") from None
        if self._folder is not None:
            _end_log_monitor()
        self.own_host = str(ray.util.get_node_ip_address()) if self._folder is None else "127.0.0.1"

    def missing(self, assignments: tuple[Assignment, ...]) -> str:
        """Which devices Ray does not have; for their processes it would wait without a word."""
        needed: Counter[str] = Counter()
        for one in assignments:
            needed[RESOURCES.get(one.platform, "")] += one.size
        there = ray.cluster_resources()
        return next(
            (
                f"the islands need {count} devices of the kind {name}, and Ray has {there.get(name, 0):g}"
                for name, count in needed.items()
                if name and there.get(name, 0) < count
            ),
            "",
        )

    def reserve(self, assignments: tuple[Assignment, ...]) -> str:
        """Have all devices for their processes, or none: what is missing, which other programs may have.

        A process that is started again has the place of the one before.
        """
        bundles = reserved([one for one in assignments if one.seat not in self._places], ray.nodes())
        if isinstance(bundles, NoSlice):
            return bundles.what
        if not bundles:
            return ""
        labels = [dict(one.labels) for one in bundles]
        group = placement_group([dict(one.needs) for one in bundles], bundle_label_selector=labels)
        if not group.wait(_RESERVING):
            remove_placement_group(group)
            needs = Counter(f"{count:g} {name}" for one in bundles for name, count in one.needs.items())
            processes = ", ".join(f"{times} with {what} on one machine" for what, times in needs.items())
            return f"the islands need processes, {processes}, for which Ray has no room in {_RESERVING:g} seconds"
        for number, one in enumerate(bundles):
            self._places[one.seat] = PlacementGroupSchedulingStrategy(group, number)
        return ""

    def start(self, assignments: tuple[Assignment, ...]) -> None:
        """Have a process begin to serve each of them."""
        for one in assignments:
            resource = RESOURCES.get(one.platform)
            needs: dict[str, Any] = {"num_cpus": 0}
            if one.seat in self._places:
                needs["scheduling_strategy"] = self._places[one.seat]
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
            _end_children(os.getpid())
            shutil.rmtree(self._folder, ignore_errors=True)


def own_folder() -> Path:
    """Where a Ray has its files that this process starts."""
    return ROOT / f"{PREFIX}{os.getpid()}"


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


def _end_children(parent: int) -> None:
    """End all children of a process but this one, whatever they are doing; the children of each are its own then.

    Nobody waits for what is left of them: it goes with the process.
    """
    while children := _children(parent):
        for pid in children:
            _end(pid)
        time.sleep(0.01)


def _end_log_monitor() -> None:
    """That of an own Ray looks ten times a second whether there is something to tell a driver, which has asked for
    nothing: a tenth of a core, in turns that are long enough to keep an island from what it waits for."""
    for pid in _children(os.getpid()):
        with suppress(FileNotFoundError, ProcessLookupError):
            if b"/log_monitor.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                _end(pid)


def _children(parent: int) -> list[int]:
    """Those of a process that run, but this one."""
    while True:
        threads = list(Path(f"/proc/{parent}/task").glob("*"))
        try:
            pids = [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            if all(thread.exists() for thread in threads):
                return []  # this system does not tell
            continue  # a thread has ended meanwhile, and what it started is a child of another one
        return [pid for pid in pids if pid != os.getpid() and _is_running(pid)]


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _is_left_alone(questions: IO[bytes], patience: float | None = None) -> bool:
    """Whether nobody is there any more, or is not after so many seconds, before there was an answer: a question comes
    once there was one."""
    return bool(select.select([questions], [], [], patience)[0])


def _give_up(questions: IO[bytes], has_begun: threading.Event) -> None:
    """If nobody is there any more before Ray is, end at once with what has begun: to start it takes its time.

    Another process does it. No thread of this one gets on while Ray waits for what it has started, which takes half a
    minute if that has been ended.
    """
    if _is_left_alone(questions) and not has_begun.is_set():
        folder, driver = own_folder(), os.getpid()
        if os.fork() == 0:
            os.kill(driver, signal.SIGSTOP)  # or it would start more
            _end_children(driver)
            shutil.rmtree(folder, ignore_errors=True)
            os.kill(driver, signal.SIGKILL)
            os._exit(0)


def main(address: str, questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer questions until none can come."""

    def answer(fault: str, what: Any) -> None:  # noqa: ANN401 (the answer)
        pickle.dump((fault, what), answers)
        answers.flush()

    has_begun = threading.Event()
    threading.Thread(target=_give_up, args=(questions, has_begun), daemon=True).start()
    try:
        driver = Driver(address)
    except Exception as error:
        answer(" ".join(str(error).split()) or type(error).__name__, None)
        return
    has_begun.set()
    try:
        if not _is_left_alone(questions, patience=0):
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
