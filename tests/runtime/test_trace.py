"""What is recorded of a traced step, and what a viewer is shown of it."""

import contextlib
import itertools
import pickle
import threading
import time
from types import SimpleNamespace

import numpy
import pytest
from atoll.runtime.controller import Controller
from atoll.runtime.frame import Frame
from atoll.runtime.program import Buffer, Code, Input, IslandProgram, Output, Program, Receive, Run, Send
from atoll.runtime.program_memory import Bytes
from atoll.runtime.record import Record
from atoll.runtime.recorder import Waits, carry_out
from atoll.runtime.site import AHEAD
from atoll.runtime.sleeping import SleepingDevices
from atoll.runtime.store import Store
from atoll.runtime.trace import (
    Fetched,
    ForArgument,
    ForRoom,
    ForStep,
    ForValue,
    Recorded,
    Started,
    Trace,
    Waited,
)
from atoll.runtime.trace_file import to_bytes
from atoll.runtime.trace_slices import slices
from patient import until
from trace_reader import arrows, read_trace

pytestmark = pytest.mark.own

F32 = Buffer((2,), "float32")


@pytest.fixture
def shown(tmp_path):
    """The tracks of records, as they are read from a file."""

    def show(program, records):
        path = tmp_path / "steps.pftrace"
        path.write_bytes(to_bytes(program, records))
        return read_trace(path)

    return show


# Tasks.


@pytest.mark.parametrize(
    ("task", "kind", "position"),
    [
        ("F3@1", "F", {"microbatch": 3, "stage": "1"}),
        ("L0.F3@1", "F", {"loop": 0, "microbatch": 3, "stage": "1"}),
        ("F3@1.2", "F", {"microbatch": 3, "stage": "1"}),
        ("L0.I1", "I", {"loop": 0, "stage": "1"}),
        ("U0.1", "U", {"stage": "0"}),
        ("R3@1", "R", {"microbatch": 3}),
        ("R1", "R", {}),
        ("X0.add", "X", {}),
    ],
)
def test_where_a_task_stands(task, kind, position):
    island = IslandProgram("a", (), (F32, F32), (Run(task, 0, (0,), (1,)),))
    given = Input("x", (2,), "float32", places=((("a", 0),),))
    program = Program((island,), (Code("f", b"", (F32,)),), (given,), ())
    (found,) = slices(program, [Recorded("a", 1, 0, 5, 7)])
    assert (found.name, found.category, found.start, found.end) == (task, kind, 5, 7)
    assert {name: found.told[name] for name in ("loop", "microbatch", "stage") if name in found.told} == position


# What a viewer is shown.


def test_a_file_has_what_was_recorded(make_train_program, shown):
    program = make_train_program()
    tracks = shown(
        program,
        [
            Started(7, 10, 14),
            Fetched("left", 7, "right", 1, 15, 17),
            Recorded("left", 7, 0, 18, 20),  # F0
            Recorded("left", 7, 1, 20, 22),  # sends what it made
            Waited("right", 7, ForValue("left", 0), 12, 21),
            Recorded("right", 7, 0, 21, 23),
        ],
    )
    assert {track: [(one.name, one.start, one.end) for one in its] for track, its in tracks.items() if its} == {
        ("controller",): [("start step 7", 10, 14)],
        ("controller", "steps"): [("step 7", 10, 23)],
        ("left", "tasks"): [("F0", 18, 20)],
        ("left", "transfers"): [("argument x from right", 15, 17), ("send F0 to right", 20, 22)],
        ("right", "transfers"): [("receive F0 from left", 21, 23)],
        ("right", "waits"): [("value F0 from left", 12, 21)],
    }
    (task,) = tracks["left", "tasks"]
    assert task.args == {
        "step": 7,
        "stage": "0",
        "fragment": "forward_left",
        "scopes": "first",
        "where": "train.py:3",
        "bytes": 64,
        "donated bytes": 0,
    }
    ((sent, received),) = arrows([one for its in tracks.values() for one in its])
    assert (sent.name, received.name) == ("send F0 to right", "receive F0 from left")
    assert sent.args == {"step": 7, "stage": "0", "from": "left", "to": "right", "tag": 0, "bytes": 64}


def test_steps_that_overlap_are_on_one_track(make_train_program, shown):
    """In the file on two lanes of it, since slices of one lane must not overlap."""
    records = [Started(0, 10, 11), Started(1, 12, 13), Started(2, 31, 32)]
    records += [Recorded("left", step, 0, start, start + 9) for step, start in enumerate((20, 30, 40))]
    tracks = shown(make_train_program(), records)
    assert [(one.name, one.start, one.end) for one in tracks["controller", "steps"]] == [
        ("step 0", 10, 29),
        ("step 1", 12, 39),
        ("step 2", 31, 49),
    ]


def test_an_island_may_be_called_as_the_controller(make_train_program, shown):
    train = make_train_program()
    left = train.islands[0]
    alone = IslandProgram("controller", left.axes, left.buffers, left.instructions[:1])
    program = Program((alone,), train.codes, (), ())
    tracks = shown(program, [Recorded("controller", 0, 0, 1, 2)])
    assert [one.name for one in tracks["controller", "tasks"]] == ["F0"]


@pytest.mark.parametrize(
    ("cause", "name", "told"),
    [
        (ForValue("right", 0), "value B0 from right", {"for": "value", "stage": "0", "from": "right", "tag": 0}),
        (ForArgument(0, "left"), "argument w", {"for": "argument", "from": "left", "bytes": 64}),
        (ForArgument(1, "right"), "argument x from right", {"for": "argument", "from": "right", "bytes": 64}),
        (ForRoom(4, 16), "room: 16 tasks are enqueued ahead", {"for": "room", "task": "B0", "ahead": 16}),
        (ForStep(), "the next step", {"for": "step"}),
    ],
)
def test_a_wait_tells_its_cause(cause, name, told, make_train_program, shown):
    tracks = shown(make_train_program(), [Waited("left", 3, cause, 20, 30)])
    (found,) = tracks["left", "waits"]
    assert (found.name, found.category, found.start, found.end) == (name, "wait", 20, 30)
    assert found.args == {"step": 3, **told}


def test_a_value_that_no_task_makes_is_named():
    """What an island sends on, and an argument."""
    islands = [
        IslandProgram("a", (), (F32,), (Send(0, "b", 0),)),
        IslandProgram("b", (), (F32,), (Receive(0, "a", 0), Send(0, "c", 0))),
        IslandProgram("c", (), (F32,), (Receive(0, "b", 0),)),
    ]
    given = Input("x", (2,), "float32", places=((("a", 0),),))
    program = Program(tuple(islands), (), (given,), ())
    records = [Waited("b", 0, ForValue("a", 0), 0, 1), Waited("c", 0, ForValue("b", 0), 0, 1)]
    assert [one.name for one in slices(program, records)] == ["value x from a", "value a value of a from b"]


# From pauses to waits.


def waits_of(*notes, traced=True):
    """What is recorded when an island pauses: a cause, the step, when it went on before and when it paused."""
    waits, record = Waits("a"), Record(0, 1, "a")
    for cause, step, resumed, now in notes:
        waits.note(cause, step, record if traced and not isinstance(cause, ForStep) else None, resumed, now)
    return record.traced


def test_a_wait_lasts_however_often_the_island_is_called():
    value = ForValue("b", 0)
    assert waits_of((value, 1, 9, 10), (value, 1, 12, 13), (value, 1, 14, 15), (None, 1, 20, 21)) == [
        Waited("a", 1, value, 10, 20)
    ]


def test_one_wait_may_follow_another():
    one, other = ForValue("b", 0), ForValue("b", 1)
    assert waits_of((one, 1, 9, 10), (other, 1, 20, 21), (ForStep(), 2, 30, 31)) == [
        Waited("a", 1, one, 10, 20),
        Waited("a", 1, other, 21, 30),
    ]


def test_the_wait_for_a_step_is_recorded_if_that_step_is():
    assert waits_of((ForStep(), 1, 9, 10), (None, 1, 20, 21)) == [Waited("a", 1, ForStep(), 10, 20)]
    assert waits_of((ForStep(), 1, 9, 10), (None, 1, 20, 21), traced=False) == []
    # Step 1 was not traced, so nobody has said when it began.
    assert waits_of((ForStep(), 1, 9, 10), (None, 2, 20, 21)) == []


def test_a_wait_begins_with_its_trace(make_train_program):
    trace = Trace(make_train_program())
    trace.add([Waited("left", 0, ForStep(), 1, trace.began + 5)])
    assert trace.records == [Waited("left", 0, ForStep(), trace.began, trace.began + 5)]


# What islands record.


def test_inputs_that_are_not_there_are_waited_for():
    there, late = (
        SimpleNamespace(
            block_until_ready=lambda: None, is_deleted=lambda: False, is_ready=lambda is_ready=is_ready: is_ready
        )
        for is_ready in (True, False)
    )
    frame = Frame(Record(0, 1, "a"), {}, Store(), [Bytes(8)] * 3)
    frame.values.update({0: there, 1: late, 2: there})
    carry_out(Run("F0", 0, (0, 1), (2,)), 0, lambda _: None, frame)
    waited, recorded = frame.record.traced
    assert waited[:3] == ("a", 1, ForArgument(1, "a"))
    assert recorded[:3] == ("a", 1, 0)
    assert waited.start <= waited.end <= recorded.start <= recorded.end


@contextlib.contextmanager
def running(program, meshes, seconds):
    """A train step on devices that take a given time for each task, and arguments for it; ten may be under way."""
    with (
        SleepingDevices(program, meshes, seconds) as sleeping,
        Controller(program, meshes, devices=sleeping.devices, steps_ahead=10, timeout=120) as controller,
    ):
        yield controller, controller.put([numpy.zeros((4, 4), "float32")] * len(program.inputs))


@pytest.fixture
def slow(make_train_program, make_meshes):
    with running(make_train_program(), make_meshes(), lambda _: 0.03) as ready:
        yield ready


def waits(trace, island, kind):
    return [
        one for one in trace.records if isinstance(one, Waited) and one.island == island and isinstance(one.cause, kind)
    ]


def test_records_are_plain_data(slow):
    controller, arguments = slow
    with controller.traced() as trace:
        controller.start(arguments)
    assert pickle.loads(pickle.dumps(trace.records)) == trace.records
    assert {type(one) for one in trace.records} == {Started, Recorded, Waited}


def test_an_island_waits_for_the_next_step(slow):
    controller, (w, v, x) = slow
    with controller.traced() as trace:
        for _ in range(2):
            w, v, _ = controller.start([w, v, x])
            controller.stats()  # once all islands have ended the step
    for island in ("left", "right"):
        assert [one.step for one in waits(trace, island, ForStep)] == [0, 1]


def test_an_island_waits_for_an_argument_from_another(make_train_program, make_meshes):
    """The second step takes on each island what the first makes on the other; and `left` is the last with that."""
    gate, backward = threading.Event(), itertools.count()

    def seconds(task):
        """That of `left` comes after that of `right`, and does not end before the gate is opened."""
        return 0.0 * (task == "B0" and next(backward) == 1 and gate.wait(60))

    with running(make_train_program(), make_meshes(), seconds) as (controller, (w, v, x)):
        with controller.traced() as trace:
            w, v, _ = controller.start([w, v, x])
            controller.start([v, w, x])
            until(
                lambda: controller._hosted.settle(60)["right"] == "waits for an argument of step 1 from left",
                "the right island waits",
            )
            seen = time.perf_counter_ns()
            gate.set()
        (found,) = waits(trace, "right", ForArgument)
        assert (found.step, found.cause) == (1, ForArgument(0, "left"))
        assert found.start < seen < found.end
        fetched = [one for one in trace.records if isinstance(one, Fetched)]
        assert {(one.step, one.island, one.source) for one in fetched} == {(1, "left", "right"), (1, "right", "left")}


def test_an_island_waits_for_room(make_meshes):
    """Behind a step that is not traced, whose tasks are as many as are enqueued ahead of the devices."""
    matrix = Buffer((4, 4), "float32")
    tasks = tuple(Run(f"F{index}", 0, (index,), (index + 1,)) for index in range(AHEAD))
    program = Program(
        (IslandProgram("left", (("devices", 1),), (matrix,) * (AHEAD + 1), tasks),),
        (Code("f", b"", (matrix,)),),
        (Input("x", (4, 4), "float32", places=((("left", 0),),)),),
        (Output("y", (4, 4), "float32", False, ((("left", AHEAD),),)),),
    )
    gate = threading.Event()
    with running(program, make_meshes(names=("left",)), lambda _: 0.0 * gate.wait(60)) as (controller, (x, *_)):
        controller.start([x])
        with controller.traced() as trace:
            controller.start([x])
            until(
                lambda: controller._hosted.settle(60)["left"] == f"waits for its devices to end one of {AHEAD} tasks",
                "the island waits for room",
            )
            seen = time.perf_counter_ns()
            gate.set()
    (found,) = waits(trace, "left", ForRoom)
    assert (found.step, found.cause) == (1, ForRoom(0, AHEAD))
    assert found.start < seen < found.end
