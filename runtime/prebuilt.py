"""What XLA has made of a program's fragments, kept in the program's file: for which machines it is, and what is there.

A key stands for everything that decides what XLA makes: the fragment without its lines, how its values are divided, and
the machine. Where the key is another one, the fragment is compiled.
"""

import hashlib
import logging
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
from atoll.compiler.mlir.ir_text import parse_text, print_module
from atoll.runtime.processes.settings import told_to_xla
from atoll.runtime.program import Buffer, Code, Prebuilt, Program

log = logging.getLogger(__name__)

# What decides how many devices a process has, and nothing of what is compiled for them.
_COUNT = "--xla_force_host_platform_device_count"


def machine_of(mesh: jax.sharding.Mesh) -> str:
    """What beside a fragment decides what XLA makes of it for a mesh: versions, flags, the devices and their places."""
    device = mesh.devices.flat[0]
    flags = " ".join(sorted(one for one in os.environ.get("XLA_FLAGS", "").split() if not one.startswith(_COUNT)))
    flags = f"{flags} {told_to_xla()}".strip()
    versions = [f"jax {jax.__version__}", f"jaxlib {version('jaxlib')}"]
    match device.platform:
        case "tpu":
            flags = f"{flags} {os.environ.get('LIBTPU_INIT_ARGS', '')}".strip()
            versions.append(f"libtpu {_version('libtpu')}")
            about = f"{device.device_kind} at {_places(mesh)}"
        case "cpu":
            # Machine code for what this processor can do, cut into as many parts as it has cores.
            about = f"{platform.machine()} {_features()} with {os.cpu_count()} cores"
        case _:
            about = f"{device.device_kind}, {device.client.platform_version}"
    return ", ".join([device.platform, *versions, " ".join(about.split()), *([f"flags {flags}"] if flags else [])])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _places(mesh: jax.sharding.Mesh) -> str:
    """Where the devices of a slice are, from its first corner on, in the order of the mesh."""
    devices = list(mesh.devices.flat)
    corner = [min(axis) for axis in zip(*(one.coords for one in devices), strict=True)]
    places = [
        [*(at - begin for at, begin in zip(one.coords, corner, strict=True)), one.core_on_chip] for one in devices
    ]
    return _short(repr(places))


@cache
def _features() -> str:
    """What the processor is and can do, in short."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not on Linux
        return platform.processor()
    told = {name.strip(): value for name, _, value in (line.partition(":") for line in lines)}
    return _short(repr([told.get(name) for name in ("model name", "flags", "CPU part", "Features")]))


def _short(text: str) -> str:
    """A digest that a person can compare."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def key_of(code: Code, inputs: Sequence[Buffer], donated: Sequence[int], axes: object, machine: str) -> str:
    """The key of what XLA makes of a code. axes: of the island's mesh."""
    without_lines = print_module(parse_text(code.module), debug_info=False)
    parts = (code.name, without_lines, tuple(inputs), code.results, tuple(donated), axes, machine)
    digest = hashlib.sha256()
    for part in map(repr, parts):
        digest.update(len(part).to_bytes(8, "big") + part.encode())
    return digest.hexdigest()


@dataclass
class Prebuilts:
    """What a program has, and how much of it is of use here."""

    of: dict[str, Prebuilt]
    missing: list[str] = field(default_factory=list)  # for which machines

    @classmethod
    def of_program(cls, program: Program) -> "Prebuilts":
        return cls({one.key: one for one in program.prebuilt})

    def find(
        self, code: Code, inputs: Sequence[Buffer], donated: Sequence[int], axes: object, mesh: jax.sharding.Mesh
    ) -> bytes | None:
        """What XLA would make of a code for this mesh; None if that is not there."""
        if not self.of:
            return None
        machine = machine_of(mesh)
        found = self.of.get(key_of(code, inputs, donated, axes, machine))
        if found is None:
            self.missing.append(machine)
            return None
        return found.content

    def tell(self) -> None:
        """Say what is compiled although the program has executables."""
        if self.missing:
            has = "; ".join(sorted({one.machine for one in self.of.values()}))
            here = "; ".join(sorted(set(self.missing)))
            what = "%d fragments are compiled here: the program has executables for %s, not for %s"
            log.warning(what, len(self.missing), has, here)
