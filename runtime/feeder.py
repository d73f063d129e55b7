"""Brings a caller's values to the islands where a step takes them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
from atoll.compiler.errors import UsageError
from atoll.runtime.array import Array
from atoll.runtime.ground import Placing
from atoll.runtime.handle import Handle
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.messages import Put
from atoll.runtime.program import Division, Input, Place, Port
from atoll.runtime.program_memory import Bytes
from atoll.runtime.promise import Promise
from atoll.runtime.transport import plain
from jax.sharding import AxisType, Mesh, NamedSharding


class Feeder:
    """What is not on an island yet is placed there by the thread that calls.

    inputs: the program's, and how each is divided. program: its number. place: brings a value to an island.
    sizes: for each island, what each buffer takes. sharding: how they hold it.
    is_closed: whether the program was closed.
    """

    def __init__(
        self,
        inputs: Sequence[tuple[Input, Division]],
        hosted: HostedIslands,
        program: int,
        place: Placing,
        sizes: Mapping[str, Sequence[Bytes]],
        sharding: Callable[[Place], NamedSharding],
        patience: float,
    ) -> None:
        self.is_closed = False
        self._inputs = inputs
        self._hosted = hosted
        self._program = program
        self._place = place
        self._sizes = sizes
        self._sharding = sharding
        self._patience = patience

    def put(self, arguments: Mapping[int, Any]) -> list[Array]:
        """Some arguments of a step, by their numbers, on the islands that will need them."""
        return [self._put_array(*self._inputs[number], value) for number, value in arguments.items()]

    def placed(self, one: Input, division: Division, value: Any) -> Iterator[tuple[Place, jax.Array]]:  # noqa: ANN401
        """An argument on the devices of each place where it is needed."""
        whole = value.promise.read() if isinstance(value, Array) else plain(one, value)
        for copies, part in zip(one.places, _parts(division, whole), strict=True):
            for place in copies:
                yield place, self._place(part, *place)

    def _put_array(self, one: Input, division: Division, value: Any) -> Array:  # noqa: ANN401 (an array)
        if isinstance(value, Array):
            return value
        return Array(self.put_whole(one, division, value))

    def put_whole(self, port: Port, division: Division, value: Any) -> Promise:  # noqa: ANN401 (an array)
        """As a `Placer`."""
        return self.promised(port, division, _parts(division, plain(port, value)))

    def promised(self, port: Port, division: Division, parts: Iterable[Any]) -> Promise:
        """As a `Placer`. A part may be read when its turn comes: then no two have to be here at once."""
        if self.is_closed and not self._hosted.ground.is_near:
            what = f"the islands of {port.path} have forgotten its program, which was closed"
            raise UsageError(what, remedy="keep the program open, or compile another one")
        everything: Sequence[Sequence[tuple[str, int | None]]] = port.places
        if not everything:  # no island needs it, but it has to be somewhere
            everything = [[(next(iter(self._sizes)), None)]]
        handles = [
            [self._keep(name, number, part) for name, number in copies]
            for copies, part in zip(everything, parts, strict=True)
        ]
        return Promise(port, handles, division, self, self._patience)

    def shardings_of(self, port: Port) -> Mapping[str, NamedSharding]:
        """As a `Placer`."""
        found: dict[str, NamedSharding] = {}
        for name, number in port.every_place:
            found.setdefault(name, self._sharding((name, number)))
        return found

    def _keep(self, name: str, number: int | None, value: Any) -> Handle:  # noqa: ANN401 (an array)
        size = Bytes(value.nbytes) if number is None else self._sizes[name][number]
        placed = self._place(value, name, number)
        handle = Handle(self._hosted, name, self._program, number or 0, size.device)
        self._hosted.send(name, Put(self._program, name, number, handle.number, placed, size))
        self._hosted.budget.change(name, self._program, size.device)
        return handle


def _parts(division: Division, whole: Any) -> list[Any]:  # noqa: ANN401 (as `plain` returns it)
    """The parts of an argument's value, one if it is not divided."""
    if not division.indices:
        return [whole]
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
