"""Islands of several processes: the same answers as those of one process, and one fate."""

import os
import signal
import time

import jax
import loaders
import numpy
import pytest
from atoll.compiler.errors import AtollError, CompileError, IslandLost
from atoll.runtime.controller import Controller
from atoll.runtime.fed import Fed
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.processes.island_processes import IslandProcesses
from atoll.runtime.processes.wanted import Wanted
from atoll.runtime.program import Buffer, Input, IslandProgram, Output, Program, Receive, Run, Send
from local_processes import LocalProcesses, assert_as_in_one_process

pytestmark = [pytest.mark.own, pytest.mark.timeout(120)]

AXES = (("x", 2), ("y", 2))


def islands(processes, watchdog=20.0, before=None):
    """An island of two processes sends to one of one, or of two, and gets values from it."""
    wanted = [Wanted(name, AXES, "cpu", count) for name, count in zip(("left", "right"), processes, strict=True)]
    return HostedIslands(IslandProcesses(wanted, LocalProcesses(before or {}), watchdog))


@pytest.fixture(scope="module", params=[(2, 2), (2, 1), (1, 2)], ids="{0[0]}-to-{0[1]}".format)
def shared(request):
    hosted = islands(request.param)
    yield hosted
    hosted.close()


@pytest.mark.one_in(3)
@pytest.mark.parametrize("spec", [(("x",), ("y",)), (("y", "x"),), ((), ("x",)), ()])
def test_the_same_bits_as_in_one_process(shared, make_train_program, make_meshes, values, spec):
    program = make_train_program(spec, AXES)
    assert_as_in_one_process(program, shared, make_meshes((2, 2), ("x", "y")), values, steps=3)


def test_there_are_as_many_processes(shared):
    pids = shared.ground.pids
    assert sorted(map(len, pids.values())) in ([1, 2], [2, 2])
    assert len({pid for its in pids.values() for pid in its}) == sum(map(len, pids.values()))


def passes(kinds, code, axes=AXES):
    """A program that sends a value from left to right: two buffers there, and one more here."""
    given, made, here = kinds
    return Program(
        (
            IslandProgram("left", axes, (given, made), (Run("F0", 0, (0,), (1,)), Send(1, "right", 0))),
            IslandProgram("right", axes, (made, here), (Receive(0, "left", 0), Run("F0", 1, (0,), (1,)))),
        ),
        code,
        (Input("x", given.shape, given.dtype, places=((("left", 0),),)),),
        (Output("y", given.shape, given.dtype, False, ((("right", 1),),)),),
    )


SAME = "func.func @main(%x: {0}) -> {0} {{\n  return %x : {0}\n}}"


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("dtype", "text", "shape", "specs"),
    [
        ("float32", "f32", (8, 4), [(("x",), ("y",)), (("y",), ("x",)), ()]),
        ("int64", "i64", (8, 4), [(), (("x", "y"),), ((), ("y",))]),
        ("bfloat16", "bf16", (8, 4), [(("y",),), (), (("y", "x"),)]),
        ("float32", "f32", (0, 4), [(), (("x", "y"),), ((), ("y",))]),
    ],
)
def test_a_value_is_divided_anew_on_its_way(shared, make_code, dtype, text, shape, specs):
    """What a program returns is then given to another one, which holds it in yet another way on the other island."""
    kinds = [Buffer(shape, dtype, spec) for spec in specs]
    same = SAME.format(f"tensor<{shape[0]}x{shape[1]}x{text}>")
    codes = tuple(make_code(f"same{number}", same, [kind]) for number, kind in enumerate(kinds[1:]))
    x = numpy.arange(numpy.prod(shape), dtype="float32").reshape(shape).astype(numpy.dtype(dtype))
    with jax.enable_x64(True), Controller(passes(kinds, codes), shared, timeout=60) as controller:
        (y,) = controller.start([x])
        (z,) = controller.start([y])
        for one in (y, z):
            found = numpy.asarray(one)
            assert (found.dtype, found.shape) == (x.dtype, shape)
            assert found.tobytes() == x.tobytes()


def fed(fn):
    return Fed(fn, "load", "data.py:3", "x", 2, 3)


def test_examples_come_from_where_they_are_needed(shared, make_train_program, make_meshes, values):
    program = make_train_program((("x",), ("y",)), AXES, donated=False)
    meshes = make_meshes((2, 2), ("x", "y"))
    with Controller(program, shared, timeout=60) as there, Controller(program, meshes, timeout=60) as here:
        for step in range(2):
            given = loaders.squares(step, 0, 4)
            expected = here.start([*values[:2], given])
            for ours, theirs in zip(there.start([*values[:2], fed(loaders.squares)]), expected, strict=True):
                assert numpy.asarray(ours).tobytes() == numpy.asarray(theirs).tobytes()


def test_a_fragment_that_cannot_be_compiled_names_the_users_line(shared, make_code):
    """And the processes go on: what one of them has compiled is forgotten."""
    text = """func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.custom_call @no_such_thing(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}"""
    kinds = [Buffer((4,), "float32")] * 3
    codes = tuple(make_code("odd", text, [kinds[0]], where="model.py:7") for _ in range(2))
    with pytest.raises(
        CompileError, match=r"^model.py:7: fragment odd of task F0 cannot be compiled for island left: "
    ):
        Controller(passes(kinds, codes), shared).compile()


def run_for_ever(controller, values):
    while True:
        numpy.asarray(controller.start(values)[0])


@pytest.mark.parametrize(
    ("victim", "kind"), [((0, 0), signal.SIGKILL), ((0, 1), signal.SIGKILL), ((0, 1), signal.SIGSTOP)]
)
def test_an_island_is_lost_with_the_first_of_its_processes(make_train_program, values, victim, kind):
    hosted = islands((2, 1), watchdog=5.0)
    running = hosted.ground._launcher.running
    with Controller(make_train_program((("x",), ("y",)), AXES, donated=False), hosted, timeout=60) as controller:
        controller.start(values)
        controller.stats()
        os.kill(running[victim].pid, kind)
        with pytest.raises(IslandLost, match=rf"island left was lost: its process {running[victim].pid} on \S+ has"):
            run_for_ever(controller, values)
    hosted.close()
    assert all(one.exitcode is not None for one in running.values())


FAILS = """
from atoll.runtime.acts import Acts
run = Acts._run
def failing(self, task):
    act = run(self, task)
    def fail(frame):
        if frame.record.step == 2:
            raise MemoryError("no memory for the arguments")
        act(frame)
    return fail
Acts._run = failing
"""


def test_what_fails_in_one_process_alone_ends_its_island(make_train_program, values):
    """The other one would wait for it in the next collective, for ever."""
    hosted = islands((2, 1), before={(0, 1): FAILS})
    with Controller(make_train_program((("x",), ("y",)), AXES, donated=False), hosted, timeout=60) as controller:
        sentence = "island left was lost: one of its processes could not go on: no memory for the arguments; make a new"
        with pytest.raises(IslandLost, match=sentence):
            run_for_ever(controller, values)
    hosted.close()


def test_examples_that_do_not_come_fail_their_step_alone(shared, make_train_program, values, reference_step):
    with Controller(make_train_program((("x",), ("y",)), AXES, donated=False), shared, timeout=60) as controller:
        found = [controller.start([*values[:2], fed(loaders.failing)]) for _ in range(3)]
        for one in found[1]:
            with pytest.raises(AtollError, match=r"^data.py:3: load, .* of step 1, raised OSError: the disk is gone\n"):
                numpy.asarray(one)
        for ours, theirs in zip(found[2], reference_step(*values[:2], loaders.squares(2, 0, 4)), strict=True):
            numpy.testing.assert_allclose(ours, theirs, rtol=1e-4)


# What one process goes without.

DEAF = """
from atoll.runtime.processes.arrivals import Arrivals
placed = Arrivals.placed
def lose(self, message):
    is_lost = getattr(message, "source", "") == "left" and message.step == 2
    return None if is_lost else placed(self, message)
Arrivals.placed = lose
"""


HASTY = """
from pathlib import Path
from atoll.runtime.mailbox import Mailbox
take = Mailbox.take
def tell(self, key):
    offer = take(self, key)
    if key[0] == 2 and offer is not None:
        Path({!r}).touch()
    return offer
Mailbox.take = tell
"""


@pytest.mark.parametrize("other", ["deaf", "hasty"])
def test_what_one_process_goes_without_all_do_or_the_island_is_lost(
    make_train_program, make_code, values, tmp_path, other
):
    """Both of them wait for what the left island sends, or one of them waits in a collective for the other one."""
    taken = tmp_path / "taken"
    hosted = islands((2, 2), before={(1, 0): DEAF, (1, 1): DEAF if other == "deaf" else HASTY.format(str(taken))})
    victim = hosted.ground._launcher.running[0, 1]
    kind = Buffer((4, 4), "float32", (("x",), ("y",)))
    run, right = Run("F0", 0, (0,), (1,)), ((("right", 0),), (("right", 1),))
    only = Program(
        (IslandProgram("right", AXES, (kind, kind), (run,)),),
        (make_code("same", SAME.format("tensor<4x4xf32>"), [kind]),),
        (Input("x", (4, 4), "float32", places=right[:1]),),
        (Output("y", (4, 4), "float32", False, right[1:]),),
    )
    train = Controller(make_train_program((("x",), ("y",)), AXES, donated=False), hosted, timeout=60)
    alone = Controller(only, hosted, timeout=60)
    alone.compile()
    *_, (*_, before), (*_, loss) = [train.start(values) for _ in range(3)]
    numpy.asarray(before)  # of the steps before, both have got all
    while other == "hasty" and not taken.exists():
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    lost = rf"island left was lost: its process {victim.pid} on \S+ has ended"
    with pytest.raises(IslandLost, match=rf"^\S+: (step 2 cannot end: )?{lost}"):
        numpy.asarray(loss)
    if other == "deaf":
        numpy.testing.assert_array_equal(alone.start([values[0]])[0], values[0])
    else:
        parted = f"island right was lost: its processes did not get the same values, as {lost}"
        with pytest.raises(IslandLost, match=rf"^\S+: (step \d+ cannot end: )?{parted}"):
            run_for_ever(alone, values[:1])
    hosted.close()
