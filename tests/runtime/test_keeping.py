"""Processes that one controller after another has: what they keep, what they forget, and what is told."""

import contextlib
import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import loaders
import numpy
import pytest
from atoll.compiler.errors import AtollError, IslandLost, TopologyError, UsageError
from atoll.runtime.controller import Controller
from atoll.runtime.fed import Fed
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.keeping import keeper
from atoll.runtime.keeping import record as records
from atoll.runtime.keeping.keeper import Keeper, Keeping
from atoll.runtime.keeping.lending import Lending
from atoll.runtime.keeping.on_up import OnUp, exchange
from atoll.runtime.keeping.starting import end, status
from atoll.runtime.keeping.talk import Look
from atoll.runtime.processes.island_processes import IslandProcesses
from atoll.runtime.processes.wanted import Wanted
from atoll.runtime.processes.wire import Wire
from atoll.runtime.program_file import save_program
from local_processes import LocalProcesses
from started import left_of

pytestmark = [pytest.mark.own, pytest.mark.timeout(120)]

AXES = (("x", 2),)


class Up:
    """A cluster that is up, whose keeper is a thread here."""

    def __init__(self, where, processes=(1, 1)):
        self.where = where
        self.islands = tuple(
            Wanted(name, AXES, "cpu", count) for name, count in zip(("left", "right"), processes, strict=True)
        )
        self.launcher = LocalProcesses()
        made = Keeper(Keeping(self.islands, "two islands", "ray", 20.0, 0, where), self.launcher)
        made.start()
        self.thread = threading.Thread(target=made.run)
        self.thread.start()

    @contextlib.contextmanager
    def guest(self, islands=None):
        islands = islands or self.islands
        hosted = HostedIslands(IslandProcesses(islands, OnUp(islands, self.where), 20.0))
        try:
            yield hosted
        finally:
            hosted.close()

    def settled(self, arrays=0):
        """What there is, once nobody uses it and it has tidied up."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = status(self.where)
            waits = all(one.state == "waits" and one.has is not None for one in found.processes)
            if found.guest is None and waits and all(one.has.arrays == arrays for one in found.processes):
                return found
            time.sleep(0.05)
        raise AssertionError(found)


@pytest.fixture(scope="module", params=[(1, 1), (2, 1)], ids="{0[0]}-and-{0[1]}".format)
def up(request, tmp_path_factory):
    made = Up(tmp_path_factory.mktemp("up") / "record", request.param)
    yield made
    with contextlib.suppress(UsageError):
        assert end(made.where, force=True) == sum(request.param)
    made.thread.join(30)
    assert not made.thread.is_alive()
    assert not made.where.exists()
    assert left_of([one.pid for one in made.launcher.running.values()]) == []


def trained(hosted, program, values, steps=2):
    """What some steps give, and how many fragments were compiled."""
    with Controller(program, hosted, timeout=60) as controller:
        w, v, x = values
        for _ in range(steps):
            w, v, loss = controller.start([w, v, x])
        return [numpy.asarray(one).tobytes() for one in (w, v, loss)], controller.compilations


def train_for_ever(hosted, program, values):
    while True:
        trained(hosted, program, values)


def test_the_next_controller_finds_processes_and_what_they_have_compiled(up, make_train_program, values):
    program, other = make_train_program((("x",),), AXES), make_train_program((), AXES)
    with up.guest() as hosted:
        pids = hosted.ground.pids
        expected = trained(hosted, program, values)
        assert expected[1] == 6
    before = up.settled()
    assert sorted(one.has.kept for one in before.processes) == [3] * len(before.processes)
    with up.guest() as hosted:
        assert hosted.ground.pids == pids
        assert trained(hosted, program, values) == (expected[0], 0)
        assert trained(hosted, other, values)[1] == 6
    with up.guest() as hosted:
        pids = {pid for some in hosted.ground.pids.values() for pid in some}
        assert trained(hosted, other, values)[1] == 0
    # One that did not come to its end in time is another one now, which has nothing.
    left = [one for one in up.settled().processes if one.pid in pids]
    assert all(one.has.kept == 3 for one in left), "what it had no use for has gone with it"
    with up.guest() as hosted:
        assert trained(hosted, program, values) == expected


def test_each_controller_has_its_own_settings(up, make_train_program, values, tmp_path):
    """As of jax's persistent cache, of which jax itself asks only once where it is."""
    program, before = make_train_program((("x",),), AXES), jax.config.values["jax_compilation_cache_dir"]
    try:
        for folder in (tmp_path / "first", tmp_path / "second"):
            jax.config.update("jax_compilation_cache_dir", str(folder))
            with up.guest() as hosted:
                trained(hosted, program, values)
            assert list(folder.iterdir())
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_one_controller_at_a_time(up, make_train_program, values):
    with up.guest() as hosted, Controller(make_train_program((), AXES), hosted, timeout=60) as controller:
        kept = controller.start(values)
        controller.stats()
        found = status(up.where)
        assert (found.guest.pid, found.topology) == (os.getpid(), "two islands")
        assert all(one.state == "serves" for one in found.processes)
        for one in found.processes:
            [its] = one.has.programs
            assert (its.compilations, its.steps) == (3, 1)
            assert 0 < its.arrays <= one.has.arrays
        sentence = (
            rf"^\S+: the cluster that is up is used by process {os.getpid()} \(\S+\) on \S+, since \d\d:\d\d:\d\d; "
            r"wait until that one has closed it"
        )
        with pytest.raises(TopologyError, match=sentence):
            OnUp(up.islands, up.where)
        with pytest.raises(TopologyError, match=r"used by process .*; wait until .*, or add --force\n"):
            end(up.where, force=False)
        del kept
    up.settled()


def test_a_command_waits_until_processes_have_tidied_up(up, make_train_program, values, monkeypatch):
    free, hear, held = Lending.free, Keeper._hear, []

    def hear_and_let_go(keeper, wire, message):
        hear(keeper, wire, message)
        if isinstance(message, Look) and not is_late:
            while held:
                keeper._do(free(*held.pop()))

    monkeypatch.setattr(Lending, "free", lambda *told: held.append(told) or [])
    monkeypatch.setattr(Keeper, "_hear", hear_and_let_go)
    for is_late in (False, True):
        monkeypatch.setattr(keeper, "_TIDYING", 0.0 if is_late else 60.0)
        with up.guest() as hosted:
            trained(hosted, make_train_program((), AXES), values)
        deadline = time.monotonic() + 60
        while len(held) < len(up.launcher.running) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert {one.state for one in status(up.where).processes} == {"tidies up" if is_late else "waits"}
    is_late = False
    up.settled()


def test_what_does_not_fit_is_told(up, monkeypatch, tmp_path):
    with pytest.raises(TopologyError, match=r"^\S+: the cluster that is up has other islands: two islands; write this"):
        OnUp(up.islands[:1], up.where)
    with pytest.raises(
        UsageError, match=r"^\S+: no cluster is up here; start one with `atoll up --topology \"...\"`\n"
    ):
        OnUp(up.islands, tmp_path / "none")
    with pytest.raises(
        UsageError, match=r"^\S+: a cluster is up already, two islands, kept by process \d+; end it with"
    ):
        records.sweep(up.where)
    monkeypatch.setattr(records, "versions", lambda: {"jax": "0.0.1"})
    with pytest.raises(
        TopologyError, match=r"^\S+: the cluster that is up has jax \S+, and this process jax 0.0.1; end it"
    ):
        OnUp(up.islands, up.where)


def test_a_record_of_others_is_not_believed(up, tmp_path):
    copied = tmp_path / "copied"
    copied.write_bytes(up.where.read_bytes())
    copied.chmod(0o644)
    with pytest.raises(UsageError, match=r"copied: others than you may read or write this record of a cluster, so it"):
        OnUp(up.islands, copied)
    copied.chmod(0o600)
    linked = tmp_path / "linked"
    linked.symlink_to(copied)
    with pytest.raises(UsageError, match=r"linked: cannot read: "):
        OnUp(up.islands, linked)
    there = dataclasses.replace(records.read(up.where), machine="elsewhere")
    copied.unlink()
    records.write(copied, there)
    with pytest.raises(
        UsageError, match=r"copied: the cluster that was up, .*, is another machine's; name another file"
    ):
        OnUp(up.islands, copied)
    copied.write_text("[]")
    with pytest.raises(UsageError, match=r"copied: this is no record of a cluster; remove it\n"):
        OnUp(up.islands, copied)


def test_a_record_of_what_has_ended_is_swept_and_told(up, tmp_path):
    stale = tmp_path / "stale"
    record = dataclasses.replace(records.read(up.where), secret="00" * 32)
    sentence = r"^\S+: the cluster that was up, two islands, kept by process \d+ on \S+, has ended without `atoll down`"
    for use in (records.reached, status, lambda where: end(where, force=False), lambda where: OnUp((), where)):
        records.write(stale, record)
        with pytest.raises(UsageError, match=rf"{sentence}; start one with `atoll up "):
            use(stale)
        assert not stale.exists()
    records.write(stale, record)
    assert records.sweep(stale).endswith("has ended without `atoll down`")
    assert not stale.exists()
    assert records.sweep(stale) == ""


def test_after_a_function_of_the_users_processes_are_new(up, make_train_program, values, tmp_path, monkeypatch):
    """Its module is read again, which may be another one by then; it is looked for where the controller does."""
    monkeypatch.syspath_prepend(tmp_path)
    program = make_train_program((), AXES, donated=False)
    pids = []
    for factor in (1, 10):  # of another length, which tells the files of one second apart
        (tmp_path / "users_data.py").write_text(
            f"import loaders\ndef give(*place):\n    return loaders.squares(*place) * {factor}\n"
        )
        sys.modules.pop("users_data", None)
        import users_data

        with up.guest() as hosted, Controller(program, hosted, timeout=60) as controller:
            pids.append(hosted.ground.pids)
            fed = Fed(users_data.give, "give", "data.py:3", "x", 2, 3)
            found = [numpy.asarray(one) for one in controller.start([*values[:2], fed])]
            expected = [
                numpy.asarray(one) for one in controller.start([*values[:2], loaders.squares(0, 0, 4) * factor])
            ]
            for one, other in zip(found, expected, strict=True):
                numpy.testing.assert_array_equal(one, other)
        up.settled()
    first, second = pids
    assert not set(first["left"]) & set(second["left"])
    assert first["right"] == second["right"], "the other island called nothing"


def test_a_lost_island_is_there_again_for_the_next_controller(up, make_train_program, values):
    program = make_train_program((), AXES)
    with up.guest() as hosted:
        pids = hosted.ground.pids
        expected, _ = trained(hosted, program, values)
        os.kill(pids["left"][-1], signal.SIGKILL)
        with pytest.raises(IslandLost, match="island left was lost: its process"):
            train_for_ever(hosted, program, values)
    with up.guest() as hosted:
        assert trained(hosted, program, values) == (expected, 3)
        assert not set(hosted.ground.pids["left"]) & set(pids["left"])
        assert hosted.ground.pids["right"] == pids["right"]
    (pid,) = pids["right"]
    up.settled()
    os.kill(pid, signal.SIGKILL)  # while nobody uses it
    assert left_of([pid]) == []
    with up.guest() as hosted:
        assert trained(hosted, program, values)[0] == expected
        assert hosted.ground.pids["right"] != (pid,)
    up.settled()


SCRIPT = """
import pickle, sys
from pathlib import Path
from atoll.runtime.controller import Controller
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.keeping.on_up import OnUp, exchange
from atoll.runtime.processes.island_processes import IslandProcesses
from atoll.runtime.processes.wire import Wire
from atoll.runtime.program_file import load_program

where, program, given = map(Path, sys.argv[1:4])
islands, (w, v, x) = pickle.loads(given.read_bytes())
hosted = HostedIslands(IslandProcesses(islands, OnUp(islands, where), float(sys.argv[4])))
print("here", flush=True)
controller = Controller(load_program(program), hosted, timeout=60)
while True:
    w, v, loss = controller.start([w, v, x])
    loss.block_until_ready()
    print("ran", flush=True)
"""


@pytest.mark.timeout(900)  # of which most is starting programs, ten with --full
@pytest.mark.parametrize("seed", range(2))
def test_a_controller_that_is_killed_leaves_nothing(up, make_train_program, values, tmp_path, request, seed):
    """Whatever it was doing: its values are gone, and the next one gets the right ones."""
    import pickle

    program = make_train_program((("x",),), AXES)
    save_program(program, tmp_path / "train.atoll")
    (tmp_path / "given").write_bytes(pickle.dumps((up.islands, values)))
    with up.guest() as hosted:
        expected, _ = trained(hosted, program, values)
    random = numpy.random.default_rng(seed)
    for number in range(10 if request.config.getoption("full") else 1):
        command = [sys.executable, "-c", SCRIPT, up.where, tmp_path / "train.atoll", tmp_path / "given", "20"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as script:
            lines = 1 if (number + seed) % 2 else 1 + int(random.integers(1, 20))
            for _ in range(lines):
                assert script.stdout.readline()
            time.sleep(float(random.uniform(0, 0.05)))
            script.send_signal([signal.SIGKILL, signal.SIGINT][random.integers(2)])
            script.communicate(timeout=60)
        up.settled()
        with up.guest() as hosted:
            assert trained(hosted, program, values)[0] == expected


def test_a_controller_that_is_stopped_loses_the_islands_and_is_told(up, make_train_program, values, tmp_path):
    """As is one that is cut off: nothing tells its end."""
    import pickle

    program = make_train_program((("x",),), AXES)
    save_program(program, tmp_path / "train.atoll")
    (tmp_path / "given").write_bytes(pickle.dumps((up.islands, values)))
    with up.guest() as hosted:
        expected, _ = trained(hosted, program, values)
    command = [sys.executable, "-c", SCRIPT, up.where, tmp_path / "train.atoll", tmp_path / "given", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as script:
        for _ in range(3):
            assert script.stdout.readline()
        script.send_signal(signal.SIGSTOP)
        up.settled()
        with up.guest() as hosted:
            assert trained(hosted, program, values)[0] == expected
        script.send_signal(signal.SIGCONT)
        _, told = script.communicate(timeout=60)
    parted = r"let go of its controller, which was stopped or cut off for 5 seconds"
    sentence = rf"IslandLost: .*island (left|right) was lost: its process \d+ on \S+ has ({parted}|ended); make a new"
    assert re.search(sentence, told), told


def test_a_controller_that_is_stopped_before_it_begins_is_told(up, monkeypatch):
    """No process has heard of it, so none can tell that it is stopped."""
    monkeypatch.setattr(keeper, "_BEGINNING", 0.0)
    with contextlib.closing(OnUp(up.islands, up.where)) as stopped:
        up.settled()
        with pytest.raises(TopologyError, match=r"was taken back from process .*, which was stopped or cut off; make"):
            stopped.start([])


def test_a_cluster_whose_record_is_gone_ends(tmp_path):
    up = Up(tmp_path / "record")
    pids = [one.pid for one in up.launcher.running.values()]
    up.where.unlink()
    up.thread.join(30)
    assert not up.thread.is_alive()
    assert left_of(pids) == []


def test_no_cluster_is_left_where_its_processes_cannot_start(tmp_path):
    islands = (Wanted("far", AXES, "gpu"),)
    with pytest.raises(AtollError, match="island far needs 2 gpu devices, and its process has 0"):
        Keeper(Keeping(islands, "none", "ray", 20.0, 0, tmp_path / "record"), LocalProcesses()).start()
    assert not (tmp_path / "record").exists()


def test_after_a_question_that_was_not_answered_in_time_the_cluster_is_not_said_to_have_ended():
    ends = [Wire(one) for one in socket.socketpair()]
    for what in ("has not answered for 0.01 seconds", "did not answer an earlier question in time"):
        with pytest.raises(TopologyError, match=f"the cluster that is up {what}"):
            exchange(ends[0], Look(), 0.01)
    for one in ends:
        one.close()
