"""What a process has compiled, for the controllers that come after the one it was compiled for."""

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import jax
from atoll.runtime.fragment import Executable
from atoll.runtime.processes.settings import current
from atoll.runtime.program import Buffer, Code


@dataclass(frozen=True)
class Found:
    """A fragment that is compiled already, in place of one that is ready for XLA."""

    executable: Executable

    def __call__(self) -> Executable:
        return replace(self.executable, is_found=True)


class KeptExecutables:
    """Kept is what the last controller that had a program has used; what it had no use for goes with it.

    For any thread.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, Executable] = {}
        self._used: dict[Hashable, Executable] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept | self._used)

    def find(self, key: Hashable) -> Found | None:
        """What was compiled for an equal fragment, on the same devices and with the same settings of jax's."""
        with self._lock:
            found = self._used.get(key) or self._kept.get(key)
        return None if found is None else Found(found)

    def keep(self, key: Hashable, executable: Executable) -> None:
        """It is used now, whether it was found or made."""
        with self._lock:
            self._used[key] = replace(executable, is_found=False)

    def end(self) -> None:
        """The controller is gone."""
        with self._lock:
            if self._used:
                self._kept, self._used = self._used, {}


def kept_key(code: Code, inputs: Sequence[Buffer], donated: Sequence[int], mesh: jax.sharding.Mesh) -> Hashable:
    """What an executable depends on, and what messages about it say."""
    return code, tuple(inputs), tuple(donated), mesh, tuple(sorted(current().items()))
