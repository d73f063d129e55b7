"""Signatures from types."""

import pytest
from atoll.compiler.export.signature import Parameter, Signature, dtype_of
from atoll.compiler.mlir.bindings import ir, new_context


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("f32", "float32"),
        ("bf16", "bfloat16"),
        ("f64", "float64"),
        ("f8E4M3FN", "float8_e4m3fn"),
        ("i1", "bool"),
        ("i8", "int8"),
        ("i64", "int64"),
        ("ui32", "uint32"),
        ("complex<f32>", "complex64"),
        ("complex<f64>", "complex128"),
    ],
)
def test_names_of_element_types(text, dtype):
    assert dtype_of(ir.Type.parse(text, new_context())) == dtype


def test_an_element_type_without_a_name():
    with pytest.raises(ValueError, match="arrays of index cannot be passed"):
        dtype_of(ir.Type.parse("index", new_context()))


def test_a_signature_from_types():
    context = new_context()
    inside = ir.Type.parse('!mpmd.mesh_tensor<"a", tensor<2x3xui8>>', context)
    outside = ir.Type.parse("tensor<f32>", context)
    assert Signature.of_paths([("x", inside, True)], [("result", outside)]) == Signature(
        (Parameter("x", (2, 3), "uint8", donated=True),), (Parameter("result", (), "float32"),)
    )
