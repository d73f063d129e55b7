"""Which numbers of replicas and microbatches there are to choose from, and what one replica is then."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

from atoll.compiler.cost.devices import islands_at_once
from atoll.compiler.cost.update_way import UpdateWay
from atoll.compiler.errors import PlanError
from atoll.compiler.module.replicas import check_replicas, twins_of
from atoll.compiler.planner.candidates import Setting
from atoll.compiler.planner.chain import Links
from atoll.compiler.planner.model import Model
from atoll.compiler.replicas.exchange import Summand, worth_a_message
from atoll.compiler.replicas.speed import speed_between
from atoll.compiler.schedules.costs import LinkCost
from atoll.compiler.topology.topology import Topology

# More microbatches fill a pipeline better, but by less and less; with more than this the tables of tasks get long.
_MOST_MICROBATCHES = 64


def settings_of(
    model: Model, sizes: Iterable[tuple[int, int, float]], ways: Callable[[int], Iterable[UpdateWay]]
) -> Iterator[tuple[int, Setting]]:
    """Each number of replicas with what one of them is.

    sizes: replicas, microbatches, the examples of one of these. ways: for a number of replicas, how it may be updated.
    """
    known = cache(partial(_Replica.of, model))
    for replicas, microbatches, examples in sizes:
        one, divided = known(replicas), model.of_parts(replicas * microbatches)
        for way in ways(replicas):
            if not way.is_shared or divided.update_shares(way):
                chain = divided.chain(examples, way=way)
                yield replicas, Setting(chain, one.homes, one.memory, one.links, microbatches, one.at_once, way)


@dataclass(frozen=True)
class _Replica:
    """What does not depend on microbatches: as in `Setting`."""

    homes: tuple[int, ...]
    memory: tuple[float, ...]
    links: Links
    at_once: float | None

    @classmethod
    def of(cls, model: Model, replicas: int) -> "_Replica":
        homes = model.homes[: len(model.homes) // replicas]
        at_once = islands_at_once(model.topology.islands[: len(homes)], model.topology, replicas)
        return cls(homes, _memory(model, replicas), _links(model, homes), at_once)


def _memory(model: Model, replicas: int) -> tuple[float, ...]:
    """What a device of each kind of islands may use, so that the twins of its islands have room as well."""
    count = len(model.homes) // replicas
    least = list(model.memory)
    for number, home in enumerate(model.homes):
        first = model.homes[number % count]
        least[first] = min(least[first], model.memory[home])
    room = _room_of_exchanges(model, replicas)
    return tuple(one - room for one in least)


def _room_of_exchanges(model: Model, replicas: int) -> float:
    """The bytes on each device that one message and what is packed into it take, at the most, if islands share all sums
    evenly: an island exchanges one after the other."""
    if replicas == 1:
        return 0.0
    summed = model.one.costs.summed
    speed = speed_between(next(iter(twins_of(model.topology, replicas).values())), model.topology)
    unit = max(*summed, worth_a_message(Summand((), "uint8", itemsize=1), replicas, speed))
    each = sum(summed) / (len(model.homes) // replicas)
    return 2 * min(each, unit) / min(one.size for one in model.forms)


def divisions(topology: Topology, batch: int, devices: int) -> Iterator[tuple[int, int, float]]:
    """Numbers of replicas and of microbatches that the batch allows, with the examples that a microbatch then has.

    devices: how many divide the batch. Each would do all of a microbatch that they cannot divide.
    """
    for replicas, microbatches in product(replicas_allowed(topology), range(1, _MOST_MICROBATCHES + 1)):
        parts = replicas * microbatches
        if batch % (parts * devices) == 0 or parts == 1:
            yield replicas, microbatches, batch / parts


def sizes_of(
    topology: Topology, batch: int | None, microbatches_allowed: bool, devices: int = 1
) -> Iterator[tuple[int, int, float]]:
    """The same for any program."""
    if batch is None or not microbatches_allowed:
        return iter([(1, 1, float(batch or 1))])
    return divisions(topology, batch, devices)


def replicas_allowed(topology: Topology) -> list[int]:
    """The numbers of replicas that islands can be divided into, so that all are alike."""
    return [one for one in range(1, len(topology.islands) + 1) if _are_alike(topology, one)]


def _are_alike(topology: Topology, replicas: int) -> bool:
    try:
        check_replicas(replicas, topology)
    except PlanError:
        return False
    return True


def _links(model: Model, homes: Sequence[int]) -> dict[tuple[int, int], LinkCost]:
    """The slowest link between islands of any two kinds."""
    names = [island.name for island in model.topology.islands]
    found: dict[tuple[int, int], LinkCost] = {}
    for one, other in product(range(len(homes)), repeat=2):
        if one != other:
            link = model.topology.link(names[one], names[other])
            cost = LinkCost(link.latency / 1e9, float(link.bandwidth))
            known = found.get((homes[one], homes[other]), cost)
            slowest = LinkCost(max(known.latency, cost.latency), min(known.bandwidth, cost.bandwidth))
            found[homes[one], homes[other]] = slowest
    return found
