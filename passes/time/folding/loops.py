"""The loops over microbatches that a step comes to, and what each of them does."""

from dataclasses import dataclass, field

from atoll.compiler.batch_rules.decision import Entry
from atoll.compiler.batch_rules.states import SAME, Version


@dataclass
class FoldedLoop:
    """One loop over the microbatches.

    entries: what it computes, in order.
    sums: the values that it combines, or joins.
    kept: the forms of which each microbatch leaves its part, as a result or for a later loop.
    captured: the values, the same for all, that it takes.
    taken: the forms of which each microbatch takes the part that an earlier loop has kept.
    """

    sums: list[int] = field(default_factory=list)
    kept: list[Version] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    captured: list[int] = field(default_factory=list)
    taken: list[Version] = field(default_factory=list)


def is_in_loop(entry: Entry) -> bool:
    """Whether an entry makes anything that differs from microbatch to microbatch."""
    return any(form != SAME for _, form in entry.makes())


def is_cut(entry: Entry) -> bool:
    """Whether an entry takes a part of what is there whole: it does nothing of the operation that made that."""
    return entry.derived is not None
