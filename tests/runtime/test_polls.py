"""What a keeper asks of its processes."""

import pytest
from atoll.runtime.keeping.polls import Polls
from atoll.runtime.keeping.talk import Contents

pytestmark = pytest.mark.own

LEFT, RIGHT = (0, 0), (1, 0)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def polls(asked):
    return Polls(lambda seat, request: asked.append((seat, request)))


def contents(seat, request, kept=0):
    return Contents(seat, request, (), kept, 0, 0)


def test_it_ends_once_all_have_answered(polls, asked):
    ended = []
    polls.start({LEFT, RIGHT}, 5.0, ended.append)
    assert sorted(asked) == [(LEFT, 0), (RIGHT, 0)]
    polls.tell(contents(LEFT, 0))
    polls.look({LEFT, RIGHT}, 1.0)
    assert (ended, bool(polls)) == ([], True)
    polls.tell(contents(RIGHT, 0))
    polls.tell(contents(RIGHT, 7))  # of an earlier one
    polls.look({LEFT, RIGHT}, 1.0)
    assert (ended, bool(polls)) == ([{LEFT: contents(LEFT, 0), RIGHT: contents(RIGHT, 0)}], False)


def test_nobody_waits_for_a_process_that_is_gone_nor_for_ever(polls):
    ended = []
    polls.start({LEFT, RIGHT}, 5.0, ended.append)
    polls.tell(contents(LEFT, 0))
    polls.look({LEFT}, 1.0)
    polls.start({LEFT}, 5.0, ended.append)
    polls.look({LEFT}, 5.1)
    assert ended == [{LEFT: contents(LEFT, 0)}, {}]


def test_what_was_told_before_a_process_was_free_is_asked_again(polls, asked):
    ended = []
    polls.start([LEFT, RIGHT], 5.0, ended.append)
    polls.tell(contents(LEFT, 0, kept=6))
    polls.forget(LEFT)
    polls.forget(RIGHT)  # has told nothing yet
    assert asked == [(LEFT, 0), (RIGHT, 0), (LEFT, 0)]
    polls.tell(contents(RIGHT, 0))
    polls.look({LEFT, RIGHT}, 1.0)
    assert ended == []
    polls.tell(contents(LEFT, 0, kept=3))
    polls.look({LEFT, RIGHT}, 1.0)
    assert ended == [{LEFT: contents(LEFT, 0, kept=3), RIGHT: contents(RIGHT, 0)}]
