"""How the end of an island of several processes is told; with processes that are not there."""

import socket
import threading
from dataclasses import dataclass, field

import pytest
from atoll.compiler.errors import IslandLost
from atoll.runtime.failure import Failure
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.inbox import Inbox
from atoll.runtime.messages import Close, GoesWithout, HostFailed, Load, Lose, Parted
from atoll.runtime.processes import fate
from atoll.runtime.processes.far_host import FarHost
from atoll.runtime.processes.greetings import Here
from atoll.runtime.processes.life import LifeSigns, answer
from atoll.runtime.processes.line import Line
from atoll.runtime.processes.wire import Wire

pytestmark = pytest.mark.own

BROKEN = Failure.loss("island a was lost: one of its processes could not go on: connection closed by peer")
OTHER = Failure.loss("island b was lost: its process 9 on there has ended")
WITHOUT = GoesWithout(7, 0, "a", "b", 0, OTHER)


@dataclass
class FakeProcess:
    here: Here
    said: list = field(default_factory=list)

    def say_at_once(self, message):
        self.said.append(message)

    def say(self, message, *, can_wait=False):
        self.said.append(message)

    def abandon(self):
        return True


class Island:
    """In so many processes; `told` is what the controller hears of it, `ended` the seats of those that were ended."""

    def __init__(self, count=3):
        self.told, self.ended = [], []
        self.host = FarHost(0, "a", count, self.told.append, self.ended.append)
        self.processes = [FakeProcess(Here((0, index), ("", 0), 100 + index, "here")) for index in range(count)]
        self.host.processes = self.processes


@pytest.fixture
def island():
    return Island()


def after(call, *then):
    """Make a call that waits for others."""
    thread = threading.Thread(target=call)
    thread.start()
    for one in then:
        one()
    thread.join(30)
    assert not thread.is_alive()


ENDED = HostFailed(0, Failure.loss("island a was lost: its process 101 on here has ended"))


def test_the_process_that_ended_is_told_and_not_one_that_cannot_go_on_without_it(island, monkeypatch):
    monkeypatch.setattr(fate, "_ECHO", 3600)
    after(
        lambda: island.host.take(0, HostFailed(0, BROKEN)),
        lambda: island.host.lose(island.processes[1], "has ended"),
    )
    assert island.told == [ENDED]
    assert island.ended == [(0, 0), (0, 1), (0, 2)]


def test_what_the_others_say_afterwards_is_not_told(island):
    island.host.lose(island.processes[1], "has ended")
    island.host.take(0, HostFailed(0, BROKEN))
    island.host.take(2, Parted("b", OTHER))
    island.host.lose(island.processes[2], "has ended")
    assert island.told == [ENDED]


def test_one_that_cannot_go_on_though_none_has_ended_is_told(island, monkeypatch):
    monkeypatch.setattr(fate, "_ECHO", 0.01)
    island.host.take(0, HostFailed(0, BROKEN))
    assert island.told == [HostFailed(0, BROKEN)]


def test_the_only_process_of_an_island_has_nothing_to_wait_for(monkeypatch):
    monkeypatch.setattr(fate, "_ECHO", 3600)
    alone = Island(count=1)
    alone.host.take(0, HostFailed(0, BROKEN))
    assert alone.told == [HostFailed(0, BROKEN)]


def test_what_one_process_goes_without_the_others_are_told_once(island):
    for index in (1, 0, 1):
        island.host.take(index, WITHOUT)
    assert [process.said for process in island.processes] == [[WITHOUT], [], [WITHOUT]]
    island.host.receive(Close(7))
    island.host.take(2, WITHOUT)
    assert [process.said[-1] for process in island.processes] == [WITHOUT, WITHOUT, Close(7)]
    assert not island.told


PARTED = "island a was lost: its processes did not get the same values, as "


def test_processes_that_have_parted_name_the_island_that_was_lost_before(island, monkeypatch):
    """It may be known only after what its loss has done to what it sent."""
    monkeypatch.setattr(fate, "_ECHO", 3600)
    after(
        lambda: island.host.take(1, Parted("b", Failure("connection closed by peer", is_of_device=True))),
        lambda: island.host.receive(Lose(("b",), OTHER)),
    )
    assert island.told == [HostFailed(0, Failure.loss(PARTED + OTHER.what))]


def test_processes_may_part_though_no_island_was_lost(island, monkeypatch):
    monkeypatch.setattr(fate, "_ECHO", 0.01)
    island.host.take(1, Parted("a", Failure("load raised OSError: gone", "data.py:3")))
    assert island.told == [HostFailed(0, Failure.loss(PARTED + "data.py:3: load raised OSError: gone"))]


# What cannot wait.


def test_a_process_is_told_at_once_what_it_must_know():
    """Over the wire for signs of life, which go on."""
    ends = [Wire(one) for one in socket.socketpair()]
    heard, answered = Inbox(), Inbox()
    threading.Thread(target=answer, args=(ends[1], heard.put), daemon=True).start()
    life = LifeSigns(ends[0], 30, answered.put, "test")
    life.say(WITHOUT)
    life.say(OTHER)
    assert [heard.get(30), heard.get(30)] == [WITHOUT, OTHER]
    ends[1].close()
    assert answered.get(30) == "has ended"
    life.close()


class StoodStill:
    """As on a machine that stood still while it first waited: time is over before the other side goes on."""

    def __init__(self, wire):
        self.poll_of_system = wire._incoming._poll
        self.waited = []
        wire._incoming._poll = self

    def poll(self, milliseconds):
        self.waited.append(milliseconds / 1000)
        return len(self.waited) > 1 and self.poll_of_system.poll(milliseconds)


def test_a_machine_that_stood_still_loses_nobody():
    """Nor does anybody on it wait for longer in all, if really nothing comes."""
    ends, heard, lost = [Wire(one) for one in socket.socketpair()], Inbox(), Inbox()
    stood = [StoodStill(one) for one in ends]
    threading.Thread(target=answer, args=(ends[1], heard.put, 40), daemon=True).start()
    life = LifeSigns(ends[0], 30, lost.put, "test")
    life.say(WITHOUT)
    assert heard.get(30) == WITHOUT
    ends[1].close()
    assert lost.get(30) == "has ended"
    life.close()
    assert [sum(one.waited[:2]) for one in stood] == [30, 40]


class Waiting:
    """Takes its time to be packed, as a value does that is not computed yet."""

    event = threading.Event()

    def __reduce__(self):
        self.event.wait(60)
        return Waiting, ()


def test_what_cannot_wait_does_not_wait_for_values():
    ends = [Wire(one) for one in socket.socketpair()]
    heard = Inbox()
    line = Line(ends[0], print, lambda: None, "test")
    Line(ends[1], heard.put, lambda: None, "test")
    line.say(Waiting())
    line.say_at_once(WITHOUT)
    assert heard.get(30) == WITHOUT
    Waiting.event.set()
    assert isinstance(heard.get(30), Waiting)
    line.close()


# What the controller makes of it.


class FakeHost:
    """Compiles for ever."""

    def __init__(self, number):
        self.number, self.said = number, []

    def receive(self, message):
        self.said.append(message)

    def join(self, patience):
        pass


class FakeGround:
    names = ("a", "b")

    def connect(self, tell):
        self.tell, self.hosts = tell, [FakeHost(0), FakeHost(1)]
        return dict(zip(self.names, self.hosts, strict=True))

    def close(self):
        pass


def load(islands):
    return Load(7, None, {}, {}, islands, 60)


def test_who_waits_for_a_program_to_be_compiled_hears_of_a_loss_at_once():
    ground = FakeGround()
    hosted = HostedIslands(ground)
    ground.hosts[1].receive = lambda message: ground.tell(HostFailed(1, OTHER)) if isinstance(message, Load) else None
    with pytest.raises(IslandLost, match=r"^\S+: island b was lost: its process 9 on there has ended"):
        hosted.load(load, ("a", "b"))
    assert [type(one) for one in ground.hosts[0].said] == [Load, Lose, Close]
    with pytest.raises(IslandLost, match=r"^\S+: island b was lost"):
        hosted.load(load, ("a", "b"))
    assert len(ground.hosts[0].said) == 3


def test_of_several_islands_that_were_lost_the_first_one_is_told():
    ground = FakeGround()
    hosted = HostedIslands(ground)
    ground.tell(HostFailed(1, OTHER))
    ground.tell(HostFailed(0, Failure.loss(PARTED + OTHER.what)))
    with pytest.raises(IslandLost, match=r"^\S+: island b was lost"):
        hosted.check_works(("a", "b"))
