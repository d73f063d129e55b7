"""Where blocks end, or wherever it has to be; and what is said of a cut that stays uneven."""

import pytest
from atoll.passes.stage.cut.even_cut import even_cut
from atoll.passes.stage.cut.homes import alike
from atoll.passes.stage.cut.unevenness import unevenness_of

pytestmark = pytest.mark.own

INF = float("inf")


def cut(work, crossing, parts, closed=()):
    return even_cut(work, crossing, closed, alike(parts)).cuts


def told(work, crossing, parts, closed=()):
    return unevenness_of(even_cut(work, crossing, closed, alike(parts)), work)


def test_blocks_stay_whole_where_they_are_even():
    """Each of four blocks has an inside where more crosses, and the exact middle is in one."""
    crossing = [0] + [4 if place % 3 == 0 else 9 for place in range(1, 12)]
    assert cut([1, 1, 1] * 2 + [1, 2, 1] * 2, crossing, 2) == (6,)


def test_a_plateau_behind_a_narrow_place_is_cut_in_its_middle():
    assert cut([1] * 10, [0, 3, 8, 8, 8, 8, 8, 8, 8, 8], 2) == (5,)


def test_a_block_is_cut_where_a_part_would_be_idle_otherwise():
    assert cut([1] * 8, [0, 9, 8, 9, 8, 9, 4, 9], 4) == (2, 4, 6)


def test_a_closed_stretch_stays_whole():
    work, crossing = [1] * 8, [0, 4, 9, 9, 9, 9, 4, 5]
    assert cut(work, crossing, 2) == (4,)
    assert cut(work, crossing, 2, closed=range(2, 6)) == (6,)


def test_a_closed_stretch_stays_whole_where_blocks_end_in_it_too():
    """Each of four blocks is computed again as a whole, and in its middle as little crosses as where it ends."""
    work, crossing, closed = [1, 1, 2, 2] * 4 + [4], [0, *[9, 4, 9, 4] * 4], {1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15}
    assert cut(work, crossing, 3) == (6, 12)
    assert cut(work, crossing, 3, closed) == (4, 12)


def test_a_closed_stretch_is_cut_where_there_is_no_other_place():
    assert cut([1] * 4, [0, 9, 4, 9], 2, closed={1, 2, 3}) == (2,)


def test_no_cut_is_where_nothing_can_cross():
    assert cut([1] * 4, [0, INF, 4, INF], 4) == (2,)


def test_even_parts_are_not_told_of():
    assert told([1] * 8, [0] + [4] * 7, 2) is None
    assert told([1] * 8, [0] + [4] * 7, 1) is None


def test_a_piece_that_is_larger_than_a_share():
    found = told([1, 1, 8, 1, 1], [0, 4, 4, 4, 4], 3)
    assert (found.shares, found.costliest) == ("17%, 67%, 17%", 2)
    assert found.why.format("dot_general") == "dot_general and what belongs to it, 67%, are in one piece"


def test_fewer_places_than_stages():
    found = told([1] * 5, [0, 4, 4, 4, 4], 6)
    assert found.shares == "20%, 20%, 20%, 20%, 20%, 0%"
    assert found.why == "there is no place to cut for more than 5 of the 6 stages"


def test_pieces_that_do_not_divide_evenly():
    found = told([1] * 5, [0, 4, 4, 4, 4], 3)
    assert sorted(found.shares.split(", ")) == ["20%", "40%", "40%"]
    assert found.why == "no other cut of the 5 pieces makes the largest part smaller"


def test_nothing_to_do_at_all():
    assert cut([], [], 3) == ()
    assert told([0, 0], [0, 4], 2).shares == "0%, 0%"
