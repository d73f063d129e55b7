"""What reports predict of a step, beside what it takes, for many plans of one program.

The train step of eight layers by Adam is lowered for four islands by each plan. Its instruction streams are followed by
the real controller, workers and transport, on devices that sleep for what the cost model says of each task, and over
links that are held to the bandwidth and latency of the topology, with one port for each island. So both sides have the
same costs, and they differ by what the prediction does not know of the runtime. The time is that of a step as its
caller sees it, the fastest of three, as whatever else the machine does only adds to it. The last row is the plan that
`atoll plan` takes.

Ends with status 1 if the order by prediction and that by measurement have a Spearman coefficient under 0.95, if the
median error is over 5%, or if the automatic plan takes more than 3% longer than the best of the others.

    python benchmarks/predicted_beside_measured.py --plans "stages=4, microbatches=8, schedule=1f1b"
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy
from atoll.compiler.commands.plan import JobTarget
from atoll.compiler.cost.task_costs import named_seconds
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.planner.plans import best_plans
from atoll.compiler.task_name import TaskName
from atoll.compiler.topology.devices import meshes_of
from atoll.runtime.controller import Controller
from atoll.runtime.sleeping import SleepingDevices, Throttle
from rows import Row, tell

import atoll

LAYERS, WIDTH, BATCH = 8, 1024, 1024
ISLANDS = 4
BANDWIDTH, LATENCY = 200_000_000, 0.002  # bytes a second, and seconds
STEPS = 3
LEAST_RANK, MOST_ERROR, MOST_BEHIND = 0.95, 0.05, 1.03
PLANS = (
    "stages=2, microbatches=4, schedule=1f1b",
    "stages=3, microbatches=8, schedule=gpipe",
    "stages=4, microbatches=2, schedule=gpipe",
    "stages=4, microbatches=4, schedule=1f1b",
    "stages=4, microbatches=8, schedule=1f1b",
    "stages=4, microbatches=16, schedule=gpipe",
    "stages=4, microbatches=16, schedule=1f1b",
    "stages=4, microbatches=8, schedule=zb-h1",
    "stages=4, microbatches=8, schedule=zb-h2",
    "stages=8, microbatches=8, schedule=interleaved-1f1b(2)",
    "stages=8, microbatches=16, schedule=zb-v",
    "stages=8, microbatches=8, schedule=dualpipe-v",
    "stages=1, microbatches=1, schedule=1f1b, replicas=4",
    "stages=2, microbatches=2, schedule=1f1b, replicas=2",
    "stages=2, microbatches=8, schedule=1f1b, replicas=2",
    "stages=2, microbatches=8, schedule=zb-h1, replicas=2",
    "stages=2, microbatches=2, schedule=1f1b, replicas=2, update=sharded",
    "stages=1, microbatches=2, schedule=1f1b, replicas=4, update=sharded",
    "stages=4, microbatches=4, schedule=interleaved-1f1b(2), replicas=2",
)


@dataclass(frozen=True)
class Found:
    """A plan, and the seconds of its step."""

    plan: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        return abs(self.predicted / self.measured - 1)

    def __str__(self) -> str:
        ratio = self.measured / self.predicted
        return f"{1000 * self.predicted:>9.1f} ms{1000 * self.measured:>9.1f} ms{ratio:>7.3f}   {self.plan}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plans", nargs="*", default=PLANS, help="as --plan of `atoll run` takes them")
    options = parser.parse_args()
    print(f"{'predicted':>12}{'measured':>12}{'ratio':>7}   plan")
    rows = []
    for plan in options.plans:
        rows.append(row_of(plan))
        print(rows[-1], flush=True)
    found = best_plans(JobTarget(job(), topology())).plans[0].plan
    automatic = row_of(found)
    print(f"{automatic}, which atoll plan takes")
    return verdict(rows, automatic)


def verdict(rows: Sequence[Found], automatic: Found) -> int:
    """Print what is held to its limits; 1 if one is missed."""
    rank = spearman([one.predicted for one in rows], [one.measured for one in rows])
    error = statistics.median(one.error for one in rows)
    best = min(rows, key=lambda one: one.measured)
    behind = automatic.measured / best.measured
    for one in rows:
        tell(Row(one.plan, "ms", 1000 * one.measured, {"predicted": 1000 * one.predicted}))
    tell(Row("the plan of atoll plan", "ms", 1000 * automatic.measured, {"the best by hand": 1000 * best.measured}))
    print(f"Spearman {rank:.3f}, at least {LEAST_RANK}; median error {error:.1%}, at most {MOST_ERROR:.0%}")
    print(f"the automatic plan takes {behind:.3f} of the best by hand, at most {MOST_BEHIND}: {best.plan}")
    return int(rank < LEAST_RANK or error > MOST_ERROR or behind > MOST_BEHIND)


def spearman(some: Sequence[float], others: Sequence[float]) -> float:
    """How alike two orders are, from -1 to 1; nan for fewer than two numbers."""
    if len(some) < 2:
        return float("nan")
    return statistics.correlation(ranks(some), ranks(others))


def ranks(numbers: Sequence[float]) -> list[int]:
    """The place of each number in their order; none are equal, as they are times."""
    order = sorted(numbers)
    return [order.index(one) for one in numbers]


def row_of(plan: str) -> Found:
    lowered = atoll.lower(job(), topology=topology(), plan=atoll.Plan.parse(plan))
    pipeline, whole = lowered.report().pipeline, lowered.report().whole_step
    predicted = whole or pipeline
    assert predicted is not None, "each of the plans has a loop over microbatches"
    return Found(plan, predicted.step, step_time(lowered))


def step_time(lowered: Any) -> float:  # noqa: ANN401 (an `atoll.Lowered`)
    """The fastest of some steps, from the call until every result is there."""
    program, meshes = lowered.program, meshes_of(lowered.topology)
    names = [island.name for island in lowered.topology.islands]
    links = [(one, other) for one in names for other in names if one != other]
    throttles = dict.fromkeys(links, Throttle(BANDWIDTH, LATENCY))
    arguments = [numpy.zeros(one.shape, one.dtype) for one in program.inputs]
    times = []
    with (
        SleepingDevices(program, meshes, seconds_of(lowered), throttles) as sleeping,
        Controller(program, meshes, devices=sleeping.devices) as controller,
    ):
        placed = controller.put(arguments)
        for _ in range(STEPS):
            began = time.perf_counter()
            for result in controller.start(placed):
                result.block_until_ready()
            times.append(time.perf_counter() - began)
    return min(times)


def seconds_of(lowered: Any) -> Callable[[str], float]:  # noqa: ANN401 (an `atoll.Lowered`)
    """What the cost model says of each task, by its name; what belongs to an exchange takes no time."""
    seconds = named_seconds(parse_text(lowered.ir("scheduled")))
    return lambda task: seconds.get(TaskName.parse(task).rolled, 0.0)


def topology() -> Any:  # noqa: ANN401 (an `atoll.Topology`)
    names = [f"island{number}" for number in range(ISLANDS)]
    lines = [f"island {name} : cpu[1]" for name in names]
    lines += [
        f"link {one} <-> {other} : {BANDWIDTH} B/s, {1000 * LATENCY:g} ms"
        for number, one in enumerate(names)
        for other in names[number + 1 :]
    ]
    return atoll.topology("\n".join(lines))


def job() -> Any:  # noqa: ANN401 (an `atoll.Job`)
    layers = [jax.ShapeDtypeStruct((WIDTH, WIDTH), "float32")] * LAYERS
    state = {"params": layers, "mean": layers, "square": layers, "step": jax.ShapeDtypeStruct((), "float32")}
    x = jax.ShapeDtypeStruct((BATCH, WIDTH), "float32")
    return atoll.Job(train_step, state, x, batch_argnums=1)


def train_step(state: Any, x: Any) -> Any:  # noqa: ANN401
    loss, gradients = jax.value_and_grad(loss_of)(state["params"], x)
    step = state["step"] + 1
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["mean"], gradients)
    square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state["square"], gradients)

    def updated(p: Any, m: Any, v: Any) -> Any:  # noqa: ANN401
        return p - 1e-3 * (m / (1 - 0.9**step)) / (jnp.sqrt(v / (1 - 0.999**step)) + 1e-8)

    params = jax.tree.map(updated, state["params"], mean, square)
    return {"params": params, "mean": mean, "square": square, "step": step}, loss


def loss_of(params: Any, x: Any) -> Any:  # noqa: ANN401
    for index, layer in enumerate(params):
        with jax.named_scope(f"layer_{index}"):
            x = jnp.tanh(x @ layer)
    return jnp.mean(x**2)


if __name__ == "__main__":
    sys.exit(main())
