"""Arguments that a function gives: what it is asked for, what it may return, and how islands wait for it."""

import contextlib
import functools
import re
import threading
import types

import jax
import loaders
import numpy
import pytest
from atoll.compiler.errors import AtollError, UsageError
from atoll.runtime.controller import Controller
from atoll.runtime.examples import Needed, Question, checked, needs_of, part_of, questions
from atoll.runtime.failure import Failure
from atoll.runtime.fed import Fed, for_processes
from atoll.runtime.feeding import Feeding
from atoll.runtime.inbox import Inbox
from atoll.runtime.messages import argument_of
from atoll.runtime.program import Buffer, Division, Input, IslandProgram, Program
from atoll.runtime.trace import ForArgument, Waited
from patient import in_the_end, until


def fed(fn, argument="x", first=2, stop=3):
    return Fed(fn, "load", "data.py:3", argument, first, stop)


# What is asked for.

ROWS, WORDS = Buffer((2, 3), "float32"), Buffer((2,), "int32")


@pytest.fixture
def divided():
    """A batch of four examples with two leaves: `left` needs one of both, `right` all; `idle` needs none."""
    islands = tuple(
        IslandProgram(name, (("devices", 1),), buffers, ())
        for name, buffers in (("left", (ROWS, ROWS, WORDS, WORDS)), ("right", (WORDS, WORDS)), ("idle", ()))
    )
    places = ((("left", 2), ("right", 0)), (("left", 3), ("right", 1)))
    inputs = (
        Input("rate", (), "float32"),
        Input("batch['rows']", (4, 3), "float32", places=((("left", 0),), (("left", 1),)), starts=((0, 0), (2, 0))),
        Input("batch['words']", (4,), "int32", places=places, starts=((0,), (2,))),
    )
    return Program(islands, (), inputs, ())


def test_one_question_for_each_range_whatever_leaves_need_it(divided):
    batch = fed(None, "batch", 1, 3)
    needs = needs_of(divided, "left")
    found = questions(5, dict.fromkeys(range(4), batch), needs)
    assert [(one.step, one.start, one.stop, set(one.buffers)) for one in found] == [
        (5, 0, 2, {0, 2}),
        (5, 2, 4, {1, 3}),
    ]
    found = questions(5, dict.fromkeys(range(2), batch), needs_of(divided, "right"))
    assert [(one.start, one.stop, set(one.buffers)) for one in found] == [(0, 2, {0}), (2, 4, {1})]
    assert needs_of(divided, "idle") == {}
    two = questions(0, {0: fed(None, "rows", 1, 2), 2: fed(None, "words", 2, 3)}, needs)
    assert [one.fed.argument for one in two] == ["rows", "words"]


def test_what_is_divided_along_another_dimension_is_cut_from_what_comes():
    column = Buffer((4, 1), "float32")
    one = Input("x", (4, 2), "float32", places=((("a", 0),), (("a", 1),)), starts=((0, 0), (0, 1)))
    program = Program((IslandProgram("a", (), (column, column), ()),), (), (one,), ())
    assert program.division(one) == Division((((0, 4), (0, 1)), ((0, 4), (1, 2))))
    needs = needs_of(program, "a")
    (question,) = questions(0, dict.fromkeys(range(2), fed(None, "x", 0, 1)), needs)
    x = numpy.arange(8.0).reshape(4, 2)
    numpy.testing.assert_array_equal(part_of(x, question.buffers[1]), x[:, 1:])


# What is returned.


def returned(divided, examples):
    question = Question(fed(None, "batch", 1, 3), 7, 2, 4, {0: Needed(1, 2, 4, ())})
    return checked(question, divided.inputs, examples)


def test_what_fits_is_copied(divided):
    """A function may fill the same memory again."""
    rows = numpy.ones((2, 3), numpy.float32)
    found, words = returned(divided, {"rows": rows, "words": jax.numpy.arange(2, dtype="int32")})
    rows[:] = 2
    assert (found.dtype, found.sum(), words.dtype) == ("float32", 6, "int32")


@pytest.mark.parametrize(
    ("examples", "told"),
    [
        ({"rows": numpy.ones((2, 3))}, "no batch['words']; return a pytree like the argument"),
        (numpy.ones((2, 3)), "no batch['rows']; return a pytree like the argument"),
        (None, "no batch['rows']; return a pytree like the argument"),
        (
            {"rows": numpy.ones((2, 3)), "words": numpy.ones(2, "int32"), "x": 1},
            "batch['x'], which the step does not take; return a pytree like the argument",
        ),
        (
            {"rows": numpy.ones((4, 3)), "words": numpy.ones(2, "int32")},
            "batch['rows'] as float64[4, 3]; return an array of float32[2, 3]",
        ),
        (
            {"rows": numpy.ones((2, 3)), "words": numpy.ones(2, "float32")},
            "batch['words'] as float32[2]; return an array of int32[2]",
        ),
        (
            {"rows": "many", "words": numpy.ones(2, "int32")},
            "batch['rows'] as a str; return an array of float32[2, 3]",
        ),
        (
            {"rows": numpy.ma.masked_less(numpy.ones((2, 3), "float32"), 0), "words": numpy.ones(2, "int32")},
            "batch['rows'] as a MaskedArray; return an array of float32[2, 3]",
        ),
        (
            {"rows": jax.ShapeDtypeStruct((2, 3), "float32"), "words": numpy.ones(2, "int32")},
            "batch['rows'] as a ShapeDtypeStruct; return an array of float32[2, 3]",
        ),
    ],
)
def test_what_does_not_fit_is_told(divided, examples, told):
    with pytest.raises(AtollError) as found:
        returned(divided, examples)
    assert found.value.message == f"data.py:3: load, asked for examples 2..4 of step 7, returned {told}"


@pytest.mark.parametrize(
    ("examples", "kind"), [([[1.0, 2.0]], "list"), (None, "NoneType"), ((numpy.ones(2),), "tuple")]
)
def test_one_array_is_asked_for_by_that_word(examples, kind):
    question = Question(fed(None, "x", 0, 1), 7, 2, 4, {0: Needed(0, 2, 4, ())})
    with pytest.raises(AtollError, match=rf"of step 7, returned a {kind}; return an array of float32\n"):
        checked(question, [Input("x", (4,), "float32")], examples)


def test_random_keys_may_be_examples():
    program = Program((), (), (Input("keys", (4,), "key<fry>"),), ())
    question = Question(fed(None, "keys", 0, 1), 0, 0, 2, {})
    (words,) = checked(question, program.inputs, jax.random.split(jax.random.key(1), 2))
    assert (words.shape, words.dtype) == ((2, 2), "uint32")
    with pytest.raises(AtollError, match=r"returned keys as uint32\[2, 2\]; return an array of key<fry>\[2\]"):
        checked(question, program.inputs, words)


# On islands.


def test_the_same_bits_as_an_array(train, values):
    """Step by step, with what donation makes of the state; asked beside the thread of the islands, once a step."""
    calls = []

    def load(step, start, stop):
        calls.append((step, start, stop, threading.current_thread().name))
        return loaders.squares(step, start, stop)

    given = train.start([*values[:2], loaders.squares(0, 0, 4)])
    w, v, _ = train.put(values)
    w, v, loss = train.start([w, v, fed(lambda _, start, stop: loaders.squares(0, start, stop))])
    for ours, theirs in zip((w, v, loss), given, strict=True):
        assert numpy.asarray(ours).tobytes() == numpy.asarray(theirs).tobytes()
    for _ in range(3):
        w, v, loss = train.start([w, v, fed(load)])
    assert numpy.isfinite(numpy.asarray(loss))
    assert calls == [(step, 0, 4, "atoll left, feeding") for step in (2, 3, 4)]
    assert train.stats().bytes_per_link == {("left", "right"): 64, ("right", "left"): 64}


def test_an_error_is_raised_by_the_results_of_its_step_alone(train, values, reference_step):
    def load(step, start, stop):
        if step == 1:
            raise SystemExit("no more files")
        return values[2][start:stop]

    found = [train.start([*values[:2], fed(load)]) for _ in range(3)]
    for one in found[1]:
        with pytest.raises(AtollError) as told:
            numpy.asarray(one)
        assert (
            told.value.message == "data.py:3: load, asked for examples 0..4 of step 1, raised SystemExit: no more files"
        )
    for ours, theirs in zip(found[2], reference_step(*values), strict=True):
        numpy.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_all_lines_of_an_error_are_shown(train, values):
    def load(*_):
        raise ValueError("no such rows:\n  12\n  13\nin part 7")

    w, *_ = train.start([*values[:2], fed(load)])
    with pytest.raises(AtollError) as told:
        numpy.asarray(w)
    sentence, *lines = told.value.message.splitlines()
    assert sentence.endswith("raised ValueError: no such rows: 12")
    assert lines == ["  no such rows:", "    12", "    13", "  in part 7"]


def test_what_does_not_return_is_waited_for_with_an_end(make_train_program, make_meshes, values, reference_step):
    """What comes too late changes nothing, and nobody waits for it at the end."""
    gate = threading.Event()

    def load(step, start, stop):
        if step == 0:
            gate.wait(60)
        return values[2][start:stop]

    program = make_train_program((), (("devices", 1),), donated=False)
    with Controller(program, make_meshes(), timeout=1) as controller:
        w, *_ = controller.start([*values[:2], fed(load)])
        until(lambda: "load" not in controller._hosted.settle(60)["left"], "nobody waits for the function any more")
        with pytest.raises(AtollError) as told:
            numpy.asarray(w)
        assert told.value.message == (
            "data.py:3: load, asked for examples 0..4 of step 0, has not returned after 1 seconds; "
            "look at what that island is doing: a function that it calls, or another program, may not come to an end"
        )
        found = controller.start([*values[:2], fed(load)])
        for ours, theirs in zip(found, reference_step(*values), strict=True):
            numpy.testing.assert_allclose(in_the_end(lambda ours=ours: numpy.asarray(ours)), theirs, rtol=1e-5)
    gate.set()


def test_an_island_says_for_whom_it_waits(train, values):
    gate = threading.Event()

    def load(_, start, stop):
        assert gate.wait(60)
        return values[2][start:stop]

    *_, loss = train.start([*values[:2], fed(load)])
    assert train._hosted.settle(60)["left"] == "waits for an argument of step 0 from load"
    gate.set()
    assert numpy.isfinite(numpy.asarray(loss))


def test_a_wait_for_examples_is_traced(train, values):
    gate = threading.Event()

    def load(_, start, stop):
        assert gate.wait(60)
        return values[2][start:stop]

    with train.traced() as trace:
        train.start([*values[:2], fed(load)])
        assert train._hosted.settle(60)["left"] == "waits for an argument of step 0 from load"
        gate.set()
    causes = {one.cause for one in trace.records if isinstance(one, Waited) and one.island == "left"}
    assert ForArgument(1, "load") in causes


def test_a_step_that_is_given_up_holds_up_none_after_it(divided):
    """All that it still waits for fails; the next step is asked on another thread, and what comes late is no answer."""
    gate, posted, arrived = threading.Event(), Inbox(), []

    def load(step, start, stop):
        assert step == 1 or gate.wait(60)
        return {"rows": numpy.full((stop - start, 3), float(step)), "words": numpy.full(stop - start, step, "int32")}

    site = types.SimpleNamespace(name="left", turn=contextlib.nullcontext(), bear=lambda error: None)
    transport = types.SimpleNamespace(place=lambda value, *_: value)
    feeding = Feeding(0, divided, transport, site, posted.put, arrived.append)
    for step in (0, 1):
        feeding.begin(step, {0: fed(load, "batch", 1, 3), 1: fed(load, "batch", 1, 3), 4: "an array"})
    feeding.give_up(0, 5.0)
    assert [(one.step, type(one.value)) for one in arrived] == [(0, Failure)] * 2
    assert "load, asked for examples 0..2 of step 0, has not returned after 5 seconds" in arrived[0].value.what
    for _ in range(2):
        call, told = posted.get(60)
        call(told)
    gate.set()
    call, told = posted.get(60)
    assert told[0].step == 0
    call(told)
    assert [(one.step, argument_of(one.tag), one.value.sum()) for one in arrived[2:]] == [(1, 0, 6), (1, 1, 6)]
    feeding.stop()


# To other processes.


def test_a_function_travels_by_its_name():
    one = fed(functools.partial(loaders.squares, 3))
    first, other, number = for_processes([one, one, 5])
    assert first is other
    assert number == 5
    assert isinstance(first.fn, bytes)
    numpy.testing.assert_array_equal(first.function(0, 2), loaders.squares(3, 0, 2))
    counting = for_processes([fed(loaders.Counting())])[0]
    assert counting.function is counting.function


def of_this_module():
    """Is made one of the file that was run."""


def test_a_function_that_cannot_travel_is_refused(monkeypatch):
    def nameless(*_):
        """Is known by no name."""

    monkeypatch.setattr(of_this_module, "__module__", "__main__")
    for found, what in (
        (nameless, "cannot be given to the processes of islands, which import functions by their names"),
        (of_this_module, "is defined in the file that was run, which the processes of islands cannot import"),
    ):
        place = f"{__file__}:{found.__code__.co_firstlineno}: {found.__name__} "
        for one in (found, functools.partial(found, 3), functools.partial(loaders.squares, found)):
            with pytest.raises(UsageError, match=f"^{re.escape(place + what)}; "):
                for_processes([fed(one)])
    with pytest.raises(
        UsageError, match=r"^data.py:3: load cannot be given to the processes of islands: .*no lambda\n"
    ):
        for_processes([fed(functools.partial(loaders.squares, threading.Lock()))])


def test_a_module_that_is_not_there_is_told_when_it_is_asked_for():
    with pytest.raises(AtollError, match=r"^data.py:3: load cannot be imported in the process of an island: Module"):
        fed(b"cnowhere\nload\n.").function  # noqa: B018
