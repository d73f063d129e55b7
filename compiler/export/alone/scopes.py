"""Which operations a plan has done for each microbatch alone: by their scopes, as jax wrote them."""

from dataclasses import dataclass, field
from typing import Any

from atoll.compiler.errors import CompileError, PlanError
from atoll.compiler.export.alone.pairs import blocks_of, line_of
from atoll.compiler.mlir.bindings import lines_of
from atoll.compiler.module.notes import AloneScope, Note, SourcePlace
from atoll.compiler.module.scopes import Role, Scope, read_scope, scopes_around
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
    _read: dict[str, list[Scope]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._patterns = ScopePatterns(StageText.parse(self.text).stages)

    def has(self, equation: _Equation, stack: NameStack) -> bool:
        """Whether an operation is in one of them. stack: of the blocks around it."""
        text = _joined(stack, equation)
        if self._matching(text):
            return True
        if self._patterns.stage_of(_from_outside(text)) is not None:
            what = f"a pattern of per_microbatch has scopes on both sides of a gradient: {text}"
            raise CompileError(what, line_of(equation), "let it name the scope within the gradient, or that around it")
        return False

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
        """Whether an operation stands on the way back of a gradient. One that is taken within a scope is none: what it
        gives is of each microbatch, and no part of a sum."""
        text = _joined(stack, equation)
        matching = self._matching(text)
        outer = matching[0] if matching else read_scope(text)
        return outer.role is read_scope(text).role is Role.BACKWARD

    def is_differentiated(self, equation: _Equation, stack: NameStack) -> bool:
        """Whether a derivative goes through an operation of a scope; not one that is taken within the scope."""
        return self._matching(_joined(stack, equation))[0].role is not Role.UPDATE

    def see(self, equation: _Equation, stack: NameStack) -> None:
        """Remember a scope that the function has."""
        for scope in scopes_around(_joined(stack, equation)):
            self.scopes.update(("/".join(scope.path[:end]), None) for end in range(1, len(scope.path) + 1))

    def count(self, equation: _Equation, stack: NameStack, line: str) -> None:
        """Count an operation that is done for each microbatch alone; CompileError if that has no meaning."""
        text = _joined(stack, equation)
        if self._is_of_second_order(text):
            what = f"{equation.primitive} is in a gradient of a gradient, through what per_microbatch has done alone"
            raise CompileError(what, line, "take the second gradient of what is outside of that scope")
        name = "/".join(self._matching(text)[-1].path)
        self.found.setdefault(name, set()).add(id(equation))  # a loop may be run several times until it is known
        if name not in self.places:
            lines = [one for one in lines_of(equation) if not is_library(one[0])]
            self.places[name] = SourcePlace(*lines[0]) if lines else None

    def _matching(self, text: str) -> list[Scope]:
        """The scopes around an operation that a pattern matches, outermost first."""
        if text not in self._read:
            around = scopes_around(text)
            self._read[text] = [one for one in around if self._patterns.stage_of(one.path) is not None]
        return self._read[text]

    def _is_of_second_order(self, text: str) -> bool:
        """Whether an operation of a scope stands on the way back of one gradient and on any way of another."""
        is_back = self._matching(text)[0].role is Role.BACKWARD
        is_within = any(one.role is Role.FORWARD for one in scopes_around(text))
        return text.count("transpose(") > 1 or "jvp(transpose(" in text or (is_back and is_within)

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


def _from_outside(text: str) -> tuple[str, ...]:
    """All scopes around an operation, those that a gradient is taken within too."""
    names, before = list[str](), tuple[str, ...]()
    for scope in scopes_around(text):
        names += scope.path[len(before) :] if scope.path[: len(before)] == before else scope.path
        before = scope.path
    return tuple(names)


def _joined(stack: NameStack, equation: _Equation) -> str:
    return f"{stack_of(stack, equation)}/{equation.primitive}"
