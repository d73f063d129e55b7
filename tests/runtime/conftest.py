"""Eight CPU devices, and small programs made by hand."""

import os

# Before jax starts its backend, which it does for the first test of the session that needs devices.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import jax
import numpy
import pytest
from atoll.compiler.mlir.bindings import ir, new_context
from atoll.runtime.controller import Controller
from atoll.runtime.program import (
    Buffer,
    Code,
    Free,
    Input,
    IslandProgram,
    Output,
    Program,
    Receive,
    Run,
    Send,
)

ALIASES = """
!matrix = tensor<4x4xf32>
!scalar = tensor<f32>
"""


def code(name, text, results, **more):
    """A fragment of the text of a module."""
    module = ir.Module.parse(ALIASES + text, new_context())
    return Code(name, module.operation.get_asm(binary=True), tuple(results), **more)


@pytest.fixture(scope="session")
def make_code():
    return code


def meshes(shape=(1,), axes=("devices",), names=("left", "right")):
    """A mesh for each island, on devices of its own."""
    size = int(numpy.prod(shape))
    if jax.device_count() < size * len(names):
        pytest.skip(f"needs {size * len(names)} devices: XLA_FLAGS=--xla_force_host_platform_device_count=8")
    devices = numpy.array(jax.devices())
    return {
        name: jax.sharding.Mesh(devices[index * size : (index + 1) * size].reshape(shape), axes)
        for index, name in enumerate(names)
    }


@pytest.fixture(scope="session")
def make_meshes():
    return meshes


SQUARE = (4, 4)

# h = x @ w; y = h @ v; loss = sum(y * y) / 2; the backward pass by hand; SGD with rate 0.1.
FORWARD_LEFT = """
func.func @main(%w: !matrix, %x: !matrix) -> !matrix {
  %h = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (!matrix, !matrix) -> !matrix
  return %h : !matrix
}"""
FORWARD_RIGHT = """
func.func private @half_square(%y: !matrix) -> !scalar {
  %zero = stablehlo.constant dense<0.0> : !scalar
  %half = stablehlo.constant dense<0.5> : !scalar
  %square = stablehlo.multiply %y, %y : !matrix
  %sum = stablehlo.reduce(%square init: %zero) applies stablehlo.add across dimensions = [0, 1]
      : (!matrix, !scalar) -> !scalar
  %loss = stablehlo.multiply %sum, %half : !scalar
  return %loss : !scalar
}
func.func @main(%v: !matrix, %h: !matrix) -> (!matrix, !scalar) {
  %y = stablehlo.dot_general %h, %v, contracting_dims = [1] x [0] : (!matrix, !matrix) -> !matrix
  %loss = func.call @half_square(%y) : (!matrix) -> !scalar
  return %y, %loss : !matrix, !scalar
}"""
BACKWARD_RIGHT = """
func.func @main(%v: !matrix, %h: !matrix, %y: !matrix) -> (!matrix, !matrix) {
  %dv = stablehlo.dot_general %h, %y, contracting_dims = [0] x [0] : (!matrix, !matrix) -> !matrix
  %dh = stablehlo.dot_general %y, %v, contracting_dims = [1] x [1] : (!matrix, !matrix) -> !matrix
  return %dv, %dh : !matrix, !matrix
}"""
BACKWARD_LEFT = """
func.func @main(%x: !matrix, %dh: !matrix) -> !matrix {
  %dw = stablehlo.dot_general %x, %dh, contracting_dims = [0] x [0] : (!matrix, !matrix) -> !matrix
  return %dw : !matrix
}"""
UPDATE = """
func.func @main(%w: !matrix, %dw: !matrix) -> !matrix {
  %rate = stablehlo.constant dense<0.1> : !matrix
  %change = stablehlo.multiply %rate, %dw : !matrix
  %new = stablehlo.subtract %w, %change : !matrix
  return %new : !matrix
}"""


def train_program(spec=(), axes=(("devices", 1),), donated=True):
    """A train step of two matrices on islands `left` and `right`: w, v, x -> w, v, loss."""
    matrix, scalar = Buffer(SQUARE, "float32", spec), Buffer((), "float32")
    codes = (
        code("forward_left", FORWARD_LEFT, [matrix], where="train.py:3", scopes="first"),
        code("forward_right", FORWARD_RIGHT, [matrix, scalar], where="train.py:4", scopes="second"),
        code("backward_right", BACKWARD_RIGHT, [matrix, matrix], where="train.py:4", scopes="second"),
        code("backward_left", BACKWARD_LEFT, [matrix], where="train.py:3", scopes="first"),
        code("update", UPDATE, [matrix], where="train.py:9"),
    )
    # Left: 0 w, 1 x, 2 h, 3 dh, 4 dw, 5 new w. Right: 0 v, 1 h, 2 y, 3 loss, 4 dv, 5 dh, 6 new v.
    left = IslandProgram(
        "left",
        axes,
        (matrix,) * 6,
        (
            Run("F0", 0, (0, 1), (2,)),
            Send(2, "right", 0),
            Free((2,)),
            Receive(3, "right", 0),
            Run("B0", 3, (1, 3), (4,)),
            Free((1, 3)),
            Run("U0", 4, (0, 4), (5,), donated=(0,) if donated else ()),
            Free((4,)),
        ),
    )
    right = IslandProgram(
        "right",
        axes,
        (matrix, matrix, matrix, scalar, matrix, matrix, matrix),
        (
            Receive(1, "left", 0),
            Run("F0", 1, (0, 1), (2, 3)),
            Run("B0", 2, (0, 1, 2), (4, 5)),
            Free((1, 2)),
            Send(5, "left", 0),
            Free((5,)),
            Run("U0", 4, (0, 4), (6,), donated=(0,) if donated else ()),
            Free((4,)),
        ),
    )
    return Program(
        (left, right),
        codes,
        (
            Input("w", SQUARE, "float32", donated=donated, places=((("left", 0),),)),
            Input("v", SQUARE, "float32", donated=donated, places=((("right", 0),),)),
            Input("x", SQUARE, "float32", places=((("left", 1),),)),
        ),
        (
            Output("result[0]", SQUARE, "float32", False, ((("left", 5),),)),
            Output("result[1]", SQUARE, "float32", False, ((("right", 6),),)),
            Output("result[2]", (), "float32", False, ((("right", 3),),)),
        ),
        "island left : cpu[1]\nisland right : cpu[1]",
        "stages=2, microbatches=1, schedule=1f1b, replicas=1",
    )


@pytest.fixture(scope="session")
def make_train_program():
    return train_program


def train_step(w, v, x):
    """What the program computes, in numpy."""
    h = x @ w
    y = h @ v
    return w - 0.1 * (x.T @ (y @ v.T)), v - 0.1 * (h.T @ y), 0.5 * (y * y).sum()


@pytest.fixture(scope="session")
def reference_step():
    return train_step


@pytest.fixture(scope="session")
def values():
    """w, v and x."""
    random = numpy.random.default_rng(0)
    return [(0.3 * random.normal(size=SQUARE)).astype(numpy.float32) for _ in range(3)]


@pytest.fixture(
    params=[((1,), ("devices",), ()), ((2, 2), ("x", "y"), (("x",), ("y",)))], ids=["1 device", "2x2 devices"]
)
def layout(request):
    """The shape and axes of an island's mesh, and how a matrix is divided over it."""
    return request.param


@pytest.fixture
def train(layout, make_train_program, make_meshes):
    """A train step, running."""
    shape, axes, spec = layout
    program = make_train_program(spec, tuple(zip(axes, shape, strict=True)))
    with Controller(program, make_meshes(shape, axes), timeout=120) as controller:
        yield controller
