"""The kinds of schedules, in one table."""

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass

from atoll.compiler.errors import PlanError
from atoll.compiler.schedules import dualpipe_v, interleaved, straight, v_shape
from atoll.compiler.schedules.order import RowOrder, round_robin, zigzag
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.task_table import check_size
from atoll.compiler.text.language import MOST_DIGITS, known_names, shown
from atoll.compiler.text.quantities import whole_number

_TEXT = re.compile(rf"\s*([^\s()]+)\s*(?:\(\s*([0-9]{{1,{MOST_DIGITS}}})\s*\)\s*)?")
MOST_CHUNKS = 4096  # as many as a plan may have stages, which may all be on one island


@dataclass(frozen=True)
class Kind:
    """How to make a schedule for any number of islands and microbatches.

    base: the name without chunks.
    order: makes the rows from the numbers of islands, microbatches and chunks.
    chunks: how many stages each island has; free_chunks says whether the user may choose.
    splits_backward: whether weight tasks stand apart from backward tasks.
    homes: makes the map from stage to island from the numbers of islands and chunks.
    microbatches_per_island: how many microbatches the kind needs at least, for each island.
    has_backward: whether it is for training.
    """

    base: str
    order: Callable[[int, int, int], RowOrder]
    chunks: int = 1
    free_chunks: bool = False
    splits_backward: bool = False
    homes: Callable[[int, int], tuple[int, ...]] = round_robin
    microbatches_per_island: int = 0
    has_backward: bool = True

    @property
    def name(self) -> str:
        """The name that `kind_named` reads."""
        return f"{self.base}({self.chunks})" if self.free_chunks else self.base

    def stage_island(self, islands: int) -> tuple[int, ...]:
        """The island of each stage."""
        return self.homes(islands, self.chunks)

    def least_microbatches(self, islands: int) -> int:
        """The fewest microbatches that the kind can be made for."""
        return max(1, self.microbatches_per_island * islands)

    def build(self, islands: int, microbatches: int) -> Schedule:
        """The schedule of this kind."""
        islands = whole_number("the number of islands", islands, PlanError)
        microbatches = whole_number("the number of microbatches", microbatches, PlanError)
        least = self.least_microbatches(islands)
        if microbatches < least:
            what = f"schedule {self.name} needs at least {least} microbatches on {islands} islands, not {microbatches}"
            raise PlanError(what, remedy="ask for more microbatches, or for another schedule")
        check_size(self.name, islands * self.chunks, microbatches)
        rows, joined = self.order(islands, microbatches, self.chunks)
        return Schedule(self.name, microbatches, self.stage_island(islands), tuple(map(tuple, rows)), joined)


SCHEDULE_KINDS = {
    kind.base: kind
    for kind in (
        Kind("gpipe", straight.gpipe),
        Kind("1f1b", straight.one_f_one_b),
        Kind("interleaved-1f1b", interleaved.interleaved_1f1b, chunks=2, free_chunks=True),
        Kind("looped-bfs", interleaved.looped_bfs, chunks=2, free_chunks=True),
        Kind("zb-h1", straight.zb_h1, splits_backward=True),
        Kind("zb-h2", straight.zb_h2, splits_backward=True),
        Kind("zb-v", v_shape.zb_v, chunks=2, splits_backward=True, homes=zigzag),
        Kind("interleaved-zb", interleaved.interleaved_zb, chunks=2, free_chunks=True, splits_backward=True),
        Kind("v-half", v_shape.v_half, chunks=2, splits_backward=True, homes=zigzag),
        Kind("v-min", v_shape.v_min, chunks=2, splits_backward=True, homes=zigzag),
        Kind(
            "dualpipe-v",
            dualpipe_v.dualpipe_v,
            chunks=2,
            splits_backward=True,
            homes=zigzag,
            microbatches_per_island=2,
        ),
        Kind("forward-only", straight.forward_only, has_backward=False),
    )
}


def kind_named(text: str) -> Kind:
    """The kind that a text names: `zb-v`, `interleaved-1f1b(2)`; the case of letters does not matter."""
    if not isinstance(text, str):
        raise PlanError(f"the name of a schedule must be a string, not {type(text).__name__}")
    match = _TEXT.fullmatch(text)
    base = match[1].lower() if match else text
    if match is None or base not in SCHEDULE_KINDS:
        raise PlanError(f"unknown schedule {shown(text)}", remedy=known_names(base, SCHEDULE_KINDS))
    return SCHEDULE_KINDS[base] if match[2] is None else with_chunks(SCHEDULE_KINDS[base], int(match[2]))


def with_chunks(kind: Kind, chunks: int) -> Kind:
    """The kind with another number of chunks."""
    chunks = whole_number("the number of chunks", chunks, PlanError, most=MOST_CHUNKS)
    if kind.free_chunks:
        return dataclasses.replace(kind, chunks=chunks)
    takers = ", ".join(known.base for known in SCHEDULE_KINDS.values() if known.free_chunks)
    raise PlanError(f"schedule {kind.base} takes no chunks", remedy=f"those that do are {takers}")


def schedule(name: str, islands: int, microbatches: int, chunks: int | None = None) -> Schedule:
    """The schedule of a kind: `schedule("1f1b", islands=4, microbatches=8)`.

    chunks: how many stages each island has, for kinds that take it; also in the name: `interleaved-1f1b(2)`.
    """
    kind = kind_named(name)
    if chunks is None or (chunks == kind.chunks and not isinstance(chunks, bool)):
        return kind.build(islands, microbatches)
    if "(" in name:
        what = f"schedule {kind.name} is asked for with {shown(chunks)} chunks"
        raise PlanError(what, remedy="write the number of chunks once")
    return with_chunks(kind, chunks).build(islands, microbatches)
