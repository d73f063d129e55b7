"""The errors a user can cause. Each says what is wrong, where, and what to do about it."""

from dataclasses import dataclass
from typing import ClassVar

from atoll.compiler.error_pages import PAGE, heading_of
from atoll.compiler.source_line import excerpt_at
from atoll.compiler.tracebacks import failing_line

# The most characters of a message: MLIR may append an operation in full, which can fill pages.
MESSAGE_WIDTH = 300


def with_article(noun: str) -> str:
    """`a list`, `an int`: what somebody gave is named by its type, whatever that is called."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


class _Place:
    """The place of an error: the one that it was given, else the user's line through which it was raised.

    So whoever raises an error about what the user has just written need not know where that is.
    """

    def __get__(self, error: "AtollError | None", _: type) -> str:
        # Of the class itself, it is what dataclasses take for the default.
        return "" if error is None else error.__dict__["_where"] or failing_line(error)

    def __set__(self, error: "AtollError", where: str) -> None:
        error.__dict__["_where"] = where


@dataclass(eq=False)
class AtollError(Exception):
    """Something that the user can put right; any other exception is a defect of atoll.

    what: what is wrong, one clause without a full stop.
    where: the place in the user's own words: `train.py:12`, `topology text, line 1, column 5`. Without any, it is the
        line of the user's through which the error came, once it was raised.
    remedy: what to do about it, one clause.
    excerpt: lines shown below the sentence, such as the offending text with a caret. Without any, it is the line that
        `where` names, if that can be read.
    """

    # The heading of the page on errors, where the part of atoll that raises it does not decide.
    heading: ClassVar[str] = "running"

    what: str
    where: _Place = _Place()
    remedy: str = ""
    excerpt: str = ""

    @property
    def sentence(self) -> str:
        """Where, what and what to do, without the lines below."""
        sentence = f"{self.where}: {self.what}" if self.where else self.what
        return f"{sentence}; {self.remedy}" if self.remedy else sentence

    @property
    def details(self) -> str:
        """The lines below the sentence."""
        return self.excerpt or excerpt_at(self.where)

    @property
    def page(self) -> str:
        """Where the documents say more of it."""
        return f"{PAGE}#{heading_of(self.__traceback__) or self.heading}"

    @property
    def message(self) -> str:
        """The sentence, and the lines below it that show what it is about."""
        return "\n".join(filter(None, (self.sentence, self.details)))

    def __str__(self) -> str:
        """The message; of an error that was raised also its page, of which it is known then which part is meant."""
        return self.message if self.__traceback__ is None else f"{self.message}\n  see {self.page}"


@dataclass(frozen=True)
class Diagnostic:
    """A complaint of MLIR or of one of our passes, as plain data that outlives the context."""

    severity: str  # error, warning, remark or note
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    notes: tuple["Diagnostic", ...] = ()

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    @property
    def sentence(self) -> str:
        """The message without the operation that MLIR may append in full, with all its regions."""
        line = self.message.strip().partition("\n")[0]
        return line if len(line) <= MESSAGE_WIDTH else line[:MESSAGE_WIDTH] + "..."

    @property
    def labelled(self) -> str:
        """`train.py:12:5: remark: ...`"""
        return self._with_notes(self.where, self.severity, self.sentence)

    def __str__(self) -> str:
        """A line for the diagnostic, and its notes indented below; without the operation that MLIR appends in full."""
        return self._with_notes(self.where, self.sentence)

    def _with_notes(self, *parts: str) -> str:
        head = ": ".join(filter(None, parts))
        notes = [f"  note: {note}" for note in self.notes if not note.message.startswith("see current operation")]
        return "\n".join([head, *notes])


@dataclass(eq=False)
class CompileError(AtollError):
    """The user's function, or IR made from it, cannot be compiled.

    diagnostics: all that was emitted on the way to this error, if it comes from IR.
    """

    diagnostics: tuple[Diagnostic, ...] = ()
    heading = "tracing"


class InternalError(CompileError):
    """A defect of atoll, told like an error of the user's, as the passes before it did what they should."""

    @property
    def page(self) -> str:
        return f"{PAGE}#defects"


class PlanError(AtollError):
    """The plan is malformed or does not fit the program."""

    heading = "plan"


class TopologyError(AtollError):
    """The topology is malformed or cannot be had on this machine."""

    heading = "topology"


class IslandLost(AtollError):  # noqa: N818 (a fixed name of the front door)
    """An island stopped answering while a program ran."""

    @property
    def page(self) -> str:
        return f"{PAGE}#lost-islands"


class UsageError(AtollError):
    """The command line asks for something that does not exist: a file, a name in it, a pass, a phase."""

    heading = "command-line"


# What Python raises for a file that cannot be read or written, and for a path that is none.
PATH_FAULTS = (OSError, TypeError, ValueError)


def path_fault(doing: str, path: object, error: Exception, remedy: str) -> UsageError:
    """The error for a path that the user gives, with which something cannot be done."""
    reason = error.strerror if isinstance(error, OSError) else error
    return UsageError(f"cannot {doing} {path}: {reason}", remedy=remedy)
