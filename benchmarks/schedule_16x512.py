"""How long schedules of 16 islands by 512 microbatches take: to make, check, simulate, write and read; and to search.

Processor seconds, so that other work on the machine does not count.
"""

import random
import sys
import time
from itertools import pairwise, permutations

from atoll.compiler.schedules.costs import Costs, LinkCost
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.search import search
from atoll.compiler.schedules.walk import check
from rows import Row, tell

ISLANDS, MICROBATCHES = 16, 512
LIMIT = 2.0  # seconds, to make and check


def measure_kind(name: str) -> float:
    """Prints the seconds of each part; returns those of making and checking."""
    marks = [time.process_time()]
    made = SCHEDULE_KINDS[name].build(ISLANDS, MICROBATCHES)
    marks.append(time.process_time())
    check(made)
    marks.append(time.process_time())
    made.simulate()
    marks.append(time.process_time())
    Schedule.parse(str(made))
    marks.append(time.process_time())
    parts = [after - before for before, after in pairwise(marks)]
    tasks = sum(map(len, made.rows))
    print(f"{made.name:<22}{tasks:>8}" + "".join(f"{part:>10.2f}" for part in parts))
    tell(Row(f"make and check {name}", "s", parts[0] + parts[1], {"limit": LIMIT}))
    return parts[0] + parts[1]


def measure_search(islands: int, microbatches: int) -> None:
    """Unequal stages, slow links, and room for as many activations as 1f1b keeps."""
    draw = random.Random(0)
    forward, backward, weight = (tuple(draw.uniform(0.7, 1.3) for _ in range(islands)) for _ in range(3))
    links = {pair: LinkCost(latency=0.3) for pair in permutations(range(islands), 2)}
    costs = Costs(forward, backward, weight, (0.0,) * islands, (1.0,) * islands, links)
    started = time.process_time()
    found = search(islands, microbatches, costs, [islands] * islands)
    tell(Row(f"search {islands} islands by {microbatches}", "s", time.process_time() - started))
    print(f"{islands} islands by {microbatches}: {time.process_time() - started:.1f} s; {found}")


def main() -> int:
    print(f"{'seconds':<22}{'tasks':>8}" + "".join(f"{part:>10}" for part in ("make", "check", "simulate", "text")))
    slowest = max(measure_kind(name) for name in SCHEDULE_KINDS)
    print(f"slowest to make and check: {slowest:.2f} s (limit {LIMIT:.0f} s)")
    print("search:")
    for islands, microbatches in ((4, 16), (8, 32), (16, 512)):
        measure_search(islands, microbatches)
    return 0 if slowest < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
