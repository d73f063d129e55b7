"""Brings a caller's values to the islands where a step takes them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from atoll.runtime.array import Array
from atoll.runtime.ground import Placing
from atoll.runtime.handle import Handle
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.messages import Put
from atoll.runtime.program import Division, Input, Place
from atoll.runtime.promise import Promise
from atoll.runtime.transport import plain
from jax.sharding import AxisType, Mesh, NamedSharding


class Feeder:
    """What is not on an island yet is placed there by the thread that calls.

    inputs: the program's, and how each is divided. program: its number. place: brings a value to an island.
    sizes: for each island, the bytes of each buffer on each of its devices.
    """

    def __init__(
        self,
        inputs: Sequence[tuple[Input, Division]],
        hosted: HostedIslands,
        program: int,
        place: Placing,
        sizes: Mapping[str, Sequence[int]],
        patience: float,
    ) -> None:
        self._inputs = inputs
        self._hosted = hosted
        self._program = program
        self._place = place
        self._sizes = sizes
        self._patience = patience

    def put(self, arguments: Sequence[Any]) -> list[Array]:
        """The arguments of a step on the islands that will need them."""
        return [
            self._put_array(one, division, value)
            for (one, division), value in zip(self._inputs, arguments, strict=True)
        ]

    def placed(self, one: Input, division: Division, value: Any) -> Iterator[tuple[Place, jax.Array]]:  # noqa: ANN401
        """An argument on the devices of each place where it is needed."""
        whole = value.promise.read() if isinstance(value, Array) else plain(one, value)
        for copies, part in zip(one.places, _parts(one, division, whole), strict=True):
            for place in copies:
                yield place, self._place(part, *place)

    def _put_array(self, one: Input, division: Division, value: Any) -> Array:  # noqa: ANN401 (an array)
        if isinstance(value, Array):
            return value
        whole = plain(one, value)
        handles = [
            [self._keep(name, number, self._sizes[name][number], part) for name, number in copies]
            for copies, part in zip(one.places, _parts(one, division, whole), strict=True)
        ]
        if not handles:  # no island needs it, but it has to be somewhere
            name = next(iter(self._sizes))
            handles.append([self._keep(name, None, whole.nbytes, whole)])
        return Array(Promise(one, handles, division, self._patience))

    def _keep(self, name: str, number: int | None, size: int, value: Any) -> Handle:  # noqa: ANN401 (an array)
        placed = self._place(value, name, number)
        handle = Handle(self._hosted, name, number or 0, size)
        self._hosted.send(name, Put(self._program, name, number, handle.number, placed, placed.nbytes))
        self._hosted.budget.change(name, size)
        return handle


def _parts(one: Input, division: Division, whole: Any) -> list[Any]:  # noqa: ANN401 (as `plain` returns it)
    """The parts of an argument's value; or all of it, if it is not divided and anybody needs it."""
    if not division.indices:
        return [whole] * len(one.places)
    with jax.transfer_guard("allow"):  # jax takes from the host where to cut, which is no transfer of the user's
        if not isinstance(whole, jax.Array):
            return [whole[index] for index in division.indices]
        with jax.set_mesh(None):  # the array may be on another mesh than the user has set
            automatic = _without_explicit_axes(whole)
            return [automatic[index] for index in division.indices]


def _without_explicit_axes(whole: jax.Array) -> jax.Array:
    """The same array, whose type does not say how it is divided: jax would ask how each part is to be."""
    sharding = whole.sharding
    if not isinstance(sharding, NamedSharding) or AxisType.Explicit not in sharding.mesh.axis_types:
        return whole
    mesh = sharding.mesh
    automatic = Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * mesh.devices.ndim)
    parts = [one.data for one in whole.addressable_shards]
    return jax.make_array_from_single_device_arrays(whole.shape, NamedSharding(automatic, sharding.spec), parts)
