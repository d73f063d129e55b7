"""What all tests share."""

import collections
import functools
import gc
import itertools
import sys
from pathlib import Path

import chosen
import hypothesis.core
import pytest

# Linux lets a process map 65,530 regions of memory. Compiled code takes several each, and where there is no room for
# more, XLA ends the process.
_MOST_MAPPED = 15_000
_MAPPED = Path("/proc/self/maps")
_TESTS = itertools.count()


@pytest.fixture(autouse=True)
def room_for_code():
    """Forget compiled code, now and then, where a process has run many tests."""
    yield
    if next(_TESTS) % 8 == 0 and _MAPPED.exists() and _MAPPED.read_bytes().count(b"\n") > _MOST_MAPPED:
        import jax

        for module in list(sys.modules.values()):
            if (getattr(module, "__file__", None) or "").startswith(str(Path(__file__).parent)):
                for value in list(vars(module).values()):
                    if isinstance(value, functools._lru_cache_wrapper):
                        value.cache_clear()
        jax.clear_caches()
        gc.unfreeze()
        gc.collect()


@pytest.fixture(scope="module", autouse=True)
def search_for_garbage_of_the_module_alone():
    """What earlier modules have left, which is caches mostly, stays until there is no more room. To go through it takes
    half a second, and tests of what is let go of do so again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish():
    """What libraries and tests have made by now stays."""
    gc.collect()
    gc.freeze()


def pytest_configure(config):
    # Libraries and tests make a million objects, which stay. To go through them again and again for garbage would take
    # a quarter of the time until tests run, and a twentieth of theirs.
    gc.set_threshold(100_000, 50, 100)
    hypothesis.settings.register_profile("unhurried", deadline=None)  # how long an example takes the machine decides
    hypothesis.settings.load_profile("unhurried")
    if not config.getoption("full") and config.getoption("hypothesis_seed", None) is None:
        hypothesis.core.global_force_seed = chosen.day()
    config.addinivalue_line("markers", "one_in(n): of what its parameters make, a part runs that the day chooses")
    config.addinivalue_line("markers", "own: asks of our own code alone, not of jax; --quick leaves it out")
    config.addinivalue_line("markers", "accelerator: runs on GPUs or TPUs, where there are any; see `--on`")
    config.addinivalue_line("markers", "near: looks at what islands of this process share with it; never over sockets")
    config.addinivalue_line("markers", "sockets: has its hosts reached by bytes over sockets; a tenth is marked so")
    config.addinivalue_line("markers", "xla: XLA compiles the tasks, in a module whose others numpy evaluates")


def pytest_collection_modifyitems(config, items):
    kept = items
    if not config.getoption("full") and not chosen.names_tests(config):
        out = chosen.left_out(items, chosen.day())
        kept = [item for item in items if item not in out]
    if config.getoption("quick"):
        kept = list(_each_value_once([item for item in kept if not _is_own(item)]))
    kept = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def _is_own(item):
    """Whether a test is marked so, or is a block of a document: that is text of ours, and shows what tests test."""
    return item.get_closest_marker("own") is not None or item.path.suffix == ".md"


def _each_value_once(items):
    """Of the tests that a function makes of its parameters a few that have every value: again and again the one with
    the most values that are in none before. What is not to run must not be made: if it were skipped, it would stand
    for its values."""
    by_function = collections.defaultdict(dict)
    for item in items:
        values = _values(item)
        by_function[item.nodeid.partition("[")[0] if values else item][item] = values
    for tests in by_function.values():
        yield next(iter(tests))
        left = set().union(*tests.values()) - next(iter(tests.values()))
        while left:
            best = max(tests, key=lambda item: len(tests[item] & left))
            left -= tests[best]
            yield best


def _values(item):
    """The values of a test's parameters; of a test without any, or of a document, there are none."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    function = item.nodeid.partition("[")[0]
    return {(function, name, _key(value)) for name, value in given.items()}


def _key(value):
    try:
        hash(value)
    except TypeError:
        return id(value)
    return type(value), value


def pytest_terminal_summary(terminalreporter):
    """Which programs of `tests/real/` ran, or of all how many were right, and why the others were refused."""
    reports = itertools.chain(*(terminalreporter.stats.get(kind, []) for kind in ("passed", "xfailed")))
    found = [value for one in reports for key, value in getattr(one, "user_properties", ()) if key == "real"]
    if terminalreporter.config.getoption("full"):
        found = [f"{count} {result}" for result, count in collections.Counter(one[2] for one in found).most_common()]
    else:
        found = [f"{name} by plan {plan}: {result}" for name, plan, result in found]
    for line in found:
        terminalreporter.write_line(f"real programs: {line}")


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="run every model of the zoo on every topology, not a pairwise cover"
    )
    parser.addoption(
        "--quick",
        action="store_true",
        help="every value of a parameter less often, no document, no test of our own code: for a run with another jax",
    )
    parser.addoption(
        "--on",
        choices=("cpu", "gpu", "tpu"),
        help="where tests for accelerators run; by default on those that there are, and on CPUs only if asked for",
    )
    parser.addoption(
        "--first-seed", type=int, default=0, help="where random programs begin; others are tried by default"
    )
