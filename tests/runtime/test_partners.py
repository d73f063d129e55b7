"""Islands of several processes: the same answers as those of one process, and one fate."""

import os
import signal

import jax
import loaders
import numpy
import pytest
from atoll.compiler.errors import CompileError, IslandLost
from atoll.runtime.controller import Controller
from atoll.runtime.fed import Fed
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.processes.island_processes import IslandProcesses, Wanted
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
    hosted = islands((2, 1), watchdog=2.0)
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
from atoll.runtime.island import RunningIsland
run = RunningIsland._run
def fail(self, task, frame):
    if frame.record.step == 2:
        raise MemoryError("no memory for the arguments")
    run(self, task, frame)
RunningIsland._run = fail
"""


def test_what_fails_in_one_process_alone_ends_its_island(make_train_program, values):
    """The other one would wait for it in the next collective, for ever."""
    hosted = islands((2, 1), before={(0, 1): FAILS})
    with Controller(make_train_program((("x",), ("y",)), AXES, donated=False), hosted, timeout=60) as controller:
        sentence = "island left was lost: one of its processes could not go on: no memory for the arguments; make a new"
        with pytest.raises(IslandLost, match=sentence):
            run_for_ever(controller, values)
    hosted.close()


def test_examples_that_do_not_come_end_an_island_that_processes_share(make_train_program, values):
    """They may have come to the other process."""
    hosted = islands((2, 1))
    with Controller(make_train_program((("x",), ("y",)), AXES, donated=False), hosted, timeout=60) as controller:
        controller.start([*values[:2], fed(loaders.failing)])
        found = controller.start([*values[:2], fed(loaders.failing)])
        with pytest.raises(IslandLost, match=r"island left was lost: .*: data.py:3: load, .* raised OSError: the disk"):
            numpy.asarray(found[0])
    hosted.close()
