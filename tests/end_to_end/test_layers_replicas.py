"""Stacked layers on replicas, in segments, and divided within their islands by data and along the sequence."""

from collections import Counter
from dataclasses import replace

import jax
import pytest
from jax.sharding import PartitionSpec
from layered import LAYERS, WIDTH, over_layers
from layered_checks import SCALARS, check_steps, compiled, expected_links, model_named, plan_of
from layered_transformers import TABLE, attention_layer, decoder
from microbatched import compiled_by_xla, evaluated  # noqa: F401 (fixtures)
from replicated import check_same_bits

pytestmark = pytest.mark.own

# Stages, microbatches, segments.
SHAPES = [(2, 4, 2), (4, 1, 1)]
MORE_SHAPES = [(2, 1, 1), (2, 1, 2), (2, 4, 1), (4, 4, 1)]


def pytest_generate_tests(metafunc):
    if "segments" in metafunc.fixturenames:
        chosen = [*SHAPES, *(MORE_SHAPES if metafunc.config.getoption("full") else [])]
        metafunc.parametrize(("stages", "microbatches", "segments"), chosen)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", ["decoder_recomputed", "decoder_unrolled"])
def test_same_answer_as_jit(name, stages, microbatches, segments):
    model = model_named(name)
    plan = replace(plan_of(model, stages, microbatches), replicas=2, segments=segments)
    with compiled(model, stages, microbatches, topology=f"{2 * stages} x cpu[1]", plan=plan) as step:
        check_steps(step, model, steps=3, also=lambda results: check_same_bits(results, 2))
        check_bytes(step, model, stages, microbatches)


def check_bytes(step, model, stages, microbatches):
    """Within a replica half of what depends on the batch crosses, and all of the tied table and its gradient; and
    between the replicas the gradient of every parameter of a stage, and what the last one adds to that of the table."""
    if model.traffic is None:
        return
    halves = {name: getattr(model.traffic, name) // 2 for name in ("forward", "backward")}
    ends = {name: (getattr(model.traffic, name) - TABLE) // 2 + TABLE for name in ("ends_forward", "ends_backward")}
    names = [island.name for island in step.program.islands]
    expected = Counter()
    for islands in (names[:stages], names[stages:]):
        expected += expected_links(replace(model.traffic, **halves, **ends), islands)
    for one, twin in zip(names[:stages], names[stages:], strict=True):
        gradients = sum(
            step.program.buffer(copies[0]).bytes
            for value in step.program.inputs
            for copies in value.places
            if value.path.startswith("state[0]") and copies[0][0] == one
        )
        expected[one, twin] = expected[twin, one] = gradients + TABLE * (one == names[stages - 1])
    sent = step.stats().bytes_per_link
    for link in {*expected, *sent}:
        beside = sent.get(link, 0) - expected[link]
        assert 0 <= beside <= SCALARS * microbatches, f"{link}: {sent.get(link, 0)} bytes, not {expected[link]}"


def constrained(p, x):
    """The stream is divided by example and along the sequence, as it is in attention where it has to come together."""
    x = jax.lax.with_sharding_constraint(x, PartitionSpec("data", "sequence"))
    return jax.lax.with_sharding_constraint(attention_layer(p, x), PartitionSpec("data", "sequence"))


def by_parameter(path, leaf):
    """Fully sharded: each device has its part of every layer's matrices."""
    is_matrix = "layers" in str(path) and len(leaf.shape) == 3 and leaf.shape[0] == LAYERS
    return PartitionSpec(None, "data") if is_matrix and leaf.shape[1] == WIDTH else PartitionSpec()


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("stages", "replicas", "microbatches"), [(2, 1, 2), (1, 2, 2)])
def test_sequence_and_parameters_are_divided_within_islands(stages, replicas, microbatches):
    model = model_named("decoder_recomputed")
    case = decoder(lambda p, x: over_layers(jax.checkpoint(constrained), p, x))
    divided = replace(model, case=case)
    plan = replace(plan_of(model, stages, microbatches), replicas=replicas, segments=2)
    shardings = (*(jax.tree.map_with_path(by_parameter, one) for one in case.args[:1]), PartitionSpec("data"))
    topology = f"{stages * replicas} x cpu[data=2, sequence=2]"
    with compiled(divided, stages, microbatches, topology=topology, plan=plan, in_shardings=shardings) as step:
        check_steps(step, divided, 2, lambda results: check_same_bits(results, replicas), model.case.fn)
        specs = {step.program.buffer(place).spec for one in step.program.inputs for place, *_ in one.places}
        assert ((), ("data",), ()) in specs
        assert "sharding_constraint" in step.ir("scheduled")
