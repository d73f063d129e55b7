"""What it costs to dispatch small computations, one by one and as a program, beside `jax.jit` on the same devices.

These are the micro-benchmarks of the Pathways paper (Barham et al. 2022, section 5.1, figure 5). A computation is an
all-reduce of one integer over the devices of an island, and an add. It is run in three ways, each time with the result
of the one before:

- OpByOp: a call of the user's function runs one computation. *two ahead*: the same as `atoll.compile` gives it, which
  lets two calls be under way.
- Chained: a call runs a program of 128 computations, which are 128 tasks of one fragment in the stream of one island.
  `jax.jit` has no such program; beside it stands the same Python loop as in OpByOp.
- Fused: a call runs one computation that has all 128 inside.

The second table is of OpByOp alone, with computations that are made longer by a loop: from which length on atoll's
throughput is that of `jax.jit`, to one part in twenty. The last lines are what the controller and the islands' thread
do for a computation, without any device; *State* is a call that takes 50 arrays and gives 50, with one for each.

Collectives on forced CPU devices hang, or end the process, when hundreds of executions are enqueued. So at most 16
executions are under way on either side: in atoll that is what an island lets be (and as many calls, but for *two
ahead*); the loop beside it waits for the oldest of 16 before it calls again. Sides take turns in one process, 512
computations each; rates are medians, and a ratio is the median of those of the rounds.

    python benchmarks/small_computations.py --devices 4
    python benchmarks/small_computations.py --cluster ray
"""

import argparse
import os


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=2, help="of the island: two or more")
    parser.add_argument(
        "--loops", type=int, nargs="*", default=[0, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000]
    )
    parser.add_argument("--cluster", help='where the island is, as "ray"; then there is the first table alone')
    parser.add_argument("--seconds", type=float, default=20.0, help="that the first table takes")
    parser.add_argument("--seconds-each", type=float, default=5.0, help="that each line of the second takes")
    options = parser.parse_args()
    os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={options.devices}")
    from dispatch import host_time, tables  # these import jax, which has to find the devices

    print(f"an island of {options.devices} devices", flush=True)
    tables.compare_variants(options.devices, options.seconds, options.cluster)
    if options.cluster is not None:
        return
    print()
    tables.compare_lengths(options.devices, options.loops, options.seconds_each)
    print()
    host_time.print_host_times(options.devices)


if __name__ == "__main__":
    main()
