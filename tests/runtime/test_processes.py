"""Islands in processes of their own: the runtime's promises hold there too. The processes are started without Ray."""

import contextlib
import gc
import itertools
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import loaders
import ml_dtypes
import numpy
import pytest
from atoll.compiler.errors import AtollError, CompileError, IslandLost, TopologyError
from atoll.compiler.mlir.bindings import placer
from atoll.runtime.controller import Controller
from atoll.runtime.failure import Failure
from atoll.runtime.fed import Fed
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.processes.island_processes import IslandProcesses
from atoll.runtime.processes.line import Line
from atoll.runtime.processes.packing import pack, unpack
from atoll.runtime.processes.wanted import Wanted
from atoll.runtime.processes.wire import Wire
from atoll.runtime.program import Buffer, Input, IslandProgram, Output, Program, Receive, Run, Send
from local_processes import LocalProcesses, assert_as_in_one_process
from patient import until
from started import left_of

import atoll

pytestmark = [pytest.mark.own, pytest.mark.timeout(120)]

AXES = (("x", 2), ("y", 2))
SPEC = (("x",), ("y",))


def far(axes=AXES, names=("left", "right"), watchdog=20.0, processes=1):
    islands = [Wanted(name, axes, "cpu", processes) for name in names]
    return HostedIslands(IslandProcesses(islands, LocalProcesses(), watchdog))


@pytest.fixture(scope="module")
def shared():
    hosted = far()
    yield hosted
    hosted.close()


# A program.


def test_the_same_bits_as_in_one_process(shared, make_train_program, make_meshes, values):
    program = make_train_program(SPEC, AXES)
    assert_as_in_one_process(program, shared, make_meshes((2, 2), ("x", "y")), values, steps=10)


def test_programs_share_islands_and_arrays_of_other_places_come_as_numbers(
    shared, make_train_program, make_meshes, values, reference_step
):
    """An array of this process, of the other island, and of another program on the same."""
    program = make_train_program(SPEC, AXES, donated=False)
    with (
        Controller(program, shared, timeout=60) as first,
        Controller(program, shared, timeout=60) as second,
        Controller(program, make_meshes((2, 2), ("x", "y")), timeout=60) as near,
    ):
        w, v, _ = first.start(values)
        expected = reference_step(*values)
        numpy.testing.assert_allclose(
            near.start([w, v, values[2]])[0], reference_step(*expected[:2], values[2])[0], rtol=1e-5
        )
        near_w, near_v, _ = near.start(values)
        for one, other in ((w, v), (near_w, near_v), (v, w)):  # at last each is where the other is needed
            expected = reference_step(numpy.asarray(one), numpy.asarray(other), values[2])
            found = second.start([one, other, values[2]])
            for ours, theirs in zip(found, expected, strict=True):
                numpy.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_donated_arrays_are_gone_and_nothing_is_kept(shared, make_train_program, values):
    with Controller(make_train_program(SPEC, AXES), shared, timeout=60) as controller:
        w, v, x = controller.put(values)
        live = []
        for _ in range(6):
            before, loss = w, None  # or the bytes of the one before would count for as long as a message takes
            w, v, loss = controller.start([w, v, x])
            live.append(controller.stats().live_bytes)
        assert before.is_deleted()
        with pytest.raises(AtollError, match=r"w was donated|result\[0\] was donated"):
            numpy.asarray(before)
        assert live[1:] == live[1:2] * 5
        del loss


def test_arrays_are_copied_filled_and_saved_as_in_one_process(shared, make_train_program, values, tmp_path):
    with Controller(make_train_program(SPEC, AXES), shared, timeout=60) as controller:
        w, v, x = controller.put(values)
        assert w.sharding["left"].shard_shape(w.shape) == tuple(size // 2 for size in w.shape)
        assert w.is_ready()
        kept = w.copy()
        atoll.save_checkpoint(tmp_path, 1, {"w": w, "v": v})
        new_w, new_v, _ = controller.start([w, v, x])  # which donates what is being saved
        numpy.testing.assert_array_equal(kept, values[0])
        found = atoll.load_checkpoint(tmp_path, like={"w": w, "v": new_v})
        assert found["w"].islands == ("left",)
        numpy.testing.assert_array_equal(found["w"], values[0])
        again, _, _ = controller.start([found["w"], found["v"], x])
        assert numpy.asarray(again).tobytes() == numpy.asarray(new_w).tobytes()
        controller.stats()  # waits until its step is over
        assert again.is_ready()
    with pytest.raises(AtollError, match=r"have forgotten its program, which was closed; keep the program open"):
        atoll.from_jax(values[0], like=again)


def with_state(state, x):
    """A step whose state waits on the host."""
    gradient = jax.grad(lambda w: ((x @ w) ** 2).mean())(state["w"])
    momentum = 0.5 * state["momentum"] + gradient
    return {"momentum": momentum, "w": state["w"] - momentum}


@pytest.mark.parametrize("devices", [1, 2])
def test_what_waits_on_the_host_is_there_in_processes_too(devices):
    """Given as numbers or put there before, and from the step before, which is taken over; the numbers are not."""
    momentum, w, x = (numpy.arange(64, dtype="float32").reshape(8, 8) / size for size in (64, 80, 99))
    options = {"topology": f"1 x cpu[{devices}]", "batch_argnums": 1, "donate_argnums": 0}
    plan = atoll.Plan(microbatches=2, schedule="1f1b", offload="momentum")
    state = {"momentum": momentum, "w": w}
    with atoll.compile(with_state, state, x, plan=plan, **options) as near:
        program, (island,) = near.program, near.report().islands
        for _ in range(3):
            state = near(state, x)
        expected = jax.tree.map(numpy.asarray, state)
    hosted = far((("devices", devices),), ("island0",))
    with contextlib.closing(hosted), Controller(program, hosted, timeout=60) as controller:
        values = [momentum, w]
        for _ in range(2):
            values = controller.start([*values, x])
        values = [*map(numpy.asarray, values)]
        values = controller.start(controller.put([*values, x]))
        for one, name in zip(values, ("momentum", "w"), strict=True):
            assert numpy.asarray(one).tobytes() == expected[name].tobytes()
        assert [one.sharding["island0"].memory_kind for one in values] == ["pinned_host", None]
        assert controller.stats().host_bytes == {"island0": island.host_bytes} == {"island0": momentum.nbytes}
    assert (momentum.ravel() * 64 == numpy.arange(64)).all()


@pytest.mark.parametrize("is_known", [True, False], ids=["in one call", "slowly"])
@pytest.mark.parametrize("memory", ["device", "pinned_host"])
def test_numbers_are_placed_as_jax_places_them(memory, is_known, monkeypatch):
    if not is_known:
        monkeypatch.delattr("jaxlib._jax.batched_device_put")
    mesh = jax.sharding.Mesh(numpy.array(jax.devices()[:2]), ("devices",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("devices"), memory_kind=memory)
    x = numpy.arange(8, dtype="float32")
    ours = placer(sharding, jax.devices()[:2], x.shape, x.dtype)([x[:4], x[4:]])
    monkeypatch.undo()
    theirs = jax.device_put(x, sharding)
    assert (ours.sharding, str(ours.aval)) == (theirs.sharding, str(theirs.aval))
    numpy.testing.assert_array_equal(ours, x)


def passes(buffer, code, spec=()):
    """A program that sends a value from left to right, and gives it back from there."""
    island = (buffer, buffer)
    return Program(
        (
            IslandProgram("left", AXES, island, (Run("F0", 0, (0,), (1,)), Send(1, "right", 0))),
            IslandProgram("right", AXES, island, (Receive(0, "left", 0), Run("F0", 0, (0,), (1,)))),
        ),
        (code,),
        (Input("x", buffer.shape, buffer.dtype, places=((("left", 0),),)),),
        (Output("y", buffer.shape, buffer.dtype, False, ((("right", 1),),)),),
    )


TYPES = {
    "float64": ("f64", numpy.float64),
    "bfloat16": ("bf16", ml_dtypes.bfloat16),
    "float8_e4m3fn": ("f8E4M3FN", ml_dtypes.float8_e4m3fn),
    "complex64": ("complex<f32>", numpy.complex64),
    "int64": ("i64", numpy.int64),
    "uint8": ("ui8", numpy.uint8),
    "int4": ("i4", ml_dtypes.int4),
    "bool": ("i1", numpy.bool_),
}


@pytest.mark.parametrize(("dtype", "shape"), [*((one, (4, 6)) for one in TYPES), ("int64", ()), ("float64", (0, 3))])
def test_values_of_every_type_arrive_as_they_were_sent(shared, make_code, dtype, shape):
    text, numpy_type = TYPES[dtype]
    kind = f"tensor<{'x'.join([*map(str, shape), text])}>"
    same = f"func.func @main(%x: {kind}) -> {kind} {{\n  return %x : {kind}\n}}"
    spec = SPEC if shape == (4, 6) else ()
    buffer = Buffer(shape, dtype, spec)
    x = (numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape) - 3).astype(numpy_type)
    with jax.enable_x64(True), Controller(passes(buffer, make_code("same", same, [buffer])), shared) as controller:
        found = numpy.asarray(controller.start([x])[0])
    assert (found.dtype, found.shape) == (x.dtype, shape)
    assert found.tobytes() == x.tobytes()


def test_a_large_value_crosses_whole(shared, make_code):
    buffer = Buffer((1 << 22,), "float32", (("x", "y"),))
    same = "func.func @main(%x: tensor<4194304xf32>) -> tensor<4194304xf32> {\n  return %x : tensor<4194304xf32>\n}"
    x = numpy.random.default_rng(0).random(1 << 22, "float32")
    with Controller(passes(buffer, make_code("same", same, [buffer])), shared) as controller:
        for _ in range(3):
            assert numpy.asarray(controller.start([x])[0]).tobytes() == x.tobytes()


def test_what_was_traced_is_told_by_this_process_clock(shared, make_train_program, values):
    """As exactly as the quickest answer tells what the other clock says: in half of its time."""
    lives = [process._life for host in shared.ground._hosts for process in host.processes]
    with Controller(make_train_program(SPEC, AXES, donated=False), shared, timeout=60) as controller:
        controller.start(values)
        controller.stats()
        until(lambda: all(one._quickest for one in lives), "each process has said what its clock says")
        unsure = max(one._quickest for one in lives) * 1e-9  # of two clocks together
        before = time.perf_counter()
        with controller.traced() as trace:
            controller.start(values)
        tasks = trace.last_step()
    assert {(one.island, one.task) for one in tasks} == set(itertools.product(("left", "right"), ("F0", "B0", "U0")))
    starts = {(one.island, one.task): one.start for one in tasks}
    there = [starts["left", "F0"], starts["right", "F0"], starts["left", "B0"]]
    assert all(one <= after + unsure for one, after in itertools.pairwise([before, *there, time.perf_counter()]))


# Arguments that a function gives.


def fed(fn, name="load"):
    return Fed(fn, name, "data.py:3", "x", 2, 3)


def test_examples_come_from_where_they_are_needed(shared, make_train_program, make_meshes, values):
    """The same bits as in one process; in the process of the island, where the function stays what it was."""
    program = make_train_program(SPEC, AXES, donated=False)
    meshes = make_meshes((2, 2), ("x", "y"))
    with Controller(program, shared, timeout=60) as there, Controller(program, meshes, timeout=60) as here:
        counting = loaders.Counting()
        for load, asked in ((loaders.squares, 2), (counting, 2)):
            for step in range(asked):
                given = load(step, 0, 4) if load is loaders.squares else numpy.full((4, 4), step + 1.0, "f")
                found = there.start([*values[:2], fed(load)])
                for ours, theirs in zip(found, here.start([*values[:2], given]), strict=True):
                    assert numpy.asarray(ours).tobytes() == numpy.asarray(theirs).tobytes()
        assert counting.calls == 0
        stats, expected = there.stats(), here.stats()
        assert (stats.messages, stats.bytes_per_link) == (expected.messages, expected.bytes_per_link)
        assert stats.control == {"Start": 2, "StepEnded": 2, "Offer": 2}


def test_what_is_wrong_with_a_function_is_told(shared, make_train_program, values, reference_step, monkeypatch):
    program = make_train_program(SPEC, AXES, donated=False)
    with Controller(program, shared, timeout=60) as controller:
        with pytest.raises(AtollError, match=r"test_processes.py:\d+: <lambda> cannot be given to .*no lambda\n"):
            controller.start([*values[:2], fed(lambda *_: None)])
        here = types.ModuleType("only_here")
        exec("def load(*_): pass", here.__dict__)
        monkeypatch.setitem(sys.modules, "only_here", here)
        with pytest.raises(
            AtollError,
            match=r"^data.py:3: load cannot be imported in the process of an island: ModuleNotFoundError: .*only_here"
            r".*; put it into a module that can be imported there\n",
        ):
            numpy.asarray(controller.start([*values[:2], fed(here.load)])[0])
        failing = fed(loaders.failing)
        found = [controller.start([*values[:2], failing]) for _ in range(2)]
        for one in found[0]:
            with pytest.raises(
                AtollError,
                match=r"^data.py:3: load, asked for examples 0..4 of step 1, raised OSError: the disk is gone\n",
            ):
                numpy.asarray(one)
        expected = reference_step(*values[:2], loaders.squares(2, 0, 4))
        for ours, theirs in zip(found[1], expected, strict=True):
            numpy.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_after_ctrl_c_nobody_waits_for_a_function_that_hangs(make_train_program, values):
    hosted = far((("devices", 1),))
    program = make_train_program(donated=False)
    controller = Controller(program, hosted, timeout=600)
    controller.start([*values[:2], fed(loaders.hanging)])
    controller.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    hosted.close()
    assert all(one.exitcode is not None for one in hosted.ground._launcher.running.values())


# Errors.


def test_a_fragment_that_cannot_be_compiled_names_the_users_line(shared, make_code):
    buffer = Buffer((4,), "float32")
    text = """func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.custom_call @no_such_thing(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}"""
    program = passes(buffer, make_code("odd", text, [buffer], where="model.py:7"))
    with pytest.raises(
        CompileError, match=r"^model.py:7: fragment odd of task F0 cannot be compiled for island left: "
    ):
        Controller(program, shared).compile()


def test_a_task_that_fails_on_its_devices_is_told_wherever_its_results_went(shared, make_code):
    """The island to which its result was sent is not to blame."""
    buffer = Buffer((4,), "float32")
    most = "tensor<4x1048576x1048576xf32>"  # no machine has as much memory
    fails = f"""func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %wide = stablehlo.broadcast_in_dim %x, dims = [0] : (tensor<4xf32>) -> {most}
  %sorted = "stablehlo.sort"(%wide) <{{dimension = 2 : i64}}> ({{
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %less = stablehlo.compare LT, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
    stablehlo.return %less : tensor<i1>
  }}) : ({most}) -> {most}
  %y = stablehlo.reduce(%sorted init: %zero) applies stablehlo.add across dimensions = [1, 2]
      : ({most}, tensor<f32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}}"""
    program = passes(buffer, make_code("huge", fails, [buffer], where="model.py:7"))
    with Controller(program, shared, timeout=60) as controller:
        y, *_ = controller.start([numpy.ones(4, "float32")])
        with pytest.raises(AtollError, match=r"^model.py:7: task F0, fragment huge, failed on island left: .*memory"):
            numpy.asarray(y)


def test_what_is_compiled_is_told_here(shared, make_train_program, caplog):
    with caplog.at_level("INFO", "atoll"):
        Controller(make_train_program(SPEC, AXES), shared).compile()
    told = {record.getMessage() for record in caplog.records}
    assert {
        "compiling fragment forward_left for island left",
        "compiling fragment update for island left",
        "compiling fragment update for island right",
    } <= told


def test_a_program_for_other_islands_is_refused(shared, make_train_program):
    with pytest.raises(TopologyError, match=r"island left has the axes x=2, y=2, the program was made for devices=1"):
        Controller(make_train_program(), shared)


def test_devices_that_are_not_there():
    with pytest.raises(
        TopologyError, match=r"^\S+: island far needs 1 gpu devices, and its process has 0; write a smaller"
    ):
        HostedIslands(IslandProcesses([Wanted("far", (("devices", 1),), "gpu")], LocalProcesses(), 20.0))


# Islands that are lost.


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGSTOP])
def test_an_island_that_is_lost_is_named_and_the_other_goes_on(make_train_program, make_code, values, kind):
    hosted = far((("devices", 1),), watchdog=5.0)
    launcher = hosted.ground._launcher
    controller = Controller(make_train_program(donated=False), hosted, timeout=60)
    w, v, _ = controller.start(values)
    controller.stats()
    only = IslandProgram("left", (("devices", 1),), (Buffer((4, 4), "float32"),) * 2, (Run("F0", 0, (0,), (1,)),))
    same = "func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {\n  return %x : tensor<4x4xf32>\n}"
    code = make_code("same", same, [Buffer((4, 4), "float32")])
    alone = Controller(
        Program(
            (only,),
            (code,),
            (Input("x", (4, 4), "float32", places=((("left", 0),),)),),
            (Output("y", (4, 4), "float32", False, ((("left", 1),),)),),
        ),
        hosted,
        timeout=60,
    )
    alone.compile()
    pid = launcher.running[1, 0].pid
    os.kill(pid, kind)
    began = time.monotonic()
    sentence = (
        rf"island right was lost: its process {pid} on \S+ has (ended|not answered for 5 seconds); make a new cluster"
    )
    with pytest.raises(IslandLost, match=sentence):
        run_for_ever(controller, values)
    assert time.monotonic() - began < 30
    with pytest.raises(IslandLost, match=rf"^\S+: result\[1\] is gone: {sentence}"):
        numpy.asarray(v)
    for use in (lambda: controller.start(values), lambda: controller.put(values)):
        with pytest.raises(IslandLost, match=sentence):
            use()
    # The other island has ended its part of what was under way, and goes on.
    numpy.testing.assert_array_equal(alone.start([values[0]])[0], values[0])
    numpy.testing.assert_array_equal(alone.start([w])[0], w)
    controller.close()
    hosted.close()
    assert all(one.exitcode is not None for one in launcher.running.values())


def run_for_ever(controller, values):
    w, v, x = values
    while True:
        w, v, loss = controller.start([w, v, x])
        numpy.asarray(loss)


@pytest.mark.one_in(2)
@pytest.mark.timeout(600)  # of which most is starting processes, of all with --full a hundred times
@pytest.mark.parametrize("seed", range(4))
def test_islands_are_lost_at_any_point(make_train_program, values, request, monkeypatch, seed):
    """Whatever a process was doing: an error in time that names it, and nothing is left behind."""
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")  # compiling is one of the things it may be doing
    random = numpy.random.default_rng(seed)
    for number in range(25 if request.config.getoption("full") else 10):
        processes = int(random.integers(1, 3))
        hosted = far(watchdog=5.0, processes=processes)
        running = hosted.ground._launcher.running
        victim = list(running)[random.integers(len(running))]
        kind = signal.SIGKILL if number else signal.SIGSTOP  # which takes as long as the watchdog
        timer = threading.Timer(float(random.uniform(0, 1.0)), os.kill, [running[victim].pid, kind])
        timer.start()
        controller = Controller(make_train_program(SPEC, AXES), hosted, timeout=60)
        with pytest.raises(IslandLost, match=rf"island {['left', 'right'][victim[0]]} was lost: its process \d+ on"):
            run_for_ever(controller, values)
        controller.close()
        hosted.close()
        assert all(one.exitcode is not None for one in running.values())


SCRIPT = """
import os, sys, time
sys.path.insert(0, os.environ["HERE"])
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.inbox import Inbox
from atoll.runtime.processes.island_processes import IslandProcesses
from atoll.runtime.processes.wanted import Wanted
from local_processes import LocalProcesses
launcher = LocalProcesses()
hosted = HostedIslands(IslandProcesses([Wanted(name, (("x", 1),), "cpu") for name in "ab"], launcher, 20))
print(*(one.pid for one in launcher.running.values()), flush=True)
time.sleep(100)
"""


def test_a_controller_that_is_killed_takes_its_processes_along():
    here = os.environ | {"HERE": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, env=here) as process:
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        process.kill()
    assert left_of(pids) == []


# What is said.


def test_what_could_not_be_computed_is_sent_as_a_failure():
    """jax ends the process if numbers are read that are not there."""

    def fails(seed):
        wide = jax.random.normal(jax.random.key(seed), (1 << 20, 1 << 20))  # no machine has as much memory
        return (jnp.sort(wide, axis=1) @ wide)[0]

    found = unpack([bytes(part) for part in pack(jax.jit(fails)(0))])
    assert isinstance(found, Failure)
    assert found.is_of_device
    assert "memory" in found.what


def test_a_line_that_is_over_keeps_nothing():
    ends = socket.socketpair()
    over = threading.Event()
    line = Line(Wire(ends[0]), print, over.set, "test")
    ends[1].close()
    assert over.wait(60)
    value = numpy.zeros(3)
    count = sys.getrefcount(value)
    line.say(value)
    gc.collect()
    assert sys.getrefcount(value) == count


def test_what_goes_out_on_the_thread_that_says_it_keeps_its_place():
    """Also where the system takes a part of it only, and the rest has to wait for who reads."""
    ends, over = socket.socketpair(), threading.Event()
    ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
    line, reading = Line(Wire(ends[0]), print, over.set, "test"), Wire(ends[1])
    messages = [(number, numpy.full(1 << (number % 5 * 4), number, "int32")) for number in range(60)]
    for number, message in enumerate(messages):
        (line.say if number % 7 == 3 else line.say_here)(message)
    for number, values in messages:
        found, content = unpack(reading.receive(30))
        assert found == number
        numpy.testing.assert_array_equal(content, values)
    line.close()
    assert reading.receive(30) is None
    reading.close()
    assert over.wait(30)


def test_messages_with_numbers_are_packed_without_a_copy():
    value = numpy.arange(1 << 16, dtype="float32")
    head, content = pack(("a", value))
    assert len(head) < 200
    assert numpy.shares_memory(numpy.frombuffer(content, "float32"), value)
    name, found = unpack([bytes(head), bytearray(content)])
    assert name == "a"
    numpy.testing.assert_array_equal(found, value)
    assert pickle.loads(pickle.dumps(found)).shape == value.shape
