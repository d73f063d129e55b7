"""Puts faults into a copy of the code, one at a time, and runs the tests that must find them.

    python tests/mutations/run.py                     every fault, each with the test that is named for it
    python tests/mutations/run.py NAME ...            some of them
    python tests/mutations/run.py --tests "ir_tests"  with other tests, and says which fails first

The copy stands first on the import path, so the tests of the checkout import it. Exits with 1 if a fault is not found.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("checkpoint", "compiler", "examples", "passes", "runtime")

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
# pytest, once it is certain that the copy is what gets imported. (Python's -P keeps the checkout off the import path.)
_PYTEST = """
import sys
import atoll, pytest
folder = sys.argv.pop(1)
if not atoll.__file__.startswith(folder):
    sys.exit(f"the copy is not what is imported, but {atoll.__file__}")
sys.exit(pytest.main(sys.argv[1:]))
"""
_NOTHING_FAILED, _TIME_LIMIT = "", 900


def mutate(root: Path, mutation: Mutation, package: Path) -> None:
    """Copy the package to where it can be imported from, with the fault in it."""
    # What Python has made of the sources comes along, with their times; of the changed file it is made again.
    leave_out = shutil.ignore_patterns("*.pyc.*")  # what another process is writing
    shutil.copytree(root / "atoll", package, ignore=leave_out)
    for folder in FOLDERS:
        shutil.copytree(root / folder, package / folder, ignore=leave_out)
    file = package / mutation.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.name}: {mutation.file} has changed; write the fault anew")
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")


def first_failure(root: Path, mutation: Mutation, tests: Sequence[str]) -> str:
    """The test that finds the fault first; empty if none does."""
    with tempfile.TemporaryDirectory(prefix="atoll-mutation-") as folder:
        mutate(root, mutation, Path(folder, "atoll"))
        command = [sys.executable, "-P", "-c", _PYTEST, folder, "-q", "-x", "-n0", "--tb=no", "-rfE", *tests]
        environment = {**os.environ, "PYTHONPATH": folder}
        try:
            ran = subprocess.run(
                command, cwd=root, env=environment, capture_output=True, text=True, timeout=_TIME_LIMIT
            )
        except subprocess.TimeoutExpired:
            return "a test that does not end"
        if ran.returncode == 0:
            return _NOTHING_FAILED
        if ran.returncode != 1:  # a native abort, or nothing was run
            return f"(pytest ended with {ran.returncode}) {ran.stdout[-200:]}{ran.stderr[-200:]}"
        found = _FAILED.search(ran.stdout)
        return found[1] if found else ran.stdout[-200:]


def check(root: Path, tests: Sequence[str], mutation: Mutation) -> tuple[Mutation, str]:
    """The fault, and the test that found it."""
    return mutation, first_failure(root, mutation, tests or mutation.killed_by.split())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--tests", default="", help="tests to run instead of those that are named")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout whose code and tests are meant")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    chosen = [one for one in MUTATIONS if not options.names or one.name in options.names]
    survivors = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutation, found in pool.map(partial(check, options.root, options.tests.split()), chosen):
            survivors += not found
            print(f"{'found' if found else 'SURVIVED':9} {mutation.name:45} {found}", flush=True)
    print(f"{len(chosen) - survivors} passed, {survivors} failed")
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main())
