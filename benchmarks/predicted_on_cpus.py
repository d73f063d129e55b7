"""What reports predict of a step on the CPU devices of this machine, beside what it takes, for ten programs.

What devices do is measured first, as `atoll calibrate` does. Each program is compiled by several plans, and by the one
that `atoll plan` takes; all of them are run in turn, again and again, so that whatever else the machine does meets
each of them. A plan's time is that of its fastest step; its noise is how far the middle one of its turns is above that.
Two plans are told apart if their times differ by more than three times the noise of either: only the order of such
counts.

Ends with status 1 if over all programs the median error is above 25%, if the order of a program's plans and that of
their predictions have a Spearman coefficient under 0.9 in the mean, or if the automatic plan takes more than 10% longer
than the best by hand.

    python benchmarks/predicted_on_cpus.py --programs wide stacked --turns 20
"""

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
from atoll.compiler.commands.calibrate import measured_rates_of
from atoll.compiler.commands.plan import JobTarget
from atoll.compiler.errors import AtollError
from atoll.compiler.planner.plans import best_plans
from atoll.compiler.report.step_parts import parts_of_step
from predicted_beside_measured import ranks, spearman
from programs.small_steps import jobs
from rows import Row, tell

import atoll

ISLANDS = 2
LEAST_RANK, MOST_ERROR, MOST_BEHIND = 0.9, 0.25, 1.1
APART = 3  # times the noise
PLANS = (
    "stages=1, microbatches=1, replicas=1",
    "stages=2, microbatches=2, schedule=1f1b",
    "stages=2, microbatches=4, schedule=gpipe",
    "stages=2, microbatches=4, schedule=1f1b",
    "stages=2, microbatches=8, schedule=1f1b",
    "stages=2, microbatches=16, schedule=1f1b",
    "stages=1, microbatches=1, schedule=1f1b, replicas=2",
    "stages=1, microbatches=4, schedule=1f1b, replicas=2",
)


@dataclass(frozen=True)
class Taken:
    """A plan, what is predicted of a step, and the seconds that each turn took."""

    plan: str
    predicted: float
    turns: tuple[float, ...]

    @property
    def measured(self) -> float:
        return min(self.turns)

    @property
    def noise(self) -> float:
        return statistics.median(self.turns) - self.measured

    @property
    def error(self) -> float:
        return abs(self.predicted / self.measured - 1)

    def is_apart(self, other: "Taken") -> bool:
        """Whether the two differ by more than noise."""
        return abs(self.measured - other.measured) > APART * max(self.noise, other.noise)


def main() -> int:
    known = jobs()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", nargs="*", choices=list(known), default=list(known), help="these alone")
    parser.add_argument("--turns", type=int, default=20, help="how often each plan is run (default: 20)")
    options = parser.parse_args()
    islands = calibrated()
    print(islands)
    found = {}
    for name in options.programs:
        rows, automatic = taken(known[name], islands, options.turns)
        found[name] = rows, automatic
        print(f"\n{name}\n{'predicted':>12}{'measured':>12}{'noise':>10}   plan")
        for one in dict.fromkeys((*rows, automatic)):
            times = f"{1e3 * one.predicted:>9.2f} ms{1e3 * one.measured:>9.2f} ms{1e3 * one.noise:>7.2f} ms"
            print(f"{times}   {one.plan}{', which atoll plan takes' if one is automatic else ''}", flush=True)
    return verdict(found)


def calibrated() -> Any:  # noqa: ANN401 (an `atoll.Topology`)
    """The islands, with what their devices do on this machine."""
    islands = atoll.topology(f"{ISLANDS} x cpu[1]; link * <-> * : 5 GB/s, 50 us")
    return replace(islands, rates=(measured_rates_of(islands),))


def taken(job: Any, islands: Any, turns: int) -> tuple[list[Taken], Taken]:  # noqa: ANN401 (of `atoll`)
    """The plans by hand that the program allows, and the automatic one, which is one of them if its program is."""
    automatic = best_plans(JobTarget(job, islands)).plans[0].plan
    with contextlib.ExitStack() as stack:
        steps: dict[str, Any] = {}
        predicted, programs = {}, {}
        for plan in dict.fromkeys((*PLANS, automatic)):
            with contextlib.suppress(AtollError):  # no such program: the batch, or the layers, are too few
                lowered = atoll.lower(job, topology=islands, plan=atoll.Plan.parse(plan))
                made = lowered.program.islands, lowered.program.codes
                if plan == automatic and made in programs.values():
                    automatic = next(other for other, one in programs.items() if one == made)
                    continue
                programs[plan] = made
                report = lowered.report()
                predicted[plan] = parts_of_step(report.pipeline, report.whole_step, islands).step
                steps[plan] = stack.enter_context(lowered.compile())
        times = interleaved(steps, job, turns)
    rows = [Taken(plan, predicted[plan], times[plan]) for plan in steps]
    return [one for one in rows if one.plan in PLANS], next(one for one in rows if one.plan == automatic)


def interleaved(steps: dict[str, Any], job: Any, turns: int) -> dict[str, tuple[float, ...]]:  # noqa: ANN401
    """The seconds of each turn of each plan, from the call until every result is there; the first turn is not told."""
    placed = {plan: step.put(*job.args) for plan, step in steps.items()}
    times: dict[str, list[float]] = {plan: [] for plan in steps}
    for turn in range(turns + 1):
        for plan, step in steps.items():
            began = time.perf_counter()
            jax.block_until_ready(jax.tree.map(lambda one: one.to_jax() if one.ndim == 0 else one, step(*placed[plan])))
            if turn:
                times[plan].append(time.perf_counter() - began)
    return {plan: tuple(some) for plan, some in times.items()}


def verdict(found: dict[str, tuple[list[Taken], Taken]]) -> int:
    """Print what is held to its limits; 1 if one is missed."""
    error = statistics.median(one.error for rows, _ in found.values() for one in rows)
    orders = {name: agreement(rows) for name, (rows, _) in found.items()}
    behind = {name: own.measured / min(one.measured for one in rows) for name, (rows, own) in found.items()}
    rank, worst = statistics.mean(orders.values()), max(behind.values())
    for name, (rows, _) in found.items():
        tell(Row(name, "Spearman", orders[name], {"limit": LEAST_RANK}))
        tell(Row(f"{name}, median error", "", statistics.median(one.error for one in rows), {"limit": MOST_ERROR}))
    print(
        f"\nmedian error {error:.1%}, at most {MOST_ERROR:.0%}; Spearman {rank:.3f} in the mean, at least {LEAST_RANK}"
    )
    print(f"the automatic plan takes {worst:.3f} of the best by hand at the worst, at most {MOST_BEHIND}")
    return int(rank < LEAST_RANK or error > MOST_ERROR or worst > MOST_BEHIND)


def agreement(rows: Sequence[Taken]) -> float:
    """The Spearman coefficient of predicted and measured times, where plans that noise does not tell apart count as if
    they were in the order that is predicted."""
    order = sorted(rows, key=lambda one: one.measured)
    for _ in order:  # neighbours change places as long as that is no more than noise
        for at in range(len(order) - 1):
            first, second = order[at : at + 2]
            if first.predicted > second.predicted and not first.is_apart(second):
                order[at : at + 2] = [second, first]
    return spearman(ranks([one.predicted for one in order]), range(len(order)))


if __name__ == "__main__":
    sys.exit(main())
