"""Brings a caller's arguments to the islands where a step takes them."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy
from atoll.runtime.array import Array
from atoll.runtime.program import Division, Input, Place
from atoll.runtime.promise import Promise
from atoll.runtime.store import Feed, Held, Origin, Store, Use
from atoll.runtime.transport import Transport, Turn


class Feeder:
    """Feeds the islands of a program: with arrays on their devices, and with what is on islands already as it is there.

    inputs: the program's, and how each is divided.
    meshes, stores, turns: for each island its devices, what counts its bytes, and whose turn it is to enqueue there.
    """

    def __init__(
        self,
        inputs: Sequence[tuple[Input, Division]],
        meshes: Mapping[str, jax.sharding.Mesh],
        transport: Transport,
        stores: Mapping[str, Store],
        turns: Mapping[str, Turn],
        patience: float,
    ) -> None:
        self._inputs = inputs
        self._meshes = meshes
        self._transport = transport
        self._stores = stores
        self._turns = turns
        self._patience = patience

    def put(self, arguments: Sequence[Any]) -> list[Array]:
        """The arguments of a step on the islands that will need them."""
        return [
            self._put_array(one, division, value)
            for (one, division), value in zip(self._inputs, arguments, strict=True)
        ]

    def feeds(self, arguments: Sequence[Any]) -> dict[str, dict[int, Any]]:
        """What a step is given: for each island an array, or a `Feed`, by the number of its buffer."""
        feeds: dict[str, dict[int, Any]] = {name: {} for name in self._stores}
        for (one, division), value in zip(self._inputs, arguments, strict=True):
            if not one.places:
                continue
            if isinstance(value, Array) and value.promise.division == division:
                for copies, helds in zip(one.places, value.promise.parts(), strict=True):
                    for (name, number), given in zip(copies, _feeds(copies, helds, one.donated), strict=True):
                        feeds[name][number] = given
            else:
                plain = value.promise.read() if isinstance(value, Array) else self._plain(one, value)
                for copies, part in zip(one.places, _parts(one, division, plain), strict=True):
                    for name, number in copies:
                        feeds[name][number] = self._put(part, name, number)
        return feeds

    def _put_array(self, one: Input, division: Division, value: Any) -> Array:  # noqa: ANN401 (an array)
        if isinstance(value, Array):
            return value
        plain = self._plain(one, value)
        helds = [
            [self._put_held(part, place) for place in copies]
            for copies, part in zip(one.places, _parts(one, division, plain), strict=True)
        ]
        if not helds:  # no island needs it, but it has to be somewhere
            name = next(iter(self._stores))
            held = Held(self._stores[name], Origin(None, name, 0))
            held.bring(jax.device_put(plain, self._meshes[name].devices.flat[0]), plain.nbytes)
            helds.append([held])
        return Array(Promise(one, helds, division, self._patience))

    def _put_held(self, part: Any, place: Place) -> Held:  # noqa: ANN401 (as `_plain` returns it)
        name, number = place
        held = Held(self._stores[name], Origin(None, name, number))
        held.bring(self._put(part, name, number), self._stores[name].sizes[number])
        return held

    def _plain(self, one: Input, value: Any) -> Any:  # noqa: ANN401 (a jax.Array or a numpy array)
        """What an argument from outside holds. Of memory that the caller may write to, a copy."""
        if one.dtype.startswith("key<"):
            return jax.random.key_data(value)
        return value if isinstance(value, jax.Array) else numpy.array(value, numpy.dtype(one.dtype))

    def _put(self, value: Any, name: str, number: int) -> jax.Array:  # noqa: ANN401 (as `_plain` returns it)
        """Place an argument from outside; never as an alias, which would go with the caller's array."""
        sharding = self._transport.sharding(name, number)
        with self._turns[name]:
            if isinstance(value, jax.Array) and value.sharding.device_set & sharding.device_set:
                value = jax.numpy.copy(value)
            placed: jax.Array = jax.device_put(value, sharding)
        return placed


def _parts(one: Input, division: Division, plain: Any) -> list[Any]:  # noqa: ANN401 (as `_plain` returns it)
    """The parts of an argument's value; or all of it, if it is not divided and anybody needs it."""
    if not division.indices:
        return [plain] * len(one.places)
    with jax.transfer_guard("allow"):  # where jax cuts is a number of the host's, and no transfer of the user's
        return [plain[index] for index in division.indices]


def _feeds(places: Sequence[Place], helds: Sequence[Held], donated: bool) -> list[Feed]:
    """For each copy of a part, which of the copies of an `Array` it gets and what it may do with it."""
    if len(places) == len(helds) == 1:
        return [Feed(helds[0], Use.TAKE if donated else Use.BORROW)]
    at = {held.origin.island: held for held in helds}
    chosen = [at.get(name, helds[0]) for name, _ in places]
    if not donated:
        return [Feed(held, Use.BORROW) for held in chosen]
    return [Feed(held, Use.TAKE if chosen.count(held) == 1 else Use.COPY) for held in chosen]
