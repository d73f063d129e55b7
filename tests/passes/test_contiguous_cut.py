"""Contiguous cuts against exhaustive search."""

from itertools import combinations, pairwise

import pytest
from atoll.passes.stage.cut.contiguous_cut import FLOORS, SLACK, contiguous_cut
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.own

SMALL = st.integers(0, 6)


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
    cuts = contiguous_cut(costs, crossing, parts)
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
    assert contiguous_cut([], [], parts) == []
    assert contiguous_cut([7], [0], parts) == []


def test_more_parts_than_places():
    assert contiguous_cut([1] * 6, [0, 1, 9, 1, 9, 1], 9) == [1, 3, 5]


def test_where_the_same_crosses_everywhere_the_parts_are_even():
    assert contiguous_cut([1] * 6, [0, 5, 5, 5, 5, 5], 3) == [2, 4]
    assert contiguous_cut([1] * 100, [7] * 100, 4) == [25, 50, 75]


def test_among_equally_small_cuts_an_even_one_is_taken():
    crossing = [9] * 100
    for place in (44, 46, 50, 52, 56):
        crossing[place] = 1
    assert contiguous_cut([1] * 100, crossing, 2) == [50]


def test_no_cost_at_all():
    assert contiguous_cut([0] * 6, [0, 5, 1, 5, 0, 5], 2) == [4]


def test_costs_beyond_what_a_float_counts():
    """Sums of large whole numbers stay exact until the slack."""
    huge = 10**30
    assert contiguous_cut([huge] * 4, [0, 2, 1, 2], 2) == [2]


def test_a_smaller_cut_is_worth_a_little_unevenness():
    costs = [10] * 20
    crossing = [0] + [100 if place % 2 else 50 for place in range(1, 20)]
    crossing[10], crossing[11], crossing[12] = 60, 90, 1
    assert contiguous_cut(costs, crossing, 2) == [10]  # 12 | 8 would be 20% over
    crossing = [0] + [100 if place % 2 else 50 for place in range(1, 40)]
    crossing[22] = 1
    assert contiguous_cut([10] * 40, crossing, 2) == [22]  # 10% over


def test_long_sequences_are_cut_in_a_moment():
    length = 40_000
    cuts = contiguous_cut([1] * length, [place % 3 for place in range(length)], 64)
    ends = [0, *cuts, length]
    assert max(end - start for start, end in pairwise(ends)) <= SLACK * length / 64 + 3
    assert len(cuts) == 63


def test_a_model_that_narrows_is_cut_where_a_layer_ends():
    """And one that widens likewise; that less crosses elsewhere does not outweigh a part that costs twice as much."""
    assert contiguous_cut([6, 4, 1], [0, 9, 5], 2) == [1]
    assert contiguous_cut([1, 4, 6], [0, 5, 9], 2) == [2]


def test_no_part_is_next_to_nothing_where_another_cut_has_the_same_bottleneck():
    """Less would cross if the last part were the mean of a loss alone."""
    costs, crossing = [1] * 9 + [0], [0] + [8] * 8 + [1]
    assert contiguous_cut(costs, crossing, 4) == [2, 4, 6]


def test_a_part_that_cannot_be_half_of_a_share_is_as_much_as_it_can_be():
    assert contiguous_cut([1, 1, 2, 4, 8, 0, 0], [0, 4, 4, 4, 4, 1, 1], 4) == [2, 3, 4]
