"""The complaints of MLIR and of our passes, as plain data that outlives the context."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from atoll.compiler.errors import CompileError, Diagnostic
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.locations import is_range, place, user_frame
from atoll.compiler.source_line import excerpt_at

# MLIR's file name for what was parsed from memory.
NO_FILE = "-"


@contextmanager
def collecting(context: ir.Context) -> Iterator[list[Diagnostic]]:
    """Collect all diagnostics in order, instead of having them printed or added to an exception's text."""
    collected: list[Diagnostic] = []

    def take(diagnostic: ir.Diagnostic) -> bool:
        collected.append(_read(diagnostic))
        return True

    handler = context.attach_diagnostic_handler(take)
    assert isinstance(handler, ir.DiagnosticHandler)
    context.emit_error_diagnostics = True
    try:
        yield collected
    finally:
        context.emit_error_diagnostics = False
        handler.detach()


def failure(diagnostics: list[Diagnostic], prefix: str = "", remedy: str = "") -> CompileError:
    """The error for a native call that failed. It has the first error diagnostic, as the others mostly echo that."""
    unexplained = Diagnostic("error", "MLIR failed without an explanation")
    first = next((one for one in diagnostics if one.severity == "error"), unexplained)
    notes = str(first).partition("\n")[2]
    excerpt = "\n".join(filter(None, (excerpt_at(first.where), notes)))
    return CompileError(prefix + first.sentence, first.where, remedy, excerpt, tuple(diagnostics))


def refuse(location: ir.Location, what: str, remedy: str = "") -> "Refusal":
    """The error a pass raises: what it cannot do, at the user's line that the location carries."""
    return Refusal(what, place(location), remedy, location=location)


@dataclass(eq=False)
class Refusal(CompileError):  # noqa: N818 (it is one; the name says which)
    """A CompileError that still knows its MLIR location, which keeps the context alive."""

    location: ir.Location | None = None

    def emit(self) -> None:
        """Tell those who listen to the context, as MLIR does of its own errors."""
        if self.location is not None:
            self.location.emit_error(str(CompileError(self.what, remedy=self.remedy)))

    def __reduce__(self) -> tuple[Any, ...]:
        """What is copied, or sent to another process, is without the location, as that has a place in this one."""
        return type(self), self.args, {**vars(self), "location": None}


def _read(info: ir.Diagnostic) -> Diagnostic:
    frame = user_frame(info.location)
    try:
        message = info.message
    except RuntimeError:  # it quotes a name that is not UTF-8
        message = "this holds bytes that are not UTF-8"
    return Diagnostic(
        severity=info.severity.name.lower(),
        message=message,
        file=frame.filename if frame else "",
        line=frame.start_line if frame else 0,
        column=frame.start_col + is_range(frame) if frame else 0,
        notes=tuple(map(_read, info.notes)),
    )
