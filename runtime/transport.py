"""Moves the values of a program between its islands: what stands where, and what brings it there.

To an island of another process a value goes as it is: what carries it there reads its numbers once they are computed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy
from atoll.runtime.crossing import mover
from atoll.runtime.fragment import sharding_of
from atoll.runtime.layout import Layout
from atoll.runtime.program import IslandProgram, Port, Program, Receive, Run, Send


class Transport:
    """Within one process a value crosses a link as `jax.device_put` moves it, which returns before the value is there.

    meshes: of the islands that are in this process.
    move: makes what brings a value from one sharding to another; for jax's devices, unless others take their place.
    """

    def __init__(
        self,
        program: Program,
        meshes: Mapping[str, jax.sharding.Mesh],
        move: Callable[[jax.sharding.Sharding, jax.sharding.NamedSharding], Callable[[Any], Any]] = mover,
    ) -> None:
        self._move = move
        self._shardings = {
            island.name: tuple(sharding_of(buffer, meshes[island.name]) for buffer in island.buffers)
            for island in program.islands
            if island.name in meshes
        }
        self._meshes = meshes
        self._buffers = {island.name: island.buffers for island in program.islands}
        self._layouts: dict[tuple[str, int], Layout] = {}
        self._counters: dict[tuple[str, int], jax.Array] = {}
        sent = {
            (island.name, one.to, one.tag): (island, index)
            for island in program.islands
            if island.name in meshes
            for index, one in enumerate(island.instructions)
            if isinstance(one, Send)
        }
        # By source, destination and tag: what moves a value, and its bytes.
        self.routes = {
            link: (self._route(*sent[link], island.name, one.buffer), island.buffers[one.buffer].bytes)
            for island in program.islands
            for one in island.instructions
            if isinstance(one, Receive) and (link := (one.source, island.name, one.tag)) in sent
        }

    def _route(self, source: IslandProgram, index: int, to: str, number: int) -> Callable[[Any], Any]:
        """What moves that which an instruction sends to a buffer of another island."""
        send = source.instructions[index]
        assert isinstance(send, Send)
        if self.is_near(to):
            return self._move(self._shardings[source.name][send.buffer], self._shardings[to][number])
        later = source.instructions[index + 1 :]
        is_given_away = any(isinstance(one, Run) and send.buffer in one.donated for one in later)
        return jax.numpy.copy if is_given_away else _as_it_is

    def is_near(self, island: str) -> bool:
        """Whether an island is in this process."""
        return island in self._shardings

    def bring(self, value: jax.Array, to: str, number: int) -> jax.Array:
        """An argument of a step, on the island that needs it and divided as it needs it."""
        if value.sharding.device_set & self._shardings[to][number].device_set:
            # `device_put` may share what is on a device already; others keep that, and a task may donate this.
            value = jax.numpy.copy(value)
        moved: jax.Array = self._move(value.sharding, self._shardings[to][number])(value)
        return moved

    def place(self, value: Any, island: str, number: int) -> jax.Array:  # noqa: ANN401 (a jax.Array or a numpy array)
        """A value from outside as an island holds it; never as an alias of an array, which would go with the other."""
        sharding = self._shardings[island][number]
        if isinstance(value, numpy.ndarray):
            return self._layout(island, number).place_whole(value)
        if isinstance(value, jax.Array) and value.sharding.device_set & sharding.device_set:
            value = jax.numpy.copy(value)
        if not sharding.is_fully_addressable:
            # Not `device_put`, for which the processes of an island would ask each other whether they have one value.
            return jax.make_array_from_callback(value.shape, sharding, lambda index: numpy.asarray(value[index]))
        placed: jax.Array = jax.device_put(value, sharding)
        return placed

    def _layout(self, island: str, number: int) -> Layout:
        """Made at the first value, as most buffers get none from outside."""
        key = island, number
        if key not in self._layouts:
            self._layouts[key] = Layout(self._buffers[island][number], self._meshes[island])
        return self._layouts[key]

    def counter(self, island: str, number: int, microbatch: int) -> jax.Array:
        """The number of a microbatch on an island's devices; made once, as every step needs the same one."""
        key = (island, microbatch)
        if key not in self._counters:
            # Not `device_put`, for which the processes of an island would ask each other whether they have one number.
            self._counters[key] = jax.make_array_from_callback(
                (), self._shardings[island][number], lambda _: numpy.uint32(microbatch)
            )
        return self._counters[key]

    def sharding(self, island: str, number: int) -> jax.sharding.NamedSharding:
        return self._shardings[island][number]


def plain(one: Port, value: Any) -> Any:  # noqa: ANN401 (a jax.Array or a numpy array)
    """What an argument from outside holds; a copy, if its owner may write to its memory."""
    if one.dtype.startswith("key<"):
        return jax.random.key_data(value)
    return value if isinstance(value, jax.Array) else numpy.array(value, numpy.dtype(one.dtype))


def _as_it_is(value: Any) -> Any:  # noqa: ANN401 (a value)
    return value
