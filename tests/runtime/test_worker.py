"""The worker's state machine, without threads: islands under a random scheduler."""

import pytest
from atoll.runtime.check import check
from atoll.runtime.program import Buffer, Code, IslandProgram, Program, Receive, Run, Send
from atoll.runtime.worker import Arrive, Begin, Carry, Worker
from hypothesis import strategies as st
from random_events import pytest_generate_tests, under_random_events  # noqa: F401 (a hook)

pytestmark = pytest.mark.own

STREAM = (Run("F0", 0, (), ()), Receive(0, "b", 0), Run("F1", 0, (), ()), Receive(1, "c", 5))


def test_nothing_is_carried_out_before_the_step_begins():
    worker = Worker(STREAM)
    assert worker.awaited is None
    assert worker.handle(Arrive(0, "b", 0)) == []
    assert worker.handle(Begin(0)) == [Carry(0, 0, 3, last=False)]
    assert worker.awaited == (0, "c", 5)


def test_an_island_stops_at_the_first_value_that_is_missing():
    worker = Worker(STREAM)
    assert worker.handle(Begin(0)) == [Carry(0, 0, 1, last=False)]
    assert worker.handle(Arrive(0, "c", 5)) == []
    assert worker.handle(Arrive(0, "b", 0)) == [Carry(0, 1, 4, last=True)]
    assert worker.awaited is None


def test_values_may_come_for_steps_ahead():
    worker = Worker(STREAM)
    for step in (1, 0):
        assert worker.handle(Arrive(step, "b", 0)) == worker.handle(Arrive(step, "c", 5)) == []
    assert worker.handle(Begin(0)) == [Carry(0, 0, 4, last=True)]
    assert worker.handle(Begin(1)) == [Carry(1, 0, 4, last=True)]


def test_steps_that_were_asked_for_follow_at_once():
    worker = Worker(STREAM[:2])
    assert worker.handle(Begin(0)) == [Carry(0, 0, 1, last=False)]
    assert worker.handle(Begin(1)) == []
    assert worker.handle(Arrive(1, "b", 0)) == []
    assert worker.handle(Arrive(0, "b", 0)) == [Carry(0, 1, 2, last=True), Carry(1, 0, 2, last=True)]


def test_a_step_that_is_asked_for_twice_is_carried_out_once():
    worker = Worker(STREAM[:1])
    assert worker.handle(Begin(0)) == [Carry(0, 0, 1, last=True)]
    assert worker.handle(Begin(0)) == []
    assert worker.handle(Begin(2)) == []
    assert worker.handle(Begin(1)) == [Carry(1, 0, 1, last=True)]


def test_an_island_without_instructions_still_ends_its_steps():
    worker = Worker(())
    assert worker.handle(Begin(0)) == [Carry(0, 0, 0, last=True)]


def test_a_value_that_comes_twice_or_late_is_ignored():
    worker = Worker(STREAM)
    worker.handle(Begin(0))
    assert worker.handle(Arrive(0, "b", 0)) == [Carry(0, 1, 3, last=False)]
    assert worker.is_past(0, "b", 0)
    assert worker.handle(Arrive(0, "b", 0)) == []
    assert worker.handle(Arrive(0, "c", 5)) == [Carry(0, 3, 4, last=True)]
    assert worker.handle(Begin(1)) == [Carry(1, 0, 1, last=False)]
    assert worker.handle(Arrive(0, "c", 5)) == []


@st.composite
def programs(draw):
    """Programs that do nothing but exchange values, as one global order of tasks and transfers writes them."""
    names = [f"i{index}" for index in range(draw(st.integers(1, 4)))]
    streams = {name: [] for name in names}
    buffers = dict.fromkeys(names, 0)

    def new(name):
        buffers[name] += 1
        return buffers[name] - 1

    for number in range(draw(st.integers(0, 25))):
        source, to = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        value = new(source)
        streams[source].append(Run(f"F{number}", 0, (), (value,)))
        if source != to:
            streams[source].append(Send(value, to, number))
            streams[to].append(Receive(new(to), source, number))
    scalar = Buffer((), "float32")
    islands = [IslandProgram(name, (), (scalar,) * buffers[name], tuple(streams[name])) for name in names]
    program = Program(tuple(islands), (Code("f", b"", (scalar,)),), (), ())
    check(program)
    return program


def test_every_interleaving_carries_out_every_step_once_and_in_order(few_sequences):
    """Events reach the islands in any order that the links allow, which is any at all."""
    under_random_events(carry_out_all, few_sequences, programs(), st.integers(1, 4))


def carry_out_all(chance, program, steps):
    streams = {island.name: island.instructions for island in program.islands}
    workers = {name: Worker(stream) for name, stream in streams.items()}
    under_way = [(name, Begin(0)) for name in workers]  # each island gets its `Begin`s in order
    done = {name: [] for name in workers}
    ended = dict.fromkeys(workers, 0)
    while under_way:
        name, event = under_way.pop(chance.randrange(len(under_way)))
        if isinstance(event, Begin) and event.step + 1 < steps:
            under_way.append((name, Begin(event.step + 1)))
        for carry in workers[name].handle(event):
            for index in range(carry.start, carry.stop):
                done[name].append((carry.step, index))
                one = streams[name][index]
                if isinstance(one, Send):
                    under_way.append((one.to, Arrive(carry.step, name, one.tag)))
            ended[name] += carry.last
    for name, stream in streams.items():
        assert done[name] == [(step, index) for step in range(steps) for index in range(len(stream))]
        assert ended[name] == steps
        assert workers[name].awaited is None


@pytest.mark.parametrize("missing", [0, 1])
def test_what_is_awaited_is_named(missing):
    worker = Worker(STREAM)
    worker.handle(Begin(0))
    for _, (source, tag) in zip(range(missing), (("b", 0),), strict=False):
        worker.handle(Arrive(0, source, tag))
    assert worker.awaited == (0, *(("b", 0), ("c", 5))[missing])
