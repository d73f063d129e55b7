"""Programs with `shard_map`: the microbatches' answers are those of the whole batch, device by device.

Numpy does what each device does, so nothing is compiled, and no device can wait for another that does not come.
"""

import jax
import pytest
from accepted_devices import NEEDED_BY_DEVICES, PROGRAMS, B
from test_time_rules import pair_without
from timed_harness import Program, computed, differences, pair_of

# Two axes divide the examples of this one, so that each device has two of them.
MOST = {"both_axes_divide_examples": 2}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("is_most", [False, True], ids=["2", "most"])
def test_accepted_and_right(name, is_most):
    count = MOST.get(name, B // 2) if is_most else 2
    with jax.enable_x64(True):
        pair = pair_of(Program(*PROGRAMS[name], count, name))
        both = computed(pair)
    assert both is not None, "numpy cannot compute it"
    assert not differences(pair, *both)


@pytest.mark.parametrize("operation", NEEDED_BY_DEVICES)
def test_every_row_is_needed(operation):
    assert pair_without(Program(*PROGRAMS[NEEDED_BY_DEVICES[operation]]), operation) is None
