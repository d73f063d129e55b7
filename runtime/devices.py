"""What the runtime asks of devices."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from atoll.runtime.fragment import Executable, compile_code


@dataclass(frozen=True)
class Devices:
    """The devices of jax. `SleepingDevices` takes their place where only time matters.

    compile: makes of a program's fragment what runs it on the devices of a mesh, as `compile_code` does. What it makes
        returns at once, with values that are there later.
    put: brings a value to other devices, as `jax.device_put` does, which returns at once as well.
    """

    compile: Callable[..., Executable] = compile_code
    put: Callable[[Any, jax.sharding.NamedSharding], Any] = jax.device_put
