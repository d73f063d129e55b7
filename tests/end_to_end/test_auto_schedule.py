"""A plan that leaves the schedule open gets the best one that fits."""

import jax
import numpy
import pytest
import zoo
from atoll.examples import decoder
from filled import decoder_state
from microbatched import evaluated  # noqa: F401 (a fixture)

import atoll

pytestmark = pytest.mark.own


def lowered(topology, schedule):
    plan = atoll.Plan(microbatches=8, schedule=schedule)
    return atoll.lower(decoder.job, topology=topology, plan=plan)


@pytest.fixture(scope="module")
def found():
    return lowered("2 x cpu[1]", "auto")


@pytest.mark.one_in(3)
@pytest.mark.parametrize("named", ["1f1b", "gpipe", "zb-h1"])
def test_it_is_predicted_to_be_no_slower_than_a_named_one(found, named):
    step = lowered("2 x cpu[1]", named)
    assert found.report().pipeline.step <= step.report().pipeline.step * (1 + 1e-9)


def test_it_gives_what_jax_gives(found):
    state, tokens = decoder_state(), zoo.words(256, *decoder.TOKENS.shape)
    expected = jax.tree.leaves(jax.jit(decoder.train_step)(state, tokens))
    with found.compile() as step:
        for ours, theirs in zip(jax.tree.leaves(step(state, tokens)), expected, strict=True):
            scale = float(numpy.max(numpy.abs(theirs), initial=1e-30))
            numpy.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * scale)


def test_a_limit_of_memory_is_kept(found):
    """The fastest order needs more; one that fits is found, and is slower."""
    needed = max(island.peak_bytes for island in found.report().islands)
    limit = needed * 4 // 5 // 1024
    step = lowered(f"2 x cpu[1] {limit} KiB", "auto")
    assert max(island.peak_bytes for island in step.report().islands) <= limit * 1024
    assert step.report().pipeline.step > found.report().pipeline.step


def test_a_limit_that_nothing_fits_is_refused():
    with pytest.raises(atoll.PlanError, match=r"test_auto_schedule\.py:\d+: .*no schedule fits"):
        lowered("2 x cpu[1] 1600 KiB", "auto")
