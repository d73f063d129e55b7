"""What is to be known of a machine, as plain data."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from atoll.compiler import activity
from atoll.compiler.doctor.asking import DEVICES, TRIAL, Answer, ask
from atoll.compiler.doctor.requirements import Requirement, installed

# Of other programs than atoll, whose own begin with ATOLL_.
_VARIABLES = (
    "FORCE_COLOR",
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_ENABLE_X64",
    "JAX_NUM_CPU_DEVICES",
    "JAX_PLATFORMS",
    "LIBTPU_INIT_ARGS",
    "NO_COLOR",
    "PYTHONPATH",
    "RAY_ADDRESS",
    "RAY_AUTH_MODE",
    "RAY_worker_niceness",
    "XLA_FLAGS",
)


@dataclass(frozen=True)
class Facts:
    """atoll: its version; None if it was not installed. system: Python, the system, and what the machine has.

    environment: the variables that matter and are set. devices: for each kind its platform, name and number.
    trial: whether a small program on islands gave what it should. not_writable: variables whose folders are not.
    """

    atoll: str | None
    python: str
    system: str
    cores: int
    memory: int
    requirements: tuple[Requirement, ...]
    environment: Mapping[str, str]
    devices: Answer
    trial: Answer
    not_writable: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For programs: the same, with versions by package."""
        plain = asdict(self)
        versions = {"python": self.python, "atoll": self.atoll}
        plain["versions"] = versions | {one.name: one.version for one in self.requirements}
        return plain


def gather(patience: float, environment: Mapping[str, str] = os.environ) -> Facts:
    """Look, and ask. patience: for each answer, in seconds."""
    version, requirements = installed()
    activity.announce("asking jax for its devices")
    devices = ask(DEVICES, patience)
    activity.announce("trying a program on two islands")
    trial = ask(TRIAL, 2 * patience) if not devices.trouble else Answer(None, "there are no devices", 0.0)
    return Facts(
        version,
        platform.python_version(),
        platform.platform(terse=True),
        os.cpu_count() or 1,
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        tuple(requirements),
        relevant(environment),
        devices,
        trial,
        tuple(name for name in _FOLDERS if name in environment and not _can_write(environment[name])),
    )


_FOLDERS = ("ATOLL_CACHE_DIR", "ATOLL_DUMP_DIR", "JAX_COMPILATION_CACHE_DIR")


def relevant(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that matter."""
    return {name: environment[name] for name in sorted(environment) if name in _VARIABLES or name.startswith("ATOLL_")}


def _can_write(folder: str) -> bool:
    """Whether a folder can be written to, or made where there is none."""
    while not os.path.lexists(folder):
        parent = os.path.dirname(os.path.abspath(folder))  # noqa: PTH100, PTH120 (a text, until one is there)
        if parent == folder:
            break
        folder = parent
    return os.path.isdir(folder) and os.access(folder, os.W_OK)  # noqa: PTH112 (the same)
