"""What is made of a compiler's numbers without the compiler: peaks, refusals, and what is kept on disk."""

from types import SimpleNamespace

import jax
import pytest
from atoll.compiler.ahead import compilation
from atoll.compiler.ahead.cache import VARIABLE, Cache, key_of
from atoll.compiler.ahead.compilation import CannotCompile, CodeAhead
from atoll.compiler.ahead.fitting import check_fits, refuse_code
from atoll.compiler.ahead.hlo_work import HloWork
from atoll.compiler.ahead.limits import NoRoom, no_room
from atoll.compiler.ahead.measuring import chip_report
from atoll.compiler.ahead.memory import peak_of
from atoll.compiler.errors import CompileError, PlanError
from atoll.compiler.mlir.ir_text import parse_text, to_bytecode
from atoll.runtime.prebuilt import machine_of
from atoll.runtime.program import Buffer, Code, Free, Input, IslandProgram, Output, Program, Receive, Run

MODULE = """\
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.exponential %x : tensor<4xf32> loc("train.py":7:1)
  return %y : tensor<4xf32>
}
"""
CODE = Code("F0", to_bytecode(parse_text(MODULE)), (Buffer((4,), "float32"),), "train.py:3")
# Buffer 0 is an argument, of which 1 is made; 2 comes from elsewhere, and its memory becomes 3, which is the result.
ISLAND = IslandProgram(
    "a",
    (("devices", 1),),
    (Buffer((4,), "float32"),) * 4,
    (Run("F0@0", 0, (0,), (1,)), Free((0,)), Receive(2, "b", 0), Run("B0@0", 1, (2,), (3,), (2,)), Free((1,))),
)
PROGRAM = Program(
    (ISLAND,),
    (CODE, CODE),
    (Input("w", (4,), "float32", places=((("a", 0),),)),),
    (Output("y", (4,), "float32", places=((("a", 3),),)),),
)
FORWARD = CodeAhead(
    key="F",
    arguments=(512,),
    results=(1024,),
    argument_bytes=512,
    result_bytes=1536,
    aliased=0,
    temporaries=100,
    host_temporaries=0,
    program=7,
    work=HloWork(10, 20, 30),
    seconds=1.5,
    executable=b"\0executable",
)
BACKWARD = CodeAhead.from_bytes(FORWARD.to_bytes())  # 512 for what comes, and 1024 in its place
BACKWARD = CodeAhead(**{**vars(BACKWARD), "key": "B", "aliased": 512, "temporaries": 50})
CODES = {0: FORWARD, 1: BACKWARD}


def test_what_is_kept_comes_back():
    assert CodeAhead.from_bytes(FORWARD.to_bytes()) == CodeAhead(**{**vars(FORWARD), "seconds": 0.0})


def test_a_peak_is_what_waits_and_what_the_task_takes():
    peak = peak_of(PROGRAM, ISLAND, CODES)
    assert peak.run.task == "B0@0"
    assert peak.waiting == (1, 2)
    assert peak.held == 1024 + 512
    assert peak.taken == (1536 - 512) + 50
    told = chip_report(PROGRAM, ISLAND, CODES, peak, 10_000)
    assert (told.arguments, told.results, told.temporaries, told.programs) == (512, 1024, 100, 14)
    assert told.peak == peak.bytes + 14
    assert (told.flops, told.hbm, told.collectives) == (20, 40, 60)


def test_a_plan_that_does_not_fit_is_refused_with_the_arithmetic():
    peak = peak_of(PROGRAM, ISLAND, CODES)
    check_fits(PROGRAM, ISLAND, CODES, peak, chip_report(PROGRAM, ISLAND, CODES, peak, peak.bytes + 14))
    with pytest.raises(PlanError) as caught:
        check_fits(PROGRAM, ISLAND, CODES, peak, chip_report(PROGRAM, ISLAND, CODES, peak, peak.bytes + 13))
    assert caught.value.what == "each device of island a has 2.6 KiB and needs 2.6 KiB while B0@0 runs"
    assert caught.value.page == "docs/errors.md#memory"
    # By then the argument is gone, and what would be nothing is not told.
    assert [line.split(maxsplit=2)[2] for line in caught.value.excerpt.splitlines() if not line.startswith("the")] == [
        "values between tasks",
        "results and temporaries of B0@0",
        "the fragments themselves",
        "float32[4], made by F0, train.py:7",
        "results of B0, train.py:3",
        "float32[4], received",
        "temporaries of B0, train.py:3",
    ]


def test_a_fragment_that_does_not_fit_alone_shows_its_largest_values():
    said = "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for HLO "
    said += "temporaries (56.00G) exceeds available HBM (15.75G). HLO module: jit_F0."
    assert no_room(RuntimeError(said)) == NoRoom(56 * 2**30, 63 * 2**28)
    with pytest.raises(PlanError) as caught:
        refuse_code(CannotCompile(CODE, ISLAND, ISLAND.instructions[0], RuntimeError(said)))
    assert caught.value.what == "each device of island a has 15.8 GiB, and F0@0 alone needs 56.0 GiB"
    assert caught.value.excerpt.endswith("16 B   4xf32, train.py:7")


def test_another_error_of_the_compiler_says_where():
    said = RuntimeError("UNIMPLEMENTED: no such thing.")
    sentence = "train.py:3: fragment F0 of task F0@0 cannot be compiled for island a: UNIMPLEMENTED: no such thing"
    with pytest.raises(CompileError, match=f"^{sentence}\n"):
        refuse_code(CannotCompile(CODE, ISLAND, ISLAND.instructions[0], said))


def test_what_is_damaged_or_cannot_be_kept_is_made_again(tmp_path, monkeypatch):
    cache, key = Cache(tmp_path / "new"), key_of("a", b"b")
    assert cache.find(key) is None
    cache.keep(key, b"content")
    assert cache.find(key) == b"content"
    (file,) = (tmp_path / "new").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert cache.find(key) is None
    Cache(file).keep(key, b"content")  # no folder
    assert Cache(file).find(key) is None
    assert len({key_of("a", b"b"), key_of("ab", b""), key_of("a", "b"), key_of("a", b"b", 1)}) == 4
    monkeypatch.setenv(VARIABLE, "/here")
    assert str(Cache.usual().folder) == "/here"
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    before = jax.config.jax_compilation_cache_dir
    try:
        for folder, found in ((None, "/there/atoll"), ("/of/jax", "/of/jax/atoll")):
            jax.config.update("jax_compilation_cache_dir", folder)
            assert str(Cache.usual().folder) == found
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize(("name", "value"), [("jax_optimization_level", "O1"), ("jax_memory_fitting_level", "O0")])
def test_what_jax_tells_xla_makes_another_executable(name, value, monkeypatch):
    """By the key in the cache, and by that in a program's file."""
    monkeypatch.setattr(compilation, "libtpu_version", lambda: "0.0.1")
    mesh, before = jax.make_mesh((1,), ("devices",), devices=jax.devices()[:1]), getattr(jax.config, name)
    usual = compilation.settings(), machine_of(mesh)
    try:
        jax.config.update(name, value)
        assert name not in str(usual)
        assert compilation.settings() != usual[0]
        assert machine_of(mesh).endswith(f"{name}={value}")
    finally:
        jax.config.update(name, before)
    assert (compilation.settings(), machine_of(mesh)) == usual


def test_what_jax_cannot_read_is_counted_as_the_compiler_counts(monkeypatch):
    def as_text():
        raise jax.errors.JaxRuntimeError("INTERNAL: async-update instruction should have 1 operands but sees 3")

    names = ("argument_size", "output_size", "alias_size", "temp_size", "generated_code_size", "host_temp_size")
    memory = SimpleNamespace(**{f"{name}_in_bytes": number for number, name in enumerate(names)})
    compiled = SimpleNamespace(
        as_text=as_text, memory_analysis=lambda: memory, cost_analysis=lambda: {"flops": 5.0, "bytes accessed": 6.0}
    )
    monkeypatch.setattr(compilation, "serialized_ahead", lambda _: b"")
    found = compilation._read("key", compiled, ([16], [16]), 1.0)
    assert (found.arguments, found.results, found.temporaries) == ((16,), (16,), 3)
    assert found.work == HloWork(5, 6, 0, unknown_loops=1)
