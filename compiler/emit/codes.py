"""The codes of a program while its streams are written."""

from collections.abc import Callable
from dataclasses import dataclass, field

from atoll.compiler.mlir.bindings import ir
from atoll.runtime.program import Code


@dataclass
class Codes:
    """The codes of a program, as exchanges add theirs; equal ones are there once."""

    context: ir.Context
    codes: list[Code]
    _numbers: dict[tuple[object, ...], int] = field(default_factory=dict)

    def number(self, make: Callable[..., Code], *arguments: object) -> int:
        key = (make.__name__, *arguments)
        if key not in self._numbers:
            self._numbers[key] = len(self.codes)
            self.codes.append(make(*arguments, self.context))
        return self._numbers[key]
