"""The text of a pass pipeline. It does not know which passes there are, or what options they take."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from atoll.compiler.errors import AtollError, UsageError
from atoll.compiler.text.language import Language, Place, Reader, shown
from lark import Token, v_args
from lark.tree import Meta

_LANGUAGE = Language(
    name="pass pipeline",
    grammar=Path(__file__).with_name("pipeline_text.lark"),
    error=UsageError,
    terminals={
        "NAME": "a name",
        "OPERATION": "an operation's name",
        "WORD": "a word",
        "ITEM": "a word",
        "STRING": "a string in double quotes",
    },
)

# The terminals of pipeline_text.lark.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_OPERATION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")
_WORD = re.compile(r'[^\s{}\[\]"=,]+(,[^\s{}\[\]"=,]+)*')
_ITEM = re.compile(r'[^\s{}\[\]"=,]+')


@dataclass(frozen=True)
class Option:
    """One option of a pass. A list in brackets is a tuple; what the value means depends on the pass."""

    name: str
    value: str | tuple[str, ...]
    place: Place | None = field(default=None, compare=False, repr=False)
    value_place: Place | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_name("an option", self.name, _NAME, self.place)

    @property
    def value_text(self) -> str:
        """The value as it is written."""
        if isinstance(self.value, str):
            return _written(self.value, _WORD)
        return f"[{', '.join(_written(item, _ITEM) for item in self.value)}]"

    def fault(self, what: str, remedy: str = "") -> AtollError:
        """The error to raise for a fault of this option."""
        return _fault(self.place, what, remedy)

    def value_fault(self, what: str, remedy: str = "") -> AtollError:
        """The error to raise for a fault of this option's value."""
        return _fault(self.value_place, what, remedy)

    def __str__(self) -> str:
        return f"{self.name}={self.value_text}"


@dataclass(frozen=True)
class PassText:
    """A pass and its options."""

    name: str
    options: tuple[Option, ...] = ()
    place: Place | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_name("a pass", self.name, _NAME, self.place)
        seen = set()
        for option in self.options:
            if option.name in seen:
                raise option.fault(f"{self.name}: option {option.name} is there twice", "write each option once")
            seen.add(option.name)

    def fault(self, what: str, remedy: str = "") -> AtollError:
        """The error to raise for a fault of this pass."""
        return _fault(self.place, what, remedy)

    def __str__(self) -> str:
        return f"{self.name}{{{' '.join(map(str, self.options))}}}" if self.options else self.name


@dataclass(frozen=True)
class Nested:
    """Passes that run on each operation of a kind in the module, as `func.func(cse)` does."""

    operation: str
    passes: tuple[PassText, ...]
    place: Place | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_name("an operation", self.operation, _OPERATION, self.place)
        if not self.passes:
            raise self.fault(f"{self.operation} has no passes", "write at least one in the parentheses")

    def fault(self, what: str, remedy: str = "") -> AtollError:
        """The error to raise for a fault of this group of passes."""
        return _fault(self.place, what, remedy)

    def __str__(self) -> str:
        return f"{self.operation}({_commas(self.passes)})"


@dataclass(frozen=True)
class PipelineText:
    """Passes in the order in which they run."""

    elements: tuple[PassText | Nested, ...]

    @classmethod
    def parse(cls, text: str) -> "PipelineText":
        """The pipeline that a text writes. An empty text has no passes."""
        parsed: PipelineText = _Reader(_LANGUAGE.source(text)).read()
        return parsed

    def __str__(self) -> str:
        """A text that parses to an equal pipeline."""
        return _commas(self.elements)


def _fault(place: Place | None, what: str, remedy: str) -> AtollError:
    """The error to raise; an element made in Python has no place to show."""
    return UsageError(what, remedy=remedy) if place is None else place.fault(what, remedy)


def _check_name(what: str, name: str, pattern: re.Pattern[str], place: Place | None) -> None:
    if not pattern.fullmatch(name):
        raise _fault(place, f"{shown(name)} cannot be the name of {what}", "use letters, digits, '_' and '-'")


def _written(value: str, bare: re.Pattern[str]) -> str:
    return value if bare.fullmatch(value) and value.isprintable() else json.dumps(value)


def _commas(elements: Iterable[PassText | Nested]) -> str:
    return ", ".join(map(str, elements))


@v_args(inline=True)
class _Reader(Reader):
    def start(self, *elements: PassText | Nested | None) -> PipelineText:
        return PipelineText(tuple(element for element in elements if element is not None))  # None: an empty text

    def pass_text(self, name: Token, options: tuple[Option, ...] | None) -> PassText:
        return PassText(str(name), options or (), self.at(name))

    def nested(self, operation: Token, *passes: PassText) -> Nested:
        return Nested(str(operation), passes, self.at(operation))

    def options(self, *options: Option) -> tuple[Option, ...]:
        return options

    def option(self, name: Token, placed: tuple[Place, str | tuple[str, ...]]) -> Option:
        value_place, value = placed
        return Option(str(name), value, self.at(name), value_place)

    def word(self, token: Token) -> tuple[Place, str]:
        return self.at(token), str(token)

    def quoted(self, token: Token) -> tuple[Place, str]:
        return self.at(token), self.string(token)

    @v_args(inline=True, meta=True)
    def items(self, meta: Meta, *items: tuple[Place, str] | None) -> tuple[Place, tuple[str, ...]]:
        return self.at(meta), tuple(item[1] for item in items if item is not None)  # None: an empty list
