"""When one that waits asks for what comes, and when it sleeps, by a clock that the test turns."""

import pytest
from atoll.runtime.processes.lookout import SOON, Lookout

pytestmark = pytest.mark.own


class World:
    """Where something comes in so many steps, an eighth each of the time that is soon, if one waits for it."""

    def __init__(self):
        self.now = 0
        self.comes = 0
        self.asked = 0

    def clock(self):
        return self.now * SOON / 8

    def has_come(self):
        self.asked += 1
        return self.now >= self.comes

    def pause(self):
        self.now += 1


@pytest.fixture
def world():
    return World()


@pytest.fixture
def lookout(world):
    return Lookout(world.has_come, world.pause, world.clock)


def wait(lookout, world, steps):
    """For what comes in so many steps; how often it was asked for before that, or before one fell asleep."""
    world.asked, world.comes = 0, world.now + steps
    lookout.begin()
    world.now = max(world.now, world.comes)
    lookout.end()
    return world.asked


def test_it_asks_for_what_came_soon_the_last_time(lookout, world):
    assert wait(lookout, world, 3) == 0
    assert wait(lookout, world, 3) == 4
    assert wait(lookout, world, 0) == 1
    assert wait(lookout, world, 7) == 8


def test_it_sleeps_if_it_has_to_wait_for_long(lookout, world):
    wait(lookout, world, 1)
    assert wait(lookout, world, 1000) == 9
    assert wait(lookout, world, 1000) == 0
    assert wait(lookout, world, 1) == 0
    assert wait(lookout, world, 1) == 2


def test_one_of_a_process_asks_at_a_time(lookout, world):
    other = World()

    def pause():
        assert wait(lookout, world, 1) == 0
        other.pause()

    both = Lookout(other.has_come, pause, other.clock)
    wait(lookout, world, 1)
    wait(both, other, 1)
    assert wait(both, other, 2) == 3
    assert wait(lookout, world, 1) == 2


def test_who_is_interrupted_asks_no_more(lookout, world):
    wait(lookout, world, 1)

    def interrupted():
        raise KeyboardInterrupt

    other = Lookout(lambda: False, interrupted, lambda: 0.0)
    other.end()
    with pytest.raises(KeyboardInterrupt):
        other.begin()
    assert wait(lookout, world, 1) == 2
