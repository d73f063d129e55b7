"""MLIR contexts for jax in which only those dialects are loaded that it lowers to.

jax makes a context for everything that it lowers, and loads all dialects of MLIR into each. On CPUs most of lowering a
small program is that. The others are still known, and are loaded where a module is parsed that has them.
"""

import pytest
from jax._src.interpreters import mlir


def make_context() -> mlir.ir.Context:
    """What jax's `make_ir_context` makes, without the dialects that nothing has asked for."""
    context = mlir.JaxIrContext()
    context.append_dialect_registry(mlir.upstream_dialects)
    context.set_thread_pool(mlir.global_thread_pool)
    context.get_dialect_descriptor("func")
    for one in ("sdy", "mpmd", "chlo", "hlo"):
        getattr(mlir.dialects, one).register_dialect(context)
    mlir.dialects.mhlo.register_mhlo_dialect(context)
    return context


def install(patch: pytest.MonkeyPatch) -> None:
    """Have jax use them, until the patch is undone."""
    patch.setattr(mlir, "make_ir_context", make_context)
