"""`--verify-diagnostics`: compares what was emitted with what the file says is expected, line by line.

    // expected-error @below {{never used}}
    func.func @main(%a: tensor<f32>) { return }

As in MLIR's own tools: `expected-error`, `-warning`, `-remark` or `-note`; `@above`, `@below`, `@+2`, `@-1`, or nothing
for the line itself; `expected-error-re` for a regular expression. `@unknown` matches what has no place in this file,
such as a user's line that a location carries.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from atoll.compiler.errors import Diagnostic
from atoll.compiler.mlir.diagnostics import NO_FILE

_EXPECTATION = re.compile(
    r"expected-(?P<severity>error|warning|remark|note)(?P<regex>-re)?[ \t]*"
    r"(?:@[ \t]*(?P<at>above|below|unknown|[+-]\d{1,6}))?[ \t]*\{\{(?P<text>.*?)\}\}"
)


@dataclass(frozen=True)
class Expectation:
    severity: str
    text: str
    is_regex: bool
    line: int  # where it stands
    target: int | None  # where the diagnostic must be; None for @unknown

    def matches(self, diagnostic: Diagnostic, file: str) -> bool:
        line = diagnostic.line if diagnostic.file in (file, NO_FILE) and diagnostic.line else None
        if (diagnostic.severity, line) != (self.severity, self.target):
            return False
        if self.is_regex:
            return re.search(self.text, diagnostic.message) is not None
        return self.text in diagnostic.message


def expectations(text: str) -> list[Expectation]:
    """The expectations in a file's comments."""
    matches = [
        (number, match)
        for number, line in enumerate(text.split("\n"), start=1)
        for match in _EXPECTATION.finditer(line.partition("//")[2])
    ]
    standing = {number for number, _ in matches}
    return [
        Expectation(
            severity=match["severity"],
            text=match["text"],
            is_regex=match["regex"] is not None,
            line=number,
            target=_target(match["at"], number, standing),
        )
        for number, match in matches
    ]


def differences(text: str, file: str, emitted: Sequence[Diagnostic]) -> list[str]:
    """A sentence for each expectation that nothing met and each diagnostic that nothing expected."""
    left = list(flattened(emitted))
    complaints = []
    for expected in expectations(text):
        try:
            met = next((one for one in left if expected.matches(one, file)), None)
        except re.error as error:
            complaints.append(f"{file}:{expected.line}: bad regular expression: {error}")
            continue
        if met is None:
            complaints.append(
                f'{file}:{expected.line}: expected {expected.severity} "{expected.text}" was not produced'
            )
        else:
            left.remove(met)
    # Notes belong to what they are attached to; only those that a file asks for are compared.
    complaints += [
        f"{_where(one, file)}: unexpected {one.severity}: {one.message}" for one in left if one.severity != "note"
    ]
    return complaints


def _where(diagnostic: Diagnostic, file: str) -> str:
    """The place of a diagnostic, with the name of the file for a module that was parsed from a part of it."""
    name, line = diagnostic.where.partition(":")[::2]
    return ":".join(filter(None, (file if name in ("", NO_FILE) else name, line)))


def flattened(diagnostics: Sequence[Diagnostic]) -> Iterator[Diagnostic]:
    """The diagnostics, each followed by its notes."""
    for one in diagnostics:
        yield one
        yield from flattened(one.notes)


def _target(at: str | None, line: int, standing: set[int]) -> int | None:
    """The line meant; `@above` and `@below` look past other lines with expectations, so that several can be stacked."""
    match at:
        case None:
            return line
        case "unknown":
            return None
        case "above" | "below":
            step = 1 if at == "below" else -1
            while line in standing:
                line += step
            return line
        case offset:
            return line + int(offset)
