"""What other threads put in is got, once and in order; and no wait outlasts its limit."""

import threading

import pytest
from atoll.runtime.inbox import Inbox

pytestmark = pytest.mark.own


def test_what_came_first_is_got_first():
    inbox = Inbox()
    for number in range(3):
        inbox.put(number)
    assert len(inbox) == 3
    assert [inbox.get(), inbox.get(1), inbox.get(0)] == [0, 1, 2]
    assert (inbox.get(0), inbox.get(0.001), len(inbox)) == (None, None, 0)


def test_nothing_is_lost_between_threads():
    inbox, count = Inbox(), 2000

    def put(first):
        for number in range(first, first + count):
            inbox.put(number)

    threads = [threading.Thread(target=put, args=(first * count,)) for first in range(4)]
    for thread in threads:
        thread.start()
    got = [inbox.get() for _ in range(4 * count)]
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(4 * count))
    assert all(
        [one for one in got if one // count == first] == list(range(first * count, (first + 1) * count))
        for first in range(4)
    )


def test_a_wait_is_over_when_its_time_is():
    """However short it is: `queue.SimpleQueue` of Python 3.12 ends up waiting for ever here."""
    ended = threading.Event()

    def wait():
        for number in range(20_000):
            inbox = Inbox()
            if number % 2:  # a bell that was rung for what has been got already
                inbox.put(number)
                inbox.get()
            assert inbox.get(1e-9) is None
        ended.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(60)
    assert ended.is_set()
