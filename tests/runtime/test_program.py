"""Programs: their file, and what `check` refuses."""

import dataclasses
import hashlib
import time

import numpy
import pytest
from atoll.compiler.errors import AtollError, UsageError
from atoll.runtime.check import check, uncovered
from atoll.runtime.program import (
    Buffer,
    Code,
    Count,
    Division,
    Free,
    Input,
    IslandProgram,
    Output,
    Prebuilt,
    Program,
    Receive,
    Run,
    Send,
)
from atoll.runtime.program_file import _CLASSES, MAGIC, VERSION, from_bytes, load_program, save_program, to_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

pytestmark = pytest.mark.own

# Any program, whether it makes sense or not, survives its file.

names = st.text(max_size=5)
numbers = st.integers(0, 2**70)
few = st.integers(0, 9)
tuples = st.lists(few, max_size=3).map(tuple)
buffers = st.builds(
    Buffer,
    tuples,
    st.sampled_from(["float32", "bfloat16", "bool", "complex64", "int4"]),
    st.lists(st.lists(names, max_size=2).map(tuple), max_size=3).map(tuple),
    st.booleans(),
)
places = st.lists(st.lists(st.tuples(names, numbers), max_size=3).map(tuple), max_size=3).map(tuple)
instructions = st.one_of(
    st.builds(Run, names, few, tuples, tuples, tuples),
    st.builds(Send, few, names, numbers),
    st.builds(Receive, few, names, numbers),
    st.builds(Free, tuples),
)


def lists_of(strategy):
    return st.lists(strategy, max_size=3).map(tuple)


programs = st.builds(
    Program,
    lists_of(
        st.builds(IslandProgram, names, lists_of(st.tuples(names, few)), lists_of(buffers), lists_of(instructions))
    ),
    lists_of(st.builds(Code, names, st.binary(max_size=20), lists_of(buffers), names, names)),
    lists_of(st.builds(Input, names, tuples, names, st.booleans(), st.booleans(), places, lists_of(tuples))),
    lists_of(st.builds(Output, names, tuples, names, st.booleans(), places, lists_of(tuples))),
    names,
    names,
    names,
    names,
    lists_of(st.builds(Prebuilt, names, names, st.binary(max_size=20))),
)


@settings(deadline=None)
@given(programs)
def test_a_program_survives_its_bytes(program):
    assert from_bytes(to_bytes(program)) == program


def test_a_program_survives_its_file(make_train_program, tmp_path):
    program = make_train_program()
    save_program(program, tmp_path / "step.atoll")
    assert load_program(tmp_path / "step.atoll") == program
    assert [file.name for file in tmp_path.iterdir()] == ["step.atoll"]


# Files that are refused.


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_file_that_was_changed_in_one_byte_is_refused(data, make_train_program):
    content = bytearray(to_bytes(make_train_program()))
    index = data.draw(st.integers(0, len(content) - 1))
    content[index] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UsageError):
        from_bytes(bytes(content))


FORMAT = """
Buffer: shape dtype spec on_host
Code: name module results where scopes
Count: buffer microbatch
Free: buffers
Input: path shape dtype weak_type places starts donated either
IslandProgram: name axes buffers instructions
Output: path shape dtype weak_type places starts
Prebuilt: key machine content
Program: islands codes inputs outputs topology plan report trees prebuilt
Receive: buffer source tag
Run: task code inputs outputs donated
Send: buffer to tag
"""


def test_who_changes_the_format_changes_the_version():
    """A file has values without names: a class with other fields, or in another order, would read them wrongly."""
    found = "".join(
        f"{name}: {' '.join(one.name for one in dataclasses.fields(_CLASSES[name]))}\n" for name in sorted(_CLASSES)
    )
    assert (VERSION, found) == (10, FORMAT.lstrip())


@pytest.mark.parametrize("keep", [0, 1, 11, 12, 20, 47, 48, 100, -1])
def test_a_truncated_file_is_refused(keep, make_train_program):
    with pytest.raises(UsageError):
        from_bytes(to_bytes(make_train_program())[:keep])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "step.atoll is no saved atoll program; name a file that save() wrote"),
        (b"import jax\n", "step.atoll is no saved atoll program; name a file that save() wrote"),
        (MAGIC, "step.atoll is cut off; save it again"),
        (
            MAGIC + (11).to_bytes(4) + bytes(32),
            f"step.atoll has version 11 of the program file, this atoll reads version {VERSION}; "
            "compile the program again, or use the atoll that saved it",
        ),
        (MAGIC + VERSION.to_bytes(4) + bytes(32), "step.atoll is damaged: its checksum does not match; save it again"),
        (
            MAGIC + VERSION.to_bytes(4) + hashlib.sha256(b"other").digest() + b"other",
            "step.atoll holds no program, though its checksum matches; save it again",
        ),
    ],
)
def test_a_file_of_another_kind_is_refused(content, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "step.atoll").write_bytes(content)
    with pytest.raises(UsageError) as raised:
        load_program("step.atoll")
    assert told(raised.value) == sentence


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"No such file or directory; name a saved program\n"):
        load_program(tmp_path / "step.atoll")
    with pytest.raises(UsageError, match=r"^\S+: cannot write "):
        save_program(Program((), (), (), ()), tmp_path / "nowhere" / "step.atoll")


@pytest.mark.parametrize(("path", "why"), [(3, "expected str, bytes or os.PathLike object, not int"), ("a\0b", "null")])
def test_what_is_no_path_is_refused(path, why):
    with pytest.raises(UsageError, match=f"cannot read {path}: .*{why}.*; name a saved program\n"):
        load_program(path)
    with pytest.raises(UsageError, match=f"cannot write {path}: .*{why}.*; name another file\n"):
        save_program(Program((), (), (), ()), path)


def test_a_program_that_cannot_run_is_not_loaded(make_train_program, tmp_path):
    program = make_train_program()
    save_program(dataclasses.replace(program, outputs=()), tmp_path / "good.atoll")
    load_program(tmp_path / "good.atoll")
    save_program(dataclasses.replace(program, inputs=()), tmp_path / "bad.atoll")
    with pytest.raises(AtollError, match=r"bad.atoll cannot run: island left: .* uses buffer 0, which does not exist"):
        load_program(tmp_path / "bad.atoll")


# What `check` says.

F32 = Buffer((2,), "float32")
CODE = Code("f", b"", (F32,))
IN = Input("x", (2,), "float32", places=((("a", 0),),))
OUT = Output("y", (2,), "float32", False, ((("a", 1),),))
RUN = Run("F0", 0, (0,), (1,))


def program_of(*instructions, other=(), inputs=(IN,), outputs=(OUT,), codes=(CODE,)):
    """Islands a and b with four buffers each."""
    islands = (IslandProgram("a", (), (F32,) * 4, instructions), IslandProgram("b", (), (F32,) * 4, other))
    return Program(islands, codes, inputs, outputs)


def with_input(**changes):
    return (dataclasses.replace(IN, **changes),)


def with_output(**changes):
    return (dataclasses.replace(OUT, **changes),)


def parted(shape, kinds, *starts):
    """A program with an argument in parts, which are of some kinds."""
    buffers = tuple((F32, Buffer((2,), "int32"), Buffer((2, 2), "float32"))[kind] for kind in kinds)
    places = tuple((("a", number),) for number in range(len(kinds)))
    return Program(
        (IslandProgram("a", (), buffers, ()),), (), (Input("x", shape, "float32", places=places, starts=starts),), ()
    )


def test_parts_may_be_boxes_of_any_kind():
    check(parted((4,), [0, 0], (2,), (0,)))
    check(parted((2,), [0], (0,)))
    check(parted((4, 4), [2, 2, 2, 2], (0, 0), (2, 0), (0, 2), (2, 2)))
    assert parted((2,), [0], (0,)).division(parted((2,), [0], (0,)).inputs[0]) == Division()
    program = parted((4, 2), [2, 2], (0, 0), (2, 0))
    division = program.division(program.inputs[0])
    assert (division.dimensions, division.indices[1]) == ((0,), (slice(2, 4), slice(None)))


@st.composite
def boxes_of(draw):
    """A whole that is cut in two at random places, again and again."""
    shape = tuple(draw(st.lists(st.integers(0, 5), min_size=1, max_size=3)))
    boxes = [tuple((0, size) for size in shape)]
    for _ in range(draw(st.integers(0, 6))):
        box = boxes.pop(draw(st.integers(0, len(boxes) - 1)))
        dimension = draw(st.integers(0, len(shape) - 1))
        start, stop = box[dimension]
        cut = draw(st.integers(start, stop))
        boxes += [(*box[:dimension], part, *box[dimension + 1 :]) for part in ((start, cut), (cut, stop))]
    return shape, draw(st.permutations(boxes))


@settings(deadline=None)
@given(boxes_of(), st.data())
def test_boxes_cover_a_whole_exactly_once(cut, data):
    shape, boxes = cut
    assert uncovered(boxes, shape) is None
    moved = data.draw(st.integers(0, len(boxes) - 1))
    found = [*boxes[:moved], *boxes[moved + 1 :], *data.draw(st.sampled_from([[], [boxes[moved]] * 2]))]
    counts = numpy.zeros(shape, int)
    for box in found:
        counts[tuple(slice(*bounds) for bounds in box)] += 1
    fault = uncovered(found, shape)
    if fault is None:
        assert (counts == 1).all()
    else:
        count, where = fault
        assert count == counts[where] != 1


@pytest.mark.parametrize("along", [0, 1, 2])
def test_very_many_parts_are_checked_in_no_time(along):
    """A hundred pieces along one dimension, each in a hundred shares along another."""
    other, count = (along + 1) % 3, 100
    shape = [8, 8, 8]
    shape[along] = shape[other] = count
    boxes = []
    for one in range(count):
        for two in range(count):
            box = [(0, 8)] * 3
            box[along], box[other] = (one, one + 1), (two, two + 1)
            boxes.append(tuple(box))
    began = time.thread_time()
    assert uncovered(boxes, tuple(shape)) is None
    assert uncovered(boxes[:-1], tuple(shape))[0] == 0
    assert time.thread_time() - began < 5


def test_good_programs():
    check(program_of(RUN))
    check(program_of(Run("U0", 0, (0,), (1,), (0,)), inputs=with_input(donated=True)))
    check(program_of(outputs=with_output(places=((("a", 0),),))))
    check(program_of(RUN, Send(1, "b", 7), Receive(2, "b", 7), other=(Receive(0, "a", 7), Send(0, "a", 7))))
    key = Buffer((3, 2), "uint32")
    island = IslandProgram("a", (), (key,), ())
    check(Program((island,), (), (Input("k", (3,), "key<fry>", places=((("a", 0),),)),), ()))


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (program_of(), "island a: y uses buffer 1, which does not exist yet"),
        (program_of(RUN, RUN), r"island a: instruction 1 \(run F0\) defines buffer 1 a second time"),
        (program_of(RUN, inputs=()), r"island a: instruction 0 \(run F0\) uses buffer 0, which does not exist yet"),
        (program_of(Free((0,)), RUN), r"instruction 1 \(run F0\) uses buffer 0, which is gone"),
        (program_of(RUN, Free((0, 0))), r"instruction 1 \(free 0, 0\) uses buffer 0, which is gone"),
        (program_of(RUN, Free((1,))), "ends buffer 1, an output"),
        (program_of(Run("F0", 0, (0,), (4,))), "defines buffer 4, which is not declared"),
        (program_of(Run("f", 0, (0,), (1,))), r"island a: instruction 0 \(run f\): no task has this name"),
        (program_of(Run("F0", 1, (0,), (1,))), "runs code 1, which does not exist"),
        (program_of(Run("F0", 0, (0,), (1, 2))), "has 2 outputs, f returns 1"),
        (program_of(Run("F0", 0, (0,), (1,), (0,))), "donates buffer 0, which is needed again"),
        (
            program_of(Run("F0", 0, (0, 0), (1,), (0,)), inputs=with_input(donated=True)),
            "donates buffer 0, which is not exactly one of its inputs",
        ),
        (
            program_of(RUN, codes=(Code("f", b"", (Buffer((3,), "float32"),)),)),
            r"puts float32\[3\] \(\) into buffer 1, which is float32\[2\] \(\)",
        ),
        (program_of(RUN, Count(2, 0)), r"puts a number into float32\[2\]"),
        (program_of(RUN, Run("F1", 0, (0, 1), (2,))), "gives f other shapes or shardings than an earlier task"),
        (program_of(RUN, Send(1, "b", 0)), "island a: tag 0 is sent to b, which does not receive it"),
        (program_of(RUN, Send(1, "c", 0)), "send buffer 1 to c, tag 0 has no island to go to"),
        (program_of(RUN, Send(1, "a", 0)), "send buffer 1 to a, tag 0 has no island to go to"),
        (program_of(RUN, Send(1, "b", 0), Send(1, "b", 0)), "send buffer 1 to b, tag 0 uses its tag a second time"),
        (program_of(RUN, other=(Receive(0, "a", 0),)), "receive buffer 0 from a, tag 0 waits for what nobody sends"),
        (
            program_of(RUN, Receive(2, "b", 0), Send(1, "b", 0), other=(Receive(0, "a", 0), Send(0, "a", 0))),
            "the islands wait for each other: a waits for tag 0 of b; b waits for tag 0 of a",
        ),
        (program_of(RUN, outputs=with_output(places=())), "y is nowhere"),
        (program_of(RUN, outputs=with_output(places=((),))), "a part of y is nowhere"),
        (program_of(RUN, outputs=with_output(places=((("c", 0),),))), "y is on unknown island 'c'"),
        (program_of(RUN, outputs=with_output(places=((("a", 9),),))), "y is in buffer 9, which island a lacks"),
        (program_of(RUN, outputs=with_output(dtype="int32")), r"y is int32\[2\], its buffer is float32\[2\]"),
        (program_of(RUN, inputs=with_input(shape=(3,))), r"x is float32\[3\], its buffer is float32\[2\]"),
        (
            program_of(RUN, inputs=with_input(places=((("a", 0), ("a", 2)),))),
            "x has two copies on one island",
        ),
        (Program((IslandProgram("a", (), (), ()),) * 2, (), (), ()), "two islands have one name"),
        (parted((4,), [0, 0]), "x has 2 parts and does not say where they begin in the whole"),
        (parted((4,), [0], (0,), (2,)), r"x is float32\[4\] in 1 parts, which begin at \[\(0,\), \(2,\)\]"),
        (parted((4,), [0, 0], (0, 0), (2, 0)), r"in 2 parts, which begin at \[\(0, 0\), \(2, 0\)\]"),
        (parted((4,), [0, 0], (0,), (3,)), r"a part of x, which is float32\[4\], is float32\[2\] and begins at \[3\]"),
        (parted((4,), [0, 0], (0,), (-1,)), r"is float32\[2\] and begins at \[-1\]"),
        (parted((4,), [0, 1], (0,), (2,)), r"is int32\[2\] and begins at \[2\]"),
        (parted((4,), [0, 2], (0,), (2,)), r"is float32\[2, 2\] and begins at \[2\]"),
        (parted((5,), [0, 0], (0,), (3,)), r"of x, which is float32\[5\], no part has the element \[2\]"),
        (parted((3,), [0, 0], (0,), (1,)), r"of x, which is float32\[3\], 2 parts have the element \[1\]"),
        (parted((4, 4), [2, 2, 2, 2], (0, 0), (0, 2), (2, 0), (2, 1)), r"2 parts have the element \[2, 1\]"),
        (parted((4, 4), [2, 2, 2], (0, 0), (0, 2), (2, 0)), r"no part has the element \[2, 2\]"),
    ],
)
def test_what_a_program_must_not_do(program, sentence):
    with pytest.raises(ValueError, match=sentence):
        check(program)


def test_a_value_keeps_its_shape_on_the_way():
    other = IslandProgram("b", (), (Buffer((3,), "float32"),), (Receive(0, "a", 0),))
    island = IslandProgram("a", (), (F32,), (Send(0, "b", 0),))
    with pytest.raises(
        ValueError, match=r"receive buffer 0 from a, tag 0 expects float32\[3\], but is sent float32\[2\]"
    ):
        check(Program((island, other), (), (IN,), ()))
