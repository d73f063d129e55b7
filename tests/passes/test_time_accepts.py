"""Programs that treat examples alike and must not be refused, each with the answer of `jax.jit`.

Each runs in float64 with two microbatches, where rounding cannot hide a wrong rule, and in float32 with microbatches
of one example, where the batch dimension looks like any dimension of size one. Sizes coincide on purpose.
"""

import itertools

import accepted_batches  # noqa: F401 (these register programs)
import accepted_control_flow  # noqa: F401
import accepted_layers  # noqa: F401
import accepted_losses  # noqa: F401
import accepted_models  # noqa: F401
import accepted_preparation  # noqa: F401
import accepted_sequences  # noqa: F401
import accepted_transforms  # noqa: F401
import accepted_trips  # noqa: F401
import accepted_values  # noqa: F401
import jax
import pytest
from accepted import AXES, PROGRAMS, ROUNDED_TO, B
from atoll.compiler.errors import CompileError
from atoll.compiler.mlir.bindings import mpmd, stablehlo
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.notes import SeveralLoops
from atoll.compiler.module.noting import notes_of
from timed_harness import ContractBrokenError, Program, faults, lowered, pair_of, take_to

pytestmark = pytest.mark.timeout(1200)  # all are judged together

FEW, SINGLE = 2, B

CASES = [
    pytest.param(name, double, id=f"{name}-{'float64-2' if double else f'float32-{SINGLE}'}")
    for name, double in itertools.product(PROGRAMS, (True, False))
]


def prepared(name, double):
    fn, args, batch = PROGRAMS[name]
    text = f"{name} in {'float64' if double else 'float32'}"
    count = FEW if double else SINGLE
    program = Program(fn, args, batch, count, text, rounded_to=ROUNDED_TO[name], axes=AXES[name])
    with jax.enable_x64(double):
        try:
            return pair_of(program)
        except (CompileError, ContractBrokenError) as error:
            return error


def _selected(session):
    """The tests of programs that run; what else is collected need not be functions."""
    return [one for one in session.items if getattr(one, "function", None) is test_accepted_and_right]


@pytest.fixture(scope="module")
def outcomes(request):
    """What is wrong with each of the selected programs, which are judged together."""
    selected = [one.callspec.params for one in _selected(request.session)]
    made = {(one["name"], one["double"]): prepared(**one) for one in selected}
    told = {case: f"{type(one).__name__}: {one}" for case, one in made.items() if isinstance(one, Exception)}
    pairs = {case: one for case, one in made.items() if not isinstance(one, Exception)}
    return told | dict(zip(pairs, faults(list(pairs.values())), strict=True))


@pytest.mark.one_in(5)
@pytest.mark.parametrize(("name", "double"), CASES)
def test_accepted_and_right(name, double, outcomes):
    assert not outcomes[name, double], outcomes[name, double]


def places_in(module):
    """Where in the user's files the products of matrices and the waves stand."""
    kinds = (stablehlo.DotGeneralOp, stablehlo.TanhOp, stablehlo.WhileOp)
    return {(kind, place(one.location)) for kind in kinds for one in operations_in(module.operation, kind)}


@pytest.mark.parametrize("name", ["mean_square", "layer_scan_with_remat", "decoder_language_model"])
def test_operations_keep_their_places(name):
    program = Program(*PROGRAMS[name], axes=AXES[name])
    modules = {}
    for phase in ("stablehlo", "timed"):
        _, modules[phase], _ = lowered(program)
        take_to(modules[phase], phase, FEW)
    found = places_in(modules["timed"])
    assert found == places_in(modules["stablehlo"])
    assert all(where for _, where in found)


@pytest.mark.one_in(12)
@pytest.mark.parametrize("name", PROGRAMS)
def test_where_no_example_needs_the_batch_the_model_is_in_one_loop(name):
    """What goes over the batch several times says so; all else does its products in one loop."""
    fn, args, batch = PROGRAMS[name]
    _, module, _ = lowered(Program(fn, args, batch, axes=AXES[name]))
    take_to(module, "timed", FEW)
    if any(isinstance(note.fact, SeveralLoops) for note in notes_of(module)):
        return
    loops = operations_in(module.operation, mpmd.ForOp)
    assert sum(bool(operations_in(loop.operation, stablehlo.DotGeneralOp)) for loop in loops) <= 1


def test_one_microbatch_changes_no_code():
    _, module, _ = lowered(Program(*PROGRAMS["mean_square"]))
    take_to(module, "stablehlo", 1)
    _, _, before = str(module).partition("\n")
    take_to(module, "timed", 1)
    marks, _, after = str(module).partition("\n")  # the phase, and the plan with what was open in it
    assert 'atoll.phase = "timed"' in marks
    assert after == before
