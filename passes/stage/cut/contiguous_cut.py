"""Cuts a sequence into contiguous parts of even cost where little crosses. Pure arithmetic on lists."""

from collections import deque
from collections.abc import Sequence
from itertools import accumulate, groupby
from math import inf

# How many times the best possible bottleneck a part may cost for the sake of a smaller cut.
SLACK = 1.15
# How much of an even share each part has at least: the first that is possible without a costlier bottleneck. Less
# crosses where a part does next to nothing, such as the mean of a loss, but then its island is idle.
FLOORS = (0.5, 0.25, 0.125, 0.0625, 0)
# How often the range between the two is halved, in search of the most even of the smallest cuts.
_HALVINGS = 5


def contiguous_cut(
    costs: Sequence[float], crossing: Sequence[float], parts: int, places: Sequence[int] | None = None
) -> list[int]:
    """The positions at which to cut: a part begins at each of them. There are fewer if there are fewer places to cut.

    crossing[i] is what crosses a cut before element i. First the smallest bottleneck T is found, then the smallest
    crossing with every part at most SLACK * T: one objective for both would rather cut inside a block than leave the
    parts a little uneven. Where it is possible with that, each part has at least half of an even share.

    places: where a cut may be; between blocks if it is not said.
    """
    places = places_between_blocks(crossing) if places is None else places
    parts = min(parts, len(places) + 1)
    if parts == 1:
        return []
    totals = _totals(costs, places)
    weights = [0, *(crossing[place] for place in places)]
    least = _smallest_bottleneck(totals, parts)
    for floor in FLOORS:
        if ends := _most_even(totals, weights, parts, floor * totals[-1] / parts, least):
            return [places[end - 1] for end in ends]
    return []


def smallest_bottleneck(costs: Sequence[float], parts: int, places: Sequence[int]) -> float:
    """The least that the costliest of as many parts can cost, wherever less or more crosses."""
    return _smallest_bottleneck(_totals(costs, places), min(parts, len(places) + 1))


def _totals(costs: Sequence[float], places: Sequence[int]) -> list[float]:
    """The cost in front of each place, and of everything."""
    sums = [0, *accumulate(costs)]
    return [sums[end] for end in (0, *places, len(costs))]


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


def _most_even(totals: Sequence[float], weights: Sequence[float], parts: int, floor: float, least: float) -> list[int]:
    """The ends at which to cut so that the least crosses with parts of at most SLACK times the least bottleneck, and no
    part costs much more than that needs: by bisection, the bound goes down towards the least as long as no more
    crosses. Empty if no such parts cost at least `floor` each."""
    most = SLACK * least
    best = _smallest_crossing(totals, weights, parts, floor, most)
    even = _smallest_crossing(totals, weights, parts, floor, least)
    if not best or (even and _sum(even, weights) == _sum(best, weights)):
        return even
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        found = _smallest_crossing(totals, weights, parts, floor, middle)
        if found and _sum(found, weights) == _sum(best, weights):
            best, most = found, middle
        else:
            least = middle
    return best


def _sum(ends: Sequence[int], weights: Sequence[float]) -> float:
    return sum(weights[end] for end in ends)


def _smallest_bottleneck(totals: Sequence[float], parts: int) -> float:
    """The least that the costliest part can cost. totals[i] is the cost in front of end i; no part is empty."""
    best = [inf if end == 0 else totals[end] for end in range(len(totals))]  # up to each end, in one part
    for part in range(1, parts):
        following, start = [inf] * len(totals), part
        for end in range(part + 1, len(totals)):
            # The later the last part begins, the less it costs, and the more the parts before it do.
            while start + 1 < end and best[start] < totals[end] - totals[start]:
                start += 1
            options = [one for one in (start - 1, start) if one >= part]
            following[end] = min(max(best[one], totals[end] - totals[one]) for one in options)
        best = following
    return best[-1]


def _smallest_crossing(
    totals: Sequence[float], weights: Sequence[float], parts: int, floor: float, most: float
) -> list[int]:
    """The ends at which to cut so that every part costs from `floor` to `most`, and the least crosses in all; empty if
    there are no such parts."""
    best: list[float] = [inf if end == 0 or not floor <= totals[end] <= most else 0 for end in range(len(totals))]
    choices: list[list[int]] = []
    for _ in range(1, parts):
        following, choice = [inf] * len(totals), [0] * len(totals)
        window: deque[int] = deque()  # starts of the last part, the best first, then those that may be best later
        start = 0
        for end in range(1, len(totals)):
            while start < end and totals[end] - totals[start] >= floor:
                if best[start] < inf:
                    while window and best[window[-1]] + weights[window[-1]] > best[start] + weights[start]:
                        window.pop()
                    window.append(start)
                start += 1
            while window and totals[end] - totals[window[0]] > most:
                window.popleft()
            if window:
                choice[end] = window[0]
                following[end] = best[window[0]] + weights[window[0]]
        best = following
        choices.append(choice)
    if best[-1] == inf:
        return []
    cuts, end = [], len(totals) - 1
    for choice in reversed(choices):
        end = choice[end]
        cuts.append(end)
    return cuts[::-1]
