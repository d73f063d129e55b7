"""How long the train steps of PaLM 62B and 540B take through all passes to phase `scheduled`, and in how much memory.

Each is a command as a user runs it. Its processor seconds count, which a busy machine stretches less than the wall's.
"""

import os
import subprocess
import sys
from pathlib import Path

from rows import Row, tell

FILE = Path(__file__).resolve().parent.parent / "examples" / "palm" / "large.py"
SECONDS, MEMORY = 120.0, 4.0  # limits, of processor time and in GiB

ISLANDS = {"62b": "v4[8x8x8](data=64, model=8)", "540b": "v4[16x16x12](data=256, model=12)"}
# A microbatch of each replica has an example for every row of an island's data axis.
PLANS = [
    (2, "stages=2, microbatches=8, schedule=zb-h1"),
    (2, "stages=1, microbatches=4, replicas=2"),
    (2, "stages=1, microbatches=4, replicas=2, update=sharded"),
    (4, "stages=2, microbatches=4, schedule=zb-h1, replicas=2"),
]


def cost_of(size: str, islands: int, plan: str) -> tuple[float, float]:
    """Processor seconds, and GiB at the most."""
    topology = f"{islands} x {ISLANDS[size]}"
    command = [sys.executable, "-m", "atoll", "dump", f"{FILE}:job_{size}", "--topology", topology, "--plan", plan]
    with subprocess.Popen([*command, "--phase", "scheduled"], stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def main() -> int:
    rows = [(size, islands, plan, *cost_of(size, islands, plan)) for size in ISLANDS for islands, plan in PLANS]
    for size, islands, plan, seconds, memory in rows:
        case = f"PaLM {size} on {islands} islands, {plan}"
        tell(Row(f"passes, {case}", "s", seconds, {"limit": SECONDS}))
        tell(Row(f"memory, {case}", "GiB", memory, {"limit": MEMORY}))
        print(f"{size:>5} on {islands} islands   {seconds:5.1f} s   {memory:4.2f} GiB   {plan}")
    slowest, largest = max(row[3] for row in rows), max(row[4] for row in rows)
    print(f"at most: {slowest:.1f} s (limit {SECONDS:.0f} s), {largest:.2f} GiB (limit {MEMORY:.0f} GiB)")
    return 0 if slowest < SECONDS and largest < MEMORY else 1


if __name__ == "__main__":
    sys.exit(main())
