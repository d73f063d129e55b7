"""What a module of HLO costs each chip: its products, and what goes through its memory and to other chips.

XLA's own analysis counts the body of a loop once. Here it counts as often as the loop runs.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from math import prod

from atoll.compiler.ahead.hlo_text import Computation, Hlo, Instruction, Shape
from atoll.compiler.ahead.trips import trips_of
from atoll.compiler.cost.windows import meetings

# Move nothing: they say where something is, or what is done counts where it is begun.
_FREE = frozenset(
    ("parameter", "tuple", "get-tuple-element", "bitcast", "constant", "after-all", "opt-barrier", "partition-id")
)
_COLLECTIVES = frozenset(
    ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute")
)
_SLICES = frozenset(("dynamic-slice", "slice", "gather"))
_VIEWS = frozenset(("bitcast", "reshape"))
_UPDATE = "dynamic-update-slice"


@dataclass(frozen=True)
class HloWork:
    """Of one run, on one chip.

    flops: of products; a multiplication and an addition are two.
    hbm_bytes: read from its main memory and written to it, by all that is not fused with what makes or uses it.
    collective_bytes: that it gives to collectives; of a gather what it gets.
    unknown_loops: how many loops are counted once, as nothing tells how often they run.
    """

    flops: int = 0
    hbm_bytes: int = 0
    collective_bytes: int = 0
    unknown_loops: int = 0

    def __add__(self, other: "HloWork") -> "HloWork":
        return HloWork(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(HloWork)))

    def __mul__(self, times: int) -> "HloWork":
        return HloWork(times * self.flops, times * self.hbm_bytes, times * self.collective_bytes, self.unknown_loops)


def work_of(hlo: Hlo) -> HloWork:
    """What a run of the module costs."""
    return _Counter(hlo).computation(hlo.entry)


class _Counter:
    def __init__(self, hlo: Hlo) -> None:
        self._hlo = hlo
        self.computation = cache(self._computation)  # of this module alone: many are called from several places

    def _computation(self, name: str) -> HloWork:
        """A computation whose values are in memory."""
        inside = self._hlo.computations[name]
        return sum((self._instruction(inside, one) for one in inside.instructions.values()), HloWork())

    def _instruction(self, inside: Computation, one: Instruction) -> HloWork:
        match one.opcode:
            case "while":
                trips = trips_of(self._hlo, inside, one)
                body = sum(map(self.computation, one.called), HloWork())
                return body + HloWork(unknown_loops=1) if trips is None else body * trips
            case "conditional":
                return max(map(self.computation, one.called), key=lambda cost: (cost.flops, cost.hbm_bytes))
            case "call" | "async-start":
                return sum(map(self.computation, one.called), HloWork())
        fused = self._fused(one.called) if one.opcode == "fusion" else HloWork()
        return fused + self._own(inside, one) + HloWork(hbm_bytes=self._moved(inside, one))

    def _fused(self, names: Iterable[str]) -> HloWork:
        """The products and collectives of computations whose values never reach the main memory."""
        found = HloWork()
        for name in names:
            inside = self._hlo.computations[name]
            for one in inside.instructions.values():
                found += self._own(inside, one)
                if one.opcode == "fusion":
                    found += self._fused(one.called)
        return found

    def _own(self, inside: Computation, one: Instruction) -> HloWork:
        kind = one.opcode.removesuffix("-start")
        if kind in _COLLECTIVES:
            given = _bytes(_operands(inside, one))
            made = _bytes(one.results) - (given if one.opcode.endswith("-start") else 0)
            return HloWork(collective_bytes=made if kind == "all-gather" else given)
        return HloWork(flops=flops_of(inside, one))

    def _moved(self, inside: Computation, one: Instruction) -> int:
        """What an instruction reads from the main memory and writes to it."""
        if one.opcode in _FREE or one.opcode.endswith("-done"):
            return 0
        if one.opcode == "fusion":
            (name,) = one.called
            body = self._hlo.computations[name]
            read = sum(
                self._read(body, number, shape)
                for number, shape in enumerate(_operands(inside, one))
                if not shape.space
            )
            return read + self._written(body, body.root)
        if one.opcode in _SLICES:
            return 2 * _in_main_memory(one.results)
        if one.opcode == _UPDATE:
            return 2 * _in_main_memory(_operands(inside, one)[1:2])
        results = (
            one.results[:1] if one.opcode.endswith("-start") else one.results
        )  # then come what it reads, and tokens
        return _in_main_memory(_operands(inside, one)) + _in_main_memory(results)

    def _read(self, body: Computation, number: int, whole: Shape) -> int:
        """How much of an operand a fusion reads: all of it, unless all that takes it are slices."""
        found = (one for one in body.instructions.values() if one.opcode == "parameter" and one.literal == str(number))
        parameter = next(found, None)
        return 0 if parameter is None else min(whole.bytes, self._taken(body, parameter, whole))

    def _taken(self, body: Computation, value: Instruction, whole: Shape) -> int:
        taken = 0
        for one in body.instructions.values():
            if value.name not in one.operands:
                continue
            if one.opcode in _SLICES:
                taken += _bytes(one.results)
            elif one.opcode in _VIEWS:
                taken += self._taken(body, one, whole)
            elif one.opcode == "fusion":
                inner = self._hlo.computations[one.called[0]]
                taken += self._read(inner, one.operands.index(value.name), whole)
            elif one.opcode == _UPDATE and one.operands[0] == value.name:
                continue  # what is not updated stays where it is
            else:
                return whole.bytes
        return taken

    def _written(self, body: Computation, made: Instruction) -> int:
        """How much a fusion writes: what it makes, or the part that it updates."""
        if made.opcode == "tuple":
            return sum(self._written(body, body.instructions[one]) for one in made.operands)
        if all(shape.space for shape in made.results):
            return 0
        if made.opcode in _VIEWS and made.operands[0] in body.instructions:
            return self._written(body, body.instructions[made.operands[0]])
        if made.opcode == "fusion":
            inner = self._hlo.computations[made.called[0]]
            return self._written(inner, inner.root)
        if made.opcode == _UPDATE:
            return _bytes(_operands(body, made)[1:2])
        return 0 if made.opcode == "parameter" else _bytes(made.results)


def _operands(inside: Computation, one: Instruction) -> list[Shape]:
    """The arrays that an instruction takes; a tuple is taken apart before it is used."""
    return [shape for name in one.operands for shape in inside.instructions[name].results]


def _bytes(shapes: Iterable[Shape]) -> int:
    return sum(shape.bytes for shape in shapes)


def _in_main_memory(shapes: Iterable[Shape]) -> int:
    return sum(shape.bytes for shape in shapes if not shape.space)


# Products.


def flops_of(inside: Computation, one: Instruction) -> int:
    """Of a product, which a chip's compiler writes as a convolution; of anything else 0."""
    if one.opcode == "dot":
        left = inside.instructions[one.operands[0]].results[0]
        contracted = [left.dimensions[number] for number in _numbers(one.attribute("lhs_contracting_dims"))]
        return 2 * prod(one.results[0].dimensions) * prod(contracted)
    return _flops_of_convolution(inside, one) if one.opcode == "convolution" else 0


def _flops_of_convolution(inside: Computation, one: Instruction) -> int:
    """Twice the pairs of an element of the image and one of the kernel that meet; those with padding do not count."""
    image, kernel = (inside.instructions[name].results[0].dimensions for name in one.operands)
    labels = re.split(r"_|->", one.attribute("dim_labels"))
    of_image, of_kernel, of_result = (
        dict(zip(label, shape, strict=True))
        for label, shape in zip(labels, (image, kernel, one.results[0].dimensions), strict=True)
    )
    window = _Window(one.attribute("window").strip("{}"))
    axes = sorted(label for label in of_kernel if label.isdigit())
    meetings = prod(window.meetings(number, of_image[axis], of_result[axis]) for number, axis in enumerate(axes))
    groups = int(one.attribute("feature_group_count") or 1) * int(one.attribute("batch_group_count") or 1)
    flops: int = 2 * of_image["b"] * of_image["f"] * of_kernel["o"] * meetings // groups
    return flops


class _Window:
    """The window of a convolution: `size=1x4 pad=0_0x3_3 lhs_dilate=2x1 rhs_reversal=0x1`; the rest is as usual."""

    def __init__(self, text: str) -> None:
        self._parts = dict(part.split("=") for part in text.split())

    def _part(self, name: str, number: int, usual: str) -> str:
        return self._parts[name].split("x")[number] if name in self._parts else usual

    def meetings(self, number: int, image: int, results: int) -> int:
        """Along one dimension: for how many results and elements of the window there is an element of the image."""
        size, stride = int(self._part("size", number, "1")), int(self._part("stride", number, "1"))
        low = int(self._part("pad", number, "0_0").split("_")[0])
        between, apart = (int(self._part(name, number, "1")) for name in ("lhs_dilate", "rhs_dilate"))
        return meetings(image, size, results, stride=stride, low=low, between=between, apart=apart)


def _numbers(text: str) -> Sequence[int]:
    return [int(one) for one in text.strip("{}").split(",") if one]
