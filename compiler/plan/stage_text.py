"""The stage text: which scopes belong to which stage."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from atoll.compiler.errors import PlanError
from atoll.compiler.text.language import Language, Place, Reader, shown
from atoll.compiler.text.quantities import whole_number
from lark import Token, v_args
from lark.tree import Meta

_LANGUAGE = Language(
    name="stage text",
    grammar=Path(__file__).with_name("stage_text.lark"),
    error=PlanError,
    terminals={"NAME": "a scope's name", "STRING": "a name in double quotes", "INT": "a whole number"},
)

_BARE = re.compile(r'[^|,/\[\]"#\s]+')  # NAME of stage_text.lark


@dataclass(frozen=True)
class Component:
    """One component of a scope path: a name, a name with an inclusive range, or a range alone.

    `layer[0..5]` means six scopes `layer0` to `layer5`, six scopes `0` to `5` in scope `layer`, or six iterations of
    the loop in it. Only the program can tell which, so the text keeps the name and the range as written. In
    `layer/[0..5]` the range is a component by itself, without a name, and means the latter two.
    """

    name: str
    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not (self.name or self.first is not None):
            raise PlanError("a scope's name is empty", remedy="write the name of a scope")
        if self.first is None and self.last is None:
            return
        first = whole_number("the first of a range", self.first, PlanError, least=0)
        last = whole_number("the last of a range", self.last, PlanError, least=0)
        if first > last:
            raise PlanError(
                f"the range {first}..{last} is empty", remedy="both ends are included; write the lower first"
            )

    def __str__(self) -> str:
        bare = not self.name or (_BARE.fullmatch(self.name) and self.name.isprintable())
        name = self.name if bare else json.dumps(self.name)
        return name if self.first is None else f"{name}[{self.first}..{self.last}]"


@dataclass(frozen=True)
class Pattern:
    """A path of components, each of which matches whole components of a scope's path."""

    components: tuple[Component, ...]

    def __post_init__(self) -> None:
        if not self.components:
            raise PlanError("a scope pattern is empty", remedy="write the name of a scope")
        if not self.components[0].name:
            remedy = f"write the scope that they are in: layers/{self.components[0]}"
            raise PlanError(f"numbers of no scope: {self.components[0]}", remedy=remedy)

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """The one pattern that a text writes."""
        stages = StageText.parse(text).stages
        if len(stages) != 1 or len(stages[0]) != 1:
            raise PlanError(f"{shown(text)} is not one scope pattern", remedy="write one pattern, without ',' or '|'")
        return stages[0][0]

    def __str__(self) -> str:
        return "/".join(str(component) for component in self.components)


@dataclass(frozen=True)
class StageText:
    """The patterns of each stage's scopes."""

    stages: tuple[tuple[Pattern, ...], ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise PlanError("there are no stages", remedy="write at least one scope pattern")
        patterns = _Patterns()
        for index, stage in enumerate(self.stages):
            if not stage:
                raise PlanError(f"stage {index} is empty", remedy="write at least one scope pattern")
            for pattern in stage:
                patterns.add(pattern)

    @classmethod
    def parse(cls, text: str) -> "StageText":
        """The stages that a text writes."""
        parsed: StageText = _Reader(_LANGUAGE.source(text)).read()
        return parsed

    def __str__(self) -> str:
        """A text that parses to equal stages."""
        return " | ".join(", ".join(str(pattern) for pattern in stage) for stage in self.stages)


class _Patterns:
    """The patterns met so far. Patterns that only overlap are found later, when the program's scopes are known."""

    def __init__(self) -> None:
        self._seen: set[Pattern] = set()

    def add(self, pattern: Pattern) -> None:
        if pattern in self._seen:
            raise PlanError(f"the pattern {shown(pattern)} is there twice", remedy="name each scope for one stage")
        self._seen.add(pattern)


@dataclass(frozen=True)
class _PlacedPattern:
    place: Place
    pattern: Pattern


@v_args(inline=True)
class _Reader(Reader):
    def start(self, *stages: tuple[_PlacedPattern, ...]) -> StageText:
        patterns = _Patterns()
        for placed in (placed for stage in stages for placed in stage):
            with placed.place.blamed():
                patterns.add(placed.pattern)
        return StageText(tuple(tuple(placed.pattern for placed in stage) for stage in stages))

    def stage(self, *patterns: _PlacedPattern) -> tuple[_PlacedPattern, ...]:
        return patterns

    @v_args(inline=True, meta=True)
    def pattern(self, meta: Meta, *components: Component) -> _PlacedPattern:
        return _PlacedPattern(self.at(meta), Pattern(components))

    @v_args(inline=True, meta=True)
    def component(self, meta: Meta, name: str, first: Token | None, last: Token | None) -> Component:
        with self.at(meta).blamed():
            return Component(
                name,
                None if first is None else self.whole(first),
                None if last is None else self.whole(last),
            )

    @v_args(inline=True, meta=True)
    def numbers(self, meta: Meta, first: Token, last: Token) -> Component:
        with self.at(meta).blamed():
            return Component("", self.whole(first), self.whole(last))

    def bare(self, token: Token) -> str:
        return str(token)

    def quoted(self, token: Token) -> str:
        return self.string(token)
