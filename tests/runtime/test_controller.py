"""Programs that run: two islands, forward and back, failures, threads."""

import contextlib
import dataclasses
import gc
import threading
import time
from math import prod

import jax
import numpy
import pytest
from atoll.compiler.errors import AtollError, CompileError, TopologyError, UsageError
from atoll.runtime.controller import _GRACE, Controller
from atoll.runtime.devices import Devices
from atoll.runtime.fragment import lower_code
from atoll.runtime.program import Buffer, Code, Free, Input, IslandProgram, Output, Program, Receive, Run, Send
from atoll.runtime.site import AHEAD
from atoll.runtime.sleeping import SleepingDevices
from patient import in_the_end
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)


def callback_code(make_code, function, shape=(4,)):
    """A fragment that calls Python on the host, and the callbacks to run it with."""
    struct = jax.ShapeDtypeStruct(shape, "float32")
    lowered = jax.jit(lambda x: jax.pure_callback(function, struct, x)).lower(struct)
    buffer = Buffer(shape, "float32")
    code = make_code("calls_back", lowered.as_text(), [buffer], where="train.py:7", scopes="decoder/attention")
    return code, lowered._lowering.compile_args["host_callbacks"]


def test_a_train_step_computes_what_it_should(train, values, reference_step):
    *state, x = values
    expected = state
    for _ in range(3):
        *state, loss = train.start([*state, x])
        *expected, expected_loss = reference_step(*expected, x)
    for found, wanted in zip((*state, loss), (*expected, expected_loss), strict=True):
        numpy.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert [value.islands for value in (*state, loss)] == [("left",), ("right",), ("right",)]


def test_the_statistics_of_a_step(train, values):
    with pytest.raises(UsageError, match="no step has run yet"):
        train.stats()
    train.start(values)
    stats = train.stats()
    assert stats.tasks == {"F": 2, "B": 2, "U": 2}
    assert stats.order == {"left": ("F0", "B0", "U0"), "right": ("F0", "B0", "U0")}
    assert stats.messages == 2
    assert stats.bytes_per_link == {("left", "right"): 64, ("right", "left"): 64}
    assert 0 < stats.controller_us < 60e6
    # Left: w, x, and then h, dh, dw in turn; at the end the new w is left. Of a number each
    # device has all, of the others its part.
    devices = prod(size for _, size in train.program.islands[0].axes)
    assert stats.peak_bytes == {"left": 256 // devices, "right": 320 // devices + 4}
    assert stats.host_bytes == {"left": 0, "right": 0}
    assert train.compilations == 6  # `update` runs on two sets of devices


def test_start_does_not_wait_but_for_the_oldest_of_too_many_steps(make_code, make_meshes):
    gate = threading.Event()

    def wait(x):
        assert gate.wait(120)
        return x

    code, callbacks = callback_code(make_code, wait)
    program = chain(make_code, [code])
    with Controller(program, make_meshes(), steps_ahead=2, timeout=120, callbacks=callbacks) as controller:
        controller.compile()
        x = numpy.ones(4, "float32")
        results = [controller.start([x]) for _ in range(2)]
        third = threading.Thread(target=lambda: results.append(controller.start([x])))
        third.start()
        third.join(0.3)
        assert third.is_alive()
        gate.set()
        third.join(120)
        assert [numpy.asarray(one[0]).tolist() for one in results] == [[1.0] * 4] * 3


def test_a_wait_that_takes_too_long_says_what_it_waited_for(make_code, make_meshes):
    gate = threading.Event()

    def wait(x):
        assert gate.wait(120)
        return x

    code, callbacks = callback_code(make_code, wait)
    program = chain(make_code, [code])
    controller = Controller(program, make_meshes(), timeout=0.5, callbacks=callbacks)
    controller.compile()
    y, *_ = controller.start([numpy.ones(4, "float32")])
    for _ in range(2):  # however often it is asked for
        with pytest.raises(AtollError, match=r"left.* after 0.5 seconds; look at what that island is doing"):
            numpy.asarray(y)
    gate.set()
    assert in_the_end(lambda: numpy.asarray(y)).tolist() == [1.0] * 4
    controller.close()


# Failures.

VECTOR = Buffer((4,), "float32")
DOUBLE = """func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.add %x, %x : tensor<4xf32>
  return %y : tensor<4xf32>
}"""


def chain(make_code, codes):
    """On the left the codes one after the other, the last result sent to the right and doubled there.

    Results: what the left ends with, what the right makes of it, and twice the argument.
    """
    codes = (*codes, make_code("double", DOUBLE, [VECTOR], where="train.py:9", scopes="head"))
    last = len(codes) - 1
    runs = [Run(f"F{index}", index, (index,), (index + 1,)) for index in range(last)]
    left = IslandProgram(
        "left",
        (("devices", 1),),
        (VECTOR,) * (last + 2),
        (*runs, Send(last, "right", 3), Run("U0", last, (0,), (last + 1,))),
    )
    right = IslandProgram(
        "right", (("devices", 1),), (VECTOR,) * 2, (Receive(0, "left", 3), Run("F9", last, (0,), (1,)), Free((0,)))
    )
    results = (("left", last), ("right", 1), ("left", last + 1))
    outputs = [Output(f"result[{index}]", (4,), "float32", False, ((place,),)) for index, place in enumerate(results)]
    inputs = (Input("x", (4,), "float32", places=((("left", 0),),)),)
    return Program((left, right), codes, inputs, tuple(outputs))


def test_a_task_that_fails_is_named_wherever_its_result_would_be_read(make_code, make_meshes):
    def fail(x):
        if x[0] < 0:
            raise ValueError("negative example")
        return x

    code, callbacks = callback_code(make_code, fail)
    program = chain(make_code, [code])
    sentence = (
        r"^train.py:7: task F0, fragment calls_back \(decoder/attention\), failed on island left: "
        r".*ValueError: negative example\n"
    )
    with Controller(program, make_meshes(), timeout=120, callbacks=callbacks) as controller:
        bad, good = (numpy.full(4, value, "float32") for value in (-1, 1))
        x = controller.put([bad])[0]
        left, right, other = controller.start([x])
        for value in (left, right):
            with pytest.raises(AtollError, match=sentence):
                numpy.asarray(value)
            with pytest.raises(AtollError, match=sentence):
                value.block_until_ready()
        assert numpy.asarray(other).tolist() == [-2.0] * 4  # does not depend on it
        assert numpy.asarray(x).tolist() == [-1.0] * 4  # the argument is still there
        assert numpy.asarray(controller.start([good])[1]).tolist() == [2.0] * 4  # and so is the controller
        with pytest.raises(AtollError, match=sentence):  # what is made of a failed value fails alike
            numpy.asarray(controller.start([left])[1])
        assert numpy.asarray(controller.start([good])[1]).tolist() == [2.0] * 4


def test_a_failure_while_the_devices_run_ahead_is_traced_back_to_its_task(make_code, make_meshes):
    """The failing task has not run yet when those after it are enqueued."""
    gate = threading.Event()

    def fail(_):
        assert gate.wait(120)
        raise ValueError("negative example")

    slow, callbacks = callback_code(make_code, fail, (1 << 18,))
    big = Buffer((1 << 18,), "float32")
    text = DOUBLE.replace("4xf32", f"{1 << 18}xf32")
    codes = (slow, make_code("double", text, [big], where="train.py:9"))
    runs = (Run("F0", 0, (0,), (1,)), Run("F1", 1, (1,), (2,)), Send(2, "right", 0))
    left = IslandProgram("left", (("devices", 1),), (big,) * 3, runs)
    right = IslandProgram("right", (("devices", 1),), (big,) * 2, (Receive(0, "left", 0), Run("F2", 1, (0,), (1,))))
    inputs = (Input("x", (1 << 18,), "float32", places=((("left", 0),),)),)
    outputs = (Output("result", (1 << 18,), "float32", False, ((("right", 1),),)),)
    program = Program((left, right), codes, inputs, outputs)
    with Controller(program, make_meshes(), timeout=120, callbacks=callbacks) as controller:
        (y,) = controller.start([numpy.ones(1 << 18, "float32")])
        time.sleep(0.2)
        gate.set()
        with pytest.raises(AtollError, match=r"^train.py:7: task F0, .* failed on island left: .*negative example"):
            y.block_until_ready()


def test_a_fragment_that_does_not_compile_is_named(make_train_program, make_meshes, values):
    program = make_train_program()
    broken = dataclasses.replace(program.codes[3], module=b"not MLIR")
    program = dataclasses.replace(program, codes=(*program.codes[:3], broken, *program.codes[4:]))
    sentence = r"^train.py:3: fragment backward_left \(first\) of task B0 cannot be compiled for island left: "
    with Controller(program, make_meshes()) as controller:
        with pytest.raises(CompileError, match=sentence):
            controller.compile()
        with pytest.raises(CompileError, match=sentence):
            controller.start(values)


def test_a_callback_without_its_process_is_refused(make_code, make_meshes):
    code, _ = callback_code(make_code, lambda x: x)
    with (
        Controller(chain(make_code, [code]), make_meshes()) as controller,
        pytest.raises(CompileError, match=r"^train.py:7: fragment calls_back .* it calls back into Python, which only"),
    ):
        controller.compile()


# What is refused.


@pytest.mark.parametrize(
    ("index", "value", "sentence"),
    [
        (
            0,
            numpy.zeros((4, 3), "float32"),
            r"^\S+: w is float32\[4, 3\], but the step was compiled for float32\[4, 4\]",
        ),
        (1, numpy.zeros((4, 4), "int32"), r"^\S+: v is int32\[4, 4\], but the step was compiled for float32\[4, 4\]"),
        (2, "x", r"^\S+: x is a str, not an array; pass an array of float32\[4, 4\]\n"),
        (2, 3.0, r"^\S+: x is float32\[\], but the step was compiled for float32\[4, 4\]"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused(index, value, sentence, make_train_program, make_meshes, values):
    arguments = list(values)
    arguments[index] = value
    with Controller(make_train_program(), make_meshes()) as controller:
        with pytest.raises(UsageError, match=sentence):
            controller.start(arguments)
        with pytest.raises(UsageError, match=r"^\S+: the step takes 3 arrays, not 2"):
            controller.start(values[:2])


def test_islands_that_do_not_fit_are_refused(make_train_program, make_meshes):
    with pytest.raises(
        TopologyError, match=r"^\S+: the program runs on island 'right', which is not there; give it devices"
    ):
        Controller(make_train_program(), make_meshes(names=("left", "wrong")))
    with pytest.raises(
        TopologyError, match=r"^\S+: island left has the axes x=1, the program was made for devices=1; make"
    ):
        Controller(make_train_program(), make_meshes(axes=("x",)))


def test_doubles_are_taken_as_jax_takes_them(make_train_program, make_meshes, values, reference_step):
    with Controller(make_train_program(), make_meshes()) as controller:
        found = controller.start([value.astype("float64") for value in values])
        numpy.testing.assert_allclose(found[2], reference_step(*values)[2], rtol=1e-5)


# Threads, and the end.


def test_several_threads_may_call(train, values, reference_step):
    expected = reference_step(*values)
    found = []

    def work():
        for _ in range(10):
            found.append(train.start(values))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    for results in found:
        numpy.testing.assert_allclose(results[0], expected[0], rtol=1e-5, atol=1e-6)


def test_two_programs_may_share_devices(layout, make_train_program, make_meshes, values, reference_step):
    """Unless both enqueue collectives in one order, XLA ends the process."""
    shape, axes, spec = layout
    program = make_train_program(spec, tuple(zip(axes, shape, strict=True)))
    expected = reference_step(*values)
    results = []
    with Controller(program, make_meshes(shape, axes)) as one, Controller(program, make_meshes(shape, axes)) as other:

        def work(controller):
            for _ in range(30):
                last = controller.start(values)
            results.append(last)

        threads = [threading.Thread(target=work, args=(controller,)) for controller in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        state = [*results[0][:2], values[2]]
        numpy.testing.assert_allclose(other.start(state)[2], reference_step(*expected[:2], values[2])[2], rtol=1e-5)
    for found in results:
        numpy.testing.assert_allclose(found[2], expected[2], rtol=1e-5)


def test_closing_waits_for_what_runs(make_train_program, make_meshes, values, reference_step):
    before = set(threading.enumerate())
    controller = Controller(make_train_program(), make_meshes())
    results = [controller.start(values) for _ in range(2)]
    names = {thread.name for thread in set(threading.enumerate()) - before}
    assert "atoll left and 1 more" in names
    assert names <= {"atoll left and 1 more", "atoll left, watching", "atoll right, watching"}
    controller.close()
    controller.close()
    assert not set(threading.enumerate()) - before
    for found in results:
        numpy.testing.assert_allclose(found[2], reference_step(*values)[2], rtol=1e-5)
    with pytest.raises(UsageError, match=r"^\S+: this program was closed; compile or load it again\n"):
        controller.start(values)


def test_a_fork_is_told_so_before_it_waits_for_anything(train, values, reference_step, monkeypatch):
    found = train.start(values)
    with monkeypatch.context() as in_fork, train._callers:  # a thread that the fork has not holds the lock
        in_fork.setattr("os.getpid", lambda: -1)
        for call in (train.start, train.put):
            with pytest.raises(UsageError, match=r"^\S+: this process is a fork .* has no threads that could run it; "):
                call(values)
        train.close()
    numpy.testing.assert_allclose(found[2], reference_step(*values)[2], rtol=1e-5)
    numpy.testing.assert_allclose(train.start(values)[2], reference_step(*values)[2], rtol=1e-5)


def test_a_controller_that_is_forgotten_ends_its_threads(make_train_program, make_meshes, values, reference_step):
    before = set(threading.enumerate())
    controller = Controller(make_train_program(), make_meshes())
    controller.compile()
    threads = set(threading.enumerate()) - before
    found = controller.start(values)
    del controller
    gc.collect()
    numpy.testing.assert_allclose(found[2], reference_step(*values)[2], rtol=1e-5)
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("step", range(13))
def test_ctrl_c_at_any_point_of_a_call_leaves_all_usable(step, make_train_program, make_meshes, values, reference_step):
    """The `step`-th call of a function of the controller, or of what feeds it, is interrupted."""
    with Controller(make_train_program(donated=False), make_meshes(), timeout=120) as controller:
        controller.compile()
        controller.start(values)
        calls = iter(range(100))

        def interrupt(of, name):
            found = object.__getattribute__(of, name)
            if callable(found) and threading.current_thread() is threading.main_thread() and next(calls) == step:
                raise KeyboardInterrupt
            return found

        interrupted = {one: type(one) for one in (controller, controller._feeder)}
        for one, kind in interrupted.items():
            one.__class__ = type("Interrupted", (kind,), {"__getattribute__": interrupt})
        with pytest.raises(KeyboardInterrupt):
            controller.start(values)
        for one, kind in interrupted.items():
            one.__class__ = kind
        expected = reference_step(*values)
        for _ in range(4):
            numpy.testing.assert_allclose(controller.start(values)[2], expected[2], rtol=1e-5)
        assert controller.stats().messages == 2


# Arguments and results that do not pass through a task.

IDENTITY = Input("x", (4,), "float32", places=((("left", 0),),))


def passing(inputs, outputs, left=(VECTOR,)):
    """A program without tasks, on two islands."""
    islands = (
        IslandProgram("left", (("devices", 1),), tuple(left), ()),
        IslandProgram("right", (("devices", 1),), (VECTOR,), ()),
    )
    return Program(islands, (), tuple(inputs), tuple(outputs))


def test_an_argument_is_passed_through_and_one_result_returned_twice(make_meshes):
    outputs = [Output(f"result[{index}]", (4,), "float32", False, ((("left", 0),),)) for index in range(2)]
    x = numpy.arange(4, dtype="float32")
    donated = dataclasses.replace(IDENTITY, donated=True)
    with (
        Controller(passing([IDENTITY], outputs), make_meshes()) as keeps,
        Controller(passing([donated], outputs[:1]), make_meshes()) as takes,
    ):
        (given,) = keeps.put([x])
        first, second = keeps.start([given])
        (third,) = takes.start([first])  # the others rest on the same memory
        assert first.is_deleted()
        for value in (given, second, third):
            numpy.testing.assert_array_equal(value, x)
        assert keeps.stats().messages == 0


def test_an_array_goes_to_the_island_that_needs_it(make_meshes):
    left = Output("result", (4,), "float32", False, ((("left", 0),),))
    there = dataclasses.replace(IDENTITY, places=((("right", 0),),))
    both = dataclasses.replace(IDENTITY, places=((("left", 0), ("right", 0)),), donated=True)
    on_both = dataclasses.replace(left, places=((("left", 0), ("right", 0)),))
    x = numpy.arange(4, dtype="float32")
    with (
        Controller(passing([IDENTITY], [left]), make_meshes()) as stays,
        Controller(passing([there], [dataclasses.replace(left, places=there.places)]), make_meshes()) as moves,
        Controller(passing([both], [on_both]), make_meshes()) as copies,
    ):
        (value,) = stays.start([x])
        (moved,) = moves.start([value])
        assert (value.islands, moved.islands) == (("left",), ("right",))
        numpy.testing.assert_array_equal(moved, x)
        assert moves.stats().bytes_per_link == {("left", "right"): 16}
        (copied,) = copies.start([value])
        assert copied.islands == ("left", "right")
        assert value.is_deleted()
        numpy.testing.assert_array_equal(copied.block_until_ready(), x)
        (copied,) = copies.start([copied])
        assert copies.stats().messages == 0
        numpy.testing.assert_array_equal(copied, x)


NEGATE = "func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{ {} return %y : tensor<4xf32> }}".format(
    "%y = stablehlo.negate %x : tensor<4xf32>"
)


@pytest.fixture
def held_back(make_code, make_meshes):
    """A program that keeps `x` and donates `y`, and negates both; and a lock that, held, stops what it does to `x`.

    `x` is on the island right, where Python negates it; `y` on the island left.
    """
    lock = threading.Lock()

    def negate(x):
        with lock:
            return -x

    python, callbacks = callback_code(make_code, negate)
    x = dataclasses.replace(IDENTITY, places=((("right", 0),),))
    y = dataclasses.replace(IDENTITY, path="y", donated=True)
    program = Program(
        tuple(
            IslandProgram(name, (("devices", 1),), (VECTOR, VECTOR), (Run("F0", code, (0,), (1,)),))
            for code, name in enumerate(("left", "right"))
        ),
        (make_code("negate", NEGATE, [VECTOR]), python),
        (x, y),
        tuple(Output(f"result[{name}]", (4,), "float32", False, (((name, 1),),)) for name in ("left", "right")),
    )
    with Controller(program, make_meshes(), timeout=120, callbacks=callbacks) as controller:
        controller.compile()
        yield controller, lock


def test_an_island_that_is_ahead_does_not_take_what_another_still_reads(held_back):
    controller, lock = held_back
    x = numpy.arange(4, dtype="float32")
    first, second = (controller.start([x, x + index])[0] for index in (1, 2))
    controller.stats()
    with lock:
        (_, negated) = controller.start([first, x])
        (again, _) = controller.start([second, first])
        time.sleep(0.2)
    numpy.testing.assert_array_equal(negated, x + 1)
    numpy.testing.assert_array_equal(again, x + 1)


def test_a_program_that_is_ahead_does_not_take_what_another_still_reads(held_back, make_meshes):
    reads, lock = held_back
    x = numpy.arange(4, dtype="float32")
    given = dataclasses.replace(IDENTITY, places=((("right", 0),),), donated=True)
    output = Output("result", (4,), "float32", False, ((("right", 0),),))
    with Controller(passing([given], [output]), make_meshes(), timeout=120) as takes:
        (array,) = takes.start([x])
        with lock:
            (_, negated) = reads.start([array, x])
            (array,) = takes.start([array])
            time.sleep(0.2)
        numpy.testing.assert_array_equal(negated, -x)
        numpy.testing.assert_array_equal(array, x)


def test_a_program_that_is_ahead_does_not_overwrite_what_another_will_read(held_back, make_code, make_meshes):
    reads, lock = held_back
    x = numpy.arange(4, dtype="float32")
    islands = (
        IslandProgram("left", (("devices", 1),), (), ()),
        IslandProgram("right", (("devices", 1),), (VECTOR, VECTOR), (Run("F0", 0, (0,), (1,), donated=(0,)),)),
    )
    given = dataclasses.replace(IDENTITY, places=((("right", 0),),), donated=True)
    output = Output("result", (4,), "float32", False, ((("right", 1),),))
    program = Program(islands, (make_code("negate", NEGATE, [VECTOR]),), (given,), (output,))
    with Controller(program, make_meshes(), timeout=120) as takes:
        takes.compile()
        (array,) = takes.start([x])
        with lock:
            reads.start([x, x])
            (_, negated) = reads.start([array, x])
            (again,) = takes.start([array])
            numpy.testing.assert_array_equal(again, x)
        numpy.testing.assert_array_equal(negated, x)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "bfloat16", "complex64", "float16", "int4"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 2)])
def test_values_of_every_kind_pass(dtype, shape, make_code, make_meshes):
    type_ = {"bool": "i1", "int8": "i8", "uint32": "ui32", "bfloat16": "bf16", "int4": "i4"}.get(dtype)
    type_ = type_ or {"complex64": "complex<f32>", "float16": "f16"}[dtype]
    tensor = f"tensor<{''.join(f'{size}x' for size in shape)}{type_}>"
    buffer = Buffer(shape, dtype)
    same = make_code("same", f"func.func @main(%x: {tensor}) -> {tensor} {{ return %x : {tensor} }}", [buffer])
    left = IslandProgram("left", (("devices", 1),), (buffer,) * 2, (Run("F0", 0, (0,), (1,)), Send(1, "right", 0)))
    right = IslandProgram("right", (("devices", 1),), (buffer,), (Receive(0, "left", 0),))
    inputs = (Input("x", shape, dtype, places=((("left", 0),),)),)
    program = Program((left, right), (same,), inputs, (Output("y", shape, dtype, False, ((("right", 0),),)),))
    x = numpy.ones(shape, numpy.dtype(dtype))
    with Controller(program, make_meshes()) as controller:
        (y,) = controller.start([x])
        assert (y.shape, y.dtype) == (shape, numpy.dtype(dtype))
        numpy.testing.assert_array_equal(y, x)
        numpy.testing.assert_array_equal(controller.start([y])[0], x)


# All islands share a thread.


def assert_not_begun(array):
    """Nobody has begun to compute it."""
    with pytest.raises(AtollError, match="has not started to compute a value"):
        array.promise.parts()[0][0].get(0)


def test_an_island_whose_task_calls_python_lets_others_go_on(make_code, make_meshes):
    """In the same step; and it takes any time, whatever the patience of the rest."""
    lock = threading.Lock()
    x = numpy.arange(4, dtype="float32")

    def wait(x):
        with lock:
            return x

    code, callbacks = callback_code(make_code, wait)
    islands = (
        IslandProgram("left", (("devices", 1),), (VECTOR,) * 2, (Run("F0", 0, (0,), (1,)),)),
        IslandProgram("right", (("devices", 1),), (VECTOR,) * 2, (Run("F0", 1, (0,), (1,)),)),
    )
    inputs = tuple(dataclasses.replace(IDENTITY, path=name, places=(((name, 0),),)) for name in ("left", "right"))
    outputs = tuple(Output(name, (4,), "float32", False, (((name, 1),),)) for name in ("left", "right"))
    program = Program(islands, (code, make_code("negate", NEGATE, [VECTOR])), inputs, outputs)
    with Controller(program, make_meshes(), timeout=1, callbacks=callbacks) as controller:
        controller.compile()
        with lock:
            left, right = controller.start([x, x])
            numpy.testing.assert_array_equal(in_the_end(lambda: numpy.asarray(right)), -x)
            time.sleep(1.5)
            assert_not_begun(left)
        numpy.testing.assert_array_equal(in_the_end(lambda: numpy.asarray(left)), x)


@pytest.mark.parametrize("traced", [False, True])
def test_tasks_that_call_python_run_side_by_side(traced, make_code, make_meshes):
    """Each waits for the other."""
    meeting = threading.Barrier(2, timeout=120)

    def meet(x):
        meeting.wait()
        return x

    code, callbacks = callback_code(make_code, meet)
    islands = [
        IslandProgram(name, (("devices", 1),), (VECTOR,) * 2, (Run("F0", 0, (0,), (1,)),)) for name in ("left", "right")
    ]
    inputs = [Input(name, (4,), "float32", places=(((name, 0),),)) for name in ("left", "right")]
    outputs = [Output(name, (4,), "float32", False, (((name, 1),),)) for name in ("left", "right")]
    program = Program(tuple(islands), (code,), tuple(inputs), tuple(outputs))
    with Controller(program, make_meshes(), timeout=120, callbacks=callbacks) as controller:
        with controller.traced() if traced else contextlib.nullcontext():
            results = controller.start([numpy.ones(4, "float32")] * 2)
        for result in results:
            numpy.testing.assert_array_equal(result, [1.0] * 4)


def there_and_back(make_code, times):
    """Two islands that negate a value in turn."""
    streams = {"left": [], "right": []}
    for time_ in range(times):
        for name, other in (("left", "right"), ("right", "left")):
            given, made = 2 * time_, 2 * time_ + 1
            if time_ or name == "right":
                streams[name].append(Receive(given, other, time_ - (name == "left")))
            streams[name].append(Run(f"F{time_}", 0, (given,), (made,)))
            if time_ < times - 1 or name == "left":
                streams[name].append(Send(made, other, time_))
    islands = [
        IslandProgram(name, (("devices", 1),), (VECTOR,) * (2 * times), tuple(streams[name])) for name in streams
    ]
    output = Output("y", (4,), "float32", False, ((("right", 2 * times - 1),),))
    inputs = (Input("x", (4,), "float32", places=((("left", 0),),)),)
    return Program(tuple(islands), (make_code("negate", NEGATE, [VECTOR]),), inputs, (output,))


def test_islands_that_answer_each_other_at_once_do_not_nest(make_code, make_meshes):
    """Python allows a thousand calls inside each other; a step here has more messages than that."""
    x = numpy.arange(4, dtype="float32")
    with Controller(there_and_back(make_code, 700), make_meshes(), timeout=120) as controller:
        for _ in range(2):
            (y,) = controller.start([x])
        numpy.testing.assert_array_equal(y, x)
        stats = controller.stats()
        assert stats.messages == 1399
        assert stats.order["left"] == tuple(f"F{index}" for index in range(700))


def test_a_task_that_fails_harms_no_other(make_code, make_meshes):
    x = numpy.ones(4, "float32")
    program = chain(make_code, [make_code("negate", NEGATE, [VECTOR], where="train.py:7", scopes="first")])
    failing = set()

    def lower(code, *others):
        finish = lower_code(code, *others)

        def finished():
            works = finish()

            def call(*arguments):
                if code.name in failing:
                    raise RuntimeError("out of memory")
                return works.call(*arguments)

            return dataclasses.replace(works, call=call)

        return finished

    with Controller(program, make_meshes(), timeout=120, devices=Devices(lower)) as controller:
        failing.add("negate")
        results = controller.start([x])
        for value in results[:2]:
            with pytest.raises(AtollError, match=r"^train.py:7: task F0, .* failed on island left: out of memory\n"):
                numpy.asarray(value)
        numpy.testing.assert_array_equal(results[2], 2 * x)
        failing.clear()
        numpy.testing.assert_array_equal(controller.start([x])[1], -2 * x)


@pytest.fixture
def waiting(held_back, make_code, make_meshes):
    """Two islands, and an argument of the left one that nobody computes while the lock is held."""
    slow, lock = held_back
    program = Program(
        tuple(
            IslandProgram(name, (("devices", 1),), (VECTOR, VECTOR), (Run("F0", 0, (0,), (1,)),))
            for name in ("left", "right")
        ),
        (make_code("negate", NEGATE, [VECTOR]),),
        tuple(dataclasses.replace(IDENTITY, path=name, places=(((name, 0),),)) for name in ("left", "right")),
        tuple(Output(f"result[{name}]", (4,), "float32", False, (((name, 1),),)) for name in ("left", "right")),
    )

    def start(timeout):
        controller = Controller(program, make_meshes(), timeout=timeout)
        controller.compile()
        x = numpy.arange(4, dtype="float32")
        return controller, controller.start([slow.start([x, x])[1], x])

    return start, lock


def test_an_island_that_waits_lets_others_go_on(waiting):
    start, lock = waiting
    x = numpy.arange(4, dtype="float32")
    with lock:
        controller, (left, right) = start(120)
        numpy.testing.assert_array_equal(right, -x)
        assert_not_begun(left)
    numpy.testing.assert_array_equal(left, x)
    controller.close()


def test_an_island_does_not_wait_for_ever(waiting):
    start, lock = waiting
    with lock:
        controller, (left, _) = start(0.5)
        for _ in range(100):  # whoever reads is as patient as the island, and may give up before it
            with pytest.raises(AtollError, match=r" after 0.5 seconds") as caught:
                left.block_until_ready()
            if caught.value.what.startswith("an argument could not be brought to island left: island right has not "):
                break
        else:
            pytest.fail("the island has not given up")
    controller.close()


def test_an_island_may_be_ahead_of_its_devices_for_long(make_code, make_meshes):
    """It waits for room for another task as long as a task takes."""
    program = chain(make_code, [make_code("negate", NEGATE, [VECTOR])] * (AHEAD + 4))
    meshes = make_meshes()
    with (
        SleepingDevices(program, meshes, lambda task: 2.0 if task == "F0" else 0.0) as sleeping,
        Controller(program, meshes, timeout=120, devices=sleeping.devices) as controller,
    ):
        controller.start([numpy.ones(4, "float32")])
        assert controller.stats().tasks == {"F": AHEAD + 5, "U": 1}
        assert [one.task for one in sleeping.slept if one.island == "left"][: AHEAD + 1] == [
            f"F{index}" for index in range(AHEAD + 1)
        ]


def test_a_task_without_results_is_waited_for(make_meshes):
    done = []

    def note(x):
        time.sleep(0.3)
        done.append(x.tolist())

    lowered = jax.jit(lambda x: jax.debug.callback(note, x)).lower(jax.ShapeDtypeStruct((4,), "float32"))
    code = Code("notes", lowered.as_text().encode(), ())
    left = IslandProgram("left", (("devices", 1),), (VECTOR,), (Run("F0", 0, (0,), ()),))
    inputs = (Input("x", (4,), "float32", places=((("left", 0),),)),)
    program = Program((left,), (code,), inputs, ())
    callbacks = lowered._lowering.compile_args["host_callbacks"]
    with Controller(program, make_meshes(), timeout=120, callbacks=callbacks) as controller:
        controller.start([numpy.ones(4, "float32")])
        assert controller.stats().tasks == {"F": 1}
        assert done == [[1.0] * 4]
        controller.start([numpy.zeros(4, "float32")])
    assert done[1:] == [[0.0] * 4]


def test_ctrl_c_ends_a_close(make_train_program, make_meshes, values, monkeypatch):
    """Its hosts have a moment to end what is under way, which may never end."""
    controller = Controller(make_train_program(donated=False), make_meshes(), timeout=120)
    controller.start(values)
    waited = []

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(controller, "_wait_for", interrupted)
    monkeypatch.setattr(controller._hosted, "join", waited.append)
    with pytest.raises(KeyboardInterrupt):
        controller.close()
    assert waited == [_GRACE]
