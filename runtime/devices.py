"""What the runtime asks of devices."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from atoll.runtime.crossing import mover
from atoll.runtime.fragment import Executable, compile_code


@dataclass(frozen=True)
class Devices:
    """The devices of jax. `SleepingDevices` takes their place where only time matters.

    compile: makes of a program's fragment what runs it on the devices of a mesh, as `compile_code` does. What it makes
        returns at once, with values that are there later.
    mover: makes what brings a value from one sharding to another, which returns at once as well.
    """

    compile: Callable[..., Executable] = compile_code
    mover: Callable[[jax.sharding.Sharding, jax.sharding.NamedSharding], Callable[[Any], Any]] = mover
