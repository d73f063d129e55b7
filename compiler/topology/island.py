"""An island: a named group of devices with one mesh."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.compiler.errors import TopologyError
from atoll.compiler.text.language import known_names, shown
from atoll.compiler.text.quantities import MEMORY, amount_text, whole_number

if TYPE_CHECKING:
    import jax

# The number of dimensions of a TPU slice's torus or mesh, by generation.
PHYSICAL_RANK = {"v4": 3, "v5e": 2, "v5p": 3, "v6e": 2, "tpu7x": 3}
ISLAND_KINDS = ("cpu", "gpu", *PHYSICAL_RANK)

# Where jax has more than one device for a chip. (A v4 or v5p chip has two cores, which it runs as one device.)
_DEVICES_PER_CHIP = {"tpu7x": 2}

MOST_DEVICES = 2**31  # of one island: a device's number must fit 32 bits in Shardy and XLA
ONLY_AXIS = "devices"  # the name of the axis of an island whose axes were not named

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")  # as in topology.lark
_EXAMPLE = {2: "4x4", 3: "2x2x4"}

# What JAX calls a TPU generation in `Device.device_kind`.
_TPU_KINDS = {
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5e": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "TPU v6e": "v6e",
    "TPU7x": "tpu7x",
}
_GPU_PLATFORMS = ("gpu", "cuda", "rocm")


def check_name(what: str, name: object) -> None:
    """Raises TopologyError unless the name can be written in a topology text."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        remedy = "names are letters, digits, '_', '.' and '-', and begin with a letter or '_'"
        raise TopologyError(f"{shown(name)} cannot be {what}", remedy=remedy)


@dataclass(frozen=True)
class Axis:
    """One axis of an island's mesh."""

    name: str
    size: int

    def __post_init__(self) -> None:
        check_name("the name of an axis", self.name)
        size = whole_number(f"axis {self.name!r}", self.size, TopologyError, most=MOST_DEVICES)
        object.__setattr__(self, "size", size)

    def __str__(self) -> str:
        return f"{self.name}={self.size}"


@dataclass(frozen=True)
class Island:
    """A group of devices with a fast interconnect and one mesh over it.

    shape: for a TPU slice, how many chips lie along each physical dimension; a chip of some generations is several
        devices. None if it is not known, as for a mesh of real devices; such an island runs, but cannot be compiled
        for ahead of time.
    memory: the bytes that a device may use, or None for all it has.
    processes: how many processes share its devices equally, where islands have processes of their own.
    """

    name: str
    kind: str
    axes: tuple[Axis, ...]
    shape: tuple[int, ...] | None = None
    memory: int | None = None
    processes: int = 1

    def __post_init__(self) -> None:
        check_name("the name of an island", self.name)
        if not isinstance(self.kind, str) or self.kind not in ISLAND_KINDS:
            raise TopologyError(f"unknown kind {shown(self.kind)}", remedy=known_names(str(self.kind), ISLAND_KINDS))
        self._check_axes()
        if self.shape is not None:
            self._check_shape(self.shape)
        if self.memory is not None:
            whole_number("the memory of a device", self.memory, TopologyError)
        self._check_processes()

    def _check_axes(self) -> None:
        if not self.axes:
            raise TopologyError("an island needs at least one axis", remedy="write for example cpu[4]")
        seen = set()
        for axis in self.axes:
            if not isinstance(axis, Axis):
                raise TopologyError(f"{shown(axis)} is no axis", remedy='write for example Axis("data", 2)')
            if axis.name in seen:
                raise TopologyError(f"axis {axis.name!r} is there twice", remedy="give each axis its own name")
            seen.add(axis.name)
        device_count(axis.size for axis in self.axes)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        rank = PHYSICAL_RANK.get(self.kind)
        if rank is None:
            remedy = f"write {self.kind}[4], or name the axes: {self.kind}[data=2, model=2]"
            raise TopologyError(f"{self.kind} has no physical shape", remedy=remedy)
        if len(shape) != rank:
            what = f"the physical shape of {self.kind} has {rank} dimensions, not {len(shape)}"
            raise TopologyError(what, remedy=f"write for example {self.kind}[{_EXAMPLE[rank]}]")
        for extent in shape:
            whole_number("a physical dimension", extent, TopologyError, most=MOST_DEVICES)
        devices = devices_of_slice(self.kind, shape)
        if devices != self.size:
            what = f"the physical shape has {devices} devices, the logical mesh {self.size}"
            per_chip = _DEVICES_PER_CHIP.get(self.kind, 1)
            each = "" if per_chip == 1 else f", {per_chip} for each chip of {self.kind}"
            raise TopologyError(what + each, remedy="make the products equal")

    def _check_processes(self) -> None:
        whole_number("the number of processes", self.processes, TopologyError, most=MOST_DEVICES)
        if self.size % self.processes:
            what = f"{self.processes} processes cannot share {self.size} devices equally"
            raise TopologyError(what, remedy="write a number of processes that divides the number of devices")

    @property
    def size(self) -> int:
        """The number of devices."""
        return device_count(axis.size for axis in self.axes)

    @property
    def device_text(self) -> str:
        """What the island is made of, as a topology text says it: `cpu[data=2, model=2] 2 GiB in 2 processes`."""
        names = tuple(axis.name for axis in self.axes)
        axes = ", ".join(str(axis) for axis in self.axes)
        if self.shape is not None:
            text = f"{self.kind}[{'x'.join(map(str, self.shape))}]"
            text += "" if names == (ONLY_AXIS,) else f"({axes})"
        elif names == (ONLY_AXIS,) and self.kind not in PHYSICAL_RANK:
            text = f"{self.kind}[{self.size}]"
        else:
            text = f"{self.kind}[{axes}]"  # a TPU without a physical shape names even the one axis: v4[devices=8]
        text += "" if self.memory is None else f" {amount_text(self.memory, MEMORY)}"
        return text if self.processes == 1 else f"{text} in {self.processes} processes"


def device_count(sizes: Iterable[int]) -> int:
    """The product of the sizes; TopologyError if that is more devices than an island can have."""
    product = 1
    for size in sizes:
        product *= size
        # Checked in the loop: the product of very many axes would take for ever to compute.
        if product > MOST_DEVICES:
            raise TopologyError(f"an island has at most {MOST_DEVICES} devices", remedy="use more islands")
    return product


def devices_of_slice(kind: str, shape: Iterable[int]) -> int:
    """How many devices a slice has with so many chips along each physical dimension; of other kinds, their product."""
    return device_count((*shape, _DEVICES_PER_CHIP.get(kind, 1)))


def island_of_mesh(name: str, mesh: "jax.sharding.Mesh") -> Island:
    """The island for a mesh of real devices."""
    kinds = {_kind(device) for device in mesh.devices.flat}
    if len(kinds) != 1:
        what = f"island {shown(name)} has devices of {len(kinds)} kinds: {', '.join(sorted(kinds)) or 'it is empty'}"
        raise TopologyError(what, remedy="make each island of devices of one kind")
    axes = tuple(Axis(str(axis), size) for axis, size in mesh.shape.items())
    return Island(name, kinds.pop(), axes)


def _kind(device: "jax.Device") -> str:
    if device.platform == "cpu":
        return "cpu"
    if device.platform in _GPU_PLATFORMS:
        return "gpu"
    if device.device_kind in _TPU_KINDS:
        return _TPU_KINDS[device.device_kind]
    what = f"device {shown(device)} is of unknown kind {shown(device.device_kind)}"
    raise TopologyError(what, remedy=f"known are {', '.join(ISLAND_KINDS)}")
