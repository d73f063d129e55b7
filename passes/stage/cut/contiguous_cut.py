"""Cuts a sequence into contiguous parts of even cost where little crosses. Pure arithmetic on lists."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from math import inf

from atoll.passes.stage.cut.homes import Home, even_share, without_limits

# How many times the best possible bottleneck a part may cost for the sake of a smaller cut.
SLACK = 1.15
# How much of an even share each part has at least: the first that is possible without a costlier bottleneck. Less
# crosses where a part does next to nothing, such as the mean of a loss, but then its island is idle.
FLOORS = (0.5, 0.25, 0.125, 0.0625, 0)
# How often the range between the two is halved, in search of the most even of the smallest cuts.
_HALVINGS = 5


def contiguous_cut(
    costs: Sequence[float], crossing: Sequence[float], homes: Sequence[Home], places: Sequence[int] | None = None
) -> list[int]:
    """The positions at which to cut: a part begins at each of them. There are fewer if homes are alike and there are
    fewer places to cut.

    crossing[i] is what crosses a cut before element i. First the smallest bottleneck T is found, then the smallest
    crossing with every part at most SLACK * T: one objective for both would rather cut inside a block than leave the
    parts a little uneven. Where it is possible with that, each part has at least half of an even share. Only where
    homes are unlike a part may be empty. If there is room for no cut, it is the best one with room for everything.

    places: where a cut may be; between blocks if it is not said.
    """
    places = places_between_blocks(crossing) if places is None else places
    homes = _used(homes, places)
    if len(homes) == 1:
        return []
    lines = _lines(costs, places, homes)
    least = _smallest_bottleneck(lines)
    if least == inf:
        return contiguous_cut(costs, crossing, without_limits(homes), places)
    weights, ends = [0, *(crossing[place] for place in places)], [0, *places, len(costs)]
    share = even_share(costs, homes)
    for floor in (*(share * one for one in FLOORS), None):
        if cuts := _most_even(lines, weights, floor, least):
            return [ends[cut] for cut in cuts]
    return []


def smallest_bottleneck(costs: Sequence[float], homes: Sequence[Home], places: Sequence[int]) -> float:
    """The least time that the slowest part can take, wherever less or more crosses; infinite if there is no room."""
    return _smallest_bottleneck(_lines(costs, places, _used(homes, places)))


def _used(homes: Sequence[Home], places: Sequence[int]) -> Sequence[Home]:
    """As many homes as there can be parts, if it does not matter which are left out."""
    return homes[: len(places) + 1] if len(set(homes)) == 1 else homes


def places_between_blocks(crossing: Sequence[float]) -> list[int]:
    """Where a cut may be: in every valley, and wherever less crosses than anywhere before it, or anywhere after it.

    Between two valleys is the inside of a block; but a model that narrows from layer to layer, or widens, has no
    valleys. On a flat stretch every place counts. Before element 0 there is nothing to cut off.
    """
    runs = [list(run) for _, run in groupby(range(1, len(crossing)), key=lambda place: crossing[place])]
    heights = [crossing[run[0]] for run in runs]
    before = [inf, *accumulate(heights, min)]
    behind = [*reversed([*accumulate(reversed(heights), min)]), inf]
    around = zip([inf, *heights], heights, [*heights[1:], inf], strict=False)
    return [
        place
        for number, (run, (left, here, right)) in enumerate(zip(runs, around, strict=True))
        if left > here < right or here < before[number] or here < behind[number + 1]
        for place in run
    ]


@dataclass(frozen=True)
class _Line:
    """What parts take in some home. time: what is in front of each end takes. earliest: for each end where a part may
    begin, so that there is room for it."""

    time: Sequence[float]
    earliest: Sequence[int]


def _lines(costs: Sequence[float], places: Sequence[int], homes: Sequence[Home]) -> list[_Line]:
    made = {home: _line(costs, places, home) for home in set(homes)}
    return [made[home] for home in homes]


def _line(costs: Sequence[float], places: Sequence[int], home: Home) -> _Line:
    ends = (0, *places, len(costs))
    sums = [0, *accumulate(one * home.pace for one in costs)]
    time, earliest = [sums[end] for end in ends], [0] * len(ends)
    if home.room < inf:
        bytes_before, start = [0, *accumulate(home.needs)], 0
        for number, end in enumerate(ends):
            while bytes_before[end] - bytes_before[ends[start]] > home.room:
                start += 1
            earliest[number] = start
    return _Line(time, earliest)


def _most_even(lines: Sequence[_Line], weights: Sequence[float], floor: float | None, least: float) -> list[int]:
    """The ends at which to cut so that the least crosses with parts of at most SLACK times the least bottleneck, and no
    part costs much more than that needs: by bisection, the bound goes down towards the least as long as no more
    crosses. Empty if no such parts cost at least `floor` each; None lets them be empty."""
    most = SLACK * least
    best = _smallest_crossing(lines, weights, floor, most)
    even = _smallest_crossing(lines, weights, floor, least)
    if not best or (even and _sum(even, weights) == _sum(best, weights)):
        return even
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        found = _smallest_crossing(lines, weights, floor, middle)
        if found and _sum(found, weights) == _sum(best, weights):
            best, most = found, middle
        else:
            least = middle
    return best


def _sum(ends: Sequence[int], weights: Sequence[float]) -> float:
    return sum(weights[end] for end in set(ends) if end < len(weights))


def _smallest_bottleneck(lines: Sequence[_Line]) -> float:
    """The least that the costliest part can cost, where parts may be empty."""
    ends = range(len(lines[0].time))
    best = [inf if lines[0].earliest[end] else lines[0].time[end] for end in ends]  # up to each end, in one part
    for line in lines[1:]:
        following, time, start = [inf] * len(ends), line.time, 0
        for end in ends:
            first = line.earliest[end]
            # The later the last part begins, the less it costs, and the more the parts before it do.
            start = max(start, first)
            while start < end and best[start] < time[end] - time[start]:
                start += 1
            options = (max(start - 1, first), start)
            following[end] = min(max(best[one], time[end] - time[one]) for one in options)
        best = following
    return best[-1]


def _smallest_crossing(lines: Sequence[_Line], weights: Sequence[float], floor: float | None, most: float) -> list[int]:
    """The ends at which to cut so that every part costs from `floor` to `most`, and the least crosses in all; empty if
    there are no such parts. Where there is no floor, parts may be empty."""
    least = 0 if floor is None else floor
    ends = range(len(lines[0].time))
    first = lines[0]
    best: list[float] = [
        0 if least <= first.time[end] <= most and not first.earliest[end] and (end or floor is None) else inf
        for end in ends
    ]
    choices: list[list[int]] = []
    for line in lines[1:]:
        following, choice, time = [inf] * len(ends), [0] * len(ends), line.time
        window: deque[int] = deque()  # starts of the last part, the best first, then those that may be best later
        start = 0
        for end in ends:
            while start < end and time[end] - time[start] >= least:
                if best[start] < inf:
                    while window and best[window[-1]] + weights[window[-1]] > best[start] + weights[start]:
                        window.pop()
                    window.append(start)
                start += 1
            while window and (time[end] - time[window[0]] > most or window[0] < line.earliest[end]):
                window.popleft()
            if window:
                choice[end] = window[0]
                following[end] = best[window[0]] + weights[window[0]]
            if floor is None and best[end] <= following[end]:
                choice[end], following[end] = end, best[end]
        best = following
        choices.append(choice)
    if best[-1] == inf:
        return []
    cuts, end = [], len(ends) - 1
    for choice in reversed(choices):
        end = choice[end]
        cuts.append(end)
    return cuts[::-1]
