"""How the fragments of a program are compiled."""

import subprocess
import sys
import threading

import jax
import numpy
import pytest
from atoll.compiler.errors import CompileError
from atoll.compiler.mlir.bindings import host_callbacks
from atoll.runtime.controller import Controller
from atoll.runtime.devices import Devices
from atoll.runtime.fragment import SharedBinary, lower_code, sharding_of
from atoll.runtime.program import Buffer
from atoll.runtime.program_file import save_program
from jax.experimental.compilation_cache import compilation_cache

# What jax tells of compilations in this process: that one was made, that one was found in the cache.
EVENTS = []
jax.monitoring.register_event_listener(lambda event, **_: EVENTS.append(event.rpartition("/")[2]))
jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: EVENTS.append(event.rpartition("/")[2]))


@pytest.fixture
def told():
    """How often jax has told of something since the last call."""
    EVENTS.clear()

    def count(event):
        return EVENTS.count(event)

    return count


def finishing_with(extra):
    """Devices that compile as jax's do, and do something more before that, on the thread that compiles."""

    def lower(code, *rest):
        finish = lower_code(code, *rest)

        def finish_with_extra():
            extra(code)
            return finish()

        return finish_with_extra

    return Devices(lower=lower)


def test_fragments_are_compiled_at_the_same_time(make_train_program, make_meshes, values, reference_step):
    """Each of six waits for another one that is being compiled."""
    two = threading.Barrier(2)
    devices = finishing_with(lambda _: two.wait(60))
    with Controller(make_train_program(), make_meshes(), devices=devices) as controller:
        found = controller.start(values)
        assert controller.compilations == 6
    for one, wanted in zip(found, reference_step(*values), strict=True):
        numpy.testing.assert_allclose(one, wanted, rtol=1e-5)


def test_an_error_of_xla_names_the_fragment(make_train_program, make_meshes, values):
    def fail(code):
        if code.name == "backward_left":
            raise RuntimeError("out of registers")

    sentence = (
        r"^train.py:3: fragment backward_left \(first\) of task B0 cannot be compiled for island left: "
        "out of registers\n"
    )
    with Controller(make_train_program(), make_meshes(), devices=finishing_with(fail)) as controller:
        for _ in range(2):
            with pytest.raises(CompileError, match=sentence):
                controller.start(values)
    assert not any(one.name.startswith("atoll compiles") for one in threading.enumerate())


def test_what_the_caller_has_set_for_his_thread_holds(make_train_program, make_meshes):
    seen = set()

    def lower(*given):
        seen.add(jax.config.jax_enable_x64)
        return lower_code(*given)

    with (
        Controller(make_train_program(), make_meshes(), devices=Devices(lower=lower)) as controller,
        jax.enable_x64(True),
    ):
        controller.compile()
    assert seen == {True}


# A collective if it is divided, a constant, a call of a library, a loop, and results in the place of the argument.
EVERYTHING = """
func.func @main(%x: !matrix, %y: !matrix) -> (!matrix, !scalar, !matrix) {
  %zero = stablehlo.constant dense<0.0> : !scalar
  %ten = stablehlo.constant dense<[[10.0, 0.0, 0.0, 0.0], [0.0, 11.0, 0.0, 0.0], [0.0, 0.0, 12.0, 0.0],
                                   [0.0, 0.0, 0.0, 13.0]]> : !matrix
  %i = stablehlo.constant dense<0> : tensor<i32>
  %0 = stablehlo.dot_general %x, %y, contracting_dims = [1] x [0] : (!matrix, !matrix) -> !matrix
  %1 = stablehlo.tanh %0 : !matrix
  %2:2 = stablehlo.while(%j = %i, %z = %1) : tensor<i32>, !matrix
    cond {
      %last = stablehlo.constant dense<5> : tensor<i32>
      %3 = stablehlo.compare LT, %j, %last : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %3 : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %3 = stablehlo.add %j, %one : tensor<i32>
      %4 = stablehlo.multiply %z, %x : !matrix
      stablehlo.return %3, %4 : tensor<i32>, !matrix
    }
  %5 = stablehlo.reduce(%2#1 init: %zero) applies stablehlo.add across dimensions = [0, 1]
      : (!matrix, !scalar) -> !scalar
  %6 = stablehlo.cholesky %ten, lower = true : !matrix
  return %2#1, %5, %6 : !matrix, !scalar, !matrix
}"""


@pytest.mark.parametrize(("shape", "spec"), [((1,), ()), ((2,), (("a",), ())), ((2, 2), (("a",), ("b",)))])
def test_one_compilation_is_enough_for_like_islands(shape, spec, make_code, make_meshes, told):
    islands = make_meshes(shape, ("a", "b")[: len(shape)])
    matrix, scalar, whole = Buffer((4, 4), "float32", spec), Buffer((), "float32"), Buffer((4, 4), "float32")
    code = make_code("everything", EVERYTHING, [matrix, scalar, whole])
    x, y = (numpy.random.default_rng(seed).normal(size=(4, 4)).astype("float32") for seed in range(2))

    def run(executable, mesh):
        given = jax.device_put(x, sharding_of(matrix, mesh))
        found = executable.call(given, jax.device_put(y, sharding_of(matrix, mesh)))
        assert given.is_deleted()
        assert [one.sharding for one in found] == [sharding_of(one, mesh) for one in code.results]
        return [numpy.asarray(one).tobytes() for one in found]

    devices = [tuple(mesh.devices.flat) for mesh in islands.values()]
    shared = lower_code(code, (matrix, matrix), (0,), islands["left"])
    assert isinstance(shared, SharedBinary)
    executables = shared.load(devices)
    assert told("backend_compile_duration") == 1
    loaded = [run(one, mesh) for one, mesh in zip(executables, islands.values(), strict=True)]
    compiled = run(lower_code(code, (matrix, matrix), (0,), islands["right"])(), islands["right"])
    assert loaded == [compiled, compiled]


def test_what_calls_the_host_is_compiled_for_each_island(make_code, make_meshes):
    buffer, struct = Buffer((2,), "float32"), jax.ShapeDtypeStruct((2,), "float32")
    lowered = jax.jit(lambda x: jax.pure_callback(numpy.negative, struct, x)).lower(struct)
    code = make_code("negative", lowered.as_text(), [buffer])
    for mesh in make_meshes().values():
        ready = lower_code(code, (buffer,), (), mesh, host_callbacks(lowered))
        assert not isinstance(ready, SharedBinary)
        assert ready().call(jax.device_put(numpy.ones(2, "float32"), sharding_of(buffer, mesh)))[0].tolist() == [-1, -1]


@pytest.fixture
def cache(tmp_path):
    """A persistent cache of jax's, which keeps everything."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path / "cache"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: jax.config.values[name] for name in settings}
    for some in (settings, before):
        compilation_cache.reset_cache()
        for name, value in some.items():
            jax.config.update(name, value)
        if some is settings:
            yield tmp_path / "cache"


# Another process, which gives other devices to the islands.
ANOTHER = """
import sys
import jax, numpy
from atoll.runtime.controller import Controller
from atoll.runtime.program_file import load_program

jax.config.update("jax_compilation_cache_dir", sys.argv[1])
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
values = [numpy.full((4, 4), value, numpy.float32) for value in (0.5, 0.25, 2.0)]
meshes = {
    name: jax.sharding.Mesh(numpy.array(jax.devices()[first : first + 2]), ["devices"])
    for name, first in (("left", 3), ("right", 1))
}
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
with Controller(load_program(sys.argv[2]), meshes, timeout=60) as controller:
    controller.compile()
    print(sum(event.endswith("/cache_hits") for event in events), "found")
    print(sum(event.endswith("/cache_misses") for event in events), "compiled")
    print([numpy.asarray(one).tobytes().hex() for one in controller.start(values)])
"""


def test_a_persistent_cache_is_used_in_other_processes(cache, tmp_path, make_train_program, make_meshes, told):
    program = make_train_program((("devices",), ()), (("devices", 2),))
    save_program(program, tmp_path / "program.atoll")
    with Controller(program, make_meshes((2,)), timeout=60) as controller:
        controller.compile()
        assert (told("cache_misses"), told("cache_hits")) == (5, 0)
        found = controller.start([numpy.full((4, 4), value, numpy.float32) for value in (0.5, 0.25, 2.0)])
        expected = [numpy.asarray(one).tobytes().hex() for one in found]
    command = [sys.executable, "-c", ANOTHER, str(cache), str(tmp_path / "program.atoll")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout == f"5 found\n0 compiled\n{expected}\n", ran.stderr


def test_what_is_found_in_a_cache_is_loaded_for_every_island(cache, make_train_program, make_meshes, told, values):
    answers = []
    for compiled, hits in ((5, 0), (0, 5)):
        EVENTS.clear()
        with Controller(make_train_program(), make_meshes(), timeout=60) as controller:
            controller.compile()
            assert (told("cache_misses"), told("cache_hits")) == (compiled, hits)
            answers.append([numpy.asarray(one).tobytes() for one in controller.start(values)])
    assert answers[0] == answers[1]


def test_a_cache_that_is_spoilt_costs_time_only(cache, make_train_program, make_meshes, values, reference_step):
    with Controller(make_train_program(), make_meshes(), timeout=60) as controller:
        controller.compile()
    for file in cache.glob("*-cache"):
        file.write_bytes(b"spoilt")
    with (
        Controller(make_train_program(), make_meshes(), timeout=60) as controller,
        pytest.warns(UserWarning, match="the persistent compilation cache cannot be read"),
    ):
        found = controller.start(values)
    for one, wanted in zip(found, reference_step(*values), strict=True):
        numpy.testing.assert_allclose(one, wanted, rtol=1e-5)


def test_a_program_is_kept_if_all_of_it_takes_long(cache, make_code, make_meshes):
    """One of many parts does not have to take as long as jax asks of one function."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 60.0)
    matrix, mesh = Buffer((4, 4), "float32"), make_meshes()["left"]
    code = make_code("everything", EVERYTHING, [matrix, Buffer((), "float32"), matrix])
    shared = lower_code(code, (matrix, matrix), (), mesh)
    for parts, kept in ((1, 0), (100_000, 1)):
        shared.load([tuple(mesh.devices.flat)], parts)
        assert len(list(cache.glob("*-cache"))) == kept
