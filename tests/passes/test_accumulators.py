"""In which type sums over microbatches are kept."""

import jax.numpy as jnp
import pytest
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.plan.plan import Plan


@pytest.mark.parametrize(
    ("dtype", "accumulator", "kept"),
    [
        ("bfloat16", "float32", "f32"),
        ("bfloat16", "same", "bf16"),
        ("float16", "float32", "f32"),
        ("float32", "same", "f32"),
        ("int32", "float32", "i32"),
    ],
)
def test_narrow_floats_are_summed_as_the_plan_says(module_at, dtype, accumulator, kept):
    job = Job(lambda x: jnp.sum(x, 0, dtype=dtype), jnp.ones((8, 4), dtype), batch_argnums=0)
    module = module_at(job, "timed", Plan(microbatches=2, accumulator=accumulator), "1 x cpu[1]")
    (loop,) = operations_in(module.operation, mpmd.ForOp)
    assert [str(ir.RankedTensorType(one.type).element_type) for one in loop.operation.results] == [kept]
