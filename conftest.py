"""Gives tests eight CPU devices, and makes tests of the documents.

Every `python` and `console` block of README.md, CONTRIBUTING.md, docs/ and the examples' pages is run. Blocks of one
document share a namespace and a temporary folder, in which the repository's files are linked.

In a `console` block a line `$ command`, which lines `> more` continue, is run by bash. The lines below are what it
prints, on either stream, with `...` for any text; if there are none, anything may be printed. The command must exit
with 1 if an `error:` is shown, and with 0 otherwise.
"""

import contextlib
import doctest
import importlib.util
import itertools
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import standing_python
import times
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

# For tests with several islands; read when jax starts its backend, which is when a first test needs devices.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

# What XLA has compiled for one test of a run is there for all others, in whatever process. jax reads these when it is
# imported; processes that are started from here, those of pytest-xdist among them, have them from this one.
_CACHE = None
_PLATFORMS = "JAX_PLATFORMS"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _CACHE = TemporaryDirectory(prefix="atoll-tests-")  # gone when this process ends
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# What another process has not written to its end jax compiles, and warns; not among what commands and programs print.
_WARNINGS = ("the persistent compilation cache cannot be read", "Error reading persistent compilation cache entry")
os.environ.setdefault("PYTHONWARNINGS", ",".join(f"ignore:{one}" for one in _WARNINGS))

# Where libtpu is, jax would look for TPUs in every process, which takes time, and complain that it finds none.
os.environ.setdefault(_PLATFORMS, "cpu")

_HAS_LIBTPU = importlib.util.find_spec("libtpu") is not None
_ROOT = Path(__file__).resolve().parent
_quickly = contextlib.ExitStack()  # what holds while the blocks of a document run
_TIME_LIMIT = 300  # seconds that a command may take; the demo takes longest, and machines are busy

# The page of the examples that is always run. What the others run is in `tests/examples` too; they run with `--full`.
_EXAMPLE = "linen"

# What is run instead of commands that begin so, as these would change the environment that the tests run in.
# `make test` would even run these same tests, and so on without end.
_DRY = {
    "make ": "make --dry-run ",
    "pip install ": "pip install --quiet --dry-run --no-deps --no-index --no-build-isolation ",
}


def commands(block: str) -> Iterator[tuple[str, str]]:
    """The commands of a `console` block, each with the output that is shown below it."""
    if not block.startswith("$ "):
        raise ValueError("a console block begins with `$ `")
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        first, *rest = part.splitlines()
        more = list(itertools.takewhile(lambda line: line.startswith(">"), rest))
        command = [first, *(line.removeprefix(">").removeprefix(" ") for line in more)]
        yield "\n".join(command), "".join(f"{line}\n" for line in rest[len(more) :])


def fault_of(command: str, shown: str, folder: Path) -> str | None:
    """What is wrong with a command and the output that is shown for it; None if they are right."""
    dry = next((text for text in _DRY if command.startswith(text)), "")
    environment = {**standing_python.settings(), "COLUMNS": "100"}  # a width of lines that does not vary
    if command.startswith("atoll compile "):
        environment.pop("XLA_FLAGS", None)  # libtpu ends a process that has flags of CPUs
    ran = subprocess.run(
        ["bash", "-c", _DRY.get(dry, "") + command.removeprefix(dry)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIME_LIMIT,
    )
    status = int(re.search(r"^error: ", shown, re.MULTILINE) is not None)
    if ran.returncode != status:
        return f"$ {command}\nended with {ran.returncode}, not {status}, and printed:\n{ran.stdout}"
    checker, example = doctest.OutputChecker(), doctest.Example(command, shown)
    if shown and not checker.check_output(example.want, ran.stdout, doctest.ELLIPSIS):
        return f"$ {command}\n" + checker.output_difference(example, ran.stdout, doctest.ELLIPSIS)
    return None


def _run_console(example: Example) -> str | None:
    folder = Path(example.namespace["folder"].name)
    return next(filter(None, (fault_of(*command, folder) for command in commands(example.parsed))), None)


def _make_folder(namespace: dict[str, Any]) -> None:
    """What a document's commands write stays in its folder; the repository stays as it is.

    What its blocks compile takes XLA less trouble, as it does in commands: nearly all of it runs a few times.
    """
    from timed_harness import compiling_quickly  # imports jax, which nothing here needs where no document is run

    _quickly.enter_context(compiling_quickly())
    namespace["folder"] = TemporaryDirectory(prefix="atoll-document-")
    os.environ["ATOLL_CACHE_DIR"] = str(Path(namespace["folder"].name, "cache"))
    os.environ["ATOLL_UP"] = str(Path(namespace["folder"].name, "up"))
    os.environ["KERAS_HOME"] = str(Path(namespace["folder"].name, "keras"))  # where Keras writes its settings
    for entry in _ROOT.iterdir():
        if not entry.name.startswith("."):
            Path(namespace["folder"].name, entry.name).symlink_to(entry)


def _remove_folder(namespace: dict[str, Any]) -> None:
    _quickly.close()
    namespace["folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser("console", _run_console)],
    patterns=["README.md", "CONTRIBUTING.md", "docs/*.md", "examples/*/README.md"],
    excludes=[] if _HAS_LIBTPU else ["docs/tpu.md"],
    setup=_make_folder,
    teardown=_remove_folder,
).pytest()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--times", type=Path, metavar="FILE", help="write there what each test takes, and print the sums")


def pytest_configure(config: pytest.Config) -> None:
    # jax looks for accelerators where tests for these are asked for. It reads this when it is imported.
    if config.getoption("markexpr", "") == "accelerator" and config.getoption("on", None) != "cpu":
        del os.environ[_PLATFORMS]
    if (file := config.getoption("--times")) is not None:
        config.pluginmanager.register(times.Times(file.absolute(), is_first=not hasattr(config, "workerinput")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out pages of examples in a run of all tests; `pytest examples` runs them."""
    if config.getoption("full", True):
        return
    pages = [one for one in items if one.path.is_relative_to(_ROOT / "examples") and one.path.parent.name != _EXAMPLE]
    config.hook.pytest_deselected(items=pages)
    items[:] = [one for one in items if one not in pages]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what could not be tested."""
    if not _HAS_LIBTPU:
        terminalreporter.write_line("nothing was compiled for TPUs: libtpu is not installed (pip install 'atoll[tpu]')")
