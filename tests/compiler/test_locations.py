"""Name stacks, frames and the user's line, from locations as jax writes them and as nobody would."""

import sysconfig
from pathlib import Path

import pytest
from atoll.compiler.mlir.bindings import ir, new_context, stablehlo
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import functions_in, operations_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.mlir.locations import frames, in_iteration, name_stack, place, user_frame, within_call
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from atoll.passes.normalize import inline_calls

LIBRARY = pytest.__file__  # any installed package will do


@pytest.fixture(autouse=True)
def context():
    with new_context() as context, ir.Location.unknown():
        yield context


def at(file, line, column=1):
    return ir.Location.file(file, line, column)


def named(name, child=None):
    return ir.Location.name(name, child or ir.Location.unknown())


def lines(location):
    return [f"{frame.filename}:{frame.start_line}" for frame in frames(location)]


def chain(depth):
    """A chain of inlined calls that is deeper than Python's stack."""
    location = at("train.py", 0)
    for line in range(1, depth):
        location = ir.Location.callsite(at("model.py", line), [location])
    return location


def test_jax_wraps_the_frames_in_the_stack():
    inner = ir.Location.callsite(named("block", at("train.py", 4)), [named("step", at("train.py", 9))])
    location = named("jit(step)/jvp(layer_3)/mul", inner)
    assert name_stack(location) == "jit(step)/jvp(layer_3)/mul"
    assert lines(location) == ["train.py:4", "train.py:9"]


@pytest.mark.parametrize(
    ("make", "stack"),
    [
        (ir.Location.unknown, ""),
        (lambda: at("a.py", 1), ""),
        (lambda: ir.Location.callsite(named("callee"), [named("caller")]), "callee"),
        (lambda: ir.Location.fused([at("a.py", 1), named("first"), named("second")]), "first"),
        (lambda: ir.Location.fused([]), ""),
    ],
)
def test_the_stack_is_the_outermost_name(make, stack):
    assert name_stack(make()) == stack


def test_frames_of_fused_locations_come_in_order():
    location = ir.Location.fused([at("a.py", 1), named("n", at("b.py", 2)), at("c.py", 3)])
    assert lines(location) == ["a.py:1", "b.py:2", "c.py:3"]


def test_the_users_frame_is_the_innermost_outside_of_libraries():
    location = ir.Location.callsite(at(LIBRARY, 5), [at("train.py", 12), at("main.py", 30)])
    assert lines(location) == [f"{LIBRARY}:5", "train.py:12", "main.py:30"]
    assert place(location) == "train.py:12"


@pytest.mark.parametrize(
    "folder",
    ["/home/me/.local/lib/python3.11/site-packages", "/usr/lib/python3/dist-packages", "/other/lib/site-packages"],
)
def test_packages_of_the_user_of_the_system_and_of_other_environments_are_libraries_too(folder):
    location = ir.Location.callsite(at(f"{folder}/numpy/linalg.py", 5), [at("/home/me/site-packages.py", 12)])
    assert place(location) == "/home/me/site-packages.py:12"


def test_among_libraries_alone_the_innermost_frame_is_better_than_none():
    assert place(ir.Location.callsite(at(LIBRARY, 5), [at(LIBRARY, 9)])) == f"{LIBRARY}:5"


def test_an_unknown_location_has_no_place():
    assert user_frame(ir.Location.unknown()) is None
    assert place(ir.Location.unknown()) == ""
    assert str(refuse(ir.Location.unknown(), "this cannot be", "do that")) == "this cannot be; do that"


def test_a_module_stands_in_its_file_at_no_line():
    assert place(at("train.py", 0)) == "train.py"


def test_a_call_lends_its_scopes_and_its_frames():
    inner = named("max", at("nn.py", 2))
    call = named("jit(step)/layer_1/jit(relu)", at("train.py", 7))
    joined = within_call(inner, call)
    assert name_stack(joined) == "jit(step)/layer_1/jit(relu)/max"
    assert lines(joined) == ["nn.py:2", "train.py:7"]


@pytest.mark.parametrize(
    ("inner", "call", "stack", "places"),
    [
        (lambda: named("max"), lambda: named("relu", at("a.py", 7)), "relu/max", ["a.py:7"]),
        (lambda: named("max", at("a.py", 7)), lambda: named("relu"), "relu/max", ["a.py:7"]),
        (lambda: at("a.py", 1), lambda: at("b.py", 2), "", ["a.py:1", "b.py:2"]),
        (ir.Location.unknown, ir.Location.unknown, "", []),
    ],
)
def test_a_call_adds_what_is_known(inner, call, stack, places):
    joined = within_call(inner(), call())
    assert (name_stack(joined), lines(joined)) == (stack, places)


@pytest.mark.parametrize(
    ("inner", "loop", "stack"),
    [
        (
            "jit(f)/jvp(layers)/while/body/closed_call/tanh",
            "jit(f)/jvp(layers)/while",
            "jit(f)/jvp(layers)/3/closed_call/tanh",
        ),
        ("while/body/while/body/tanh", "while", "3/while/body/tanh"),  # of a loop within, which stays
        ("jit(f)/head/tanh", "jit(f)/layers/while", "jit(f)/head/tanh"),
    ],
)
def test_an_iteration_is_a_scope(inner, loop, stack):
    made = in_iteration(named(inner, at("nn.py", 2)), named(loop), 3)
    assert (name_stack(made), lines(made)) == (stack, ["nn.py:2"])


def test_a_chain_of_calls_may_be_longer_than_pythons_stack():
    location = chain(5000)
    assert lines(location)[-1] == "train.py:0"
    assert len(lines(location)) == 5000
    assert place(location) == "model.py:4999"


def test_inlining_keeps_the_frames_of_the_whole_chain():
    module = parse_text(
        """
        func.func @main(%x: tensor<f32>) -> tensor<f32> {
          %y = call @outer(%x) : (tensor<f32>) -> tensor<f32> loc("jit(main)/a"("train.py":3:1))
          return %y : tensor<f32>
        }
        func.func private @outer(%x: tensor<f32>) -> tensor<f32> {
          %y = call @inner(%x) : (tensor<f32>) -> tensor<f32> loc("b"("model.py":2:1))
          return %y : tensor<f32>
        }
        func.func private @inner(%x: tensor<f32>) -> tensor<f32> {
          %y = stablehlo.negate %x : tensor<f32> loc("neg"("nn.py":1:1))
          return %y : tensor<f32>
        }"""
    )
    run_passes(module, steps_of_text("inline-calls"))
    (negation,) = operations_in(functions_in(module)["main"], stablehlo.NegOp)
    assert name_stack(negation.location) == "jit(main)/a/b/neg"
    assert lines(negation.location) == ["nn.py:1", "model.py:2", "train.py:3"]


def test_a_long_chain_of_calls_is_inlined_in_time_linear_in_its_length():
    length, width = 300, 30
    text = "\n".join(
        f"func.func private @f{depth}(%0: tensor<f32>) -> tensor<f32> {{\n"
        + "\n".join(f"  %{index + 1} = stablehlo.negate %{index} : tensor<f32>" for index in range(width))
        + f"\n  %{width + 1} = call @f{depth + 1}(%{width}) : (tensor<f32>) -> tensor<f32>"
        + f"\n  return %{width + 1} : tensor<f32>\n}}"
        for depth in range(length)
    )
    text += f"\nfunc.func private @f{length}(%x: tensor<f32>) -> tensor<f32> {{ return %x : tensor<f32> }}"
    text += """
      func.func @main(%x: tensor<f32>) -> tensor<f32> {
        %y = call @f0(%x) : (tensor<f32>) -> tensor<f32>
        return %y : tensor<f32>
      }"""
    module = parse_text(text)
    moved = 0
    original = inline_calls.within_call

    def counting(inner, call):
        nonlocal moved
        moved += 1
        return original(inner, call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inline_calls, "within_call", counting)
        run_passes(module, steps_of_text("inline-calls"))
    assert len(operations_in(functions_in(module)["main"], stablehlo.NegOp)) == length * width
    assert moved == length * (width + 1)  # each operation once, each inner call once


@pytest.mark.parametrize(
    "called", ["{scripts}/atoll", "{scripts}/../{folder}/atoll", "{tmp_path}/link", "<frozen runpy>"]
)
def test_what_started_the_process_is_no_place(called, tmp_path):
    scripts = Path(sysconfig.get_path("scripts"))
    (tmp_path / "link").symlink_to(scripts / "atoll")
    script = called.format(scripts=scripts, folder=scripts.name, tmp_path=tmp_path)
    assert place(named("jit(step)", at(script, 8))) == ""
    assert place(ir.Location.callsite(at(LIBRARY, 3), [at(script, 8)])) == f"{LIBRARY}:3"
