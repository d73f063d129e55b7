"""Reads what XLA's compiler ends with: HLO as text, after all of its passes, in the order in which it runs."""

import re
from dataclasses import dataclass
from functools import cached_property
from math import prod

# `bf16[8,128]{1,0:T(8,128)(2,1)S(1)}`: in tiles of 8 by 128, in the memory space 1.
_SHAPE = re.compile(r"(\w+)\[([\d,<=]*)\](?:\{([\d,]*)((?::[^}]*)?)\})?")
_TILES = re.compile(r"T((?:\([\d,*]*\))+)")
_SPACE = re.compile(r"S\((\d+)\)")
_OPENING = re.compile(r"(ENTRY )?%?([\w.-]+) \(.*\{$")
_ASSIGNMENT = re.compile(r"\s+(ROOT )?%?([\w.-]+) = ")
_NAME = re.compile(r"%([\w.-]+)")
_CALLED = re.compile(r"(?:calls|to_apply|condition|body|true_computation|false_computation)=%?([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")

_BITS = re.compile(r"[a-z]+(\d+)")
_BRACKETS = re.compile(r"[()]")


@dataclass(frozen=True)
class Shape:
    """An array as it lies in a memory.

    order: its dimensions, the one whose elements are next to each other first. tiles: as the text has them.
    space: 0 is the main memory, HBM; others are on the chip.
    """

    dtype: str
    dimensions: tuple[int, ...]
    order: tuple[int, ...] = ()
    tiles: tuple[tuple[int, ...], ...] = ()
    space: int = 0

    @property
    def bits(self) -> int:
        """Of an element. Booleans take a byte; tokens and the like nothing."""
        if self.dtype == "pred":
            return 8
        found = _BITS.match(self.dtype)
        return int(found[1]) if found else 0

    @cached_property
    def bytes(self) -> int:
        """What it takes, in whole tiles."""
        extents = [self.dimensions[one] for one in self.order] or list(self.dimensions[::-1])
        if self.tiles:
            tile = self.tiles[0][::-1]
            extents += [1] * (len(tile) - len(extents))
            tile += (1,) * (len(extents) - len(tile))
            extents = [-(-extent // of) * of for extent, of in zip(extents, tile, strict=True)]
        return -(-prod(extents) * self.bits // 8)


def shapes_in(text: str) -> tuple[Shape, ...]:
    """The arrays of a type, which may be a tuple."""
    return tuple(_shape(*found.groups()) for found in _SHAPE.finditer(text))


def _shape(dtype: str, dimensions: str, order: str | None, rest: str | None) -> Shape:
    tiles, space = _TILES.search(rest or ""), _SPACE.search(rest or "")
    return Shape(
        dtype,
        tuple(int(one.lstrip("<=")) for one in dimensions.split(",") if one),
        tuple(int(one) for one in (order or "").split(",") if one),
        tuple(_tile(one) for one in tiles[1].strip("()").split(")(")) if tiles else (),
        int(space[1]) if space else 0,
    )


def _tile(text: str) -> tuple[int, ...]:
    """The extents of a tile; `*` joins a dimension to the next."""
    return tuple(int(one) for one in text.split(",") if one.isdigit())


@dataclass(frozen=True)
class Instruction:
    """One line. attributes: all that stands behind the operands."""

    name: str
    results: tuple[Shape, ...]
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    literal: str
    is_root: bool

    @property
    def called(self) -> tuple[str, ...]:
        """The computations that it runs."""
        branches = _BRANCHES.search(self.attributes)
        names = [] if branches is None else [one.strip().lstrip("%") for one in branches[1].split(",")]
        return (*_CALLED.findall(self.attributes), *names)

    def attribute(self, name: str) -> str:
        """Of an attribute `name=value` the value, up to the next comma or space outside of brackets; else empty."""
        found = re.search(rf"(?:^|[ ,]){name}=", self.attributes)
        if found is None:
            return ""
        depth, end = 0, found.end()
        for character in self.attributes[found.end() :]:
            depth += (character in "{[(") - (character in "}])")
            if depth < 0 or (depth == 0 and character in ", "):
                break
            end += 1
        return self.attributes[found.end() : end]


@dataclass(frozen=True)
class Computation:
    """Instructions by name, in order."""

    name: str
    instructions: dict[str, Instruction]

    @property
    def root(self) -> Instruction:
        return next(one for one in self.instructions.values() if one.is_root)


@dataclass(frozen=True)
class Hlo:
    """A module: its computations by name, and which of them is run.

    arguments, results: as they lie in memory, each with a shape of its own.
    """

    computations: dict[str, Computation]
    entry: str
    arguments: tuple[Shape, ...]
    results: tuple[Shape, ...]

    @classmethod
    def parse(cls, text: str) -> "Hlo":
        """The module in a text that XLA has printed."""
        computations: dict[str, Computation] = {}
        entry, inside = "", None
        head, _, body = text.partition("\n")
        for line in body.splitlines():
            if opening := _OPENING.match(line):
                inside = Computation(opening[2], {})
                computations[inside.name] = inside
                entry = inside.name if opening[1] else entry
            elif inside is not None and (made := _instruction(line)):
                inside.instructions[made.name] = made
        arguments, _, results = _entry_layout(head).partition(")->")
        return cls(computations, entry, shapes_in(arguments), shapes_in(results))


def _entry_layout(head: str) -> str:
    """`(f32[8]{0}, ...)->...` of the module's first line."""
    found = re.search(r"entry_computation_layout=\{", head)
    if found is None:
        raise ValueError("the HLO does not say how its arguments lie in memory")
    depth = 1
    for end in range(found.end(), len(head)):
        depth += (head[end] == "{") - (head[end] == "}")
        if depth == 0:
            return head[found.end() : end]
    raise ValueError("the HLO's first line does not end")


def _instruction(line: str) -> Instruction | None:
    found = _ASSIGNMENT.match(line)
    if found is None:
        return None
    rest = line[found.end() :]
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    opcode, _, behind = rest[end:].lstrip().partition("(")
    close = _closing("(" + behind, 0) - 1
    operands = behind[:close]
    return Instruction(
        name=found[2],
        results=shapes_in(rest[:end]),
        opcode=opcode,
        operands=tuple(_NAME.findall(operands)),
        attributes=behind[close + 1 :].lstrip(", "),
        literal=operands,
        is_root=bool(found[1]),
    )


def _closing(text: str, start: int) -> int:
    """Where the bracket closes that opens at `start`."""
    depth = 0
    for one in _BRACKETS.finditer(text, start):
        depth += 1 if one[0] == "(" else -1
        if depth == 0:
            return one.start()
    raise ValueError("a bracket of the HLO does not close")
