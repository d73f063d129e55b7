"""Which operations a plan has done for each microbatch alone: by their scopes, as jax wrote them."""

from dataclasses import dataclass, field
from typing import Any

from atoll.compiler.errors import CompileError, PlanError
from atoll.compiler.export.alone.pairs import blocks_of, line_of
from atoll.compiler.mlir.bindings import lines_of
from atoll.compiler.module.notes import AloneScope, Note, SourcePlace
from atoll.compiler.module.scopes import Role, read_scope
from atoll.compiler.plan.scope_patterns import ScopePatterns, listed
from atoll.compiler.plan.stage_text import StageText
from atoll.compiler.tracebacks import is_library

_Equation = Any  # of jax
NameStack = Any  # of jax; None if it is empty


@dataclass
class AloneScopes:
    """The patterns, and what was found to be in them.

    text: the patterns, as the plan has them.
    scopes: all that the function has.
    found: for each scope with such operations which they are, and in `places` where the first of them is.
    """

    text: str
    scopes: dict[str, None] = field(default_factory=dict)
    found: dict[str, set[int]] = field(default_factory=dict)
    places: dict[str, SourcePlace | None] = field(default_factory=dict)
    _patterns: ScopePatterns = field(init=False)
    _touched: dict[tuple[int, str], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._patterns = ScopePatterns(StageText.parse(self.text).stages)

    def has(self, equation: _Equation, stack: NameStack) -> bool:
        """Whether an operation is in one of them. stack: of the blocks around it."""
        scope = read_scope(_joined(stack, equation))
        return self._patterns.stage_of(scope.path) is not None

    def reaches(self, equation: _Equation, stack: NameStack) -> bool:
        """Whether an operation is in one of them, or has some that is in its blocks."""
        key = (id(equation), str(stack))
        if key not in self._touched:
            own = stack_of(stack, equation)
            inner = (
                self.reaches(one, own) for block in blocks_of(equation) for one in getattr(block, "jaxpr", block).eqns
            )
            self._touched[key] = self.has(equation, stack) or any(inner)
        return self._touched[key]

    def is_way_back(self, equation: _Equation, stack: NameStack) -> bool:
        """Whether an operation stands on the way back of a gradient."""
        return read_scope(_joined(stack, equation)).role is Role.BACKWARD

    def see(self, equation: _Equation, stack: NameStack) -> None:
        """Remember a scope that the function has."""
        path = read_scope(_joined(stack, equation)).path
        self.scopes.update(("/".join(path[:end]), None) for end in range(1, len(path) + 1))

    def count(self, equation: _Equation, stack: NameStack) -> None:
        """Count an operation that is done for each microbatch alone; CompileError if that has no meaning."""
        text = _joined(stack, equation)
        scope = read_scope(text)
        if scope.role is not Role.REMATERIALISED and (text.count("transpose(") > 1 or "jvp(transpose(" in text):
            what = f"{equation.primitive} is in a gradient of a gradient, through what per_microbatch has done alone"
            raise CompileError(what, line_of(equation), "take the second gradient of what is outside of that scope")
        name = "/".join(scope.path)
        self.found.setdefault(name, set()).add(id(equation))  # a loop may be run several times until it is known
        if name not in self.places:
            lines = [one for one in lines_of(equation) if not is_library(one[0])]
            self.places[name] = SourcePlace(*lines[0]) if lines else None

    def check_found(self) -> None:
        """PlanError for a pattern in which nothing is."""
        for pattern in self._patterns.stages[0]:
            if pattern not in self._patterns.matched:
                what = f"pattern {pattern} of per_microbatch matches no scope"
                raise PlanError(what, "plan", f"the program's scopes are {listed(list(self.scopes))}")

    def notes(self) -> list[Note]:
        """What to tell of each scope."""
        return [Note(AloneScope(name, len(found)), self.places[name]) for name, found in self.found.items()]


def stack_of(stack: NameStack, equation: _Equation) -> NameStack:
    """The name stack of what is in an operation's blocks."""
    own = equation.source_info.name_stack
    return own if stack is None else stack + own


def _joined(stack: NameStack, equation: _Equation) -> str:
    return f"{stack_of(stack, equation)}/{equation.primitive}"
