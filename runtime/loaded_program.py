"""A program at a host."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.runtime.island import RunningIsland
from atoll.runtime.side_thread import SideThread
from atoll.runtime.transport import Transport


@dataclass
class LoadedProgram:
    """hosts: by island, the number of its host.

    under_way: steps, counted for each island. offers: by step, how many values were sent to other hosts.
    """

    transport: Transport
    hosts: Mapping[str, int]
    streams: Mapping[str, RunningIsland]
    sides: tuple[SideThread, ...]
    under_way: int = 0
    offers: Counter[int] = field(default_factory=Counter)
    is_closing: bool = False
