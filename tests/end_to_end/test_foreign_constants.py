"""A module that another program wrote: its constants, of every type, stand in resources at the end of the file."""

import re

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy
import pytest
from atoll.compiler.compiled import load_flat
from atoll.compiler.lowered import compile_module
from atoll.compiler.mlir.ir_text import parse_file, parse_text, to_bytecode
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import pass_class
from atoll.compiler.pipeline.resume import write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.topology.topology import Topology

B = 4
TOPOLOGY = Topology.parse("2 x cpu[1]")
# Each of a type that no other has; of some all elements are the same, which a resource does not say.
CONSTANTS = {
    "tensor<3xf32>": numpy.array([0.5, -2, 3], "float32"),
    "tensor<4x3xf32>": numpy.full((B, 3), 1.25, "float32"),
    "tensor<3xbf16>": numpy.array([1, 2.5, -0.125], ml_dtypes.bfloat16),
    "tensor<3xf16>": numpy.array([1, 65504, -0.125], "float16"),
    "tensor<3xf8E4M3FN>": numpy.array([1, 2.5, -0.125], ml_dtypes.float8_e4m3fn),
    "tensor<3xf8E5M2>": numpy.array([1, -numpy.inf, -0.125], ml_dtypes.float8_e5m2),
    "tensor<3xi1>": numpy.array([True, False, True]),
    "tensor<3xi4>": numpy.array([-8, 7, -1], ml_dtypes.int4),
    "tensor<3xui4>": numpy.array([0, 15, 9], ml_dtypes.uint4),
    "tensor<4xi4>": numpy.array([0, 1, 2, 3], ml_dtypes.int4),
    "tensor<3xi8>": numpy.array([-128, 127, 5], "int8"),
    "tensor<3xui16>": numpy.array([65535, 127, 5], "uint16"),
    "tensor<3xcomplex<f32>>": numpy.array([1 + 2j, -0.0 - 3j, numpy.nan], "complex64"),
    "tensor<4x3xcomplex<f32>>": numpy.full((B, 3), 1 - 2j, "complex64"),
}


def step(x):
    """A result for each constant, of which each example has a row."""
    return [jnp.where(x[:, :1] > 0, one, jnp.zeros((), one.dtype)) for one in CONSTANTS.values()]


def in_resources(text):
    """The text of a module with its constants at the end."""
    entries = {}
    for number, (type_, numbers) in enumerate(CONSTANTS.items()):
        text, replaced = re.subn(
            rf"dense<[^>]*> : {re.escape(type_)}(?=\n| )", f"dense_resource<r{number}> : {type_}", text
        )
        assert replaced == 1, type_
        entries[f"r{number}"] = f"0x{numbers.itemsize:02X}000000{numbers.tobytes().hex().upper()}"
    written = ",\n".join(f'      {name}: "{digits}"' for name, digits in entries.items())
    return f"{text}\n{{-#\n  dialect_resources: {{\n    builtin: {{\n{written}\n    }}\n  }}\n#-}}\n"


@pytest.mark.xla
@pytest.mark.parametrize("form", ["text", "bytecode"])
def test_constants_in_resources_give_the_bits_of_jax(form, tmp_path):
    x = numpy.linspace(-1, 2, 3 * B, dtype="float32").reshape(B, 3)
    jitted = jax.jit(step)
    text = in_resources(jitted.lower(x).as_text())
    file = tmp_path / "foreign.mlir"
    file.write_bytes(text.encode() if form == "text" else to_bytecode(parse_text(text)))
    assert (b"dense_resource" in file.read_bytes()) == (form == "text")
    module = parse_file(file)
    run_passes(module, [pass_class("mark-arguments")(batch=("arg0",))])
    write_texts(module, TOPOLOGY, Plan(microbatches=2))
    expected = [numpy.asarray(one) for one in jitted(x)]
    with compile_module(module, TOPOLOGY) as compiled:
        check(compiled.call_flat([x]), expected)
        compiled.save(tmp_path / "foreign.atoll")
    with load_flat(tmp_path / "foreign.atoll") as loaded:
        check(loaded.call_flat([x]), expected)


def check(results, expected):
    for type_, ours, theirs in zip(CONSTANTS, results, expected, strict=True):
        assert numpy.asarray(ours).tobytes() == theirs.tobytes(), type_
