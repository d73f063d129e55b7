"""The models of the PaLM family: sizes, products and properties of the traced program, all without running one."""

import math

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.examples.palm import large, model, toy, train
from atoll.examples.palm.sizes import PALM_8B, PALM_62B, PALM_540B, TOY, padded, parameter_count
from atoll.examples.palm.utilisation import hardware_flops, model_flops, utilisation
from jax.extend.core import jaxprs_in_params

SIZES = {"toy": TOY, "8B": PALM_8B, "62B": PALM_62B, "540B": PALM_540B}
JOBS = {"toy": toy.job, "8B": large.job_8b, "62B": large.job_62b, "540B": large.job_540b}

# PaLM-540B on two pods: chips, FLOP a second of each in bfloat16, and tokens a second of all.
CHIPS, PEAK, RATE = 6144, 275e12, 238.3e3


# Sizes.


@pytest.mark.parametrize(("name", "billions"), [("8B", 8.63), ("62B", 62.50), ("540B", 540.35)])
def test_sizes_have_the_papers_parameter_counts(name, billions):
    # The paper's counts; 540.356 is cut there, not rounded.
    assert parameter_count(SIZES[name]) / 1e9 == pytest.approx(billions, abs=0.01)


def test_the_toy_has_a_million_parameters():
    assert parameter_count(TOY) == 983_680


@pytest.mark.parametrize("name", SIZES)
def test_the_count_is_that_of_the_arrays(name):
    state, _ = train.shapes_of(SIZES[name])
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state["params"])) == parameter_count(SIZES[name])


def test_a_padded_vocabulary_is_shared_by_twelve():
    assert padded(PALM_540B, 96).vocabulary == 256_032
    assert padded(padded(PALM_540B, 96), 96) == padded(PALM_540B, 96)
    assert parameter_count(padded(PALM_540B, 96)) == parameter_count(PALM_540B) + 32 * PALM_540B.width


# The traced program.


@pytest.mark.parametrize("name", JOBS)
def test_a_train_step_keeps_the_shapes_of_its_state(name):
    automatic = (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Auto)  # as on an island
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((2, 2), ("data", "model"), automatic)):
        state, loss = jax.eval_shape(JOBS[name].fn, *JOBS[name].args)
    assert state == JOBS[name].args[0]
    assert (loss.shape, loss.dtype) == ((), "float32")


def products(jaxpr):
    """The floating-point operations of all matrix products of a traced program, with those of its loops."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        total += times * sum(products(inner) for inner in jaxprs_in_params(equation.params))
    return total


@pytest.mark.parametrize("name", SIZES)
def test_the_formula_counts_the_products_that_are_traced(name):
    size = SIZES[name]
    state, tokens = train.shapes_of(size)
    gradients = jax.make_jaxpr(jax.value_and_grad(lambda *args: model.loss_fn(*args, size)))(state["params"], tokens)
    norms = (size.layers + 1) * size.width  # the formula charges them 6 as it does matrices, but they are no product
    assert products(gradients.jaxpr) == (hardware_flops(size) - 6 * norms) * size.batch * size.length


def test_positions_are_told_by_distance_alone():
    query, key = numpy.random.default_rng(0).normal(size=(2, 8)).astype("float32")
    turn = jax.jit(lambda x: model.rotate(jnp.broadcast_to(x, (1, 20, 8)), *model.rotations(20, 8))[0])
    scores = numpy.asarray(turn(query)) @ numpy.asarray(turn(key)).T
    for distance in (-3, 0, 7):
        assert numpy.ptp(numpy.diagonal(scores, distance)) < 1e-5
    assert abs(scores[0, 0] - scores[0, 7]) > 1e-2


# Utilisation.


def test_model_flops_utilisation_is_the_papers():
    assert utilisation(model_flops(PALM_540B), RATE, CHIPS, PEAK) == pytest.approx(0.462, abs=5e-4)
    assert utilisation(model_flops(PALM_540B, attention=False), RATE, CHIPS, PEAK) == pytest.approx(0.457, abs=5e-4)


def test_hardware_flops_utilisation_is_near_the_papers():
    # Published as 57.8%, without the formula. This count, with the paper's 12-way split of layers, is that of the
    # program that the TPU compiler makes: 57.6%.
    found = utilisation(hardware_flops(PALM_540B, shards=12), RATE, CHIPS, PEAK)
    assert found == pytest.approx(0.576, abs=5e-4)
    assert found == pytest.approx(0.578, abs=3e-3)
