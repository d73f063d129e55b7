"""How long `atoll --help` takes, beside a Python that does nothing: what a user waits for before anything starts."""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

RUNS = 20
LIMIT = 0.3  # seconds


def times(command: Sequence[str]) -> list[float]:
    """The seconds of each run, sorted."""

    def once() -> float:
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - started

    return sorted(once() for _ in range(RUNS))


def main() -> int:
    rows = {
        "atoll --help": times([str(Path(sys.executable).with_name("atoll")), "--help"]),
        "python -c pass": times([sys.executable, "-c", "pass"]),
    }
    for name, seconds in rows.items():
        print(f"{name:<16} min {seconds[0]:.3f} s, median {statistics.median(seconds):.3f} s")
    ours, nothing = (statistics.median(seconds) for seconds in rows.values())
    print(f"ratio of the medians: {ours / nothing:.1f}")
    return 0 if ours < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
