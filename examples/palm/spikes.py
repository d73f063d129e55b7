"""Which batches to leave out after the loss has jumped.

The loss of a large model now and then jumps, at irregular steps and in spite of clipping. The paper's cure: start again
from a checkpoint some 100 steps before the jump, and leave out the 200 to 500 batches that were seen before and
during it. The same batches did no harm when they met other parameters, so they are not bad in themselves.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Restart:
    """Where to go on.

    step: the step whose checkpoint to load; 0 is before any step.
    skipped: the batches to leave out from now on, as disjoint ranges in ascending order.
    """

    step: int
    skipped: tuple[range, ...]


def batch_number(step: int, skipped: Iterable[range] = ()) -> int:
    """The batch of a step: its own number, if none before it is left out."""
    number = step
    for gap in sorted(skipped, key=lambda gap: gap.start):
        if gap.start <= number:
            number += len(gap)
    return number


def has_jumped(losses: Sequence[float], jump: float = 0.5, window: int = 20) -> bool:
    """Whether the last loss stands further above the median of those before it than noise does, or is no number."""
    before = losses[-window - 1 : -1]
    if not before:
        return False
    return not losses[-1] <= statistics.median(before) + jump  # so written, this holds for NaN as well


def restart(
    spike: int, skipped: Sequence[range] = (), every: int = 100, before: int = 100, after: int = 200
) -> Restart:
    """Where to go on after the loss has jumped in step `spike`.

    skipped: what was left out so far.
    every: how many steps lie between two checkpoints.
    before, after: how many steps before the jump to go back at least, and how many batches after it to leave out.
    """
    step = max(0, spike - before) // every * every
    gap = range(batch_number(step, skipped), batch_number(spike, skipped) + after)
    return Restart(step, _disjoint([*skipped, gap]))


def _disjoint(gaps: Sequence[range]) -> tuple[range, ...]:
    """The same numbers, in ranges that neither overlap nor touch."""
    joined: list[range] = []
    for gap in sorted(gaps, key=lambda gap: gap.start):
        if joined and gap.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, gap.stop))
        else:
            joined.append(gap)
    return tuple(joined)
