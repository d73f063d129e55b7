"""Each row of the table of rules: what needs it is right with it, and without it refused or still right."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy
import pytest
from accepted_devices import NEEDED_BY_DEVICES
from atoll.compiler.batch_rules.table import ROWS, RULES, rows_of_rules
from atoll.compiler.errors import CompileError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.marks import PLAN
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import phase_named
from atoll.compiler.pipeline.registry import steps_of_phase
from atoll.compiler.plan.plan import Plan
from atoll.passes.time.fold_batch import fold
from atoll.passes.time.verify_timed import VerifyTimed
from jax import lax
from timed_harness import Program, answers, differences, judged, lowered

B = 4
X = numpy.random.default_rng(0).normal(size=(B, 6)).astype("float32")
SQUARES = (X[:, :4, None] * X[:, None, :4]).astype("float32") + 9 * numpy.eye(4, dtype="float32")
IMAGES = numpy.random.default_rng(1).normal(size=(B, 4, 4, 2)).astype("float32")
KERNEL = numpy.random.default_rng(2).normal(size=(3, 3, 2, 3)).astype("float32")
WEIGHTS = numpy.random.default_rng(3).normal(size=(6, 6)).astype("float32")
TRIANGLE = WEIGHTS + 6 * numpy.eye(6, dtype="float32")
PLACES = numpy.array([3, 0, 2, 2], "int32")
FLAGS = X > 0


def convolve(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def solved(triangle, x):
    """Each example is a column, for one triangle."""
    return jax.scipy.linalg.solve_triangular(triangle, x.T, lower=True)


def total(fn):
    return lambda *args: fn(*args).sum()


def greatest(n, x, narrow, wide):
    """The greatest of the batch, found in a loop and converted in it."""
    return lax.fori_loop(0, n, lambda _, y: jnp.maximum(y, x.astype(narrow).max(0).astype(wide)), jnp.zeros(6, wide))


# Programs that need a row, by an operation that the row names: a function, what does not depend on the batch,
# and what has it on axis 0.
NEED = {
    "stablehlo.abs": [(jnp.abs, (), (X,)), (lambda x: jnp.cos(jnp.tan(x)) ** 1.5, (), (X,))],
    "stablehlo.add": [(lambda x: x + 1, (), (X,))],
    "stablehlo.maximum": [(lambda x: jnp.maximum(x, 0.5), (), (X,))],
    "stablehlo.minimum": [(lambda x: jnp.minimum(x, 0.5), (), (X,))],
    "stablehlo.and": [(lambda x: x & True, (), (FLAGS,))],
    "stablehlo.or": [(lambda x: x | FLAGS[0], (), (FLAGS,))],
    "stablehlo.subtract": [(lambda x: x - jnp.arange(6), (), (X,)), (lambda x: lax.complex(x, x), (), (X,))],
    "stablehlo.negate": [(lambda x: -x, (), (X,)), (lambda x: jnp.real(x), (), (X * 1j,))],
    "stablehlo.multiply": [(lambda w, x: x * w[0], (WEIGHTS,), (X,))],
    "stablehlo.divide": [(lambda w, x: x / w[0], (WEIGHTS,), (X,))],
    "stablehlo.convert": [
        (lambda x: x.astype("bfloat16"), (), (X,)),
        (lambda n, x: greatest(n, x, "bfloat16", "float32"), (numpy.int32(3),), (X,)),
        (lambda n, x: -greatest(n, -x, "float16", "float32"), (numpy.int32(3),), (X,)),
    ],
    "stablehlo.select": [(lambda x, flags: jnp.where(flags, x, 0), (), (X, FLAGS))],
    "stablehlo.bitcast_convert": [(lambda x: lax.bitcast_convert_type(x, "uint32"), (), (X,))],
    "stablehlo.broadcast_in_dim": [(lambda x: jnp.broadcast_to(x[:, None], (B, 3, 6)), (), (X,))],
    "stablehlo.transpose": [(lambda x: x.T, (), (X,)), (lambda x: jnp.moveaxis(x, 0, 1), (), (IMAGES,))],
    "stablehlo.reshape": [(lambda x: x.reshape(B * 4, 8), (), (IMAGES,)), (lambda x: x.reshape(B, 2, 3), (), (X,))],
    "stablehlo.slice": [(lambda x: x[:, 1:3], (), (X,))],
    "stablehlo.pad": [(lambda x: lax.pad(x, 0.5, ((0, 0, 0), (1, 2, 1))), (), (X,))],
    "stablehlo.concatenate": [(lambda x: jnp.concatenate([x, jnp.ones((B, 2))], 1), (), (X,))],
    "stablehlo.reverse": [(lambda x: lax.rev(x, (1,)), (), (X,))],
    "stablehlo.iota": [(lambda x: x + lax.broadcasted_iota("float32", (B, 6), 0), (), (X,))],
    "stablehlo.constant": [(lambda x: lax.add(x, jnp.full((B, 6), 2.0)), (), (X,))],
    "stablehlo.dot_general": [
        (lambda w, x: x @ w, (WEIGHTS,), (X,)),
        (lambda x: x.T @ x, (), (X,)),
        (lambda x: jnp.einsum("bij,bjk->bik", x, x), (), (SQUARES,)),
    ],
    "stablehlo.convolution": [
        (lambda kernel, x: convolve(x, kernel), (KERNEL,), (IMAGES,)),
        (jax.grad(lambda kernel, x: jnp.sum(convolve(x, kernel) ** 2)), (KERNEL,), (IMAGES,)),
        (lambda x: jax.vmap(lambda x: convolve(x[None], x[:3, :3, :, None])[0])(x), (), (IMAGES,)),
    ],
    "stablehlo.reduce": [
        (lambda x: x.sum(1), (), (X,)),
        (lambda x: x.max(0), (), (X,)),
        (lambda x: (FLAGS[0] & (x > 0)).all(0), (), (X,)),
        (lambda x: lax.reduce(x, numpy.float32(2.0), lax.add, (0,)), (), (X,)),
        (lambda x: x.argmax(1), (), (X,)),
    ],
    "stablehlo.reduce_window": [(lambda x: jnp.cumsum(x, 1), (), (X,))],
    "stablehlo.select_and_scatter": [
        (
            jax.grad(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID").sum()),
            (),
            (IMAGES,),
        )
    ],
    "stablehlo.sort": [(lambda x: jnp.sort(x, 1), (), (X,)), (lambda x: jnp.argsort(x, 1), (), (X,))],
    "chlo.top_k": [(lambda x: lax.top_k(x, 2), (), (X,))],
    "stablehlo.fft": [(lambda x: jnp.fft.fft(x, axis=1).real, (), (X,))],
    "stablehlo.custom_call": [
        (jnp.linalg.cholesky, (), (SQUARES,)),
        (jnp.linalg.inv, (), (SQUARES,)),
        (lambda x: jnp.linalg.eigh(x).eigenvalues, (), (SQUARES,)),
        (jax.value_and_grad(lambda w, x: jnp.sum(solved(w, x) ** 2), (0, 1)), (TRIANGLE,), (X,)),
        (lambda w, x: lax.linalg.triangular_solve(w, x, lower=True), (TRIANGLE,), (X,)),
    ],
    "stablehlo.dynamic_slice": [(lambda n, x: lax.dynamic_slice_in_dim(x, n, 2, 1), (numpy.int32(3),), (X,))],
    "stablehlo.dynamic_update_slice": [
        (lambda n, x: lax.dynamic_update_slice_in_dim(x, x[:, :2], n, 1), (numpy.int32(3),), (X,))
    ],
    "stablehlo.gather": [
        (lambda w, places: w[places], (WEIGHTS,), (PLACES,)),
        (lambda x, places: x[jnp.arange(B), places], (), (X, PLACES)),
        (lambda x, places: jnp.take_along_axis(x, places[:, None], 1), (), (X, PLACES)),
    ],
    "stablehlo.scatter": [
        (lambda w, x, places: w.at[places].add(x), (WEIGHTS,), (X, PLACES)),
        (lambda w, places: w.at[places].min(-1.0), (WEIGHTS,), (PLACES,)),
        (lambda x, places: x.at[jnp.arange(B), places].set(7.0), (), (X, PLACES)),
    ],
    "stablehlo.while": [
        # Shorter ones are written out.
        (lambda w, x: lax.fori_loop(0, 65, lambda _, x: jnp.tanh(x @ w), x), (WEIGHTS,), (X,)),
        (
            jax.grad(lambda w, x: lax.scan(lambda x, w: (jnp.sin(x * w), x), x, jnp.tile(w, (11, 1)))[0].sum()),
            (WEIGHTS,),
            (X,),
        ),
        (lambda n, x: lax.fori_loop(0, n, lambda i, y: y + i * x.sum(0), jnp.zeros(6)), (numpy.int32(3),), (X,)),
    ],
    "stablehlo.case": [
        (lambda n, x: lax.switch(n, [jnp.sin, jnp.cos, lambda x: x], x), (numpy.int32(1),), (X,)),
    ],
    "stablehlo.optimization_barrier": [(lambda w, x: lax.optimization_barrier((w, x)), (WEIGHTS,), (X,))],
}
# What is made in blocks on demand can also be made whole and cut, so that nothing is refused for want of these rows.
ONLY_SPARE_WORK = {"stablehlo.iota", "stablehlo.constant"}
# What jax writes for other platforms, and only with a mesh; the goldens have it, `ir_tests/fold-batch`. What devices do
# is in `test_time_devices.py`.
ELSEWHERE = {
    "sdy.sharding_constraint",
    "stablehlo.cholesky",
    "stablehlo.triangular_solve",
    "chlo.ragged_dot",
    *NEEDED_BY_DEVICES,
}


@dataclass(frozen=True)
class FoldWithout(Pass):
    """Fold by a table without the rows that name an operation."""

    missing: str

    def run(self, module: ir.Module) -> None:
        gone = next((row.operations for row in ROWS if self.missing in row.operations), ())
        fold(module, {name: rule for name, rule in RULES.items() if name not in gone})


def pair_without(program: Program, missing: str):
    """The program folded without a row, or None if that is refused."""
    job, module, original = lowered(program)
    with module.context:
        module.operation.attributes[PLAN] = ir.StringAttr.get(str(Plan(microbatches=program.microbatches)))
    try:
        run_passes(module, [*steps_of_phase(phase_named("stablehlo")), FoldWithout(missing), VerifyTimed()])
    except CompileError as refused:
        if "internal error" in str(refused):
            raise
        return None
    return judged(program, job, module, original)


def programs(name: str) -> list[Program]:
    """Those that need a row."""
    return [
        Program(fn, (*same, *batch), tuple(range(len(same), len(same) + len(batch))), 2, f"{name} {index}")
        for index, (fn, same, batch) in enumerate(NEED[name])
    ]


def check(pairs) -> None:
    for pair, (expected, found) in zip(pairs, answers(pairs), strict=True):
        assert not differences(pair, expected, found), pair.module


def test_every_row_has_a_program_that_needs_it():
    for row in ROWS:
        assert len({*NEED, *ELSEWHERE}.intersection(row.operations)) == 1, row


def test_the_documents_list_the_rules():
    text = (Path(__file__).resolve().parents[2] / "docs" / "microbatches.md").read_text(encoding="utf-8")
    table = text.partition("| operations | what the rule says |\n|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == rows_of_rules(), "write what `rows_of_rules()` of batch_rules/table.py returns"


def test_no_operation_has_two_rows():
    named = [name for row in ROWS for name in row.operations]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("name", NEED)
def test_a_row_folds_what_needs_it(name):
    pairs = [pair_without(program, "") for program in programs(name)]
    assert None not in pairs
    check(pairs)


@pytest.mark.parametrize(("before", "after"), [("float32", "bfloat16"), ("int32", "float32"), ("float16", "bfloat16")])
def test_a_maximum_is_converted_in_a_loop_only_if_all_values_stay_what_they_are(before, after):
    program = Program(lambda n, x: greatest(n, x, before, after), (numpy.int32(3), X), (1,))
    assert pair_without(program, "") is None


@pytest.mark.parametrize("name", NEED)
def test_without_a_row_nothing_is_answered_wrongly(name):
    pairs = [pair_without(program, name) for program in programs(name)]
    if name not in ONLY_SPARE_WORK:
        assert pairs == [None] * len(pairs)
    check([pair for pair in pairs if pair is not None])
