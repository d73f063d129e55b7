"""The errors a user can cause. Each says what is wrong, where, and what to do about it."""

from dataclasses import dataclass

# An operation in full can fill pages.
MESSAGE_WIDTH = 300


@dataclass(eq=False)
class AtollError(Exception):
    """Something the user can put right; everything else that is raised is a defect of atoll.

    what: what is wrong, one clause without a full stop.
    where: the place in the user's own words: `train.py:12`, `topology text, line 1, column 5`.
    remedy: what to do about it, one clause.
    excerpt: lines shown below the sentence, such as the offending text with a caret.
    """

    what: str
    where: str = ""
    remedy: str = ""
    excerpt: str = ""

    def __str__(self) -> str:
        sentence = f"{self.where}: {self.what}" if self.where else self.what
        if self.remedy:
            sentence += f"; {self.remedy}"
        return f"{sentence}\n{self.excerpt}" if self.excerpt else sentence


@dataclass(frozen=True)
class Diagnostic:
    """What MLIR or one of our passes complains about, as plain data that outlives the context."""

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
        """The message without the operation that MLIR may append in full, regions and all."""
        line = self.message.strip().partition("\n")[0]
        return line if len(line) <= MESSAGE_WIDTH else line[:MESSAGE_WIDTH] + "..."

    @property
    def labelled(self) -> str:
        """`train.py:12:5: remark: ...`"""
        return self._with_notes(self.where, self.severity, self.sentence)

    def __str__(self) -> str:
        """One line a diagnostic, its notes indented below; the operation that MLIR appends in full is left out."""
        return self._with_notes(self.where, self.sentence)

    def _with_notes(self, *parts: str) -> str:
        head = ": ".join(filter(None, parts))
        notes = [f"  note: {note}" for note in self.notes if not note.message.startswith("see current operation")]
        return "\n".join([head, *notes])


@dataclass(eq=False)
class CompileError(AtollError):
    """The user's function, or IR made from it, cannot be compiled.

    diagnostics: all that was emitted on the way to this error, where it comes from IR.
    """

    diagnostics: tuple[Diagnostic, ...] = ()


class PlanError(AtollError):
    """The plan is malformed or does not fit the program."""


class TopologyError(AtollError):
    """The topology is malformed or cannot be had on this machine."""


class IslandLost(AtollError):  # noqa: N818 (a fixed name of the front door)
    """An island stopped answering while a program ran."""


class UsageError(AtollError):
    """The command line asks for something that does not exist: a file, a name in it, a pass, a phase."""
