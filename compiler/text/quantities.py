"""Counts, and amounts with units, all exact."""

import operator
from collections.abc import Mapping
from fractions import Fraction

from atoll.compiler.errors import AtollError

LARGEST = 2**63 - 1  # what the program file and StableHLO can hold

_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KiB": 2**10,
    "MB": 10**6,
    "MiB": 2**20,
    "GB": 10**9,
    "GiB": 2**30,
    "TB": 10**12,
    "TiB": 2**40,
}

MEMORY: Mapping[str, int] = _BYTES
BANDWIDTH: Mapping[str, int] = {f"{unit}/s": size for unit, size in _BYTES.items()}
OPERATIONS: Mapping[str, int] = {"op/s": 1, "kop/s": 10**3, "Mop/s": 10**6, "Gop/s": 10**9, "Top/s": 10**12}
LATENCY: Mapping[str, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}

Units = Mapping[str, int]  # each unit's size in the smallest one; that comes first


def whole_number(what: str, value: object, error: type[AtollError], least: int = 1, most: int = LARGEST) -> int:
    """The value as an int, also if it is numpy's; raises the error if it is no whole number or out of bounds."""
    # To Python True is an int, but nobody who writes it means a number.
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise error(f"{what} must be a whole number, not {type(value).__name__}")
    try:
        number = operator.index(value)  # type: ignore[arg-type] # an array has __index__ and may still refuse
    except TypeError:
        raise error(f"{what} must be a whole number, not {type(value).__name__}") from None
    if number < least:
        raise error(f"{what} is too small", remedy=f"it must be at least {least}")
    if number > most:
        raise error(f"{what} is too large", remedy=f"it must be at most {most}")
    return number


def exact_amount(number: str, unit: str, units: Units) -> int:
    """The amount in the smallest unit; ValueError if it is not a whole number of those.

    The unit must be one of the units, and the number digits with or without a point.
    """
    amount = Fraction(number) * units[unit]
    if amount.denominator != 1:
        raise ValueError(f"{number} {unit} is not a whole number of {next(iter(units))}")
    return amount.numerator


def amount_text(amount: int, units: Units) -> str:
    """The amount in the largest unit that needs no fraction; nothing is nothing of the smallest."""
    unit = _exact_unit(amount, units)
    return f"{amount // units[unit]} {unit}"


def enough_text(amount: int, limit: int, units: Units) -> str:
    """An amount beside a limit, in the unit that `amount_text` has for that: not less, by a tenth of it at most."""
    unit = _exact_unit(limit, units)
    if units[unit] == 1:
        return f"{amount} {unit}"
    tenths = -(-10 * amount // units[unit])
    return f"{tenths // 10}.{tenths % 10} {unit}"


def _exact_unit(amount: int, units: Units) -> str:
    exact = (name for name in units if amount % units[name] == 0)
    return max(exact, key=lambda name: units[name]) if amount else next(iter(units))


def bytes_text(count: int) -> str:
    """A number of bytes for people: rounded, with a unit."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def seconds_text(seconds: float) -> str:
    """A time for people: rounded, with a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def count_text(count: int) -> str:
    """A number of operations for people: rounded, with a letter for its thousands."""
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)
