"""Processes of islands that do not come up are told of; these tests start none."""

import subprocess
import threading
from types import SimpleNamespace

import pytest
from atoll.compiler.errors import TopologyError
from atoll.runtime.keeping import on_up, starting
from atoll.runtime.keeping.keeper import Keeping
from atoll.runtime.processes import muster, partners
from atoll.runtime.processes.assignment import Assignment
from atoll.runtime.processes.on_ray import OnRay

pytestmark = pytest.mark.own


def test_a_process_that_does_not_come(monkeypatch):
    monkeypatch.setattr(muster, "_STARTING", 0.0)
    waiting = muster.Muster({0: "left", 1: "right"}, [(0, 0), (1, 0)], lambda: "")
    with pytest.raises(
        TopologyError, match=r"^\S+: no process has come up for island left, right in 0 seconds; see whether"
    ):
        waiting.wait()


def test_a_process_that_cannot_begin(monkeypatch):
    waiting = muster.Muster({0: "left"}, [(0, 0)], lambda: "it ended with 3")
    monkeypatch.setattr(waiting, "_knocks", SimpleNamespace(get=lambda _: None))
    with pytest.raises(
        TopologyError, match=r"^\S+: a process of an island cannot start: it ended with 3; run atoll doctor"
    ):
        waiting.wait()


class HungUp:
    is_given_up = False

    def send(self, _):
        """Nobody hears it."""

    def receive(self, patience=None):
        return None


def test_a_cluster_that_was_up_and_has_ended():
    with pytest.raises(TopologyError, match=r"^\S+: the cluster that was up has ended; start one with `atoll up "):
        on_up.exchange(HungUp(), None, 1.0)


def test_a_controller_that_is_gone_before_the_processes_of_an_island_meet():
    second = Assignment((0, 1), "left", (("x", 2),), "cpu", 2, 1, ("127.0.0.1", 1), b"")
    with pytest.raises(TopologyError, match="the controller is gone"):
        partners._meeting(second, HungUp())


def test_a_keeper_that_ends_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(starting.sys, "executable", "true")
    with pytest.raises(TopologyError, match=r"^\S+: what keeps the processes has ended before they were ready; "):
        starting.started(Keeping((), "none", "ray", 20.0, 0, tmp_path))


def test_a_driver_of_ray_that_has_ended():
    ended = OnRay.__new__(OnRay)
    ended._address, ended._asking = "ray", threading.Lock()
    ended._driver = subprocess.Popen(["true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    ended._driver.wait()
    with ended._driver.stdout:
        with pytest.raises(
            TopologyError, match=r"^\S+: Ray at 'ray': its driver has ended; see whether `ray start --head`"
        ):
            ended._answer()
        ended._driver.stdin.close()
        with pytest.raises(TopologyError, match=r"^\S+: Ray's driver has ended; make a new cluster"):
            ended._ask(("place", None))
