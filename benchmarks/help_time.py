"""How long `atoll --help` takes, beside a Python that does nothing: what a user waits for before anything starts.

The limit is one of processor time, which hardly depends on what else the machine does.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rows import Row, tell

RUNS = 20
LIMIT = 0.3  # seconds


def times(command: Sequence[str]) -> list[float]:
    """The seconds of each run, sorted."""

    def once() -> float:
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - started

    return sorted(once() for _ in range(RUNS))


def processor_seconds() -> float:
    """Those of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    before = processor_seconds()
    ours = times([str(Path(sys.executable).with_name("atoll")), "--help"])
    used = (processor_seconds() - before) / RUNS
    rows = {
        "atoll --help": ours,
        "python -c pass": times([sys.executable, "-c", "pass"]),
    }
    for name, seconds in rows.items():
        print(f"{name:<16} min {seconds[0]:.3f} s, median {statistics.median(seconds):.3f} s")
    slow, fast = (statistics.median(seconds) for seconds in rows.values())
    tell(Row("atoll --help", "s", slow, {"python -c pass": fast}))
    tell(Row("atoll --help, processor time", "s", used, {"limit": LIMIT}))
    print(f"ratio of the medians: {slow / fast:.1f}")
    print(f"processor time of atoll --help: {used:.3f} s (limit {LIMIT} s)")
    return 0 if used < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
