"""A process is killed in the midst of saving: what was saved before is there."""

import random
import time

import killed
import numpy
import pytest

import atoll

pytestmark = pytest.mark.own


@pytest.fixture
def kills(request):
    """How many, of each kind."""
    return 10 if request.config.getoption("--full") else 2


def saved_until_killed(directory, first, replace, chance):
    """Have a process save states from a value on, and kill it; the last value that it told was written."""
    here, there = killed.FORKS.Pipe()
    values = range(first, first + 100)
    process = killed.FORKS.Process(target=killed.keep_saving, args=(directory, values, replace, there), daemon=True)
    process.start()
    there.close()
    began, took, last = 0.0, 0.0, first - 1
    for _ in range(2 * chance.randint(1, 2)):
        what, value = here.recv()
        if what == "begun":
            began = time.monotonic()
        else:
            last, took = value, time.monotonic() - began
    here.recv()  # the next is begun
    time.sleep(chance.uniform(0, took))
    process.kill()
    process.join()
    while here.poll():  # what it told before it was killed
        try:
            what, value = here.recv()
        except (EOFError, OSError):
            break
        last = value if what == "written" else last
    return last


def value_of(directory, step):
    """Which state the checkpoint of a step is; all of it has to say so."""
    found = atoll.load_checkpoint(directory, like=killed.state(0), step=step)
    value = int(found["step"])
    for ours, theirs in zip(found["layers"], killed.state(value)["layers"], strict=True):
        numpy.testing.assert_array_equal(ours, theirs)
    return value


@pytest.mark.parametrize("replace", [False, True], ids=["one-after-the-other", "the-same-step"])
def test_a_kill_loses_at_most_what_is_being_saved(kills, replace, tmp_path):
    chance, first = random.Random(3), 0
    for _ in range(kills):
        last = saved_until_killed(tmp_path, first, replace, chance)
        steps = atoll.checkpoint_steps(tmp_path)
        values = [value_of(tmp_path, step) for step in steps]
        assert values == (list(steps) if not replace else values[:1])
        assert values[-1] in (last, last + 1)
        first = values[-1] + 1
