"""Contiguous cuts against exhaustive search."""

from itertools import combinations, combinations_with_replacement, pairwise

import pytest
from atoll.passes.stage.cut.contiguous_cut import FLOORS, SLACK, contiguous_cut, smallest_bottleneck
from atoll.passes.stage.cut.homes import Home, alike
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.own

SMALL = st.integers(0, 6)


def cut(costs, crossing, parts):
    return contiguous_cut(costs, crossing, alike(parts))


def parts_of(costs, cuts):
    return [sum(costs[start:end]) for start, end in pairwise([0, *cuts, len(costs)])]


def bottleneck(costs, cuts):
    return max(parts_of(costs, cuts))


def places_in(crossing):
    """The places of each run that both neighbours exceed, or all runs before it, or all behind it."""
    places, place = [], 1
    while place < len(crossing):
        end = place
        while end < len(crossing) and crossing[end] == crossing[place]:
            end += 1
        left = place == 1 or crossing[place - 1] > crossing[place]
        right = end == len(crossing) or crossing[end] > crossing[place]
        is_least = any(all(one > crossing[place] for one in side) for side in (crossing[1:place], crossing[end:]))
        if (left and right) or is_least:
            places += range(place, end)
        place = end
    return places


@settings(max_examples=400, deadline=None)
@given(st.data(), st.integers(1, 6))
def test_the_least_crosses_among_even_cuts(data, parts):
    length = data.draw(st.integers(0, 12))
    costs = data.draw(st.lists(SMALL, min_size=length, max_size=length))
    crossing = data.draw(st.lists(SMALL, min_size=length, max_size=length))
    cuts = cut(costs, crossing, parts)
    places = places_in(crossing)
    assert len(cuts) == min(parts, len(places) + 1) - 1
    assert cuts == sorted(set(cuts))
    assert set(cuts) <= set(places) <= set(range(1, max(1, length)))
    choices = list(combinations(places, len(cuts)))
    best = min(bottleneck(costs, choice) for choice in choices)
    assert bottleneck(costs, cuts) <= SLACK * best
    even = [choice for choice in choices if bottleneck(costs, choice) <= SLACK * best]
    shares = (floor * sum(costs) / (len(cuts) + 1) for floor in FLOORS)
    busy = next(some for share in shares if (some := [one for one in even if min(parts_of(costs, one)) >= share]))
    assert cuts in map(list, busy)
    assert sum(crossing[one] for one in cuts) == min(sum(crossing[one] for one in choice) for choice in busy)


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_what_cannot_be_cut_stays_whole(parts):
    assert cut([], [], parts) == []
    assert cut([7], [0], parts) == []


def test_more_parts_than_places():
    assert cut([1] * 6, [0, 1, 9, 1, 9, 1], 9) == [1, 3, 5]


def test_where_the_same_crosses_everywhere_the_parts_are_even():
    assert cut([1] * 6, [0, 5, 5, 5, 5, 5], 3) == [2, 4]
    assert cut([1] * 100, [7] * 100, 4) == [25, 50, 75]


def test_among_equally_small_cuts_an_even_one_is_taken():
    crossing = [9] * 100
    for place in (44, 46, 50, 52, 56):
        crossing[place] = 1
    assert cut([1] * 100, crossing, 2) == [50]


def test_no_cost_at_all():
    assert cut([0] * 6, [0, 5, 1, 5, 0, 5], 2) == [4]


def test_costs_beyond_what_a_float_counts():
    """Sums of large whole numbers stay exact until the slack."""
    huge = 10**30
    assert cut([huge] * 4, [0, 2, 1, 2], 2) == [2]


def test_a_smaller_cut_is_worth_a_little_unevenness():
    costs = [10] * 20
    crossing = [0] + [100 if place % 2 else 50 for place in range(1, 20)]
    crossing[10], crossing[11], crossing[12] = 60, 90, 1
    assert cut(costs, crossing, 2) == [10]  # 12 | 8 would be 20% over
    crossing = [0] + [100 if place % 2 else 50 for place in range(1, 40)]
    crossing[22] = 1
    assert cut([10] * 40, crossing, 2) == [22]  # 10% over


def test_long_sequences_are_cut_in_a_moment():
    length = 40_000
    cuts = cut([1] * length, [place % 3 for place in range(length)], 64)
    ends = [0, *cuts, length]
    assert max(end - start for start, end in pairwise(ends)) <= SLACK * length / 64 + 3
    assert len(cuts) == 63


def test_a_model_that_narrows_is_cut_where_a_layer_ends():
    """And one that widens likewise; that less crosses elsewhere does not outweigh a part that costs twice as much."""
    assert cut([6, 4, 1], [0, 9, 5], 2) == [1]
    assert cut([1, 4, 6], [0, 5, 9], 2) == [2]


def test_no_part_is_next_to_nothing_where_another_cut_has_the_same_bottleneck():
    """Less would cross if the last part were the mean of a loss alone."""
    costs, crossing = [1] * 9 + [0], [0] + [8] * 8 + [1]
    assert cut(costs, crossing, 4) == [2, 4, 6]


def test_a_part_that_cannot_be_half_of_a_share_is_as_much_as_it_can_be():
    assert cut([1, 1, 2, 4, 8, 0, 0], [0, 4, 4, 4, 4, 1, 1], 4) == [2, 3, 4]


@st.composite
def unlike(draw):
    """Costs, what crosses, and homes of any pace, some with little room."""
    length = draw(st.integers(1, 8))
    row = st.lists(SMALL, min_size=length, max_size=length)
    homes = [
        Home(draw(st.sampled_from((1, 1.5, 4))), tuple(draw(row)), draw(st.sampled_from((float("inf"), 4, 12))))
        for _ in range(draw(st.integers(2, 4)))
    ]
    return draw(row), draw(row), homes


def spans(costs, cuts, homes):
    """For each home the elements of its part."""
    return [(home, range(*ends)) for home, ends in zip(homes, pairwise((0, *cuts, len(costs))), strict=True)]


@settings(max_examples=400, deadline=None)
@given(unlike())
def test_the_least_crosses_among_cuts_that_suit_unlike_homes(problem):
    """By the time that parts take, and with room for all of them if that is possible."""
    costs, crossing, homes = problem
    places = range(1, len(costs))

    def fits(cuts):
        return all(sum(home.needs[one] for one in part) <= home.room for home, part in spans(costs, cuts, homes))

    def slowest(cuts):
        return max(home.pace * sum(costs[one] for one in part) for home, part in spans(costs, cuts, homes))

    def crosses(cuts):
        return sum(crossing[one] for one in {*cuts} if 0 < one < len(costs))

    found = contiguous_cut(costs, crossing, homes, places)
    found += [len(costs)] * (len(homes) - 1 - len(found))  # of homes that are alike some may be left out
    assert found == sorted(found)
    options = list(combinations_with_replacement(range(len(costs) + 1), len(homes) - 1))
    with_room = [one for one in options if fits(one)]
    assert fits(found) or not with_room
    best = min(map(slowest, with_room or options))
    assert smallest_bottleneck(costs, homes, places) == (best if with_room else float("inf"))
    assert slowest(found) <= SLACK * best
    good = [one for one in with_room or options if slowest(one) <= SLACK * best]
    busy = [one for one in good if all(part for _, part in spans(costs, one, homes))]
    assert crosses(found) >= min(map(crosses, good))
    assert all(part for _, part in spans(costs, found, homes)) or not busy


def test_all_is_in_the_one_home_that_has_room():
    small, large = Home(1, (3,) * 4, 2), Home(1, (3,) * 4, 20)
    for homes, cuts in (((small, large), [0]), ((large, small), [4]), ((small, large, small), [0, 4])):
        assert contiguous_cut([1] * 4, [0, 5, 1, 5], homes) == cuts


def test_parts_follow_the_pace_of_their_homes():
    assert contiguous_cut([1] * 8, [0, *[5] * 7], [Home(1), Home(3)]) == [6]
    assert contiguous_cut([1] * 8, [0, *[5] * 7], [Home(3), Home(1)]) == [2]
