"""An update of which each replica makes its share: gradients are scattered, and new parameters are gathered."""

import numpy
import pytest
from replicated import parts_of
from shared_updates import Parameter, compiled, expected_of, numbers

pytestmark = pytest.mark.own

PACKED = (Parameter((12, 2)), Parameter((5, 12), 1), Parameter((12,)), Parameter((3, 12, 2), 1))


def run(step, given):
    """The results by path, `new.` taken off."""
    found = step.call_flat([given[one.path] for one in step.program.inputs])
    return {one.path.removeprefix("new."): value for one, value in zip(step.program.outputs, found, strict=True)}


def check_steps(step, parameters, replicas, microbatches=2, steps=3):
    """Several steps, each on what the one before returned: the numbers of numpy, and the same bits in all replicas."""
    given = numbers(parameters, replicas, microbatches)
    for number in range(steps):
        expected, _ = expected_of(parameters, {path: numpy.asarray(value) for path, value in given.items()})
        found = run(step, given)
        for path, value in expected.items():
            numpy.testing.assert_array_equal(numpy.asarray(found[path]), value, err_msg=f"step {number}, {path}")
        for path in expected:
            for copies in parts_of(found[path]):
                assert len(copies) == (1 if path.startswith("m.") else replicas)
                assert len(set(copies.values())) == 1
        given |= {path: found[path] for path in expected}
    return given


@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_momentum_in_shares(replicas):
    with compiled(PACKED, replicas) as step:
        state = check_steps(step, PACKED, replicas)
        momentum = state["m.p0"]
        assert momentum.shape == (12, 2)
        assert [(one.index[0], one.islands) for one in momentum.parts] == [
            (slice(12 // replicas * number, 12 // replicas * (number + 1)), (f"island{number}",))
            for number in range(replicas)
        ]
