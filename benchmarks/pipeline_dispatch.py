"""A pipeline of tiny stages, one on each island: asked for at once, or each stage when the one before has ended.

This is the question of the Pathways paper (Barham et al. 2022, section 4.5 and figure 7): a controller that asks all
islands for their part before any of it is computed, beside one that asks the next island when the one before has told
of its result. *at once* is one program, in which a step is one message to each island. *in turn* has a program for each
stage, and the caller waits for each result before it calls the next. Both with islands in processes of their own, and
within this process. Steps a second; a step takes one value through all stages.

The floor is what it costs that threads wake up: how often they do for a stage of *at once*, in the processes that have
the islands, as Linux counts it; with the time that waking one takes, as measured between two threads.

    python benchmarks/pipeline_dispatch.py --stages 1 2 4 8 16
"""

import argparse
import os
import statistics
import threading
import time
from contextlib import ExitStack

import jax
import jax.numpy as jnp
from atoll.runtime.inbox import Inbox
from processes.counted import counting, processes_of
from rows import Row, tell

import atoll


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, nargs="*", default=[1, 2, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=50, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    most = max(options.stages)
    os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={most}")
    waking = time_to_wake()
    print(f"to wake a thread takes {waking * 1e6:.0f} us")
    columns = ("stages", "islands", "at once", "in turn", "ratio", "us a stage", "wake-ups", "floor")
    print(*(f"{name:>10}" for name in columns))
    for where in (None, "ray"):
        with atoll.Cluster(f"{most} x cpu[1]", cluster=where) as cluster:
            for count in options.stages:
                at_once, in_turn, woken = steps_a_second(cluster, count, options.steps, options.rounds)
                case = f"{count} stages in {'processes' if where else 'one process'}, at once"
                tell(Row(case, "steps a second", at_once, {"in turn": in_turn}, more_is_better=True))
                print(
                    f"{count:>10} {'processes' if where else 'here':>10} {at_once:>10.0f} {in_turn:>10.0f} "
                    f"{at_once / in_turn:>10.2f} {1e6 / at_once / count:>10.0f} {woken / count:>10.1f} "
                    f"{woken / count * waking * 1e6:>10.0f}",
                    flush=True,
                )


def steps_a_second(cluster: atoll.Cluster, count: int, steps: int, rounds: int) -> tuple[float, float, float]:
    """Of one program with so many stages, and of a program for each stage; medians of rounds that take turns. And how
    often threads wake up for a step of the first."""

    def stage(x: jax.Array) -> jax.Array:
        return x * 0.5 + 1.0

    def pipeline(x: jax.Array) -> jax.Array:
        for number in range(count):
            with jax.named_scope(f"stage_{number}"):
                x = stage(x)
        return x

    islands = tuple(island.name for island in cluster.topology.islands[:count])
    x = jnp.ones(4)
    with ExitStack() as opened:
        whole = opened.enter_context(
            atoll.compile(pipeline, x, topology=cluster, islands=islands, plan=atoll.Plan(stages=count))
        )
        parts = [opened.enter_context(atoll.compile(stage, x, topology=cluster, islands=(name,))) for name in islands]

        def in_turn() -> None:
            value = x
            for part in parts:
                value = part(value)
                value.block_until_ready()

        sides = (lambda: whole(x).block_until_ready(), in_turn)
        processes = processes_of(cluster.shared)[:count]
        taken, woken = (list[float](), list[float]()), (list[int](), list[int]())
        for number in range(rounds + 1):
            for side, seconds, wake_ups in zip(sides, taken, woken, strict=True):
                with counting(processes) as counted:
                    began = time.perf_counter()
                    for _ in range(steps):
                        side()
                    took = time.perf_counter() - began
                if number:  # the first is for caches
                    seconds.append(took)
                    wake_ups.append(counted.wake_ups)
    at_once, turn = (steps / statistics.median(seconds) for seconds in taken)
    return at_once, turn, statistics.median(woken[0]) / steps


def time_to_wake(times: int = 5000) -> float:
    """Seconds, of a thread that waits for what another one puts into an inbox; there and back, and halved."""
    there: Inbox[int] = Inbox()
    back: Inbox[int] = Inbox()

    def answer() -> None:
        while there.get():
            back.put(1)

    thread = threading.Thread(target=answer)
    thread.start()
    began = time.perf_counter()
    for _ in range(times):
        there.put(1)
        back.get()
    took = (time.perf_counter() - began) / times / 2
    there.put(0)
    thread.join()
    return took


if __name__ == "__main__":
    main()
