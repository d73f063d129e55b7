"""How much memory a device has: its compiler tells, when it refuses what is too large."""

import re
from dataclasses import dataclass

import jax
from atoll.compiler.ahead.cache import Cache, key_of
from atoll.compiler.topology.slices import PodSlice
from jax.sharding import NamedSharding, PartitionSpec

_REFUSED = re.compile(r"\(([\d.]+)([KMGT]?)\)\s+exceeds available HBM \(([\d.]+)([KMGT]?)\)")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_TOO_LARGE = (2**15, 2**30)  # bytes: 32 TiB


@dataclass(frozen=True)
class NoRoom:
    """What the compiler says of a fragment that does not fit: the bytes that it needs, and those that there are."""

    needed: int
    limit: int


def no_room(error: Exception) -> NoRoom | None:
    """What an error says, if it says that there is too little memory."""
    found = _REFUSED.search(str(error))
    if found is None:
        return None
    needed, limit = (round(float(found[one]) * _UNITS[found[one + 1]]) for one in (1, 3))
    return NoRoom(needed, limit)


def memory_of_device(where: PodSlice, mesh: jax.sharding.Mesh, settings: tuple[str, ...], cache: Cache) -> int:
    """The bytes that fragments may use on each device of a slice."""
    key = key_of("memory of a device", where, settings)
    if (kept := cache.find(key)) is not None:
        return int(kept)
    whole = NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call] # jax's
    argument = jax.ShapeDtypeStruct(_TOO_LARGE, jax.numpy.int8)  # type: ignore[no-untyped-call] # jax's
    try:
        jax.jit(lambda x: x + 1, in_shardings=whole).lower(argument).compile()
    except jax.errors.JaxRuntimeError as error:
        found = no_room(error)
        if found is None:
            raise
        cache.keep(key, str(found.limit).encode())
        return found.limit
    raise AssertionError("a device has room for more than there is in the world")
