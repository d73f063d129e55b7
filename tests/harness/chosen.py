"""Which tests of many alike a run of all tests takes: the day of the commit chooses, so that in time all of them run.

Of the seeds of random programs a half is tried.

`@pytest.mark.one_in(3)`: of the tests that a function makes of its parameters a third runs, and of those that XLA
compiles a third as well. What finds a fault of `mutations/` always runs; and with `--full`, or named, all do.
"""

import collections
import functools
import importlib.util
import random
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def day() -> str:
    """That of the commit that is checked out; without git always the same.

    What is committed one after the other on a day is tested alike, so that a test that fails does so until it is
    mended.
    """
    try:
        command = ["git", "log", "-1", "--format=%cs"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@functools.cache
def finders() -> frozenset[str]:
    """The tests that find faults of `mutations/`, whose folder is no package."""
    spec = importlib.util.spec_from_file_location("mutations", ROOT / "tests" / "mutations" / "mutations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return frozenset(one.killed_by for one in module.MUTATIONS)


def left_out(items: Iterable[pytest.Item], chosen_by: str) -> set[pytest.Item]:
    """Those that do not run, of which others with the same mark do."""
    alike = collections.defaultdict(list)
    for item in items:
        function = item.nodeid.partition("[")[0]
        is_one_of_many = item.get_closest_marker("one_in") is not None and hasattr(item, "callspec")
        if is_one_of_many and finders().isdisjoint((function, item.nodeid)):
            alike[function, item.get_closest_marker("xla") is not None].append(item)
    out: set[pytest.Item] = set()
    for (function, _), tests in alike.items():
        [count] = tests[0].get_closest_marker("one_in").args
        kept = random.Random(chosen_by + function).sample(range(len(tests)), -(-len(tests) // count))
        out.update(test for number, test in enumerate(tests) if number not in kept)
    return out


def seeds(config: pytest.Config, usual: int, full: int) -> range:
    """Those of random programs: of the usual ones the half that the day chooses; with `--full` more than these, and
    from `--first-seed` on as many as usual."""
    first = config.getoption("--first-seed")
    if config.getoption("--full"):
        return range(first, first + full)
    if first:
        return range(first, first + usual)
    begin = usual // 2 * turn(day())
    return range(begin, begin + -(-usual // 2))


def turn(chosen_by: str) -> int:
    """Which half of what is alike is tried."""
    return random.Random(chosen_by).randrange(2)


def names_tests(config: pytest.Config) -> bool:
    """Whether somebody asks for certain tests, and not for what there is."""
    return bool(config.option.keyword) or any("::" in str(argument) for argument in config.args)
