"""A run of many steps on two replicas of two stages: its bits, its bytes, and its checkpoints."""

import jax
import numpy
import pytest
from atoll.compiler.commands.demo import by_hand
from atoll.examples.palm.data import batch
from atoll.examples.palm.hashes import hashes
from atoll.examples.palm.run import Care, Journal, run
from atoll.examples.palm.sizes import Size, parameter_count
from atoll.examples.palm.spikes import batch_number
from atoll.examples.palm.train import init_state, shapes_of, train_step_of
from atoll.runtime.promise import Promise
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

import atoll

pytestmark = pytest.mark.own

TINY = Size(layers=4, heads=2, width=16, batch=8, head_width=16, vocabulary=256, length=80, dtype="float32")
CARE = Care(every=12)


@pytest.fixture(scope="module")
def step():
    state, tokens = shapes_of(TINY)
    job = atoll.Job(train_step_of(TINY), state, tokens, batch_argnums=1, donate_argnums=0)
    plan = atoll.Plan(stages=2, microbatches=2, schedule="zb-h1", replicas=2)
    with atoll.compile(job, topology="4 x cpu[1]", plan=plan) as compiled:
        yield compiled


@pytest.fixture(scope="module")
def beginning():
    key = jax.random.key(0, impl="rbg")
    return jax.tree.map(numpy.asarray, jax.jit(init_state, static_argnums=1)(key, TINY))


@pytest.fixture
def initial(beginning):
    return lambda: jax.tree.map(numpy.copy, beginning)


# On islands.


def test_a_restarted_run_ends_with_the_same_bits_on_every_island(step, initial, tmp_path):
    through, journal = run(step, initial, TINY, 24, tmp_path / "through", CARE)
    first, _ = run(step, initial, TINY, 12, tmp_path / "stopped", CARE)
    del first
    again, journal_again = run(step, initial, TINY, 24, tmp_path / "stopped", CARE)
    assert journal_again == journal
    assert journal.losses[-1] < journal.losses[0] - 1.5
    found = hashes(through)
    assert hashes(again) == found
    assert list(found) == ["island0", "island1", "island2", "island3"]
    assert (found["island0"], found["island1"]) == (found["island2"], found["island3"])
    assert found["island0"] != found["island1"]


def test_stacked_parameters_live_in_parts_and_are_written_so(step, initial, tmp_path, monkeypatch):
    state, _ = step(initial(), batch(0, TINY))
    down = state["params"]["layers"]["down"]
    assert [(part.index[0], part.islands) for part in down.parts] == [
        (slice(0, 2), ("island0", "island2")),
        (slice(2, 4), ("island1", "island3")),
    ]
    assert len({part.read(island).tobytes() for part in down.parts[1:] for island in part.islands}) == 1
    whole = jax.tree.map(numpy.asarray, state)

    read = Promise.read

    def read_whole(promise):
        assert len(promise.parts()) == 1, "a stack is made whole"
        return read(promise)

    monkeypatch.setattr(Promise, "read", read_whole)
    atoll.save_checkpoint(tmp_path, 1, state)
    found = atoll.load_checkpoint(tmp_path, shapes_of(TINY)[0])
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()


def test_parameters_are_balanced_and_steps_are_those_of_jit(step, initial):
    state, loss = step(initial(), batch(0, TINY))
    expected, expected_loss = jax.jit(train_step_of(TINY))(initial(), batch(0, TINY))
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-5)
    found, wanted = (jax.tree.leaves(one["optimizer"]["square"]) for one in (state, expected))
    for ours, theirs in zip(found, wanted, strict=True):  # the squares of all gradients
        numpy.testing.assert_allclose(ours.to_jax(), theirs, rtol=0, atol=2e-5 * float(numpy.max(theirs)))
    held = dict.fromkeys(("island0", "island1", "island2", "island3"), 0)
    for array in jax.tree.leaves(state["params"]):
        for part in array.parts:
            for island in part.islands:
                held[island] += part.read(island).size
    tied = TINY.vocabulary * TINY.width + TINY.width  # the embedding, on one of two stages, and the last norm
    layers = parameter_count(TINY) - tied
    assert list(held.values()) == 2 * [layers // 2, layers // 2 + tied]


def test_a_step_sends_what_is_counted_by_hand(step, initial):
    jax.block_until_ready([one.to_jax() for one in jax.tree.leaves(step(initial(), batch(0, TINY)))])
    counted = {link: sum(kinds.values()) for link, kinds in by_hand(TINY).items()}
    sent = step.stats().bytes_per_link
    assert sent.keys() == counted.keys()
    for link, count in counted.items():
        assert count <= sent[link] < count + 64, link  # scalars, such as the parts of a norm


# After a spike.


def fake_step(bad):
    """Counts its steps, and has a loss that jumps at some batches."""
    numbers = {batch(number, TINY).tobytes(): number for number in range(60)}

    def step(state, tokens):
        number = numbers[tokens.tobytes()]
        seen = numpy.append(state["seen"][1:], numpy.int32(number))
        return {"seen": seen}, 9.0 if number in bad else 3.0

    return step


def test_a_run_goes_back_before_a_spike_and_leaves_its_batches_out(tmp_path):
    care = Care(every=5, before=5, after=4)
    state, journal = run(fake_step({17}), lambda: {"seen": numpy.zeros(30, numpy.int32)}, TINY, 30, tmp_path, care)
    assert journal.skipped == (range(10, 21),)
    assert journal.losses == 30 * (3.0,)
    assert state["seen"].tolist() == [*range(10), *range(21, 41)]
    assert Journal.read(tmp_path / "journal.json") == journal
    assert batch_number(10, journal.skipped) == 21


def test_a_run_that_is_stopped_after_a_spike_knows_what_is_left_out(tmp_path):
    care, initial = Care(every=5, before=5, after=4), lambda: {"seen": numpy.zeros(30, numpy.int32)}
    through, journal = run(fake_step({17, 30}), initial, TINY, 30, tmp_path / "through", care)
    for steps in (19, 20, 27, 30):
        stopped, found = run(fake_step({17, 30}), initial, TINY, steps, tmp_path / "stopped", care)
    assert found == journal
    assert stopped["seen"].tolist() == through["seen"].tolist()
