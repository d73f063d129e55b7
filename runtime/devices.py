"""What the runtime asks of devices."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from atoll.runtime.crossing import mover
from atoll.runtime.fragment import Executable, lower_code
from atoll.runtime.kept_executables import KeptExecutables


@dataclass(frozen=True)
class Devices:
    """The devices of jax. `SleepingDevices` takes their place where only time matters.

    lower: readies a program's fragment for the devices of a mesh, as `lower_code` does. What that ends with returns at
        once when it is run, with values that are there later.
    mover: makes what brings a value from one sharding to another, which returns at once as well.
    kept: what was compiled for other controllers, where a process serves one after another.
    """

    lower: Callable[..., Callable[[], Executable]] = lower_code
    mover: Callable[[jax.sharding.Sharding, jax.sharding.NamedSharding], Callable[[Any], Any]] = mover
    kept: KeptExecutables | None = None
