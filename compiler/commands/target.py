"""What the command line calls a TARGET: `FILE.py:NAME` or `MODULE:NAME`, a job; or `FILE.mlir`, a module at any phase,
or from another program."""

import argparse
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from atoll.compiler import activity, display
from atoll.compiler.errors import AtollError, CompileError, UsageError
from atoll.compiler.export.job import Job
from atoll.compiler.files import TARGET_MODULE, check_readable
from atoll.compiler.mlir.bindings import backends_are_up, ir
from atoll.compiler.mlir.ir_text import parse_file
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import pass_class
from atoll.compiler.pipeline.resume import phase_of
from atoll.compiler.text.language import known_names
from atoll.compiler.tracebacks import failing_line, first_line

_MODULES = (".mlir", ".mlirbc", ".jax_export")
_MODULE_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_MARK = "mark-arguments"
_NO_FILE = "write FILE.py:NAME, with the path of a Python file from this folder"
# What a list of names is divided at: commas that are in no key, as in `batch['a, b']`.
_COMMA = re.compile(r",(?![^\[]*\])")


def load_target(options: argparse.Namespace) -> Job | Path:
    """The job, or the path of the module, that a TARGET names."""
    text: str = options.target
    if text.endswith(_MODULES):
        return Path(text)
    module, colon, name = text.rpartition(":")
    path = module if module.endswith(".py") else _file_of_module(module)
    if text.endswith(".py"):
        check_readable(Path(text), _NO_FILE)
        raise UsageError(
            "a file is named, and none of its jobs", text, f"write {text}:NAME, with the name of a job in it"
        )
    if not colon or not path:
        remedy = (
            "write FILE.py:NAME, a job in a Python file, or MODULE:NAME, one of a module that is installed, or a file "
            f"whose name ends in {', '.join(_MODULES)}"
        )
        raise UsageError(f"{text!r} is no target", remedy=remedy)
    check_no_marks(options, "a job says it by itself")
    return _find_job(_load(Path(path)), path, name)


def _file_of_module(name: str) -> str:
    """The Python file of a module that could be imported; empty if there is none."""
    try:
        spec = importlib.util.find_spec(name) if _MODULE_NAME.fullmatch(name) else None
    except (ImportError, ValueError):  # there is no such package, or it has no specification, as `__main__`
        spec = None
    return spec.origin if spec is not None and spec.origin is not None and spec.origin.endswith(".py") else ""


def load_module(path: Path, options: argparse.Namespace) -> ir.Module:
    """The module in a file, with the marks that --batch and --donate ask for."""
    module = parse_file(path)
    phase = phase_of(module)
    if phase is not None:
        check_no_marks(options, f"the module is at phase {phase.name}, and has its marks")
        return module
    asked = {name: tuple(_COMMA.split(names)) for name, names in _marks_asked(options).items()}
    try:
        run_passes(module, [pass_class(_MARK)(**asked)])
    except CompileError as error:  # one that has no place is about all of the file
        error.where = error.where or str(path)
        raise
    return module


def check_no_marks(options: argparse.Namespace, why: str) -> None:
    """UsageError for --batch and --donate where they would have no effect."""
    for name in _marks_asked(options):
        raise UsageError(f"--{name} has no effect: {why}", options.target, "leave it out")


def _marks_asked(options: argparse.Namespace) -> dict[str, str]:
    asked = {"batch": options.batch, "donate": options.donate}
    return {name: names for name, names in asked.items() if names is not None}


def _find_job(module: ModuleType, path: str, name: str) -> Job:
    jobs = [key for key, value in vars(module).items() if isinstance(value, Job)]
    found = getattr(module, name, None)
    if isinstance(found, Job):
        return found
    what = f"there is no {name!r}"
    if found is not None:
        what = f"{name} is of type {type(found).__name__}, not an atoll.Job"
    remedy = known_names(name, jobs) if jobs else f"write {name or 'job'} = atoll.Job(fn, *args)"
    raise UsageError(what, path, remedy)


def _load(path: Path) -> ModuleType:
    """Run a user's file as a module; its neighbours can be imported, as when Python runs it as a script."""
    check_readable(path, _NO_FILE)
    activity.announce(f"loading {path}")
    spec = importlib.util.spec_from_file_location(TARGET_MODULE, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[TARGET_MODULE] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        with display.shown():
            spec.loader.exec_module(module)
    except AtollError:
        raise
    except SystemExit as stop:
        what = f"the file called sys.exit({stop.code!r}) while it was loaded"
        remedy = 'put what it does as a script under `if __name__ == "__main__":`'
        raise UsageError(what, failing_line(stop) or str(path), remedy) from stop
    except SyntaxError as error:
        raise UsageError(f"SyntaxError: {error.msg}", f"{error.filename}:{error.lineno}", "correct the file") from error
    except Exception as error:
        if isinstance(error, (RuntimeError, AssertionError)) and not backends_are_up():
            from atoll.compiler.topology.devices import check_jax_starts  # loads jax, which not all commands need

            check_jax_starts()
        what = f"{type(error).__name__} while the file was loaded: {first_line(error)}"
        raise UsageError(what, failing_line(error) or str(path), "correct the file") from error
    return module
