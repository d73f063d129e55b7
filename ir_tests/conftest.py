"""Collects golden tests: an `.mlir` file whose RUN lines say which passes to run on it, and what to compare.

    // RUN: atoll-opt %s --passes "cse" | filecheck %s
        The output must satisfy the file's CHECK lines; `--check-prefix=X` and other options of filecheck pass through.
    // RUN: atoll-opt %s --passes "cse" --verify-diagnostics --split-input-file
        What is emitted must be what the `expected-error` comments say.
    // RUN: atoll-opt %s --passes "normalize"
        The output must equal the file `NAME.expected` beside it; `pytest ir_tests --update` rewrites that file.

`%s` is the file. Each RUN line is one test, run in this process, without a shell.
"""

import contextlib
import difflib
import io
import logging
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from atoll.compiler.commands.cli import run_here
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import parse_argv_options
from filecheck.parser import Parser

ALLOWED = """write one of
  // RUN: atoll-opt %s --passes "..." | filecheck %s
  // RUN: atoll-opt %s --passes "..." --verify-diagnostics --split-input-file
  // RUN: atoll-opt %s --passes "..."    (compared with the file NAME.expected beside it)"""

_RUN = re.compile(r"^[ \t]*// RUN:(.*)$", re.MULTILINE)
_EXPECTATION = re.compile(r"//.*expected-(error|warning|remark|note)")
# What looks like a line for filecheck, which skips a line that it does not know without a word.
_DIRECTIVE = re.compile(r"^[ \t]*//[ \t]*([A-Z][A-Z0-9_-]*):", re.MULTILINE)
_DIRECTIVE_KIND = re.compile(r"-(DAG|COUNT-\d+|NOT|EMPTY|NEXT|SAME|LABEL)$")
_NO_CHECKS = frozenset(("RUN", "COM"))


class GoldenFailure(Exception):  # noqa: N818 (it is no error of the code that raises it)
    """A golden test that failed; its text is all of the report."""


@dataclass(frozen=True)
class RunLine:
    """A RUN line. Words may be quoted as in a shell; beyond that, it has only `|` in common with one."""

    command: tuple[str, ...]
    check: tuple[str, ...] | None  # None without a pipe

    @classmethod
    def parse(cls, text: str) -> "RunLine":
        command, *pipes = _split_at_pipes(text)
        check = pipes[0] if pipes else None
        if command[:1] != ["atoll-opt"] or command.count("%s") != 1:
            raise GoldenFailure(f"a RUN line starts with `atoll-opt %s`; {ALLOWED}")
        if len(pipes) > 1 or (check is not None and (check[:1] != ["filecheck"] or check.count("%s") != 1)):
            raise GoldenFailure(f"a RUN line can pipe into `filecheck %s` and nothing else; {ALLOWED}")
        if check is not None and "--verify-diagnostics" in command:
            raise GoldenFailure(f"--verify-diagnostics prints nothing that filecheck could read; {ALLOWED}")
        return cls(tuple(command), None if check is None else tuple(check))

    def check_prefixes(self) -> list[str]:
        """The prefixes of the directives that this line has checked."""
        if self.check is None:
            return []
        try:
            return parse_argv_options(list(self.check)).check_prefixes
        except RuntimeError as error:
            raise GoldenFailure(f"filecheck: {error}") from None


def _split_at_pipes(text: str) -> list[list[str]]:
    """The words of a RUN line, one list for each command of the pipe."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise GoldenFailure(f"a RUN line that no shell could read: {error}") from None
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            commands.append([])
        elif set(word) <= set("();<>|&") or word[:1] in ("$", "`", "\\"):
            raise GoldenFailure(f"a RUN line is not run by a shell, which `{word}` would need; {ALLOWED}")
        else:
            commands[-1].append(word)
    return commands


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    status: object
    output: str
    errors: str


@contextlib.contextmanager
def _restored_logging() -> Iterator[None]:
    """Undo what the command does to logging: it sets it up for its own process, which here is that of all tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _run(command: Sequence[str]) -> Outcome:
    """Run `atoll-opt` here and keep what it prints."""
    output, errors = io.StringIO(), io.StringIO()
    with _restored_logging(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status: object = run_here(["opt", *command[1:]])
        except SystemExit as stop:  # argparse, on an option that it does not know
            status = stop.code
    return Outcome(status, output.getvalue(), errors.getvalue())


def _filecheck(check: Sequence[str], output: str) -> str | None:
    """What filecheck complains about, or None."""
    options = parse_argv_options(list(check))
    told = io.StringIO()
    # It also prints remarks for its own developers, to standard output.
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        status = Matcher(options, FInput("-", output), Parser.from_opts(options)).run()
    return told.getvalue() if status else None


class GoldenFile(pytest.File):
    """An `.mlir` file; its items are its RUN lines."""

    def collect(self) -> Iterator["GoldenItem"]:
        text = self.path.read_text(encoding="utf-8")
        lines = [(text.count("\n", 0, match.start()) + 1, match[1].strip()) for match in _RUN.finditer(text)]
        for number, line in lines or [(1, "")]:
            yield GoldenItem.from_parent(self, name=f"line-{number}", number=number, line=line)

    def unread_directives(self) -> list[str]:
        """The directives that no RUN line of the file has checked: misspelt, or of a forgotten prefix."""
        text = self.path.read_text(encoding="utf-8")
        read = {prefix for match in _RUN.finditer(text) for prefix in RunLine.parse(match[1]).check_prefixes()}
        return [
            f"{self.path.name}:{text.count(chr(10), 0, match.start()) + 1}: nothing reads `{match[1]}:`"
            for match in _DIRECTIVE.finditer(text)
            if match[1] not in _NO_CHECKS and _DIRECTIVE_KIND.sub("", match[1]) not in read
        ]


class GoldenItem(pytest.Item):
    """One RUN line."""

    def __init__(self, *, number: int, line: str, **rest) -> None:
        super().__init__(**rest)
        self.number = number
        self.line = line
        self.file = os.path.relpath(self.path)

    def runtest(self) -> None:
        if not self.line:
            raise GoldenFailure(f"{self.file} has no RUN line; {ALLOWED}")
        run = RunLine.parse(self.line)
        unread = self.parent.unread_directives()
        if unread:
            raise GoldenFailure("\n".join([*unread, "correct it, or write prose in lower case"]))
        outcome = _run(self._with_file(run.command))
        if outcome.status != 0:
            raise self._failure(f"exit status {outcome.status}", outcome)
        if run.check is not None:
            complaint = _filecheck(self._with_file(run.check), outcome.output)
            if complaint is not None:
                raise self._failure(complaint, outcome)
        elif "--verify-diagnostics" in run.command:
            if not _EXPECTATION.search(self.path.read_text(encoding="utf-8")):
                raise self._failure("the file expects nothing; add `// expected-error @below {{...}}`", outcome)
        else:
            self._compare(outcome)

    def _compare(self, outcome: Outcome) -> None:
        """Compare with the snapshot, or write it."""
        expected = self.path.with_suffix(".expected")
        if self.config.getoption("--update", default=False):
            expected.write_text(outcome.output, encoding="utf-8")
            return
        name = os.path.relpath(expected)
        update = f"`pytest {os.path.relpath(self.path)} --update`"
        if not expected.exists():
            raise self._failure(f"there is no {name}; {update} writes it", outcome)
        before, after = expected.read_text(encoding="utf-8").splitlines(), outcome.output.splitlines()
        difference = "\n".join(difflib.unified_diff(before, after, name, "output", lineterm=""))
        if difference:
            raise self._failure(f"{difference}\nif the change is meant: {update}", outcome)

    def _with_file(self, words: Sequence[str]) -> list[str]:
        return [self.file if word == "%s" else word for word in words]

    def _failure(self, what: str, outcome: Outcome) -> GoldenFailure:
        parts = [f"$ {self.line.replace('%s', shlex.quote(self.file))}", what.strip()]
        if outcome.errors:
            parts.append(f"standard error:\n{outcome.errors.strip()}")
        return GoldenFailure("\n\n".join(parts))

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, GoldenFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.number - 1, f"{self.file}:{self.number}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite the .expected files of golden tests")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update", default=False) and os.environ.get("CI"):
        raise pytest.UsageError("--update rewrites what the golden tests expect; it is refused where CI is set")


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> GoldenFile | None:
    return GoldenFile.from_parent(parent, path=file_path) if file_path.suffix == ".mlir" else None
