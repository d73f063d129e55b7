"""The state machines of a host and of the controller's memory, under events in any order that can happen."""

from collections import Counter

import pytest
from atoll.runtime.budget import Budget
from atoll.runtime.messages import Forward, Order, Stored, Use
from atoll.runtime.program_memory import Bytes, total
from atoll.runtime.site import Errand, Site
from atoll.runtime.store import GONE, Store
from random_events import pytest_generate_tests, under_random_events  # noqa: F401 (a hook)

pytestmark = pytest.mark.own

# The store.


def test_a_value_lives_as_long_as_anyone_uses_it():
    store, told = Store(), []
    store.expect(1, 7)
    store.use(1)  # a later step reads it
    store.wait(1, told.append)
    store.add(Bytes(8))
    assert store.fill(1, "value", Bytes(8))
    assert told == ["value"]
    for live in (8, 8, 0):  # the step that made it, the one that reads it, the controller
        assert store.device.live == 8
        store.drop(1)
        assert store.device.live == live
    assert store.look(1) is None
    store.wait(1, told.append)
    assert told[-1] is GONE
    assert store.device.peak == 8


def test_a_result_that_nobody_wants_stays_its_steps():
    store = Store()
    store.expect(1, 7)
    store.drop(1)
    store.add(Bytes(8))
    assert not store.fill(1, "value", Bytes(8))
    assert store.device.live == 8


def test_whoever_waits_for_what_never_comes_is_told():
    store, told = Store(), []
    store.expect(1, 7)
    store.wait(1, told.append)
    store.drop(1)
    assert told == [GONE]


def test_a_store_keeps_what_is_used_and_nothing_else(sequences):
    """Against a model that counts the uses of each handle."""

    def check(choices):
        store, uses, sizes, filled, owners = Store(), Counter(), {}, set(), {}
        for number in range(choices.randrange(2, 30)):
            known = [one for one in uses if uses[one]]
            one = choices.choice(known) if known else None
            event = choices.choice(["expect", "put", "use", "fill", "drop", "take", "late"])
            if event == "expect":
                uses[number], sizes[number], owners[number] = 1, drawn(choices), choices.randrange(3)
                store.expect(number, owners[number])
            elif event == "put":
                uses[number], sizes[number], owners[number] = 1, drawn(choices), choices.randrange(3)
                store.put(number, owners[number], f"value {number}", sizes[number])
                filled.add(number)
            elif event == "late":  # a message about what is gone
                gone = choices.randrange(-5, 0)
                store.drop(gone)
                store.use(gone)
                assert taken(store, gone, choices) is GONE
            elif one is None:
                continue
            elif event == "use":
                store.use(one)
                uses[one] += 1
            elif event == "fill" and one not in filled:
                store.add(sizes[one])
                assert store.fill(one, f"value {one}", sizes[one])
                filled.add(one)
                uses[one] += 1
            elif event == "drop":
                store.drop(one)
                uses[one] -= 1
            elif event == "take" and uses[one] == 1 and one in filled:
                assert taken(store, one, choices) == f"value {one}"
                uses[one] = 0
            kept = [one for one in uses if uses[one]]
            assert len(store) == len(kept)
            expected = total(sizes[one] for one in kept if one in filled)
            assert (store.device.live, store.host.live) == expected
            assert store.device.peak >= store.device.live
            assert store.host.peak >= store.host.live
            for one in kept:
                assert store.look(one) == (f"value {one}" if one in filled else None)
            here = sorted((owners[one], f"value {one}") for one in kept if one in filled)
            assert sorted((program, value) for program, values in store.owned().items() for value in values) == here

    under_random_events(check, sequences)


def drawn(choices):
    """A value is in one memory or the other."""
    size = choices.randrange(5)
    return choices.choice([Bytes(device=size), Bytes(host=size)])


def taken(store, handle, choices):
    """What a step takes, in either way; then it ends."""
    if choices.choice([True, False]):
        return store.take(handle)
    size = drawn(choices)
    value = store.take_over(handle, size)
    store.remove(size)
    return value


# The order of programs on an island.


class OneDevice:
    """Of a mesh, what a site asks for."""

    is_multi_process = False

    class devices:  # noqa: N801
        flat = ()


class FakeStream:
    """Ends a step when it is told to; at its turn only."""

    def __init__(self, site, name, carried):
        self.site, self.name, self.carried, self.asked = site, name, carried, 0

    def go_on(self):
        """Whether it may begin is asked again and again."""

    def end(self):
        if self.asked and self.site.is_turn_of(self):
            self.asked -= 1
            self.carried.append(self.name)
            self.site.end_turn(self)


def test_steps_are_carried_out_in_the_order_in_which_they_were_asked_for(sequences):
    """Whatever their programs, and whenever each of them comes to its end; and what is sent between them as well."""

    def check(choices):
        later, sent, carried = [], [], []
        site = Site("a", OneDevice(), lambda record: None, sent.append, later.append, lambda call: None)
        streams = [FakeStream(site, name, carried) for name in "xyz"]
        asked = []
        for number in range(choices.randrange(30)):
            event = choices.choice(["ask", "ask", "end", "end", "later", "send"])
            if event == "ask":
                stream = choices.choice(streams)
                asked.append(stream.name)
                stream.asked += 1
                site.queue(stream)
            elif event == "send":
                asked.append(number)
                order = Order({}, {}, (Forward(number, Use.BORROW, 0, 0, "b", 0),))
                site.reserve(0, order)
                site.queue(Errand(site, None, order.forwards))
            elif event == "end":
                choices.choice(streams).end()
            elif later:
                call, argument = later.pop(0)
                call(argument)
        for _ in asked:  # each time one of them can come to its end
            for stream in streams:
                stream.end()
            while later:
                call, argument = later.pop(0)
                call(argument)
        assert site.is_idle
        assert carried == [one for one in asked if isinstance(one, str)]
        assert len(sent) == len(asked) - len(carried)
        assert not len(site.store)

    under_random_events(check, sequences)


def test_what_a_step_reads_is_kept_from_when_it_is_asked_for():
    site = Site("a", OneDevice(), lambda record: None, *(lambda _: None for _ in range(3)))
    site.store.put(1, 7, "value", Bytes(8))
    site.reserve(7, Order({0: Stored(1, Use.BORROW)}, {1: 2}))
    site.store.drop(1)  # the controller lets go of it
    assert site.store.look(1) == "value"
    site.store.drop(1)
    assert site.store.look(1) is None


# Memory.


def test_what_does_not_fit_is_told_with_the_arithmetic():
    budget = Budget({"a": 100})
    budget.change("a", 2, 10)
    budget.change("a", 1, 25)
    budget.change("a", 1, -5)
    budget.begin(1, {"a": 40})
    assert budget.shortage(2, {"a": 30}, {}) is None
    short = budget.shortage(2, {"a": 31}, {})
    assert str(short) == (
        "a device of island a has 100 bytes; the step needs 31, arrays that are kept there take 30 "
        "(of which program 1 has 20), what program 1 does takes 40"
    )
    assert not short.never_fits
    assert budget.shortage(2, {"a": 101}, {"a": {1: 20, 2: 10}}).never_fits
    # What the step is given is among what it needs; and the next step of a program needs what the one before did.
    assert budget.shortage(2, {"a": 60}, {"a": {1: 20, 2: 10}}) is None
    assert budget.shortage(1, {"a": 70}, {}) is None
    assert budget.shortage(2, {"b": 1000}, {}) is None  # no limit


def test_a_budget_is_what_is_kept_and_worked_with(sequences):
    """Against a model; and when all is over, nothing is left."""

    def check(choices):
        budget = Budget({"a": 50, "b": 50})
        held, under_way = Counter(), []
        for _ in range(choices.randrange(40)):
            event = choices.choice(["keep", "let go", "begin", "end"])
            if event == "keep":
                place, size = (choices.choice("abc"), choices.randrange(3)), choices.randrange(20)
                budget.change(*place, size)
                held[place] += size
            elif event == "let go":
                place = choices.choice("abc"), choices.randrange(3)
                size = choices.randint(0, held[place])
                budget.change(*place, -size)
                held[place] -= size
            elif event == "begin":
                program, needs = (
                    choices.randrange(3),
                    {one: choices.randrange(40) for one in choices.choice(["a", "ab"])},
                )
                others = {
                    one: sum(
                        max(sizes)
                        for other in range(3)
                        if other != program
                        and (sizes := [size[one] for number, size in under_way if number == other and one in size])
                    )
                    for one in needs
                }
                kept = {one: sum(held[one, owner] for owner in range(3)) for one in needs}
                fits = all(kept[one] + others[one] + size <= 50 for one, size in needs.items())
                short = budget.shortage(program, needs, {})
                assert (short is None) == fits
                assert fits or all(size == held[short.island, owner] for owner, size in short.held.items())
                assert fits or sum(short.held.values()) == kept[short.island]
                if fits:
                    budget.begin(program, needs)
                    under_way.append((program, needs))
            elif under_way:
                budget.end(*under_way.pop(choices.randrange(len(under_way))))
            assert budget.is_idle == (not under_way)
        for one in under_way:
            budget.end(*one)
        assert budget.is_idle

    under_random_events(check, sequences)
