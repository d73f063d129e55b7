"""How often Python looks for garbage while a program is made."""

import gc
import threading

import pytest
from atoll.compiler.garbage import seldom_collected


@pytest.fixture(autouse=True)
def thresholds():
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_thresholds_are_as_before_when_the_last_thread_is_done():
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first():
        with seldom_collected():
            first_is_in.set()
            assert second_is_in.wait(60)

    thread = threading.Thread(target=first)
    thread.start()
    assert first_is_in.wait(60)
    with seldom_collected():
        second_is_in.set()
        thread.join(60)
        assert gc.get_threshold()[0] > 700
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("set_by_user", [(0, 0, 0), (10_000_000, 3, 3)])
def test_who_collects_less_often_is_left_alone(set_by_user):
    gc.set_threshold(*set_by_user)
    with seldom_collected():
        assert gc.get_threshold() == set_by_user
    assert gc.get_threshold() == set_by_user
