"""What a caller passes to a program and gets from it."""

from collections.abc import Iterable
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.mesh_types import local_type

_DTYPES = {
    "bf16": "bfloat16",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "f4E2M1FN": "float4_e2m1fn",
    "f6E2M3FN": "float6_e2m3fn",
    "f6E3M2FN": "float6_e3m2fn",
    "f8E3M4": "float8_e3m4",
    "f8E4M3": "float8_e4m3",
    "f8E4M3B11FNUZ": "float8_e4m3b11fnuz",
    "f8E4M3FN": "float8_e4m3fn",
    "f8E4M3FNUZ": "float8_e4m3fnuz",
    "f8E5M2": "float8_e5m2",
    "f8E5M2FNUZ": "float8_e5m2fnuz",
    "f8E8M0FNU": "float8_e8m0fnu",
    "i1": "bool",
    "complex<f32>": "complex64",
    "complex<f64>": "complex128",
}


@dataclass(frozen=True)
class Parameter:
    """One array that goes in or comes out.

    dtype: numpy's name, or that of a typed random key: `key<fry>`.
    either: whether an argument may be weakly typed or not.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    weak_type: bool = False
    donated: bool = False
    either: bool = False


@dataclass(frozen=True)
class Signature:
    """All arrays that go in, in the order of the flattened arguments, and all that come out."""

    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]

    @classmethod
    def of_paths(
        cls, inputs: Iterable[tuple[str, ir.Type, bool]], outputs: Iterable[tuple[str, ir.Type]]
    ) -> "Signature":
        """A signature from paths and types, which is all that a module knows of it."""
        return cls(
            tuple(_parameter(path, type_, donated) for path, type_, donated in inputs),
            tuple(_parameter(path, type_, False) for path, type_ in outputs),
        )


def dtype_of(element: ir.Type) -> str:
    """numpy's name for an element type."""
    text = str(element)
    if text in _DTYPES:
        return _DTYPES[text]
    if isinstance(element, ir.IntegerType):
        return f"{'uint' if element.is_unsigned else 'int'}{element.width}"
    raise ValueError(f"arrays of {text} cannot be passed")


def _parameter(path: str, type_: ir.Type, donated: bool) -> Parameter:
    ranked = ir.RankedTensorType(local_type(type_))
    return Parameter(path, tuple(ranked.shape), dtype_of(ranked.element_type), donated=donated)
