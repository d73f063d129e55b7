"""What the processes of an island tell counts once all have told it."""

import numpy
import pytest
from atoll.runtime.failure import Failure
from atoll.runtime.messages import ApplyAnswer, CompileFailed, Loaded, StepEnded, Told
from atoll.runtime.processes.tiles import Tile, Tiled
from atoll.runtime.processes.together import Together
from atoll.runtime.record import Record

pytestmark = pytest.mark.own

X = numpy.arange(8.0).reshape(2, 4)


def half(number, numbers=None):
    box = (0, 2), (2 * number, 2 * number + 2)
    return Tiled((2, 4), "float64", (Tile(box, X[:, box[1][0] : box[1][1]] if numbers is None else numbers),))


def told(*messages):
    """What two processes tell together, the second one first."""
    together = Together(2)
    assert together.take(1, messages[1]) is None
    return together.take(0, messages[0])


def test_a_value_is_whole_with_the_parts_of_all():
    found = told(Told(3, half(0)), Told(3, half(1)))
    assert found.request == 3
    numpy.testing.assert_array_equal(found.answer, X)


@pytest.mark.parametrize("other", [Failure("it is gone"), half(1, Failure("it is gone"))])
def test_a_failure_of_one_is_that_of_the_value(other):
    assert told(Told(3, half(0)), Told(3, other)).answer == Failure("it is gone")


def test_what_a_function_returned_is_told_of_each_process_in_their_order():
    assert told(Told(3, ApplyAnswer((True,))), Told(3, ApplyAnswer((False,)))).answer == ApplyAnswer((True, False))
    assert told(Told(3, ApplyAnswer((True,))), Told(3, Failure("it is gone"))).answer == Failure("it is gone")


def test_different_requests_are_kept_apart():
    together = Together(2)
    assert together.take(0, Told(1, half(0))) is None
    assert together.take(0, Told(2, half(0))) is None
    assert together.take(1, Told(2, half(1))).request == 2
    assert together.take(1, Told(1, half(1))).request == 1


def test_what_islands_are_doing_is_told_once_if_it_is_the_same():
    assert told(Told(0, {"a": "waits"}), Told(0, {"a": "waits"})).answer == {"a": "waits"}
    assert told(Told(0, {"a": "waits"}), Told(0, {"a": "works"})).answer == {"a": "waits; works"}


def test_a_program_is_loaded_when_all_have_loaded_it():
    failed = CompileFailed(5, 0, Failure("no"))
    assert told(Loaded(5, 0, 4), Loaded(5, 0, 4)) == Loaded(5, 0, 4)
    assert told(Loaded(5, 0, 4), failed) == failed


def test_bytes_are_counted_once_and_errors_of_all():
    records = [
        Record(1, 2, "a", {("a", "b"): 64}, 1, live=live, errors=errors) for live, errors in ((8, {}), (9, {3: "no"}))
    ]
    found = told(*(StepEnded(1, 2, "a", one) for one in records)).record
    assert (found.bytes_per_link, found.messages, found.live, found.errors) == ({("a", "b"): 64}, 1, 9, {3: "no"})
