"""How replicas exchange what they sum up: in which form, and what crosses together. Decided from numbers alone.

Every replica has to end with the same bits, so each element is added up in one order, whoever does it.

`direct`: each replica sends all it has to every other, and all add in the order of the replicas.
`ring`: what is exchanged is cut into one slice for each replica. Each slice goes round once to be added up, every
replica adding its own part, and once more so that all get it. Where devices divide the dimension that is cut, each of
them cuts its own part of it, so that a slice is divided as the whole is and nothing crosses between them.
`tree`: half of the replicas send all they have to the other half, which add it to theirs; these are halved in the same
way, until the first replica has the sum, which goes back to all by the same routes.

Where each replica needs only its share of a sum, the bits of the share are those that `direct` gives.

`scatter`: each replica sends every other that one's share, and adds its own in the order of the replicas.
`gather`: each replica sends its share to every other, and all join them in the order of the replicas.

An island sends one thing at a time. So with R replicas, S bytes, bandwidth B and latency L, `direct` takes
L + (R - 1) S / B, `ring` takes 2 (R - 1) (L + S / (R B)) and `tree` 2 log2(R) (L + S / B). The first is for little
data, the second for much; the third is, from 8 replicas on, for much that cannot be cut into slices, and from 13 on for
some sizes between the other two. Two replicas always exchange directly. `scatter` and `gather` take
L + (R - 1) S / (R B) each, S being the whole: no way round sends fewer bytes, or has fewer latencies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, zip_longest
from math import inf, prod

from atoll.compiler.module.tasks import GATHER, OWN_SHARE
from atoll.compiler.replicas.speed import Speed

DIRECT = "direct"
RING = "ring"
TREE = "tree"
SCATTER = "scatter"


@dataclass(frozen=True)
class Summand:
    """A sum of which each replica has a part, or a whole of which each gives or gets its share.

    kind: how the parts combine: `add`, `max`, `min`, `and` or `or`; `gather` if shares are joined; `share` if each
        replica takes its share of what it has.
    parts: for each dimension, into how many the island's devices divide it; empty if they divide none.
    share: the dimension along which shares make up the whole; None if each replica gives and gets all.
    """

    shape: tuple[int, ...]
    dtype: str
    itemsize: int
    kind: str = "add"
    parts: tuple[int, ...] = ()
    share: int | None = None

    @property
    def form(self) -> str | None:
        """The form in which shares cross; None for what crosses whole, whose form depends on its size."""
        if self.share is None:
            return None
        return self.kind if self.kind in (GATHER, OWN_SHARE) else SCATTER

    @property
    def size(self) -> int:
        """In bytes."""
        return prod(self.shape) * self.itemsize

    @property
    def is_divided(self) -> bool:
        return any(one > 1 for one in self.parts)

    def slicing(self, count: int) -> int | None:
        """The dimension to cut into `count` slices: the one of which a device has most; None if that is too short."""
        own = [size // part for size, part in zip_longest(self.shape, self.parts, fillvalue=1)]
        longest = max(range(len(own)), key=own.__getitem__, default=None)
        return longest if longest is not None and own[longest] >= count else None


@dataclass(frozen=True)
class Unit:
    """Sums that cross together.

    members: their numbers; several are packed into one vector, or into one for each share.
    bytes: of all members together.
    dimension: the one along which it is cut into slices; 0 for a vector, None if nothing is cut.
    parts: into how many the island's devices divide that dimension; each part is cut by itself.
    """

    form: str
    members: tuple[int, ...]
    bytes: int
    dimension: int | None = None
    parts: int = 1

    @property
    def is_packed(self) -> bool:
        return len(self.members) > 1


def units_of(sums: Sequence[Summand], replicas: int, speed: Speed) -> list[Unit]:
    """The units in which sums cross that are ready at the same time; every sum is in one of them.

    Small sums are packed until they are worth a message (in a ring one for each slice, for shares one for each); large
    ones cross by themselves. What an island's devices divide is not packed: its parts would have to be gathered first.
    What does not cross is one unit.
    """
    packs: list[list[int]] = []
    open_: dict[tuple[str, str, str | None], list[int]] = {}
    for number, one in enumerate(sums):
        enough = worth_a_message(one, replicas, speed)
        if one.form != OWN_SHARE and (one.is_divided or one.size >= enough):
            packs.append([number])
            continue
        key = (one.dtype, one.kind, one.form) if one.form != OWN_SHARE else ("", "", OWN_SHARE)
        pack = open_.get(key)
        if pack is None:
            packs.append(pack := [])
            open_[key] = pack
        pack.append(number)
        if sum(sums[member].size for member in pack) >= enough:
            del open_[key]
    return [_unit(pack, sums, replicas, speed) for pack in packs]


def worth_a_message(one: Summand, replicas: int, speed: Speed) -> float:
    """The number of bytes above which packing gains nothing."""
    if one.form is None:
        return speed.chunk * (replicas if replicas > 2 else 1)
    return inf if one.form == OWN_SHARE else speed.chunk * replicas


def _unit(members: Sequence[int], sums: Sequence[Summand], replicas: int, speed: Speed) -> Unit:
    size = sum(sums[one].size for one in members)
    first = sums[members[0]]
    if first.form is not None:
        return Unit(first.form, tuple(members), size)
    dimension = 0 if len(members) > 1 else first.slicing(replicas)
    length = sum(prod(sums[one].shape) for one in members)
    forms = (DIRECT, RING, TREE) if dimension is not None and length >= replicas else (DIRECT, TREE)
    form = min(forms, key=lambda form: seconds(form, size, replicas, speed))
    if form != RING:
        return Unit(form, tuple(members), size)
    parts = first.parts[dimension] if first.parts and dimension is not None and len(members) == 1 else 1
    return Unit(form, tuple(members), size, dimension, parts)


def seconds(form: str, size: int, replicas: int, speed: Speed) -> float:
    """How long an exchange takes."""
    steps = replicas - 1
    if form == OWN_SHARE:
        return 0.0
    if form in (SCATTER, GATHER):
        return speed.latency + steps * size / replicas / speed.bandwidth
    if form == DIRECT:
        return speed.latency + steps * size / speed.bandwidth
    if form == TREE:
        return 2 * levels(replicas) * (speed.latency + size / speed.bandwidth)
    return 2 * steps * (speed.latency + size / replicas / speed.bandwidth)


def seconds_at_once(form: str, size: int, replicas: int, speed: Speed) -> float:
    """What of it goes on beside the tasks that follow. What is sent in a ring or up a tree has first to be added to, by
    tasks that stand where something takes the result; so all but the first message waits for that."""
    if form == RING:
        return speed.latency + size / replicas / speed.bandwidth
    if form == TREE:
        return speed.latency + size / speed.bandwidth
    return seconds(form, size, replicas, speed)


def messages(form: str, replicas: int) -> int:
    """How many messages each replica sends; in a tree, the most that one sends."""
    others = replicas - 1
    counts = {DIRECT: others, SCATTER: others, GATHER: others, RING: 2 * others, TREE: levels(replicas), OWN_SHARE: 0}
    return counts[form]


def bytes_sent(form: str, size: int, replicas: int) -> int:
    """How many bytes each replica sends; in a ring on average, as slices may differ by one element; in a tree, the most
    that one sends."""
    return messages(form, replicas) * size // (replicas if form in (RING, SCATTER, GATHER) else 1)


def slice_bounds(length: int, count: int) -> list[tuple[int, int]]:
    """The bounds of `count` slices of a length, as equal as they can be."""
    return list(pairwise(accumulate((length // count + (one < length % count) for one in range(count)), initial=0)))


def added_in_ring(replica: int, step: int, replicas: int) -> tuple[int, int]:
    """In a step of the first round: the slice that a replica sends on, and the one that it gets and adds its own to.

    The last one that it gets has its own number, and there it then has the sum.
    """
    return (replica - 1 - step) % replicas, (replica - 2 - step) % replicas


def shared_in_ring(replica: int, step: int, replicas: int) -> tuple[int, int]:
    """In a step of the second round: the slice that a replica sends on, and the one that it gets."""
    return (replica - step) % replicas, (replica - 1 - step) % replicas


def levels(replicas: int) -> int:
    """How often the replicas of a tree are halved until one is left."""
    return (replicas - 1).bit_length()


def children_in_tree(replica: int, replicas: int) -> list[int]:
    """The replicas that send to this one on the way to the first, and get the sum from it: in the order of numbers.

    They are halved by their bits, the lowest first: 1, 3, 5, 7 send to 0, 2, 4, 6; then 2 and 6 to 0 and 4.
    """
    last = replica & -replica if replica else replicas  # the bit at which it sends on itself
    ahead = (1 << level for level in range(levels(replicas)))
    return [replica + one for one in ahead if one < last and replica + one < replicas]


def parent_in_tree(replica: int) -> int | None:
    """The replica that this one sends to, and gets the sum from; None for the first."""
    return replica & (replica - 1) if replica else None
