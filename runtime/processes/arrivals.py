"""Puts what arrives as numbers onto an island's devices, before its host hears of it.

It is done by the thread that brings the message: to copy large values would keep the host's own from its work.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
from atoll.runtime.failure import Failure
from atoll.runtime.layout import Layout
from atoll.runtime.messages import Close, Load, Offer, Order, Put, Start, ToHost, buffer_of
from atoll.runtime.processes.small_values import SmallArrival
from atoll.runtime.processes.tiles import Tile, Tiled, filled
from atoll.runtime.program import Buffer, IslandProgram
from atoll.runtime.turn import Turn

_Key = tuple[int, int, str, int]  # of a value that is sent: program, step, source and tag


class Arrivals:
    """mesh: of the island of which the process has some devices, or all."""

    def __init__(self, island: str, mesh: jax.sharding.Mesh) -> None:
        self._island = island
        self._mesh = mesh
        self._turn = Turn(mesh)
        self._programs: dict[int, _Known] = {}
        self._tiles: dict[_Key, list[Tile]] = {}  # of what has not come whole
        self._collecting = threading.Lock()  # tiles of one value come from several processes

    def placed(self, message: ToHost | Offer | SmallArrival) -> ToHost | Offer | None:
        """A message with values in place of numbers; None if there is nothing to tell yet, or nobody to be told."""
        match message:
            case SmallArrival():
                return self._small(message)
            case Offer(program=program):
                return self._offered(message) if program in self._programs else None
            case Load():
                self._note(message)
            case Close(program):
                self._forget(program)
            case Start(program=program, orders=orders) if (order := orders.get(self._island)) is not None:
                return replace(message, orders={**orders, self._island: self._fed(program, order)})
            case Put(program, _, buffer):
                return replace(message, value=self._place(program, buffer, message.value))
        return message

    def _small(self, arrived: SmallArrival) -> Offer | None:
        if (known := self._programs.get(arrived.program)) is None:
            return None
        source, tag = known.senders[arrived.buffer]
        value = known.layouts[arrived.buffer].place_bytes(arrived.numbers)
        return Offer(arrived.program, arrived.step, self._island, source, tag, value)

    def _note(self, load: Load) -> None:
        for island in load.code.islands:
            if island.name == self._island:
                layouts = tuple(Layout(buffer, self._mesh) for buffer in island.buffers)
                senders = {buffer: sender for sender, buffer in island.received.items()}
                self._programs[load.program] = _Known(island, layouts, senders)

    def _forget(self, program: int) -> None:
        self._programs.pop(program, None)
        with self._collecting:
            self._tiles = {key: tiles for key, tiles in self._tiles.items() if key[0] != program}

    def _fed(self, program: int, order: Order) -> Order:
        placed = {number: self._place(program, number, value) for number, value in order.feeds.items()}
        return replace(order, feeds=placed)

    def _offered(self, offer: Offer) -> Offer | None:
        """What was sent, if all of it has come."""
        known, value = self._programs[offer.program], offer.value
        layout = known.layouts[buffer_of(known.island, offer.source, offer.tag)]
        if isinstance(value, Tiled) and not _is_all(layout, value):
            value = value.failure or self._collected(offer, value, layout.size)
        if value is None:
            return None
        offer.value = self._put(layout, value) if isinstance(value, Tiled) else value
        return offer

    def _collected(self, offer: Offer, value: Tiled, size: int) -> Tiled | None:
        if value.size == size:
            return value
        key = offer.program, offer.step, offer.source, offer.tag
        with self._collecting:
            tiles = self._tiles.setdefault(key, [])
            tiles += value.tiles
            found = replace(value, tiles=tuple(tiles))
            if found.size < size:
                return None
            del self._tiles[key]
        return found

    def _place(self, program: int, buffer: int | None, value: Any) -> Any:  # noqa: ANN401 (Tiled, or what is no value)
        if not isinstance(value, Tiled):
            return value
        layout = self._any_device(value) if buffer is None else self._programs[program].layouts[buffer]
        return self._put(layout, value)

    def _put(self, layout: Layout, value: Tiled) -> jax.Array:
        if _is_all(layout, value):
            return layout.place([value.tiles[0].numbers])  # on one device, where nothing waits for another
        numbers = {box: filled(box, value.tiles, value.dtype) for box in set(layout.boxes)}
        with self._turn:
            return layout.place([numbers[box] for box in layout.boxes])

    def _any_device(self, value: Tiled) -> Layout:
        return Layout(Buffer(value.shape, value.dtype), jax.sharding.Mesh(self._mesh.local_devices[:1], "devices"))


def _is_all(layout: Layout, value: Tiled) -> bool:
    """Whether its one tile has all numbers of the one device."""
    if len(value.tiles) != 1 or len(layout.boxes) != 1:
        return False
    (tile,), (box,) = value.tiles, layout.boxes
    return tile.box == box and not isinstance(tile.numbers, Failure)


@dataclass(frozen=True)
class _Known:
    """Of a program: what the island does, how its buffers are held, and with which source and tag each comes."""

    island: IslandProgram
    layouts: Sequence[Layout]
    senders: Mapping[int, tuple[str, int]]
