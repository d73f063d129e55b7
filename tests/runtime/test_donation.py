"""What becomes of memory: what a step overwrites, what it leaves alone, and what is gone when it is over."""

import gc
import time

import jax
import numpy
import pytest
from atoll.compiler.errors import UsageError
from atoll.runtime.array import Array
from atoll.runtime.controller import Controller
from atoll.runtime.step import Step
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)


@pytest.fixture
def little_to_collect():
    """The garbage collector looks at what the test makes alone, not at all that the tests before have left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_fifty_steps_with_donation_take_no_more_memory(train, values, little_to_collect):
    *state, x = values
    peaks, arrays = set(), []
    for _ in range(50):
        old = state
        *state, loss = train.start([*state, x])
        del loss
        if isinstance(old[0], Array):
            assert all(one.is_deleted() for one in old)
        del old
        stats = train.stats()
        peaks.add(tuple(stats.peak_bytes.values()))
        gc.collect()
        arrays.append(len(jax.live_arrays()))  # of the whole process, where threads of earlier tests may let go of some
    assert len(peaks) == 1
    assert max(arrays) == arrays[0]
    assert train.compilations == 6


def test_a_step_that_is_over_keeps_nothing_that_was_let_go_of(train, values, monkeypatch, little_to_collect):
    """Not even in the midst of telling so, when the islands' threads have a stack still."""
    end = Step.end

    def end_slowly(self, *report):
        end(self, *report)
        time.sleep(0.05)

    train.start(values)
    train.stats()
    monkeypatch.setattr(Step, "end", end_slowly)
    gc.collect()
    before = len(jax.live_arrays())
    for _ in range(3):
        train.start(values)
        train.stats()
        gc.collect()
        assert len(jax.live_arrays()) <= before


def test_donated_memory_is_used_again(make_train_program, make_meshes, values):
    with Controller(make_train_program(), make_meshes()) as controller:
        *state, x = values
        *state, _ = controller.start([*state, x])
        place = state[0].promise.parts()[0][0].get(1).unsafe_buffer_pointer()
        for _ in range(3):
            *state, _ = controller.start([*state, x])
        state[0].block_until_ready()
        assert state[0].promise.parts()[0][0].get(1).unsafe_buffer_pointer() == place


def test_a_donated_array_is_gone_and_says_so(train, values):
    w, v, x = (jax.numpy.asarray(value) for value in values)
    state = train.start([w, v, x])[:2]
    assert w.is_deleted()
    assert not x.is_deleted()
    with pytest.raises(UsageError, match=r"^\S+: the array given as w was donated or deleted; pass another one\n"):
        train.start([w, v, x])
    again = train.start([*state, x])
    with pytest.raises(
        UsageError, match=r"^\S+: result\[0\] was donated to a step and is gone; use what the step returned"
    ):
        train.start([*state, x])
    with pytest.raises(UsageError, match=r"^\S+: result\[1\] was donated to a step and is gone"):
        numpy.asarray(state[1])
    assert state[0].islands == ()
    with pytest.raises(
        UsageError, match=r"^\S+: w and v are the same array, and it is donated; pass a copy for one of them\n"
    ):
        train.start([again[0], again[0], x])
    numpy.asarray(again[0])


def test_an_array_that_is_put_for_two_donated_arguments_is_there_twice(train, values, reference_step):
    """As averages of parameters begin with the parameters themselves."""
    _, v, x = values
    v = jax.numpy.asarray(v)
    found = train.start(train.put([v, v, x]))
    for one, wanted in zip(found, reference_step(v, v, x), strict=True):
        numpy.testing.assert_allclose(one, wanted, rtol=1e-5)
    assert not v.is_deleted()


def test_a_copy_outlives_the_donation_of_the_other(train, values, reference_step):
    w, v, x = train.put(values)
    kept = w.copy()
    found = train.start([w, v, x])
    for one, wanted in zip(found, reference_step(*values), strict=True):
        numpy.testing.assert_allclose(one, wanted, rtol=1e-5)
    assert w.is_deleted()
    numpy.testing.assert_array_equal(kept, values[0])
    found = train.start([kept, kept.copy(), x])  # which are two arrays, whatever they rest on
    for one, wanted in zip(found, reference_step(values[0], *values[::2]), strict=True):
        numpy.testing.assert_allclose(one, wanted, rtol=1e-5)


def test_arrays_that_are_not_donated_stay(make_train_program, make_meshes, values, reference_step):
    expected = reference_step(*values)
    w, v, x = (jax.numpy.asarray(value) for value in values)
    with Controller(make_train_program(donated=False), make_meshes()) as controller:
        placed = controller.put([w, v, x])
        for _ in range(3):
            for arguments in ((w, v, x), placed, values):
                found = controller.start(arguments)
                numpy.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
        for before, after in zip(values, (w, v, x), strict=True):
            numpy.testing.assert_array_equal(before, after)
        for before, after in zip(values, placed, strict=True):
            numpy.testing.assert_array_equal(before, after)


def test_memory_that_the_caller_writes_to_meanwhile_is_not_read(train, values, reference_step):
    expected = reference_step(*values)
    mine = [value.copy() for value in values]
    found = train.start(mine)
    for one in mine:
        one[:] = numpy.nan
    numpy.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)


def test_a_view_keeps_its_values_when_the_array_is_donated(train, values):
    *state, x = values
    *state, _ = train.start([*state, x])
    view = numpy.asarray(state[0])
    before = view.copy()
    for _ in range(3):
        *state, loss = train.start([*state, x])
    loss.block_until_ready()
    numpy.testing.assert_array_equal(view, before)
