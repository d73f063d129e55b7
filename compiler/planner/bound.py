"""A time that no plan beats: over all cuts, islands and orders of tasks, with any memory and however fast links are.

What a layer takes within a task is not what it takes alone: one may compute while another one's memory is waited for.
So the bound takes of each layer what it adds to any task at least.

No layer is on two islands. So there is one that has the slowest layer for every microbatch; all islands together do all
of the work; and the first microbatch has its whole way to go. Where each island has one stage, an island besides waits
for the stages before it, forward and back: the best cut is then the one whose worst head, work and tail are least.
"""

from collections.abc import Sequence

from atoll.compiler.cost.update_way import USUAL, UpdateWay
from atoll.compiler.planner.chain import Chain
from atoll.compiler.planner.model import Model

# Each of these means of computing and moving gives a bound, of which the largest holds as well. None leaves either out,
# so that what there is to do is seen in all of them.
_PARTS = (0.05, 0.25, 0.5, 0.75, 0.95)


def least_step(
    model: Model,
    examples: float,
    homes: tuple[int, ...],
    microbatches: int,
    at_once: float | None,
    way: UpdateWay = USUAL,
) -> float:
    """The bound for one replica with microbatches of so many examples; at_once: as in `Setting`."""
    chains = (model.chain(examples, part, way) for part in _PARTS)
    return max(least_seconds(chain, homes, microbatches, at_once) for chain in chains)


def least_seconds_of_any_order(
    chain: Chain, homes: tuple[int, ...], microbatches: int, at_once: float | None = None
) -> float:
    """The bound for one replica with these islands, whatever the schedule.

    at_once: how many islands' work all of them do together, if they share cores; no more than one's at a time is done
        by one.
    """
    used = sorted(set(homes))
    layers = range(chain.layers)
    fastest = [min(chain.task(kind, one, one + 1) for kind in used) for one in layers]
    update = [min(chain.update[kind][one] for kind in used) for one in layers]
    way = sum(min(chain.forward[kind][one] + chain.backward[kind][one] for kind in used) for one in layers)
    slowest = max(microbatches * task + after for task, after in zip(fastest, update, strict=True))
    # How much of the fastest kinds' work an island of each kind does in the time of one of the fastest, at the most.
    relative = {
        kind: max(_ratio(fast, chain.task(kind, one, one + 1)) for one, fast in enumerate(fastest)) for kind in used
    }
    # The update counts only where islands are alike: on others it may be slower or faster than tasks are.
    whole = microbatches * sum(fastest) + (sum(update) if len(used) == 1 else 0.0)
    together = sum(relative[kind] for kind in homes)
    whole /= together if at_once is None or len(used) > 1 else min(together, at_once)
    return max(max(way, slowest) / _speed(at_once), whole)


def _speed(at_once: float | None) -> float:
    """How fast an island is that has all cores to itself."""
    return 1.0 if at_once is None else min(1.0, at_once)


def least_seconds(chain: Chain, homes: tuple[int, ...], microbatches: int, at_once: float | None = None) -> float:
    """The bound for the plans that the planner knows: only alike islands have several stages each."""
    least = least_seconds_of_any_order(chain, homes, microbatches, at_once)
    if len(set(homes)) == 1 and len(homes) > 1 and chain.has_backward:
        return least
    return max(least, least_seconds_in_line(chain, homes, microbatches) / _speed(at_once))


def _ratio(fast: float, own: float) -> float:
    return fast / own if own else 1.0


def least_seconds_in_line(chain: Chain, homes: tuple[int, ...], microbatches: int) -> float:
    """The bound where each island has one stage: for the best cut, the longest head, work and tail of an island.

    The gradients of weights may come last, after what earlier stages wait for. So an island has a head and all of its
    work; and it has a head, its work without these, and a tail.
    """
    used = sorted(set(homes))
    layers = range(chain.layers)

    def least(*names: str) -> list[float]:
        return [min(sum(chain.total(name, kind, one, one + 1) for name in names) for kind in used) for one in layers]

    rows = [
        (least("forward", "backward", "weight"), least("forward")),
        (least("forward", "backward"), least("forward", "backward")),
    ]
    low, high = 0.0, sum(rows[1][1]) + microbatches * sum(rows[0][0])
    for _ in range(50):
        middle = (low + high) / 2
        if _fits(rows, len(homes), microbatches, middle):
            high = middle
        else:
            low = middle
    return low


def _fits(rows: Sequence[tuple[list[float], list[float]]], islands: int, microbatches: int, limit: float) -> bool:
    """Whether stages that each go as far as the limit allows come to the end. rows: of each layer what it adds to the
    work of its stage, and to the head and tail of those behind.

    Going further never hurts those behind, as a layer adds at least as much to its own stage as to them.
    """
    heads, layer, layers = [0.0] * len(rows), 0, len(rows[0][0])
    for _ in range(islands):
        starts, works = list(heads), [0.0] * len(rows)
        while layer < layers and all(
            start + microbatches * (work + tasks[layer]) <= limit
            for start, work, (tasks, _) in zip(starts, works, rows, strict=True)
        ):
            works = [work + tasks[layer] for work, (tasks, _) in zip(works, rows, strict=True)]
            heads = [head + hops[layer] for head, (_, hops) in zip(heads, rows, strict=True)]
            layer += 1
    return layer == layers
