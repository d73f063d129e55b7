"""The step of two replicas over a slow link, beside the same step over one that takes no time.

A train step is compiled for two islands, each a replica with all layers, and run by the real workers over the real
transport, on devices that only sleep and links that are held to the bandwidth and latency of the topology. It is run
in two ways. With one microbatch, as one stage in as many segments as the compiler takes by itself: when the gradient of
a segment is final, it crosses while the segments before it go back. With four, breadth first: all go back through the
last stage before any goes back through the one before it, so that gradients are final as early. The exchange takes a
given part of the backward pass, half of it at most. Ends with status 1 if a step is more than 3% longer than
without an exchange.

    python benchmarks/replica_overlap.py --parts 0.5
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import TaskName
from atoll.compiler.topology.devices import meshes_of
from atoll.runtime.controller import Controller
from atoll.runtime.sleeping import SleepingDevices, Throttle
from rows import Row, tell

import atoll

LAYERS, WIDTH = 32, 64
FORWARD, BACKWARD = 0.320, 0.640  # seconds of a replica's share of the batch, through all layers
LATENCY = 0.001
LIMIT = 1.03
PLANS = (
    atoll.Plan(stages=1, microbatches=1, replicas=2, schedule="1f1b"),
    atoll.Plan(stages=LAYERS, microbatches=4, replicas=2, schedule=f"looped-bfs({LAYERS})", segments=1),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=float, nargs="*", default=[0.1, 0.25, 0.5])
    options = parser.parse_args()
    ratios = [ratio(plan, part) for plan in PLANS for part in options.parts]
    print(f"the worst ratio is {max(ratios):.3f}, the limit {LIMIT}")
    return int(max(ratios) > LIMIT)


def ratio(plan: atoll.Plan, part: float) -> float:
    """How much longer a step is whose exchange takes a part of its backward pass."""
    exchange = part * BACKWARD
    step = compiled(plan, int(4 * LAYERS * WIDTH**2 / exchange))
    sent = sum(one.bytes for one in step.report().links if one.source == "island0")
    alone, together = step_time(step, None), step_time(step, Throttle(sent / exchange, LATENCY))
    found = together / alone
    case = f"{plan.schedule}, {plan.microbatches} microbatches, exchange {part:.0%} of the backward"
    tell(Row(case, "s", together, {"without exchange": alone, "limit": LIMIT * alone}))
    print(
        f"{plan.schedule}, {plan.microbatches} x {step.report().stages} tasks, exchange {part:.0%} of the backward: "
        f"step {together:.3f} s, without exchange {alone:.3f} s, ratio {found:.3f}",
        flush=True,
    )
    step.close()
    return found


def step_time(step: Any, throttle: Throttle | None) -> float:  # noqa: ANN401 (a compiled step)
    """The fastest of five steps."""
    meshes = meshes_of(step.topology)
    links = {} if throttle is None else dict.fromkeys([("island0", "island1"), ("island1", "island0")], throttle)
    arguments = [numpy.zeros(one.shape, one.dtype) for one in step.program.inputs]
    with (
        SleepingDevices(step.program, meshes, seconds_of(step), links) as sleeping,
        Controller(step.program, meshes, devices=sleeping.devices) as controller,
    ):
        placed, times = controller.put(arguments), []
        for _ in range(5):
            began = time.perf_counter()
            for result in controller.start(placed):
                result.block_until_ready()
            times.append(time.perf_counter() - began)
    return min(times)


def seconds_of(step: Any) -> Callable[[str], float]:  # noqa: ANN401 (a compiled step)
    """A task of the loop takes its share of all operations; what stands around the loop takes no time."""
    stages, microbatches = step.report().pipeline.stages, step.plan.microbatches
    forward, backward = [one.forward for one in stages], [one.backward for one in stages]
    shares = {
        kind: [total * cost / sum(costs) / microbatches for cost in costs]
        for kind, total, costs in (("F", FORWARD, forward), ("B", BACKWARD, backward))
    }

    def seconds(task: str) -> float:
        found = Task.of(TaskName.parse(task))
        return shares[found.kind][found.stage] if found is not None else 0.0

    return seconds


def compiled(plan: atoll.Plan, bandwidth: int) -> Any:  # noqa: ANN401 (a compiled step)
    params = [numpy.eye(WIDTH, dtype=numpy.float32)] * LAYERS
    x = numpy.ones((8, WIDTH), numpy.float32)
    topology = "\n".join(
        [
            "island island0 : cpu[1]",
            "island island1 : cpu[1]",
            f"link island0 <-> island1 : {bandwidth} B/s, {1000 * LATENCY:g} ms",
        ]
    )
    return atoll.compile(train_step, params, x, topology=topology, plan=plan, batch_argnums=1)


def train_step(params: Any, x: Any) -> Any:  # noqa: ANN401
    def loss_fn(params: Any) -> Any:  # noqa: ANN401
        h = x
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                h = jnp.tanh(h @ layer)
        return jnp.mean(h**2)

    loss, gradients = jax.value_and_grad(loss_fn)(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), loss


if __name__ == "__main__":
    sys.exit(main())
