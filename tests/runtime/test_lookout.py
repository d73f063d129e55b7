"""When one that waits asks for what comes, and when it sleeps, by a clock that the test turns."""

import pytest
from atoll.runtime.processes.lookout import KEPT, SOON, WARY, WHILE, Asking, Lookout

pytestmark = pytest.mark.own


class World:
    """Where something comes in so many steps, an eighth each of the time that is soon, if one waits for it."""

    def __init__(self):
        self.now = 0
        self.comes = 0
        self.asked = 0
        self.asking = Asking()

    def clock(self):
        return self.now * SOON / 8

    def lookout(self):
        return Lookout(self.has_come, self.pause, self.clock, self.asking)

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
    return world.lookout()


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
    other = world.lookout()
    wait(lookout, world, 1)
    wait(other, world, 1)
    asked = []

    def pause():
        # Another thread goes on now, and waits for what has come when it looks.
        asked.append(world.asked)
        wait(other, world, 0)
        asked.append(world.asked)
        world.comes = world.now

    lookout._pause = pause
    assert wait(lookout, world, 1) == 1
    assert asked == [1, 0]
    assert wait(other, world, 0) == 1


def test_who_is_interrupted_keeps_nobody_from_asking(lookout, world):
    def interrupted():
        raise KeyboardInterrupt

    other = world.lookout()
    other.end()
    other._pause = interrupted
    world.comes = 1
    with pytest.raises(KeyboardInterrupt):
        other.begin()
    wait(lookout, world, 1)
    assert wait(lookout, world, 1) == 0
    world.now += 8
    assert wait(lookout, world, 1) == 2


def asked(asking, began, seconds):
    """Whether one could ask, which took so long."""
    could = asking.may_begin(began)
    if could:
        asking.end(began, began + seconds)
    return could


SHORT = SOON + KEPT / 2
LONG = SOON + KEPT * 2


@pytest.mark.parametrize(
    ("first", "then", "second", "is_wanted"),
    [
        (LONG, 0, LONG, True),
        (LONG, WARY - SOON, LONG, True),
        (LONG, WARY + SOON, LONG, False),
        (SHORT, 0, LONG, False),
        (LONG, 0, SHORT, False),
    ],
)
def test_nobody_asks_for_a_while_where_others_want_the_core(first, then, second, is_wanted):
    asking = Asking()
    assert asked(asking, 0, first)
    again = first + then
    assert asked(asking, again, second)
    over = again + second + SOON
    assert asked(asking, over, 0) is not is_wanted
    # If others want it still, that is noticed at once.
    later = over + WHILE
    assert asked(asking, later, LONG)
    assert asked(asking, later + LONG + SOON, 0) is not is_wanted


def test_who_asked_meanwhile_ends_no_pause_of_others():
    asking = Asking()
    assert asked(asking, 0, LONG)
    assert asking.may_begin(LONG)
    assert asking.may_begin(LONG + 2 * SOON)  # the first one is kept, again
    asking.end(LONG, 2 * LONG)
    asking.end(LONG + 2 * SOON, 2 * LONG)
    assert not asking.may_begin(2 * LONG + SOON)
