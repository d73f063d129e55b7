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


def fill_and_wait(pace, clock, each):
    """A window of sixteen tasks that take so long each, of which eight have to end; how often it was looked at, or None
    if it was to be watched."""
    pace.begin(16)
    began, looks = clock.now, 0
    while (ended := round((clock.now - began) / each, 6)) < 8:
        if (pause := pace.pause(8)) is None:
            clock.now, looks = max(clock.now, began + 8 * each), None
            break
        clock.now += pause
        looks += 1
    pace.end(max(0, 16 - int(max(ended, 8))))
    return looks


def test_until_it_is_known_how_long_tasks_take_they_are_watched(pace, clock):
    assert fill_and_wait(pace, clock, 1e-5) is None
    assert fill_and_wait(pace, clock, 1e-5) is not None


def test_short_tasks_are_looked_at_once(pace, clock):
    fill_and_wait(pace, clock, 1e-4)
    assert [fill_and_wait(pace, clock, 1e-4) for _ in range(100)] == [1] * 100


def test_long_tasks_are_watched(pace, clock):
    assert [fill_and_wait(pace, clock, 0.01) for _ in range(3)] == [None] * 3


def test_what_has_become_longer_is_watched_in_time(pace, clock):
    fill_and_wait(pace, clock, 1e-5)
    began = clock.now
    pace.begin(16)
    while (pause := pace.pause(8)) is not None:
        clock.now += pause
    assert 2e-3 < clock.now - began < 3e-3


def test_what_has_become_shorter_is_looked_at_sooner(pace, clock):
    """Though nobody sees when there is room, only how many have ended by then."""
    fill_and_wait(pace, clock, 2e-4)
    taken = []
    for _ in range(10):
        began = clock.now
        fill_and_wait(pace, clock, 1e-7)
        taken.append(clock.now - began)
    assert taken == sorted(taken, reverse=True)
    assert taken[0] == pytest.approx(1.6e-3)
    assert taken[-1] == pytest.approx(2e-5)
