"""Fragments: what is copied into jax's module, and under which names."""

import io
import subprocess

import jax
import numpy
import pytest
import standing_python
from atoll.compiler.mlir.bindings import ir, new_context, stablehlo
from atoll.runtime.fragment import Fragment, lower_code, sharding_of
from atoll.runtime.program import Buffer, Code

# Two functions, two meshes. The axes are those of the island in the tests below.
MODULE = """
sdy.mesh @mesh = <["x"=2, "y"=2]>
sdy.mesh @other = <["x"=2, "y"=2]>
func.func private @fragment(%a: !matrix) -> !matrix {
  %r = stablehlo.add %a, %a : !matrix
  return %r : !matrix
}
func.func public @main(%a: !matrix {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}, %b: !matrix) -> !matrix {
  %0 = sdy.sharding_constraint %a <@other, [{}, {"y"}]> : !matrix
  %1 = func.call @fragment(%0) : (!matrix) -> !matrix
  %2 = stablehlo.dot_general %1, %b, contracting_dims = [1] x [0] : (!matrix, !matrix) -> !matrix
  return %2 : !matrix
}
"""

SPLIT, WHOLE = Buffer((4, 4), "float32", (("x",), ())), Buffer((4, 4), "float32")


def as_artifact(code):
    module = ir.Module.parse(code.module, new_context())
    version = stablehlo.get_current_version()
    artifact = stablehlo.serialize_portable_artifact(module, version, allow_other_dialects=True)
    return Code(code.name, artifact, code.results)


LINEAR_ALGEBRA = """
import jax, numpy, sys
from atoll.compiler.mlir.ir_text import parse_text
from atoll.runtime.fragment import Fragment

matrix = numpy.diag(numpy.arange(1.0, 5.0, dtype="float32")) ** 2
fragment = Fragment.of(parse_text(sys.stdin.read()), [jax.ShapeDtypeStruct((4, 4), "float32")])
print(numpy.diag(jax.jit(fragment)(matrix)[0]))
"""


def test_linear_algebra_that_another_process_lowered_runs():
    """Nothing has loaded the library here, as jax does when it lowers such a call."""
    lowered = jax.jit(jax.numpy.linalg.cholesky).lower(jax.ShapeDtypeStruct((4, 4), "float32"))
    command, settings = ["python", "-c", LINEAR_ALGEBRA], standing_python.settings()
    ran = subprocess.run(command, input=lowered.as_text(), env=settings, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "[1. 2. 3. 4.]\n"), ran.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("@mesh", "@elsewhere"),
        ("@other", "@mesh_0"),
        ('@mesh = <["x"=2, "y"=2]>', '@mesh = <["x"=2, "y"=2, "z"=1]>'),  # jax has another mesh of this name
    ],
)
@pytest.mark.parametrize("form", ["bytecode", "artifact"])
def test_a_module_with_several_functions_and_meshes_runs(old, new, form, make_code, make_meshes):
    mesh = make_meshes((2, 2), ("x", "y"))["right"]
    code = make_code("f", MODULE.replace(old, new) if old else MODULE, [SPLIT])
    code = as_artifact(code) if form == "artifact" else code
    executable = lower_code(code, (SPLIT, WHOLE), (0,), mesh)().call
    a, b = numpy.arange(16, dtype="float32").reshape(4, 4), numpy.eye(4, dtype="float32") * 3
    given = jax.device_put(a, sharding_of(SPLIT, mesh))
    (found,) = executable(given, jax.device_put(b, sharding_of(WHOLE, mesh)))
    numpy.testing.assert_array_equal(found, (a + a) @ b)
    assert found.sharding == sharding_of(SPLIT, mesh)
    assert given.is_deleted()


def test_fragments_may_be_called_several_times_in_one_function():
    with new_context():
        text = "func.func @main(%x: tensor<f32>) -> tensor<f32> { %y = stablehlo.add %x, %x : tensor<f32>"
        module = ir.Module.parse(text + " return %y : tensor<f32> }")
        fragment = Fragment.of(module, [jax.ShapeDtypeStruct((), "float32")])
    double = jax.jit(lambda x: fragment(fragment(x)[0])[0])
    assert double(numpy.float32(3)) == 12


def test_text_is_accepted_as_well_as_bytecode(make_meshes):
    with new_context():
        module = ir.Module.parse(
            "func.func @main() -> tensor<2xi32> { %c = stablehlo.constant dense<[4, 5]> : "
            "tensor<2xi32> return %c : tensor<2xi32> }"
        )
        bytecode = io.BytesIO()
        module.operation.write_bytecode(bytecode)
    buffer = Buffer((2,), "int32")
    for content in (str(module).encode(), bytecode.getvalue()):
        (found,) = lower_code(Code("c", content, (buffer,)), (), (), make_meshes()["left"])().call()
        assert found.tolist() == [4, 5]


def test_an_error_in_the_module_is_an_error_of_compiling(make_code, make_meshes):
    code = make_code("f", "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> { return %x : tensor<2xf32> }", [WHOLE])
    with pytest.raises(Exception, match="2xf32"):
        lower_code(code, (Buffer((2,), "float32"),), (), make_meshes()["left"])


def test_fragments_whose_functions_have_the_same_names():
    """Each calls its own: those of the second fragment get new names, which its own calls must follow."""
    text = """
    func.func public @main(%x: tensor<f32>) -> tensor<f32> {
      %y = call @g(%x) : (tensor<f32>) -> tensor<f32>
      return %y : tensor<f32>
    }
    func.func private @g(%x: tensor<f32>) -> tensor<f32> {
      %y = call @h(%x) : (tensor<f32>) -> tensor<f32>
      return %y : tensor<f32>
    }
    func.func private @h(%x: tensor<f32>) -> tensor<f32> {
      %y = stablehlo.OPERATION %x, %x : tensor<f32>
      return %y : tensor<f32>
    }
    """
    shape = jax.ShapeDtypeStruct((), "float32")
    parsed = [ir.Module.parse(text.replace("OPERATION", name), new_context()) for name in ("add", "multiply")]
    add, multiply = (Fragment.of(module, [shape]) for module in parsed)
    assert jax.jit(lambda x: (add(x), multiply(x)))(3.0) == ([6.0], [9.0])


LOOP = """func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %first = stablehlo.constant dense<0> : tensor<i32>
  %0:2 = stablehlo.while(%i = %first, %y = %x) : tensor<i32>, tensor<4xf32>
    cond {
      %last = stablehlo.constant dense<1000000> : tensor<i32>
      %1 = stablehlo.compare LT, %i, %last : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %1 : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %1 = stablehlo.add %i, %one : tensor<i32>
      %2 = stablehlo.multiply %y, %x : tensor<4xf32>
      stablehlo.return %1, %2 : tensor<i32>, tensor<4xf32>
    }
  return %0#1 : tensor<4xf32>
}"""
SQUARE = """func.func @main(%x: tensor<{0}x{0}xf32>) -> tensor<{0}x{0}xf32> {{
  %y = stablehlo.dot_general %x, %x, contracting_dims = [1] x [0]
      : (tensor<{0}x{0}xf32>, tensor<{0}x{0}xf32>) -> tensor<{0}x{0}xf32>
  return %y : tensor<{0}x{0}xf32>
}}"""


@pytest.mark.parametrize(
    ("text", "shape", "devices", "fails"),
    [
        (SQUARE.format(8), (8, 8), 1, False),
        (SQUARE.format(8), (8, 8), 2, False),
        (SQUARE.format(256), (256, 256), 1, True),
        (LOOP, (4,), 1, True),  # XLA counts its body once
    ],
    ids=["little", "two devices", "much", "loop"],
)
def test_what_surely_takes_little_cannot_fail(text, shape, devices, fails, make_code, make_meshes):
    buffer = Buffer(shape, "float32")
    executable = lower_code(make_code("f", text, [buffer]), (buffer,), (), make_meshes((devices,))["left"])()
    assert executable.may_fail is fails
