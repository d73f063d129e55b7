"""What atoll's small languages share: a lark grammar, read when first needed, and errors that point at the text."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from atoll.compiler.errors import AtollError
from atoll.compiler.source_line import marked
from lark import Lark, Token, Transformer, Tree, UnexpectedCharacters, UnexpectedToken
from lark.exceptions import VisitError
from lark.lexer import PatternStr
from lark.parsers.lalr_interactive_parser import InteractiveParser
from lark.tree import Meta

WORD_WIDTH = 40  # the most characters that a message shows of a word: a text may be one huge line

LISTED = 20  # names; a topology may have thousands of islands

# No count in any of the languages needs more digits, and int() refuses more than 4300 with an error of its own.
MOST_DIGITS = 30

_WORD = re.compile(r"\w[\w.-]*|.", re.DOTALL)  # what a message calls unexpected
_FOUND = {"\n": "unexpected end of the line", '"': "a string is not closed, or not expected here"}

END = "$END"  # lark's name for the end of the text


def shown(word: object) -> str:
    """The word quoted for a message: short, on one line, and printable, whatever is in it."""
    text = str(word)
    return repr(text if len(text) <= WORD_WIDTH else text[: WORD_WIDTH - 3] + "...")


def of_wrong_type(value: object) -> str:
    """A value that is of another type than asked for, as the user wrote it, and that type: `3, of type int`."""
    if value is None:
        return "None"
    text = " ".join(repr(value).split())
    text = text if len(text) <= WORD_WIDTH else text[: WORD_WIDTH - 3] + "..."
    return f"{text}, of type {type(value).__name__}"


def known_names(word: object, known: Iterable[str]) -> str:
    """The remedy for an unknown name: it suggests the nearest known one, if any is near, and lists them."""
    names = list(known)
    if not names:
        return "there are none"
    listing = f"known are {', '.join(names[:LISTED])}" + (f" and {len(names) - LISTED} more" if names[LISTED:] else "")
    # Regardless of case, so that GIB finds GiB before GB.
    by_lower = {name.lower(): name for name in names}
    nearest = difflib.get_close_matches(str(word)[:WORD_WIDTH].lower(), by_lower, n=1)
    return f"did you mean {by_lower[nearest[0]]!r}? {listing}" if nearest else listing


@dataclass(frozen=True)
class Language:
    """A grammar, and the words for its errors.

    name: what the user calls such a text, as in "topology text".
    grammar: the `.lark` file.
    error: the class of all errors that a text of this language can cause.
    terminals: for each terminal that is a regular expression, what a user calls it.
    """

    name: str
    grammar: Path
    error: type[AtollError]
    terminals: Mapping[str, str] = field(hash=False)

    @cached_property
    def lark(self) -> Lark:
        """The parser. LALR, whose stack is a list: no nesting in a text can exhaust Python's."""
        return Lark(self.grammar.read_text(encoding="utf-8"), parser="lalr", propagate_positions=True)

    def source(self, text: object) -> "Source":
        """The text, ready to be parsed."""
        if not isinstance(text, str):
            raise self.error(f"{self.name} must be a string, not {type(text).__name__}")
        return Source(self, text)

    def parse(self, text: object) -> Tree[Token]:
        """The tree of a text."""
        return self.source(text).tree()

    def human_name(self, terminal: str) -> str:
        """What a user calls a terminal: its own characters if there is only one way to write it."""
        if terminal == END:
            return "the end of the text"
        if terminal in self.terminals:
            return self.terminals[terminal]
        pattern = self.lark.get_terminal(terminal).pattern
        return f"'{pattern.value}'" if isinstance(pattern, PatternStr) else terminal


@dataclass(frozen=True)
class Source:
    """One text of a language."""

    language: Language
    text: str

    def tree(self) -> Tree[Token]:
        """The tree of the text; raises the language's error at the first place that cannot be read."""
        # Fed token by token, because the parser can then say exactly what it would have accepted; the sets in lark's
        # exceptions also have terminals that are allowed only in other contexts.
        parser = self.language.lark.parse_interactive(self.text)
        try:
            parser.exhaust_lexer()
            tree: Tree[Token] = parser.feed_eof()  # type: ignore[no-untyped-call] # lark's
        except UnexpectedCharacters as fault:
            raise self._unexpected(fault.pos_in_stream or 0, _accepted(parser)) from None
        except UnexpectedToken as fault:
            token: Token = fault.token
            if token.type == END:
                place = self.at(len(self.text.rstrip()))
                raise place.fault("unexpected end of the text", self._expected(_accepted(parser))) from None
            raise self._unexpected(token.start_pos or 0, _accepted(parser)) from None
        return tree

    def _unexpected(self, offset: int, accepted: set[str]) -> AtollError:
        # Not lark's token: one that does not belong here can reach far beyond the word that is at fault.
        match = _WORD.match(self.text, offset)
        word = match[0] if match else ""
        found = _FOUND.get(word, f"unexpected {shown(word)}")
        return self.at(offset).fault(found, self._expected(accepted))

    def _expected(self, accepted: set[str]) -> str:
        names = sorted({self.language.human_name(terminal) for terminal in accepted})
        return f"expected {'one of: ' if len(names) > 1 else ''}{', '.join(names)}"

    def at(self, where: int | Token | Meta) -> "Place":
        """The place of an offset, of a token, or of what a rule read, as described by its `Meta`."""
        return Place(self, where if isinstance(where, int) else where.start_pos or 0)


def _accepted(parser: InteractiveParser) -> set[str]:
    terminals: set[str] = parser.accepts()  # type: ignore[no-untyped-call] # lark's
    return terminals


@dataclass(frozen=True)
class Place:
    """A place in a text. What is read from a text keeps its place, so that later checks can point there too."""

    source: Source
    offset: int

    @property
    def line(self) -> int:
        """The number of the line, from 1."""
        return self.source.text.count("\n", 0, self.offset) + 1

    @property
    def column(self) -> int:
        """The number of the character in its line, from 1."""
        return self.offset - self._line_start + 1

    @property
    def _line_start(self) -> int:
        return self.source.text.rfind("\n", 0, self.offset) + 1

    @property
    def excerpt(self) -> str:
        """The line with a caret under the place; only what is near the place if the line is long."""
        line = self.source.text[self._line_start :].partition("\n")[0]
        return marked(line, self.column - 1, self.column)

    def fault(self, what: str, remedy: str = "") -> AtollError:
        """The error to raise for a fault here."""
        language = self.source.language
        where = f"{language.name}, line {self.line}, column {self.column}"
        return language.error(what, where, remedy, self.excerpt)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Gives this place to an error of the language that is raised inside without one, such as a constructor's."""
        try:
            yield
        except self.source.language.error as fault:
            if fault.excerpt:  # it has a more exact place already
                raise
            raise self.fault(fault.what, fault.remedy) from None


class Reader(Transformer[Token, Any]):
    """Makes values from trees; a subclass has a method for each rule of its grammar."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    def read(self) -> Any:  # noqa: ANN401 (what the method of the rule `start` returns)
        """The value of the text."""
        try:
            return self.transform(self.source.tree())
        except VisitError as wrapper:
            raise wrapper.orig_exc from None

    def at(self, where: int | Token | Meta) -> Place:
        """The place of an offset, of a token, or of what a rule read."""
        return self.source.at(where)

    def whole(self, token: Token) -> int:
        """The number that a token writes."""
        if len(token) > MOST_DIGITS:
            raise self.at(token).fault(f"the number has {len(token)} digits", f"write at most {MOST_DIGITS}")
        return int(token)

    def string(self, token: Token) -> str:
        """The string that a token writes as JSON."""
        try:
            return str(json.loads(token))
        except json.JSONDecodeError as fault:
            place = self.at((token.start_pos or 0) + min(fault.pos, len(token) - 1))
            raise place.fault(f"bad string: {fault.msg}", "strings are written as in JSON") from None
