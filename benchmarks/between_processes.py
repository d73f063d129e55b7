"""What it costs to send values between islands that have a process each, beside sockets by hand in the same run.

Large: 256 MB from one island to the other, in a program that does nothing else, until they are on its device. Beside it
a process that sends as much over a socket, or over four at a time, to one that puts it onto its device; and one whose
transfer server, jax's, offers as much, which the other pulls at once or in 64 parts.

Small: a value of four bytes that goes to the other island and back again, and again, in a program that does nothing
else. Beside it the same between two processes, over a socket: asleep until something comes, and never asleep, which
tells what waking up takes; by hand between devices, in one thread on each side: with what jax and pickle offer for
that, and bare, with the least that jax has to do for it; and between two islands of one process. Of two processes each
is held to a core of its own meanwhile. How often threads wake up and how much of the processors they take is counted
too: that tells more than time where others use the machine.

    python benchmarks/between_processes.py --rounds 5
"""

import argparse
import os
import statistics
import time

from rows import Row, tell

ROUND_TRIPS = 400  # of a step, which takes a while to start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=256)
    options = parser.parse_args()
    os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    from processes import by_hand, programs  # these import jax, which has to find the devices
    from processes.counted import Counted, counting, on_own_cores

    size, bare = options.megabytes * 1_000_000, by_hand.bare()
    large, back_and_forth = programs.crossing(size), programs.back_and_forth(ROUND_TRIPS)
    with (
        programs.running("ray", large) as far_large,
        programs.running("ray", back_and_forth) as far_small,
        programs.running(None, back_and_forth) as near_small,
        by_hand.Peer() as peer,
    ):
        sides = {
            "large": far_large.step,
            "large by hand, one socket": lambda: peer.send(size, 1),
            "large by hand, four sockets": lambda: peer.send(size, 4),
            "large by hand, one pull": lambda: peer.pull(size, 1),
            "large by hand, 64 pulls": lambda: peer.pull(size, 64),
            "small": far_small.step,
            "small by hand": lambda: peer.back_and_forth(ROUND_TRIPS),
            "small by hand, never asleep": lambda: peer.asking(ROUND_TRIPS),
            "small by hand, on devices": lambda: peer.between_devices(ROUND_TRIPS, by_hand.WITH_PICKLE),
            "small by hand, bare": lambda: peer.between_devices(ROUND_TRIPS, bare),
            "small in one process": near_small.step,
        }
        processes = dict.fromkeys((name for name in sides if name.startswith("small")), peer.processes)
        processes |= {"small": far_small.processes, "small in one process": near_small.processes}
        taken: dict[str, list[float]] = {name: [] for name in sides}
        did: dict[str, list[Counted]] = {name: [] for name in sides}
        for number in range(options.rounds + 1):
            for name, call in sides.items():
                both = processes.get(name, ())
                with on_own_cores(both if len(both) > 1 else ()), counting(both) as found:
                    began = time.perf_counter()
                    call()
                    seconds = time.perf_counter() - began
                if number:  # the first is for caches
                    taken[name].append(seconds)
                    did[name].append(found)
    for name, seconds in taken.items():
        best, median = min(seconds), statistics.median(seconds)
        if name.startswith("large"):
            print(f"{name:<28} {size / median / 1e9:6.2f} GB/s, at best {size / best / 1e9:.2f}")
        else:
            each, least = (1e6 * seconds / ROUND_TRIPS for seconds in (median, best))
            work = 1e6 * statistics.median(one.seconds for one in did[name]) / ROUND_TRIPS
            wake_ups = statistics.median(one.wake_ups for one in did[name]) / ROUND_TRIPS
            print(
                f"{name:<28} {each:6.0f} us there and back, at best {least:.0f}; "
                f"{work:.0f} us of processors, {wake_ups:.1f} wake-ups"
            )
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    rates = {name: size / seconds / 1e9 for name, seconds in medians.items() if name.startswith("large")}
    tell(Row(f"{options.megabytes} MB", "GB/s", rates.pop("large"), rates, more_is_better=True))
    trips = {name: 1e6 * seconds / ROUND_TRIPS for name, seconds in medians.items() if name.startswith("small")}
    tell(Row("four bytes there and back", "us", trips.pop("small"), trips))
    fastest = min(statistics.median(taken[name]) for name in taken if name.startswith("large by hand"))
    print(f"large: {fastest / statistics.median(taken['large']):.2f} of the best by hand; the aim is 0.9 or more")
    ratio, least = (medians[name] / medians["small by hand"] for name in ("small", "small by hand, bare"))
    print(f"small: {ratio:.1f} times a socket's; the aim is 2 or less, and what jax has to do makes it {least:.1f}")


if __name__ == "__main__":
    main()
