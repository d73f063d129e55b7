"""The function as jax traces it for the whole batch, beside the same for the examples of one microbatch.

Both have to be the same operations on the same values. Then whatever depends on the number of examples, such as the
divisor of a mean, is what jax itself makes of it for so many: nothing is guessed from a number in the program.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
from atoll.compiler.errors import CompileError
from atoll.compiler.mlir.bindings import is_literal, lines_of
from atoll.compiler.tracebacks import is_library

_Jaxpr = Any  # of jax, which has no public types for what is inside
_Equation = Any


@dataclass(frozen=True)
class TracedPair:
    """A block of operations, for the whole batch and for one microbatch, and the values that each has as constants."""

    whole: _Jaxpr
    own: _Jaxpr
    whole_constants: Sequence[Any] = ()
    own_constants: Sequence[Any] = ()

    def equations(self) -> Iterator[tuple[_Equation, _Equation]]:
        """The operations side by side; CompileError where they differ."""
        whole, own, known = self.whole.eqns, self.own.eqns, _Known()
        known.add(self.whole.constvars, self.own.constvars)
        known.add(self.whole.invars, self.own.invars)
        for one, other in zip(whole, own, strict=False):
            if one.primitive is not other.primitive or not known.are_alike(one.invars, other.invars):
                raise _another(one)
            known.add(one.outvars, other.outvars)
            yield one, other
        if len(whole) != len(own):
            raise _another(max(whole, own, key=len)[min(len(whole), len(own))])
        if not known.are_alike(self.whole.outvars, self.own.outvars):
            raise _another(whole[-1] if whole else None)

    def within(self, one: _Equation, other: _Equation) -> "list[TracedPair]":
        """The blocks in an operation."""
        found = zip(blocks_of(one), blocks_of(other), strict=False)
        return [
            TracedPair(
                getattr(a, "jaxpr", a), getattr(b, "jaxpr", b), getattr(a, "consts", ()), getattr(b, "consts", ())
            )
            for a, b in found
        ]


@dataclass
class _Known:
    """Which values of the one are which of the other."""

    values: dict[Any, Any] = field(default_factory=dict)

    def add(self, whole: Sequence[Any], own: Sequence[Any]) -> None:
        self.values.update(zip(whole, own, strict=False))

    def are_alike(self, whole: Sequence[Any], own: Sequence[Any]) -> bool:
        return len(whole) == len(own) and all(map(self._is_alike, whole, own))

    def _is_alike(self, one: Any, other: Any) -> bool:  # noqa: ANN401 (a value or a literal of jax's)
        if is_literal(one) or is_literal(other):
            return is_literal(one) and is_literal(other)
        return self.values.get(one) is other


def blocks_of(equation: _Equation) -> list[Any]:
    """The blocks that an operation has as parameters, closed or not."""
    found = []
    for _, value in sorted(equation.params.items()):
        for one in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(one, "eqns") or hasattr(getattr(one, "jaxpr", None), "eqns"):
                found.append(one)
    return found


def line_of(equation: _Equation) -> str:
    """The user's line that an operation comes from."""
    return next((f"{file}:{line}" for file, line, _ in lines_of(equation) if not is_library(file)), "")


def _another(equation: _Equation | None) -> CompileError:
    what = "the function does something else where it is given the examples of one microbatch, as per_microbatch asks"
    remedy = "let what it does not depend on how many examples there are, or leave per_microbatch out of the plan"
    return CompileError(what, "" if equation is None else line_of(equation), remedy)


def is_float(value: Any) -> bool:  # noqa: ANN401 (a value or a literal of jax's)
    """Whether it has gradients."""
    return bool(jax.numpy.issubdtype(value.aval.dtype, jax.numpy.inexact))
