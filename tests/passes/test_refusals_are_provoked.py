"""Every refusal of a pass, and of what passes stand on, is provoked by a golden.

A refusal is a `raise` that makes an error. It counts as provoked if an error that ends a golden's passes was raised
there, or one that such an error was made from; that the sentence is the right one, the golden itself says.
"""

import ast
import functools
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from atoll.compiler.errors import AtollError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_input, split_text
from atoll.compiler.pipeline.pass_base import Pass, Step
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text

pytestmark = pytest.mark.own

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("passes", "compiler/mlir", "compiler/module", "compiler/batch_rules", "compiler/replicas")
# Of the plan, what says that it does not fit the module; its texts have tests of their own.
FILES = ("compiler/plan/pipeline_shape.py", "compiler/plan/scope_patterns.py")
# What is raised of these is a defect of atoll, which nothing should provoke.
DEFECTS = frozenset(("AssertionError", "TypeError"))

Site = tuple[Path, int]


def refusals(path: Path) -> Iterator[ast.Raise]:
    """The statements of a file that raise an error at somebody who gave a pass a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
    # What is wrong with an option is said while the pipeline is read.
    of_options = {one for function in functions if function.name == "__post_init__" for one in ast.walk(function)}
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Raise) and statement.exc is not None and statement not in of_options:
            made_by = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
            if not (isinstance(made_by, ast.Name) and made_by.id in DEFECTS):
                yield statement


@functools.cache
def raised() -> frozenset[Site]:
    """Where the errors were raised that the goldens end with."""
    return frozenset(site for path in sorted(ROOT.glob("ir_tests/invalid/*.mlir")) for site in raised_by(path))


def raised_by(golden: Path) -> Iterator[Site]:
    text = golden.read_text(encoding="utf-8")
    for line in re.findall(r"^// RUN: (.*)$", text, re.MULTILINE):
        words = shlex.split(line)
        steps = steps_of_text(words[words.index("--passes") + 1])
        for piece in split_text(text):
            try:
                run(parse_input(piece), steps)
            except AtollError as error:
                yield from sites_of(error)


def run(module: ir.Module, steps: Sequence[Step]) -> None:
    """Run passes without MLIR's pass manager, through which no exception goes with what it was made from."""
    with module.context, ir.Location.unknown():
        for step in steps:
            if isinstance(step, Pass):
                step.run(module)
            else:
                run_passes(module, [step])


def sites_of(error: BaseException | None) -> Iterator[Site]:
    """Where an error was raised, and where the one was that it was made from."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None:
            yield Path(trace.tb_frame.f_code.co_filename).resolve(), trace.tb_lineno
        error = error.__context__


READ = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", [*READ, *(ROOT / name for name in FILES)], ids=str)
def test_every_refusal_is_provoked(path):
    silent = [
        f"{path.relative_to(ROOT)}:{one.lineno}: {ast.unparse(one)}"
        for one in refusals(path)
        if not any((path.resolve(), line) in raised() for line in range(one.lineno, (one.end_lineno or one.lineno) + 1))
    ]
    assert silent == [], "provoke it in ir_tests/invalid/"
