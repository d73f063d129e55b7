"""What the command line calls a TARGET: `FILE.py:NAME`, a job; or `FILE.mlir`, a module at any phase."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from atoll.compiler import guard
from atoll.compiler.errors import AtollError, UsageError
from atoll.compiler.export.job import Job
from atoll.compiler.files import TARGET_MODULE, check_readable
from atoll.compiler.text.language import known_names
from atoll.compiler.tracebacks import failing_line, first_line


def load_target(text: str) -> Job | Path:
    """The job, or the path of the module, that a TARGET names."""
    if text.endswith((".mlir", ".mlirbc")):
        return Path(text)
    path, colon, name = text.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise UsageError(f"{text!r} is no target", remedy="write FILE.py:NAME, a job in a Python file, or FILE.mlir")
    return _find_job(_load(Path(path)), path, name)


def _find_job(module: ModuleType, path: str, name: str) -> Job:
    jobs = [key for key, value in vars(module).items() if isinstance(value, Job)]
    found = getattr(module, name, None)
    if isinstance(found, Job):
        return found
    what = f"{name} is a {type(found).__name__}, not an atoll.Job" if found is not None else f"there is no {name!r}"
    remedy = known_names(name, jobs) if jobs else f"write {name or 'job'} = atoll.Job(fn, *args)"
    raise UsageError(what, path, remedy)


def _load(path: Path) -> ModuleType:
    """Run a user's file as a module; its neighbours can be imported, as when Python runs it as a script."""
    check_readable(path, "write FILE.py:NAME, a job in a Python file")
    guard.announce(f"loading {path}")
    spec = importlib.util.spec_from_file_location(TARGET_MODULE, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[TARGET_MODULE] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
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
        what = f"{type(error).__name__} while the file was loaded: {first_line(error)}"
        raise UsageError(what, failing_line(error) or str(path), "correct the file") from error
    return module
