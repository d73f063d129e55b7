"""The errors a user can cause. Each says what is wrong, where, and what to do about it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.compiler.diagnostics import Diagnostic


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


@dataclass(eq=False)
class CompileError(AtollError):
    """The user's function, or IR made from it, cannot be compiled.

    diagnostics: all that was emitted on the way to this error, where it comes from IR.
    """

    diagnostics: "tuple[Diagnostic, ...]" = ()


class PlanError(AtollError):
    """The plan is malformed or does not fit the program."""


class TopologyError(AtollError):
    """The topology is malformed or cannot be had on this machine."""


class IslandLost(AtollError):  # noqa: N818 (a fixed name of the front door)
    """An island stopped answering while a program ran."""


class UsageError(AtollError):
    """The command line asks for something that does not exist: a file, a name in it, a pass, a phase."""
