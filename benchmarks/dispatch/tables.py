"""The two tables, measured and printed."""

import itertools
from collections.abc import Sequence
from contextlib import ExitStack

from atoll.compiler.lowered import Lowered
from atoll.runtime.controller import Controller
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.site import AHEAD
from dispatch.computations import (
    CHAINED,
    after_work,
    chain,
    computation,
    jitted,
    lowered,
    lowered_chain,
    sharding_on,
    start,
)
from dispatch.sides import (
    Side,
    as_compiled,
    processors,
    rate,
    take_turns,
    through_controller,
    through_jit,
    throughput_ratio,
)
from rows import Row, tell

import atoll

COMPUTATIONS = 4 * CHAINED  # of a side in a round
TURN = 0.15  # seconds that a side takes in a round of the second table, if that is fewer computations
CLOSE = 0.95  # of jax's throughput, which counts as the same

# atoll's side of each variant, and jax's: beside all that runs one computation after the other stands one loop.
OURS = {"OpByOp": 0, "OpByOp, two ahead": 1, "Chained": 2, "Fused": 3}
THEIRS = {"OpByOp": 4, "OpByOp, two ahead": 4, "Chained": 4, "Fused": 5}


def compare_variants(devices: int, seconds: float, cluster: str | None) -> None:
    """cluster: where atoll's island is, as `atoll.compile` has it; jax's is in this process."""
    with ExitStack() as opened:
        rounds = take_turns(_variants(devices, opened, cluster), start(devices), COMPUTATIONS, seconds)
    print("computations a second      atoll    jax.jit   ratio   processors, us a computation")
    for name, ours in OURS.items():
        theirs = THEIRS[name]
        ratio = throughput_ratio(rounds, ours, theirs)
        case = f"computations one by one and together, {name}" + (f", on {cluster}" if cluster else "")
        tell(
            Row(case, "a second", rate(rounds, theirs) * ratio, {"jax.jit": rate(rounds, theirs)}, more_is_better=True)
        )
        work = [1e6 * processors(rounds, side) for side in (ours, theirs)]
        print(
            f"{name:<22} {rate(rounds, ours):9.0f}  {rate(rounds, theirs):9.0f}  {ratio:6.2f}   "
            f"{work[0]:.0f} beside {work[1]:.0f}"
        )
    in_chain = OURS["Chained"]
    print(
        f"Chained is {throughput_ratio(rounds, in_chain, OURS['OpByOp']):.2f} times OpByOp, both through atoll; "
        "the aim is 2 or more\n"
        f"Chained is {throughput_ratio(rounds, in_chain, THEIRS['OpByOp']):.2f} times jax.jit's OpByOp; "
        "the aim is 1 or more",
        flush=True,
    )


def _variants(devices: int, opened: ExitStack, cluster: str | None) -> list[Side]:
    """atoll's sides, and then jax's."""
    sharding = sharding_on(devices)
    one = lowered(computation, devices)
    islands = opened.enter_context(atoll.Cluster(one.topology, cluster)).shared
    return [
        _controlled(one, islands, opened),
        as_compiled(opened.enter_context(one.compile(cluster=cluster))),
        _controlled(lowered_chain(devices), islands, opened, CHAINED),
        _controlled(lowered(chain, devices), islands, opened, CHAINED),
        through_jit(jitted(computation, sharding), sharding),
        through_jit(jitted(chain, sharding), sharding, CHAINED),
    ]


def _controlled(made: Lowered, islands: HostedIslands, opened: ExitStack, computations: int = 1) -> Side:
    """A program with as many calls under way as executions may be."""
    controller = Controller(made.program, islands, steps_ahead=AHEAD)
    return through_controller(opened.enter_context(controller), computations)


def compare_lengths(devices: int, loops: Sequence[int], seconds: float) -> None:
    """OpByOp for computations of several lengths; the length is the time that one takes on jax's side."""
    print(" loops  jax.jit, a computation   ratio")
    found = [_compare_length(devices, count, seconds) for count in loops]
    # Those at the end that are close enough: from the first of them on the ratio stays so.
    same = list(itertools.takewhile(lambda each: each[1] >= CLOSE, reversed(found)))
    if same:
        print(f"the ratio is {CLOSE} or more from {same[-1][0] * 1e6:.0f} us on")
    else:
        print(f"the ratio is below {CLOSE} for the longest")


def _compare_length(devices: int, loops: int, seconds: float) -> tuple[float, float]:
    """The seconds of a computation on jax's side, and how many times jax's throughput atoll's is."""
    function, sharding, value = after_work(loops), sharding_on(devices), start(devices)
    by_jit = through_jit(jitted(function, sharding), sharding)
    by_jit.measure(value, AHEAD)
    once, _ = by_jit.measure(value, AHEAD)
    computations = min(COMPUTATIONS, max(AHEAD, int(TURN / once.seconds)))
    with ExitStack() as opened:
        made = lowered(function, devices)
        islands = opened.enter_context(atoll.Cluster(made.topology)).shared
        sides = [_controlled(made, islands, opened), by_jit]
        rounds = take_turns(sides, value, computations, seconds)
    length, ratio = 1 / rate(rounds, 1), throughput_ratio(rounds, 0, 1)
    print(f"{loops:6}  {length * 1e6:18.0f} us  {ratio:6.2f}", flush=True)
    return length, ratio
