"""What `jax.debug.print` calls in a program with replicas: each of them prints, and says which it is."""

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Held while a line is written, as replicas print at the same time.
_WRITING = threading.Lock()


@dataclass(frozen=True)
class ReplicaPrint:
    """A host function that is given the name of its island before what is printed.

    write: what prints, without saying where. replica_of: for each island the replica that it is of.
    """

    write: Callable[..., Any]
    replica_of: Mapping[str, int]

    def __call__(self, island: str, *values: Any) -> Any:  # noqa: ANN401 (whatever jax prints)
        with _WRITING:
            sys.stdout.write(f"replica {self.replica_of[island]}: ")
            return self.write(*values)
