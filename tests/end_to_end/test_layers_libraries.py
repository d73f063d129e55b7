"""Optimizers of stacked parameters, and layer loops as libraries write them, give on islands what `jax.jit` gives."""

import itertools

import jax
import layered_libraries
import layered_loops  # noqa: F401 (registers models)
import layered_optimizers
import pytest
import zoo
from jax.sharding import PartitionSpec
from layered import LAYERS, MODELS
from layered_checks import check, check_results, check_steps, compiled, model_named, readable
from microbatched import compiled_by_xla, evaluated  # noqa: F401 (fixtures)
from references import reference

import atoll

LIBRARIES = [name for name in MODELS if hasattr(layered_libraries, name)]
OPTIMIZERS = [name for name in MODELS if hasattr(layered_optimizers, name) or name.startswith("optimizer_")]
ISLANDS, MICROBATCHES = (2, 4), (1, 4)


def pytest_generate_tests(metafunc):
    """Every library and every optimizer with one number of islands and of microbatches; or all there is.

    Quickly, of the optimizers every third: what jax makes of them is plain arithmetic.
    """
    if not {"count", "microbatches"} <= set(metafunc.fixturenames):
        return
    shapes = list(itertools.product(ISLANDS, MICROBATCHES))
    is_full, is_quick = map(metafunc.config.getoption, ("full", "quick"))
    chosen = [
        (name, *shape)
        for names in (LIBRARIES, OPTIMIZERS[:: 3 if is_quick else 1])
        for number, name in enumerate(names)
        for shape in (shapes if is_full else [shapes[number % len(shapes)]])
    ]
    metafunc.parametrize(("name", "count", "microbatches"), chosen)


@pytest.mark.one_in(8)
def test_same_answer_as_jit(name, count, microbatches):
    check(name, count, microbatches)


def divided(argument):
    """Stacks over the axis `model`, by the dimension behind that which counts layers, as they are stored."""

    def spec(path, leaf):
        is_stacked = "layers" in str(path) and len(leaf.shape) == 3 and leaf.shape[0] == LAYERS
        return PartitionSpec(None, "model") if is_stacked else PartitionSpec()

    return jax.tree.map_with_path(spec, argument)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("microbatches", [1, 4])
@pytest.mark.parametrize("name", ["decoder_recomputed", "optimizer_adafactor", "dropout_by_keys_of_layers"])
def test_stacks_that_are_divided_within_islands(name, microbatches):
    model = model_named(name)
    shardings = tuple(map(divided, model.case.args))
    with compiled(model, 2, microbatches, topology="2 x cpu[model=2]", in_shardings=shardings) as step:
        check_steps(step, model, steps=2)
        program = step.program
        specs = {program.buffer(place).spec for one in program.inputs for place, *_ in one.places}
        assert ((), ("model",), ()) in specs


@pytest.mark.own
def test_a_saved_program(tmp_path):
    model = model_named("decoder_recomputed")
    with compiled(model, 2, 4) as step:
        step.save(tmp_path / "step.atoll")
    with atoll.load(tmp_path / "step.atoll") as step:
        check_steps(step, model, steps=3)


@pytest.mark.one_in(2)
@pytest.mark.own
@pytest.mark.parametrize("is_read", [False, True])
def test_a_state_goes_on_in_a_program_with_other_stages(is_read):
    """As it is on its islands, or read as whole arrays before."""
    model = model_named("optimizer_adam")
    case = model.case
    with compiled(model, 2, 1) as two, compiled(model, 4, 4) as four:
        state, *_ = two(*zoo.arguments_of(case))
        whole = jax.tree.map(readable, state)
        expected = reference(case.fn, whole, *case.args[1:])
        given = jax.tree.map(readable, state) if is_read else state
        check_results(four(given, *case.args[1:]), expected, model.state_tolerance)
