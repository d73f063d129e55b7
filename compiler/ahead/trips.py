"""How often a loop of HLO runs, where the text tells."""

import re

from atoll.compiler.ahead.hlo_text import Computation, Hlo, Instruction

_KNOWN = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_ELEMENT = re.compile(r"index=(\d+)")
_HANDED_ON = frozenset(("copy", "bitcast", "convert"))


def trips_of(hlo: Hlo, around: Computation, loop: Instruction) -> int | None:
    """The trips of a `while` that stands in a computation: as the compiler notes them, or of a counter that is seen
    to begin at a constant, to grow by one, and to be compared with another; None if neither."""
    if noted := _KNOWN.search(loop.attributes):
        return int(noted[1])
    condition, body = (hlo.computations[loop.attribute(name).lstrip("%")] for name in ("condition", "body"))
    begin = around.instructions[loop.operands[0]]
    test = condition.root
    if begin.opcode != "tuple" or test.opcode != "compare" or test.attribute("direction") != "LT":
        return None
    counter, bound = (_origin(condition, name) for name in test.operands)
    number = _element(counter)
    if number is None:
        return None
    first = _constant(_origin(around, begin.operands[number]))
    last = _constant(bound)
    if last is None and (of := _element(bound)) is not None and _is_kept(body, of):
        last = _constant(_origin(around, begin.operands[of]))
    if first is None or last is None or _growth(body, number) != 1:
        return None
    return max(0, last - first)


def _origin(inside: Computation, name: str) -> Instruction:
    """What a value is, before it was copied."""
    one = inside.instructions[name]
    return _origin(inside, one.operands[0]) if one.opcode in _HANDED_ON else one


def _constant(one: Instruction) -> int | None:
    return int(one.literal) if one.opcode == "constant" and re.fullmatch(r"-?\d+", one.literal) else None


def _element(one: Instruction) -> int | None:
    """Which element of a tuple it is."""
    found = _ELEMENT.search(one.attributes) if one.opcode == "get-tuple-element" else None
    return int(found[1]) if found else None


def _is_kept(body: Computation, number: int) -> bool:
    """Whether a loop hands on an element as it is."""
    return body.root.opcode == "tuple" and _element(_origin(body, body.root.operands[number])) == number


def _growth(body: Computation, number: int) -> int | None:
    """By how much an element grows in each iteration."""
    if body.root.opcode != "tuple":
        return None
    grown = _origin(body, body.root.operands[number])
    if grown.opcode != "add":
        return None
    parts = [_origin(body, name) for name in grown.operands]
    kept = [one for one in parts if _element(one) == number]
    steps = [step for one in parts if (step := _constant(one)) is not None]
    return steps[0] if kept and steps else None
