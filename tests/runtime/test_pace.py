"""When whoever waits for room in a window looks again, by a clock that the test turns."""

import pytest
from atoll.runtime.pace import Pace

pytestmark = pytest.mark.own


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Pace(clock)


def fill_and_wait(pace, clock, seconds):
    """A window that has room after so long; how often it was looked at, or None if it was to be watched."""
    pace.begin()
    room, looks = clock.now + seconds, 0
    while clock.now < room:
        if (pause := pace.pause()) is None:
            clock.now, looks = max(clock.now, room), None
            break
        clock.now += pause
        looks += 1
    pace.end()
    return looks


def test_until_it_is_known_how_long_it_takes_it_is_watched(pace, clock):
    assert fill_and_wait(pace, clock, 1e-4) is None
    assert fill_and_wait(pace, clock, 1e-4) is not None


def test_of_short_tasks_it_is_looked_at_a_few_times(pace, clock):
    fill_and_wait(pace, clock, 8e-4)
    assert [fill_and_wait(pace, clock, 8e-4) for _ in range(100)] == [5] * 100


def test_long_tasks_are_watched(pace, clock):
    assert [fill_and_wait(pace, clock, 0.1) for _ in range(3)] == [None] * 3


def test_what_has_become_longer_is_watched_in_time(pace, clock):
    fill_and_wait(pace, clock, 1e-4)
    began = clock.now
    pace.begin()
    while (pause := pace.pause()) is not None:
        clock.now += pause
    assert 2e-3 < clock.now - began < 3e-3


def test_what_has_become_shorter_is_looked_at_sooner(pace, clock):
    """Though nobody sees when the window has room, only that it has."""
    fill_and_wait(pace, clock, 1.6e-3)
    taken = []
    for _ in range(10):
        began = clock.now
        fill_and_wait(pace, clock, 1e-6)
        taken.append(clock.now - began)
    assert taken == sorted(taken, reverse=True)
    assert taken[0] == pytest.approx(8e-4)
    assert taken[-1] == pytest.approx(2e-5)
