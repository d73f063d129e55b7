"""Brings arrays from the devices of one island to those of another."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import jax
import numpy
from atoll.compiler.mlir.bindings import copier
from atoll.runtime.boxes import is_inside, on_devices
from atoll.runtime.program import Box
from jax.sharding import NamedSharding, PartitionSpec


def mover(source: jax.sharding.Sharding, target: NamedSharding) -> Callable[[jax.Array], jax.Array]:
    """What brings an array to other devices, and returns before it is there.

    Between islands each byte crosses the link once: where several devices get the same part, one gets it over the link
    and the others from that one. What `emit` sends arrives in the parts in which it is sent, or in finer ones. The
    arguments of a step may come in any other parts: then `jax.device_put` waits until they are computed, and divides
    them on the host.
    """
    if len(source.device_set) == len(target.device_set) == 1:
        # What `jax.device_put` calls in the end, in a fraction of its time; that counts where tasks are small.
        move: Callable[[jax.Array], jax.Array] = copier(target)
        return move
    if source.device_set & target.device_set:
        return lambda array: jax.device_put(array, target)
    first = first_of(target)
    has_copies = len(first.device_set) < len(target.device_set)
    cross = partial(_cross, first if has_copies else target, {})
    return (lambda array: jax.device_put(cross(array), target)) if has_copies else cross


# The numbers of the shards that are cut, and how each of them is divided over the devices that it goes to.
_Cuts = Sequence[tuple[int, jax.sharding.Sharding]]
_Kind = tuple[jax.sharding.Sharding, tuple[int, ...]]


def _cross(target: jax.sharding.Sharding, routes: dict[_Kind, _Cuts], array: jax.Array) -> jax.Array:
    """Bring an array to other devices, each part of it from one that has it.

    `jax.device_put` does so where the parts are the same on both sides, or where one device has all. Where the target's
    parts are finer, it would wait for the array. But what a single device has, it cuts on that device without waiting:
    so it is called for the part of each device.

    routes: what was found out about the kinds of arrays before this one.
    """
    kind = array.sharding, array.shape
    if kind not in routes:
        routes[kind] = _cuts(on_devices(*kind), on_devices(target, array.shape)) if array.size else ()
    moved: jax.Array
    if not routes[kind]:
        moved = jax.device_put(array, target)
        return moved
    shards = array.addressable_shards
    pieces = [jax.device_put(shards[number].data, there) for number, there in routes[kind]]
    parts = [one.data for piece in pieces for one in piece.addressable_shards]
    moved = jax.make_array_from_single_device_arrays(array.shape, target, parts)
    return moved


def _cuts(source: Mapping[jax.Device, Box], target: Mapping[jax.Device, Box]) -> _Cuts:
    """What is cut so that the target gets its parts; nothing if nothing has to be, or a part lies in no single one."""
    if len(source) == 1 or set(target.values()) <= set(source.values()):
        return ()
    lying: dict[int, dict[Box, jax.Device]] = {}
    for device, box in target.items():
        number = next((number for number, one in enumerate(source.values()) if is_inside(box, one)), None)
        if number is None:
            return ()
        lying.setdefault(number, {})[box] = device
    return [(number, _division_of(boxes)) for number, boxes in lying.items()]


def _division_of(boxes: Mapping[Box, jax.Device]) -> jax.sharding.Sharding:
    """The division of an array into equal parts on these devices."""
    in_order = [boxes[box] for box in sorted(boxes)]
    if len(in_order) == 1:
        return jax.sharding.SingleDeviceSharding(in_order[0])
    counts = [len(set(sides)) for sides in zip(*boxes, strict=True)]
    names = [f"dimension{number}" for number in range(len(counts))]
    types = (jax.sharding.AxisType.Auto,) * len(names)
    mesh = jax.sharding.Mesh(numpy.array(in_order).reshape(counts), names, axis_types=types)
    return NamedSharding(mesh, PartitionSpec(*names))  # type: ignore[no-untyped-call] # jax's


def first_of(sharding: NamedSharding) -> jax.sharding.Sharding:
    """The same parts, each on one device only: the first in the mesh that has it."""
    mesh = sharding.mesh
    used = {axis for axes in sharding.spec for axis in ((axes,) if isinstance(axes, str) else axes or ())}
    devices = mesh.devices[tuple(slice(None) if name in used else 0 for name in mesh.axis_names)]
    if not used:
        return jax.sharding.SingleDeviceSharding(devices)
    names = tuple(name for name in mesh.axis_names if name in used)
    types = (jax.sharding.AxisType.Auto,) * len(names)
    return NamedSharding(jax.sharding.Mesh(devices, names, axis_types=types), sharding.spec)
