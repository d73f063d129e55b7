"""What comes to an island; and, where processes share it, that one takes a failure only where all do."""

import re
import threading
import time

import jax
import pytest
from atoll.runtime.devices import Devices
from atoll.runtime.failure import Failure
from atoll.runtime.host import Host
from atoll.runtime.inbox import Inbox
from atoll.runtime.mailbox import Mailbox
from atoll.runtime.messages import (
    Close,
    Coming,
    Fetch,
    GoesWithout,
    HostFailed,
    Load,
    Loaded,
    Lose,
    Offer,
    Order,
    Parted,
    Start,
    StepEnded,
    Told,
    argument_tag,
)
from atoll.runtime.program import Buffer, IslandProgram, Output, Program, Receive, Run, Send

pytestmark = pytest.mark.own

GONE = Failure("island a was lost", is_loss=True)


def offer(step, value, tag=0):
    return Offer(7, step, "b", "a", tag, value)


def without(step, tag=0, why=GONE):
    return GoesWithout(7, step, "b", "a", tag, why)


@pytest.fixture
def told():
    return []


@pytest.fixture
def mailbox(told):
    return Mailbox(7, "b", told.append)


def test_what_has_come_is_taken_once(mailbox, told):
    mailbox.put(offer(0, 1.5))
    assert mailbox.take((0, "a", 1)) is None
    assert mailbox.take((0, "a", 0)).take() == 1.5
    assert mailbox.take((0, "a", 0)) is None
    assert not told


def test_a_failure_stands_in_place_of_what_a_lost_island_has_not_sent(mailbox, told):
    mailbox.put(offer(0, 1.5))
    mailbox.lose(["a"], GONE)
    assert (mailbox.is_lost("a"), mailbox.is_lost("b")) == (True, False)
    assert mailbox.take((0, "a", 0)).take() == 1.5
    assert mailbox.take((1, "a", 0)).take() == GONE
    assert mailbox.take((1, "c", 0)) is None
    assert told == [without(1)]


def test_a_failure_that_comes_is_told_when_it_is_taken(mailbox, told):
    mailbox.put(offer(0, Failure("no memory")))
    assert not told
    mailbox.take((0, "a", 0))
    assert told == [without(0, why=Failure("no memory"))]


def test_what_others_go_without_is_not_used_though_it_comes(mailbox, told):
    mailbox.put(offer(0, 1.5))
    assert [mailbox.refuse(without(step)) for step in (0, 1, 1)] == [True, True, False]
    mailbox.put(offer(1, 2.5))
    assert [mailbox.take((step, "a", 0)).take() for step in (0, 1)] == [GONE, GONE]
    assert not told  # nothing that the others do not know


def test_what_was_taken_is_told_when_others_go_without_it(mailbox, told):
    for step in range(2):
        mailbox.put(offer(step, 1.5))
        mailbox.take((step, "a", 0))
    assert not mailbox.refuse(without(0))
    assert told == [Parted("a", GONE)]
    assert mailbox.refuse(without(0, tag=1))
    assert mailbox.refuse(without(2))


def test_processes_that_go_without_the_same_have_nothing_to_tell_each_other(mailbox, told):
    mailbox.lose(["a"], GONE)
    mailbox.take((0, "a", 0))
    assert not mailbox.refuse(without(0))
    assert told == [without(0)]


def test_an_island_with_no_other_processes_tells_nothing():
    mailbox = Mailbox(7, "b")
    mailbox.lose(["a"], GONE)
    assert mailbox.take((0, "a", 0)).take() == GONE


# At a host.


class Process:
    """One of those of island b, which gets a value in each step: from a task of island a, or as an argument.

    brings: whether messages come by a thread that has nothing else to do.
    """

    def __init__(self, make_code, mesh, *, is_argument, brings=False, patience=60):
        kind, axes = Buffer((4, 4), "float32"), (("devices", 1),)
        same = "func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {\n  return %x : tensor<4x4xf32>\n}"
        run = (Run("F0", 0, (0,), (1,)),)
        islands = (
            IslandProgram("a", axes, (kind,), () if is_argument else (Send(0, "b", 0),)),
            IslandProgram("b", axes, (kind, kind), run if is_argument else (Receive(0, "a", 0), *run)),
        )
        output = Output("y", (4, 4), "float32", False, ((("b", 1),),))
        program = Program(islands, (make_code("same", same, [kind]),), (), (output,))
        self.tag = argument_tag(0) if is_argument else 0
        self.feeds = {0: Coming("a")} if is_argument else {}
        self.told = Inbox()
        self.host = Host({"b": mesh}, Devices(), self.told.put, number=1)
        self.host._sites["b"].is_shared = True
        self.host.receive(Load(7, program, {"b": mesh}, {"a": 0, "b": 1}, ("b",), patience))
        self.next(Loaded)
        self.say = self.host.bring if brings else self.host.receive

    def start(self, step):
        self.say(Start(0, step, 7, step, {"b": Order(self.feeds, {1: step})}))

    def next(self, kind):
        """What it tells of a kind, next."""
        while not isinstance(found := self.told.get(60), kind):
            assert found is not None
        return found

    def end(self):
        self.host.receive(Close(7))
        self.host.join(60)


@pytest.fixture(params=[False, True], ids=["sent by a task", "an argument"])
def is_argument(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["received", "brought"])
def brings(request):
    return request.param


@pytest.fixture
def process(is_argument, brings, make_code, make_meshes):
    made = Process(make_code, make_meshes(names=("b",))["b"], is_argument=is_argument, brings=brings)
    yield made
    made.end()


def test_a_process_goes_on_without_what_another_one_goes_without(process):
    value = jax.numpy.ones((4, 4))
    for step in range(3):
        process.start(step)
    process.say(without(1, process.tag))  # it waits for step 0
    process.say(without(0, process.tag))
    for step in range(3):
        process.say(offer(step, value, process.tag))
    for step in range(3):
        process.say(Fetch(step, "b", step))
    answers = {told.request: told.answer for told in (process.next(Told) for _ in range(3))}
    assert [isinstance(answers[step], Failure) for step in range(3)] == [True, True, False]
    rest = [process.told.get(0) for _ in range(len(process.told))]
    assert not any(isinstance(one, (Parted, GoesWithout)) for one in rest)


def test_a_process_that_has_used_a_value_says_that_they_have_parted(process):
    process.start(0)
    process.say(offer(0, jax.numpy.ones((4, 4)), process.tag))
    process.next(StepEnded)
    process.say(without(0, process.tag))
    assert process.next(Parted) == Parted("a", GONE)


def test_a_process_tells_the_others_what_it_goes_without(process):
    process.start(0)
    process.say(Lose(("a",), GONE))
    assert process.next(GoesWithout) == without(0, process.tag)


def test_what_does_not_come_in_time_fails_its_step_alone(make_code, make_meshes, is_argument, brings):
    """Also where others share the island: they are told, and go without it too."""
    meshes = make_meshes(names=("b",))
    process = Process(make_code, meshes["b"], is_argument=is_argument, brings=brings, patience=0.1)
    process.start(0)
    told = process.next(GoesWithout)
    assert (told.step, told.tag) == (0, process.tag)
    assert re.search(r"to island b: .*has not (come|started) .* after 0\.1 seconds", told.failure.what)
    assert process.next(StepEnded).step == 0
    process.say(offer(0, jax.numpy.ones((4, 4)), process.tag))  # too late
    process.say(offer(1, jax.numpy.ones((4, 4)), process.tag))
    process.start(1)
    assert process.next(StepEnded).step == 1
    process.say(Fetch(0, "b", 0))
    process.say(Fetch(1, "b", 1))
    assert isinstance(process.next(Told).answer, Failure)
    assert not isinstance(process.next(Told).answer, Failure)
    process.end()


def test_who_brings_a_message_does_what_follows(process, brings):
    """So it is done when that returns, if nobody else carries the islands; otherwise the host's thread does it."""
    carriers = set()
    fill = process.host._sites["b"].store.fill
    process.host._sites["b"].store.fill = lambda *given: carriers.add(threading.current_thread()) or fill(*given)
    for step in range(20):
        process.start(step)
        process.say(offer(step, jax.numpy.ones((4, 4)), process.tag))
        process.next(StepEnded)
        while process.host._carrying.locked():  # whoever told the end may not have let go of them yet
            time.sleep(0)
    assert (threading.current_thread() in carriers) == brings


def test_what_many_bring_at_once_is_carried_out_once_each(make_code, make_meshes):
    """Also what comes while the thread that carries the islands looks for the last time."""
    process, steps = Process(make_code, make_meshes(names=("b",))["b"], is_argument=False, brings=True), 200
    value = jax.numpy.ones((4, 4))

    def bring(first):
        for step in range(first, steps, 4):
            process.say(offer(step, value))

    threads = [threading.Thread(target=bring, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for step in range(steps):
        process.start(step)
    assert [process.next(StepEnded).step for _ in range(steps)] == list(range(steps))
    for thread in threads:
        thread.join()
    process.end()
    assert process.host.is_idle


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_fails_where_it_is_brought_ends_the_host(process, monkeypatch):
    monkeypatch.setattr("atoll.runtime.island.RunningIsland.order", lambda *_, **__: 1 / 0)
    process.start(0)
    assert "ZeroDivisionError" in process.next(HostFailed).failure.what
