"""Which loop does what: the loops follow each other, as sums that are complete may be needed again."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from atoll.compiler.batch_rules.contraction import contracts
from atoll.compiler.batch_rules.decision import Entry
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.needed_forms import needed_entries
from atoll.compiler.batch_rules.states import SAME, Version
from atoll.compiler.plan.allowance import Allowance
from atoll.passes.time.folding.around import around_loops
from atoll.passes.time.folding.extra import Extra, extra_of, refuse_extra
from atoll.passes.time.folding.kept_values import dearest
from atoll.passes.time.folding.loops import FoldedLoop
from atoll.passes.time.folding.turns import Turns
from atoll.passes.time.folding.wholes import made_in_parts, needed_whole


@dataclass
class Levels:
    """The loops, and what stands around them: `around[i]` before loop i, the last one after all loops.

    allowed, room: how many percent of the model's work may be done again, and how many bytes may be kept on a device.
    """

    turns: Turns
    loops: list[FoldedLoop]
    around: list[list[Entry]]
    extra: Extra
    allowed: int
    room: int = 0


def levels_of(scope: Interpretation, allowed: Allowance, replicas: int, *, keeps_all: bool = False) -> Levels:
    """Divide what @main does among loops and what stands around them.

    What is made whole anyway, and in parts as well, is cut where a device has room for it beside what is kept.
    """
    turns = _turns(scope)
    repeated = frozenset(node.number for node in made_in_parts(turns).values() if contracts(node))
    parted = _levels(turns, allowed, replicas, keeps_all)
    cut = _levels(_turns(turns.scope.making_once(repeated)), allowed, replicas, keeps_all) if repeated else parted
    if isinstance(parted, _Costs):
        if isinstance(cut, _Costs):
            raise refuse_extra(turns, allowed, parted.least, cut.keeping)
        return cut
    if isinstance(cut, _Costs):
        return parted
    has_room = cut.extra.bytes <= cut.room or parted.extra.bytes > parted.room
    return cut if has_room and cut.extra.again < parted.extra.again else parted


@dataclass(frozen=True)
class _Costs:
    """What a step would cost that costs more than the plan allows.

    least: if no more is kept than is allowed, or has to be. keeping: if all is kept that several loops need.
    """

    least: Extra
    keeping: Extra


def _levels(turns: Turns, allowed: Allowance, replicas: int, keeps_all: bool) -> Levels | _Costs:
    """What several loops need of a model's work is made once and kept, if a device has room for it: as much as the plan
    allows, or as the arguments take. Else what is dearest to make again is kept while there is room, and loops make the
    rest again, if that is no more work than is allowed. If it is more, all is kept after all, which takes as much
    memory as it would with one microbatch; or it costs too much, if the plan allows less memory.

    keeps_all: keep it anyhow, as each replica has one microbatch.
    """

    def levels(loops: list[FoldedLoop]) -> Levels:
        around = around_loops(turns.scope, turns.entries, loops)
        return Levels(turns, loops, around, extra_of(turns, loops, around, replicas), allowed.percent)

    kept = levels(_loops(turns, turns.kept_before)[0])
    keeping = kept.extra
    if keeps_all:
        return replace(kept, room=keeping.bytes)
    room = _arguments(turns, keeping) if allowed.kept is None else allowed.kept
    loops, anyhow = _loops(turns, lambda _: ())
    again = levels(loops)
    if again.extra.again == 0 and (allowed.kept is None or again.extra.bytes <= room):
        return replace(again, room=room)
    if keeping.bytes <= room and (allowed.kept is None or keeping.again <= allowed.percent):
        return replace(kept, room=room)
    chosen = dearest(turns, kept.loops, anyhow, (room - again.extra.bytes) * replicas)
    if chosen:
        again = levels(_loops(turns, lambda number: turns.kept_before(number) & chosen)[0])
    if again.extra.again <= allowed.percent and (allowed.kept is None or again.extra.bytes <= room):
        return replace(again, room=room)
    if allowed.kept is not None:
        return _Costs(again.extra, keeping)
    return replace(kept, room=room)


def _turns(scope: Interpretation) -> Turns:
    """In which loop everything is made, if what must have the same bits everywhere is made once."""
    while True:
        turns = Turns.of(scope)
        found = needed_whole(turns)
        if not found:
            return turns
        scope = scope.making_once(found)


def _arguments(turns: Turns, keeping: Extra) -> int:
    """The bytes that the arguments take on a device: nobody asks how islands divide them where nothing is kept."""
    arguments = turns.scope.batch.program.body.arguments
    if not keeping.bytes:
        return sum(map(turns.bytes_of, arguments))
    return sum(turns.device_parts.bytes_on_device((value, turns.scope.state(value))) for value in arguments)


def _loops(turns: Turns, given: Callable[[int], Collection[Version]]) -> tuple[list[FoldedLoop], Mapping[Version, int]]:
    """The loops, if each takes of earlier ones what is `given` to it; and what is kept anyhow, with the loop that makes
    it, as its bits must be the same everywhere."""
    anyhow: dict[Version, int] = {}
    while True:
        loops = _filled(turns, given, anyhow)
        found = turns.same_everywhere.kept_by(loops)
        if found.keys() <= anyhow.keys():
            return loops, anyhow
        anyhow |= found


def _filled(
    turns: Turns, given: Callable[[int], Collection[Version]], anyhow: Mapping[Version, int]
) -> list[FoldedLoop]:
    scope = turns.scope
    loops = [FoldedLoop() for _ in range(turns.count)]
    for version in turns.returned:
        loops[turns.loop_of(version)].kept.append(version)
    for value in turns.sums:
        loops[turns.loop_of((value, scope.completed[value]))].sums.append(value)
    # From the last to the first: all later loops have then asked for what a loop is to keep for them.
    for number in reversed(range(len(loops))):
        loop = loops[number]
        _fill(scope, loop, {*given(number), *(version for version, maker in anyhow.items() if maker < number)})
        for version in loop.taken:
            kept = loops[anyhow.get(version, turns.loop_of(version))].kept
            if version not in kept:
                kept.append(version)
    return loops


def _fill(scope: Interpretation, loop: FoldedLoop, given: Collection[Version]) -> None:
    roots: list[Version] = [(value, scope.completed[value]) for value in loop.sums] + loop.kept
    loop.entries, outside = needed_entries(scope, roots, inside_loop=True, given=given)
    loop.captured = [value for value, form in outside if form == SAME]
    loop.taken = [version for version in outside if version[1] != SAME]
