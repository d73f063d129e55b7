"""Puts what arrives as numbers onto an island's devices, before its host hears of it.

It is done by the thread that brings the message: to copy large values would keep the host's own from its work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy
from atoll.runtime.fragment import sharding_of
from atoll.runtime.messages import Close, Load, Offer, Order, Put, Start, ToHost, argument_of
from atoll.runtime.program import Receive
from atoll.runtime.turn import Turn


class Arrivals:
    """mesh: of the island that the process has."""

    def __init__(self, island: str, mesh: jax.sharding.Mesh) -> None:
        self._island = island
        self._mesh = mesh
        self._turn = Turn(mesh)
        self._programs: dict[int, _Known] = {}

    def placed(self, message: ToHost | Offer) -> ToHost | Offer | None:
        """A message with values in place of numbers; None if it is for a program that was closed."""
        match message:
            case Load():
                self._note(message)
            case Close(program):
                self._programs.pop(program, None)
            case Start(program=program, orders=orders) if (order := orders.get(self._island)) is not None:
                return replace(message, orders={**orders, self._island: self._fed(program, order)})
            case Put(program, _, buffer):
                return replace(message, value=self._place(program, buffer, message.value))
            case Offer(program=program, source=source, tag=tag):
                if (known := self._programs.get(program)) is None:
                    return None
                buffer = argument_of(tag) if tag < 0 else known.received[source, tag]
                message.value = self._place(program, buffer, message.value)
        return message

    def _note(self, load: Load) -> None:
        for island in load.code.islands:
            if island.name == self._island:
                received = {
                    (one.source, one.tag): one.buffer for one in island.instructions if isinstance(one, Receive)
                }
                shardings = tuple(sharding_of(buffer, self._mesh) for buffer in island.buffers)
                self._programs[load.program] = _Known(shardings, received)

    def _fed(self, program: int, order: Order) -> Order:
        placed = {number: self._place(program, number, value) for number, value in order.feeds.items()}
        return replace(order, feeds=placed)

    def _place(self, program: int, buffer: int | None, value: Any) -> Any:  # noqa: ANN401 (numbers, or what is none)
        if not isinstance(value, numpy.ndarray):
            return value
        there = self._mesh.devices.flat[0] if buffer is None else self._programs[program].shardings[buffer]
        # jax would make 32 bits of 64 where they are not enabled; whoever sends numbers has decided.
        with self._turn, jax.enable_x64(True):
            return jax.device_put(value, there)


@dataclass(frozen=True)
class _Known:
    """Of a program, how the island holds its buffers; and into which of them goes what another sends with a tag."""

    shardings: Sequence[jax.sharding.Sharding]
    received: Mapping[tuple[str, int], int]
