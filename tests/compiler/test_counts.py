"""What the cost model counts, beside what XLA's compiler for CPUs counts of the same: equal, or with a reason."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.cost.work import work_of
from atoll.compiler.export.frontend import export
from atoll.compiler.export.job import Job
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.registry import steps_of_phase
from atoll.compiler.topology.topology import topology

ALONE = topology("1 x cpu[1]").islands[0]

# Why we count other operations.
MOVES = "XLA counts no operations where elements are only moved"
BROADCASTS = "the same, of rows that are repeated"
ONCE = "XLA counts the body of a loop once, however often it runs"
SCANS = "a running sum is made in one of many ways"
SORTS = "XLA takes each row to be as long as all of them together"
SCALARS = "XLA counts the numbers of rows, or leaves out scalars"
# Why we count other bytes.
COPIES = "XLA copies an argument that is not donated before it writes a part of it; a fragment has it donated"
ALL_ROWS = "XLA counts all rows where some are read"
LAYOUT = "XLA for CPUs moves the channels of images to the end first"
UNFUSED = (
    "XLA for CPUs writes what stands between products and reductions; those for accelerators make it where it is used"
)


@dataclass(frozen=True)
class Case:
    """A function with the shapes of its arguments.

    operations, moved: why we count others than XLA; empty if both count the same, to a thousandth and two scalars.
    less: whether we count fewer of those for which there is a reason.
    """

    fn: Any
    args: tuple[Any, ...]
    operations: str = ""
    moved: str = ""
    fewer: bool = False
    less: bool = True


def of(*shape, dtype="float32"):
    return jax.ShapeDtypeStruct(shape, dtype)


def convolution(**options):
    options = {"window_strides": (1, 1), "padding": "VALID"} | options
    return lambda image, kernel: jax.lax.conv_general_dilated(image, kernel, **options)


IMAGE, KERNEL = of(2, 8, 16, 16), of(16, 8, 3, 3)

CASES = {
    "product": Case(lambda a, b: a @ b, (of(64, 128), of(128, 256))),
    "products": Case(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (of(8, 64, 32), of(8, 32, 64))),
    "convolution": Case(convolution(), (IMAGE, KERNEL), moved=LAYOUT),
    "with padding": Case(convolution(padding="SAME"), (IMAGE, KERNEL), moved=LAYOUT),
    "with strides": Case(convolution(window_strides=(2, 2)), (IMAGE, KERNEL), moved=LAYOUT),
    "with gaps": Case(
        convolution(padding=((2, 1), (0, 3)), lhs_dilation=(2, 2), rhs_dilation=(3, 1)),
        (IMAGE, KERNEL),
        moved=LAYOUT,
    ),
    "in groups": Case(convolution(feature_group_count=8), (IMAGE, of(8, 1, 3, 3)), moved=LAYOUT),
    "add": Case(lambda a, b: a + b, (of(64, 64),) * 2),
    "tanh": Case(jnp.tanh, (of(64, 64),)),
    "several": Case(lambda a, b: jnp.tanh(a * b) - a, (of(64, 64),) * 2),
    "sum": Case(jnp.sum, (of(64, 64),)),
    "greatest of rows": Case(lambda a: a.max(1), (of(64, 64),), moved=SCALARS, less=False),
    "softmax": Case(jax.nn.softmax, (of(64, 64),), BROADCASTS, UNFUSED),
    "transpose": Case(jnp.transpose, (of(64, 32),), MOVES),
    "slice": Case(lambda a: a[10:20], (of(100, 64),), MOVES),
    "rows by number": Case(lambda a, n: a[n], (of(1000, 64), of(32, dtype="int32")), MOVES, ALL_ROWS),
    "added to rows": Case(
        lambda a, n, b: a.at[n].add(b), (of(1000, 64), of(32, dtype="int32"), of(32, 64)), SCALARS, COPIES
    ),
    "written": Case(lambda a, b: jax.lax.dynamic_update_slice(a, b, (3, 0)), (of(1000, 64), of(8, 64)), MOVES, COPIES),
    "concatenated": Case(lambda a, b: jnp.concatenate([a, b]), (of(64, 64),) * 2, MOVES),
    "running sum": Case(lambda a: jnp.cumsum(a, 0), (of(100, 64),), SCANS, UNFUSED, fewer=True),
    "sort": Case(jnp.sort, (of(64, 64),), SORTS, fewer=True),
    "pool": Case(
        lambda a: jax.lax.reduce_window(a, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
        (of(2, 16, 16, 8),),
    ),
    "loop": Case(
        lambda x, w: jax.lax.scan(lambda y, one: (y @ one, None), x, w)[0],
        (of(16, 16), of(6, 16, 16)),
        ONCE,
        ONCE,
        less=False,
    ),
}


def dense(params, x):
    for layer in params:
        x = jnp.tanh(x @ layer)
    return jnp.mean(x**2)


def convolutions(params, x):
    for layer in params:
        x = jax.nn.relu(
            jax.lax.conv_general_dilated(x, layer, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        )
    return jnp.mean(x**2)


def attention(params, x):
    def normal(x):
        return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)

    queries, keys, values = (jnp.einsum("btd,dhk->bthk", normal(x), params[name]) for name in ("q", "k", "v"))
    weights = jax.nn.softmax(jnp.einsum("bthk,bshk->bhts", queries, keys) / 8)
    x = x + jnp.einsum("bhts,bshk,hkd->btd", weights, values, params["o"])
    return jnp.mean((x + jax.nn.gelu(normal(x) @ params["up"]) @ params["down"]) ** 2)


BLOCK = {"q": of(128, 4, 32), "k": of(128, 4, 32), "v": of(128, 4, 32)}
BLOCK |= {"o": of(4, 32, 128), "up": of(128, 512), "down": of(512, 128)}
# Gradients of models. What is beside products, which XLA simplifies, is a hundredth of them or two.
MODELS = {
    "dense": Case(jax.grad(dense), ([of(64, 64)] * 4, of(32, 64)), moved=UNFUSED),
    "convolutions": Case(jax.grad(convolutions), ([of(3, 3, 8, 8)] * 3, of(2, 16, 16, 8)), moved=LAYOUT),
    "transformer": Case(jax.grad(attention), (BLOCK, of(4, 32, 128)), moved=UNFUSED),
}


def ours(case):
    module = export(Job(case.fn, *case.args))
    run_passes(module, steps_of_phase(PHASES[0]))
    found = work_of(entry_function(module), ALONE)
    return found.operations, found.moved


def theirs(case):
    told = jax.jit(case.fn).lower(*case.args).compile().cost_analysis()
    return told.get("flops", 0.0) + told.get("transcendentals", 0.0), told["bytes accessed"]


def check(found, expected, why, less, near):
    if not why:
        assert found == pytest.approx(expected, rel=near, abs=8)
    elif less:
        assert found < expected, why
    else:
        assert found > expected, why


@pytest.mark.parametrize("name", CASES)
def test_an_operation_is_counted_as_xla_counts_it(name):
    case = CASES[name]
    (operations, moved), (flops, accessed) = ours(case), theirs(case)
    check(operations, flops, case.operations, case.fewer, 1e-3)
    check(moved, accessed, case.moved, case.less, 1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_counted_as_xla_counts_it(name):
    case = MODELS[name]
    (operations, moved), (flops, accessed) = ours(case), theirs(case)
    check(operations, flops, case.operations, case.fewer, 0.02)
    check(moved, accessed, case.moved, case.less, 0.02)
