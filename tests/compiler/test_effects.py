"""What counts as having an effect, of all operations that there are."""

import jax
import pytest
from atoll.compiler.mlir import effects
from atoll.compiler.mlir.bindings import builtin, chlo, func, ir, mpmd, sdy, stablehlo
from atoll.compiler.mlir.effects import acts, erase_unused, has_effect, host_calls_in
from atoll.compiler.mlir.functions import body_of, functions_in, operations_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from atoll.passes.stage.operations import cheap_operations
from jax.experimental import io_callback

# What does more than compute its results, or may: with the reason.
ACTS = {
    "builtin.module": "holds functions, and computes nothing",
    "builtin.unrealized_conversion_cast": "stands for an exchange between replicas",
    "func.call": "what it calls may do anything",
    "func.call_indirect": "what it calls may do anything",
    "func.func": "is called by its name",
    "mpmd.call": "what it calls may do anything",
    "mpmd.fragment_call": "what it calls may do anything",
    "sdy.func_data_flow_edge": "stands in Shardy's own passes",
    "sdy.mesh": "is spoken of by its name",
    "stablehlo.after_all": "orders what acts on the world",
    "stablehlo.async_done": "ends what may do anything",
    "stablehlo.async_start": "begins what may do anything",
    "stablehlo.composite": "what it calls may do anything",
    "stablehlo.create_token": "orders what acts on the world",
    "stablehlo.custom_call": "says itself whether it has an effect",
    "stablehlo.infeed": "takes from the host",
    "stablehlo.outfeed": "gives to the host",
    "stablehlo.recv": "takes from another program",
    "stablehlo.rng": "draws from a state that it changes",
    "stablehlo.send": "gives to another program",
}

TAKES_TOKEN = "%token = stablehlo.create_token : !stablehlo.token\n"
CHANNEL = "channel_handle = #stablehlo.channel_handle<handle = 1, type = 2>, is_host_transfer = true"
# An operation that acts, in a function that takes %x: the last line of each.
ACTING = {
    "infeed": TAKES_TOKEN + '%0:2 = "stablehlo.infeed"(%token) : (!stablehlo.token) -> (tensor<f32>, !stablehlo.token)',
    "outfeed": TAKES_TOKEN
    + '%0 = "stablehlo.outfeed"(%x, %token) : (tensor<f32>, !stablehlo.token) -> !stablehlo.token',
    "send": TAKES_TOKEN
    + f'%0 = "stablehlo.send"(%x, %token) {{{CHANNEL}}} : (tensor<f32>, !stablehlo.token) -> !stablehlo.token',
    "rng": """%n = stablehlo.constant dense<3> : tensor<1xi64>
%0 = stablehlo.rng %x, %x, %n, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<3xf32>""",
    "call": "stablehlo.custom_call @tell(%x) {has_side_effect = true} : (tensor<f32>) -> ()",
    "call with a result": "%0 = stablehlo.custom_call @ask(%x) {has_side_effect = true} : (tensor<f32>) -> tensor<f32>",
    "in a region": """%0 = stablehlo.while(%a = %x) : tensor<f32> cond {
  %more = stablehlo.compare LT, %a, %x : (tensor<f32>, tensor<f32>) -> tensor<i1>
  stablehlo.return %more : tensor<i1>
} do {
  stablehlo.custom_call @tell(%a) {has_side_effect = true} : (tensor<f32>) -> ()
  stablehlo.return %a : tensor<f32>
}""",
}
COMPUTING = {
    "call": "%0 = stablehlo.custom_call @f(%x) : (tensor<f32>) -> tensor<f32>",
    "call that says so": "%0 = stablehlo.custom_call @f(%x) {has_side_effect = false} : (tensor<f32>) -> tensor<f32>",
    "call of Python": "%0 = stablehlo.custom_call @xla_ffi_python_cpu_callback(%x) : (tensor<f32>) -> tensor<f32>",
    "collective": """%0 = "stablehlo.all_reduce"(%x) <{replica_groups = dense<0> : tensor<1x1xi64>}> ({
^bb0(%a: tensor<f32>, %b: tensor<f32>):
  %sum = stablehlo.add %a, %b : tensor<f32>
  stablehlo.return %sum : tensor<f32>
}) : (tensor<f32>) -> tensor<f32>""",
    "memory": "%0 = stablehlo.custom_call @annotate_device_placement(%x) {has_side_effect = true}"
    " : (tensor<f32>) -> tensor<f32>",
    "drawn from what it is given": """%0 = stablehlo.constant dense<0> : tensor<2xui64>
%1:2 = stablehlo.rng_bit_generator %0, algorithm = THREE_FRY : (tensor<2xui64>) -> (tensor<2xui64>, tensor<4xui32>)""",
}


def function_of(text):
    module = parse_text(f"func.func @main(%x: tensor<f32>) -> tensor<f32> {{\n{text}\nreturn %x : tensor<f32>\n}}")
    return module, body_of(functions_in(module)["main"])


def test_every_operation_there_is_is_decided():
    dialects = (builtin, chlo, func, mpmd, sdy, stablehlo)
    classes = [one for dialect in dialects for one in vars(dialect).values() if isinstance(one, type)]
    names = {one.OPERATION_NAME for one in classes if hasattr(one, "OPERATION_NAME")}
    undecided = names - effects._ONLY_COMPUTE - ACTS.keys()
    assert not undecided, f"say of {sorted(undecided)} whether they only compute, in {effects.__name__} or here"
    assert not effects._ONLY_COMPUTE & ACTS.keys()


def test_what_is_cheap_only_computes():
    assert cheap_operations._CHEAP <= effects._ONLY_COMPUTE


@pytest.mark.parametrize("name", ACTING)
def test_what_acts_is_never_dropped(name):
    module, body = function_of(ACTING[name])
    *_, acting, _ = body.operations
    assert has_effect(acting)
    run_passes(module, steps_of_text("trivial-dce"))  # MLIR has a list of its own, which is to say the same
    erase_unused(body)
    *_, kept, _ = body.operations
    assert kept == acting


@pytest.mark.parametrize("name", COMPUTING)
def test_what_only_computes_is_dropped_where_nobody_takes_it(name):
    _, body = function_of(COMPUTING[name])
    assert not any(map(has_effect, body.operations))
    erase_unused(body)
    assert len(list(body.operations)) == 1


def test_what_is_unknown_counts_as_acting():
    _, body = function_of("%0 = arith.negf %x : tensor<f32>")
    erase_unused(body)
    assert acts(body.operations[0])


def step(x):
    jax.debug.callback(print, x)
    y = io_callback(lambda one: one, jax.ShapeDtypeStruct((), "float32"), x)
    z = jax.pure_callback(lambda one: one, jax.ShapeDtypeStruct((), "float32"), x)
    return jax.numpy.sin(x) + y + z


def test_what_jax_makes_of_calls_of_python():
    lowered = jax.jit(step).lower(jax.ShapeDtypeStruct((), "float32"))
    module = parse_text(lowered.as_text())
    calls = operations_in(module.operation, stablehlo.CustomCallOp)
    assert host_calls_in(module.operation) == calls
    assert list(map(has_effect, calls)) == [True, True, False]


@pytest.mark.parametrize(
    ("target", "calls_python"),
    [
        ("xla_ffi_partitioned_python_cpu_callback", True),
        ("xla_ffi_python_gpu_callback", True),
        ("xla_buffer_python_cpu_callback", True),
        ("xla_python_cpu_callback", True),
        ("lapack_sgeqrf_ffi", False),
        ("my_callback", False),
    ],
)
def test_which_calls_are_of_python(target, calls_python):
    module, _ = function_of(f"%0 = stablehlo.custom_call @{target}(%x) : (tensor<f32>) -> tensor<f32>")
    assert bool(host_calls_in(module.operation)) is calls_python


def test_an_effect_is_found_at_any_depth():
    _, body = function_of(ACTING["in a region"])
    loop = body.operations[0]
    assert isinstance(loop.operation, ir.Operation)
    assert not acts(loop)
    assert has_effect(loop)
