"""The topology: islands, and the links between them."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from atoll.compiler.errors import TopologyError
from atoll.compiler.text.language import (
    MOST_DIGITS,
    Language,
    Place,
    Reader,
    known_names,
    of_wrong_type,
    shown,
)
from atoll.compiler.text.notebook import preformatted
from atoll.compiler.text.quantities import (
    BANDWIDTH,
    LATENCY,
    MEMORY,
    OPERATIONS,
    Units,
    amount_text,
    exact_amount,
    whole_number,
)
from atoll.compiler.topology.island import (
    MOST_DEVICES,
    ONLY_AXIS,
    PHYSICAL_RANK,
    Axis,
    Island,
    devices_of_slice,
    island_of_mesh,
)
from atoll.compiler.topology.link import DEFAULT_BANDWIDTH, DEFAULT_LATENCY, Link
from atoll.compiler.topology.meshes import check_meshes, mesh_of
from atoll.compiler.topology.rates import Rates
from lark import Token, v_args
from lark.tree import Meta

if TYPE_CHECKING:
    import jax

__all__ = ["DEFAULT_BANDWIDTH", "DEFAULT_LATENCY", "Axis", "Island", "Link", "Rates", "Topology", "topology"]

MOST_ISLANDS = 4096

_LANGUAGE = Language(
    name="topology text",
    grammar=Path(__file__).with_name("topology.lark"),
    error=TopologyError,
    terminals={
        "_SEPARATOR": "a new line or ';'",
        "NAME": "a name",
        "COUNT": "a whole number",
        "NUMBER": "a number",
        "UNIT": "a unit",
    },
)


class _Census:
    """The islands and links met so far; refuses what contradicts them."""

    def __init__(self) -> None:
        self._islands: dict[str, Island] = {}  # a dict for its order, in which messages list the names
        self._links: set[frozenset[str]] = set()
        self._rates: set[str] = set()

    def add_island(self, island: Island) -> None:
        if island.name in self._islands:
            raise TopologyError(f"island {island.name!r} is there twice", remedy="give each island its own name")
        if len(self._islands) == MOST_ISLANDS:
            raise TopologyError(f"there are more than {MOST_ISLANDS} islands", remedy="use fewer, larger islands")
        self._islands[island.name] = island

    def add_link(self, link: Link) -> None:
        for name in (link.source, link.target):
            if name not in self._islands:
                raise TopologyError(f"a link to unknown island {shown(name)}", remedy=known_names(name, self._islands))
        if link.ends in self._links:
            what = f"islands {link.source!r} and {link.target!r} are linked twice"
            raise TopologyError(what, remedy="write one link; it serves both directions")
        self._links.add(link.ends)

    def add_rates(self, rates: Rates) -> None:
        if rates.kind in self._rates:
            raise TopologyError(f"rates of {rates.kind} are written twice", remedy="write them once for all islands")
        self._rates.add(rates.kind)


@dataclass(frozen=True)
class Topology:
    """Islands, and those links between them that were written; any other link has the default.

    others: the bandwidth and the latency of the links that are not written, as in `Link`, if that is said.
    rates: what devices of a kind do, for kinds of which that was measured.
    meshes: the real devices of each island, if it has any. They say where a program runs, not what it is, so they are
        not compared.
    """

    islands: tuple[Island, ...]
    links: tuple[Link, ...] = ()
    others: tuple[int, int] | None = None
    rates: tuple[Rates, ...] = ()
    meshes: "tuple[jax.sharding.Mesh, ...] | None" = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.islands:
            raise TopologyError("there are no islands", remedy="write for example 2 x cpu[4]")
        census = _Census()
        for island in self.islands:
            census.add_island(island)
        for link in self.links:
            census.add_link(link)
        for rates in self.rates:
            census.add_rates(rates)

    @classmethod
    def parse(cls, text: str) -> "Topology":
        """The topology that a text describes."""
        parsed: Topology = _Reader(_LANGUAGE.source(text)).read()
        return parsed

    @classmethod
    def from_devices(cls, meshes: "Mapping[str, jax.sharding.Mesh]") -> "Topology":
        """The topology of real devices: an island for each mesh. Links have the default."""
        check_meshes(meshes)
        islands = tuple(island_of_mesh(name, mesh) for name, mesh in meshes.items())
        return cls(islands, meshes=tuple(meshes.values()))

    def only(self, names: Sequence[str]) -> "Topology":
        """Some of its islands, in the order in which they are named, and the links between them."""
        known = {island.name: number for number, island in enumerate(self.islands)}
        if not isinstance(names, (tuple, list)) or not names:
            what = "no islands are named" if not names else f"the islands are {of_wrong_type(names)}"
            raise TopologyError(what, remedy='name them in a tuple, as in islands=("left",)')
        for name in names:
            if name not in known:
                raise TopologyError(f"no island is called {shown(name)}", remedy=known_names(str(name), known))
        numbers = [known[name] for name in names]
        return replace(
            self,
            islands=tuple(self.islands[number] for number in numbers),
            links=tuple(link for link in self.links if link.ends <= set(names)),
            meshes=None if self.meshes is None else tuple(self.meshes[number] for number in numbers),
        )

    @cached_property
    def _link_of(self) -> dict[frozenset[str], Link]:
        return {link.ends: link for link in self.links}

    @cached_property
    def _names(self) -> dict[str, int]:
        return {island.name: number for number, island in enumerate(self.islands)}

    def link(self, source: str, target: str) -> Link:
        """The link between two islands: the written one, whichever way it was written, or what all others are."""
        for name in (source, target):
            if name not in self._names:
                raise TopologyError(f"no island is called {shown(name)}", remedy=known_names(str(name), self._names))
        return self._link_of.get(frozenset((source, target))) or Link(source, target, *(self.others or ()))

    def _repr_html_(self) -> str:
        return preformatted(str(self))

    def __str__(self) -> str:
        """A text that parses to an equal topology."""
        devices = {island.device_text for island in self.islands}
        numbered = all(island.name == _counted_name(index) for index, island in enumerate(self.islands))
        if numbered and len(devices) == 1:
            lines = [f"{len(self.islands)} x {devices.pop()}"]
        else:
            lines = [f"island {island.name} : {island.device_text}" for island in self.islands]
        if self.others is not None:
            bandwidth, latency = self.others
            lines.append(f"link * <-> * : {amount_text(bandwidth, BANDWIDTH)}, {amount_text(latency, LATENCY)}")
        return "\n".join([*lines, *map(str, self.links), *map(str, self.rates)])

    def rates_of(self, kind: str) -> Rates | None:
        """What was measured of the devices of a kind."""
        return next((one for one in self.rates if one.kind == kind), None)


def topology(islands: "str | Sequence[Sequence[jax.Device]]") -> Topology:
    """The topology that a text describes; or one with an island for each inner list of devices."""
    if isinstance(islands, str):
        return Topology.parse(islands)
    if not isinstance(islands, (list, tuple)) or not all(isinstance(devices, (list, tuple)) for devices in islands):
        found = "one list of all devices" if isinstance(islands, (list, tuple)) else of_wrong_type(islands)
        what = f"a topology is made of a text or of a list of devices for each island, not {found}"
        raise TopologyError(what, remedy='write for example atoll.topology("2 x cpu[4]")')
    meshes = {_counted_name(index): mesh_of(devices) for index, devices in enumerate(islands)}
    return Topology.from_devices(meshes)


def as_topology(islands: "Topology | str | Sequence[Sequence[jax.Device]]") -> Topology:
    """The topology itself, or made from what it is given as."""
    return islands if isinstance(islands, Topology) else topology(islands)


@functools.lru_cache(maxsize=64)
def noted_topology(text: str) -> Topology:
    """The topology of a module's text, kept: passes ask for it again and again."""
    return Topology.parse(text)


def _counted_name(index: int) -> str:
    """The name that the text `N x kind[k]` gives to an island."""
    return f"island{index}"


@dataclass(frozen=True)
class _Group:
    """The islands of one statement."""

    place: Place
    islands: tuple[Island, ...]
    counted: bool


@dataclass(frozen=True)
class _PlacedLink:
    place: Place
    link: Link


@dataclass(frozen=True)
class _OtherLinks:
    """What the links are that no other statement writes."""

    place: Place
    speed: tuple[int, int]


@dataclass(frozen=True)
class _Size:
    """The numbers in brackets and in parentheses; at least one of the two is written."""

    shape: tuple[int, ...] | None
    axes: tuple[Axis, ...] | None


@dataclass(frozen=True)
class _PlacedRates:
    place: Place
    rates: Rates


_Amount = tuple[Token, Token]  # a number and its unit


@v_args(inline=True)
class _Reader(Reader):
    def start(self, *statements: _Group | _PlacedLink | _OtherLinks | _PlacedRates) -> Topology:
        groups = [statement for statement in statements if isinstance(statement, _Group)]
        links = [statement for statement in statements if isinstance(statement, _PlacedLink)]
        others = [statement for statement in statements if isinstance(statement, _OtherLinks)]
        rates = [statement for statement in statements if isinstance(statement, _PlacedRates)]
        if len(others) > 1:
            raise others[1].place.fault("the other links are written twice", "write one `link * <-> *`")
        census = _Census()
        for group in groups:
            with group.place.blamed():
                if group.counted and len(groups) > 1:
                    remedy = "write a line like island left : cpu[4] for each"
                    raise TopologyError("a count stands beside other islands", remedy=remedy)
                for island in group.islands:
                    census.add_island(island)
        for placed in links:
            with placed.place.blamed():
                census.add_link(placed.link)
        for one in rates:
            with one.place.blamed():
                census.add_rates(one.rates)
        with self.at(0).blamed():
            return Topology(
                tuple(island for group in groups for island in group.islands),
                tuple(placed.link for placed in links),
                others[0].speed if others else None,
                tuple(one.rates for one in rates),
            )

    def counted(self, count: Token, island: Island) -> _Group:
        names = map(_counted_name, range(self._count("the number of islands", count, MOST_ISLANDS)))
        return _Group(self.at(count), tuple(replace(island, name=name) for name in names), counted=True)

    @v_args(inline=True, meta=True)
    def uncounted(self, meta: Meta, island: Island) -> NoReturn:
        raise self.at(meta).fault(
            "the number of islands is missing", f"for one of them, write 1 x {island.device_text}"
        )

    def island(self, name: Token, island: Island) -> _Group:
        return _Group(self.at(name), (replace(island, name=str(name)),), counted=False)

    def link(self, source: Token, target: Token, bandwidth: _Amount, latency: _Amount) -> _PlacedLink:
        place = self.at(source)
        rate, delay = self._amount(bandwidth, BANDWIDTH), self._amount(latency, LATENCY)
        with place.blamed():
            return _PlacedLink(place, Link(str(source), str(target), rate, delay))

    @v_args(inline=True, meta=True)
    def others(self, meta: Meta, bandwidth: _Amount, latency: _Amount) -> _OtherLinks:
        speed = self._amount(bandwidth, BANDWIDTH), self._amount(latency, LATENCY)
        place = self.at(meta)
        with place.blamed():
            Link("one", "other", *speed)  # refuses what no link can have
        return _OtherLinks(place, speed)

    def rates(
        self,
        kind: Token,
        operations: _Amount,
        memory: _Amount,
        convolutions: _Amount | None,
        reordering: _Amount | None,
        across: _Amount | None,
        reach: _Amount | None,
        task: _Amount | None,
        at_once: Token | None,
    ) -> _PlacedRates:
        place = self.at(kind)
        with place.blamed():
            rates = Rates(
                str(kind),
                self._amount(operations, OPERATIONS),
                self._amount(memory, BANDWIDTH),
                convolutions=self._amount_if_any(convolutions, OPERATIONS),
                reordering=self._amount_if_any(reordering, BANDWIDTH),
                across=self._amount_if_any(across, BANDWIDTH),
                reach=self._amount_if_any(reach, MEMORY),
                task=self._amount_if_any(task, LATENCY) or 0,
                at_once=None if at_once is None else Fraction(self._digits(at_once)),
            )
        return _PlacedRates(place, rates)

    def device(self, kind: Token, size: _Size | None, memory: _Amount | None, processes: int | None) -> Island:
        """An island with a provisional name; the statement around it knows the right one."""
        with self.at(kind).blamed():
            if size is None:
                remedy = "write how many islands and how many devices in each, as in 2 x cpu[4]"
                raise TopologyError(f"the size of {shown(kind)} is missing", remedy=remedy)
            # cpu[4] is a count, but v4[4] a physical shape that lacks dimensions.
            is_count = size.shape is not None and len(size.shape) == 1 and size.axes is None
            shape = None if is_count and kind not in PHYSICAL_RANK else size.shape
            axes = size.axes or (Axis(ONLY_AXIS, devices_of_slice(kind, size.shape or ())),)
            limit = None if memory is None else self._amount(memory, MEMORY)
            return Island(_counted_name(0), str(kind), axes, shape, limit, processes or 1)

    def processes(self, count: Token) -> int:
        return self._count("the number of processes", count, MOST_DEVICES)

    def size(self, shape: tuple[int, ...], axes: tuple[Axis, ...] | None) -> _Size:
        return _Size(shape, axes)

    def logical(self, axes: tuple[Axis, ...]) -> _Size:
        return _Size(None, axes)

    def shape(self, *extents: Token) -> tuple[int, ...]:
        return tuple(self._count("the number of devices", extent, MOST_DEVICES) for extent in extents)

    def axes(self, *axes: Axis) -> tuple[Axis, ...]:
        return axes

    def axis(self, name: Token, size: Token) -> Axis:
        return Axis(str(name), self._count(f"axis {shown(name)}", size, MOST_DEVICES))

    def amount(self, number: Token, unit: Token) -> _Amount:
        return number, unit

    def _count(self, what: str, token: Token, most: int) -> int:
        with self.at(token).blamed():
            return whole_number(what, self.whole(token), TopologyError, most=most)

    def _amount_if_any(self, amount: _Amount | None, units: Units) -> int | None:
        return None if amount is None else self._amount(amount, units)

    def _amount(self, amount: _Amount, units: Units) -> int:
        number, unit = amount
        if unit not in units:
            raise self.at(unit).fault(f"unknown unit {shown(unit)}", known_names(unit, units))
        try:
            return exact_amount(self._digits(number), unit, units)
        except ValueError as fault:
            raise self.at(number).fault(str(fault), "write it in a smaller unit") from None

    def _digits(self, number: Token) -> Token:
        if len(number) > MOST_DIGITS:
            raise self.at(number).fault(f"the number has {len(number)} digits", f"write at most {MOST_DIGITS}")
        return number
