"""The step of a pipeline whose tasks take fixed times, beside what the simulator says that it takes.

A train step is compiled for four islands, once for each schedule and number of microbatches. Its instruction streams
are then followed by the real workers over the real transport, on devices that only sleep: a forward, a backward and a
weight task take 20 ms each. The time is that of a step as the caller sees it, from the call until every result is
there, and the fastest of three steps, as whatever else the machine does only adds to it. Ends with status 1 if one is
more than 5% above its simulation.

    python benchmarks/pipeline_step.py --schedules 1f1b zb-h1 --microbatches 8
"""

import argparse
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy
from atoll.compiler.schedules.costs import uniform
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.simulate import simulate
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import FORWARD, WEIGHT, TaskName
from atoll.compiler.topology.devices import meshes_of
from atoll.runtime.controller import Controller
from atoll.runtime.sleeping import SleepingDevices
from rows import Row, tell

import atoll

ISLANDS = 4
TASK = 0.02  # seconds that a forward, a backward or a weight task takes
LIMIT = 1.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", nargs="*", default=list(SCHEDULE_KINDS))
    parser.add_argument("--microbatches", type=int, nargs="*", default=[8, 32])
    options = parser.parse_args()
    print(f"{'schedule':<22}{'microbatches':>13}{'simulated':>11}{'measured':>10}{'ratio':>7}")
    ratios = [
        compare(schedule, microbatches) for schedule in options.schedules for microbatches in options.microbatches
    ]
    print(f"the worst ratio is {max(ratios):.3f}, the limit {LIMIT}")
    return int(max(ratios) > LIMIT)


def compare(name: str, microbatches: int) -> float:
    program, schedule, topology = compiled(name, microbatches)
    seconds = dict.fromkeys("FBW", TASK)
    simulated = simulate(schedule, uniform(schedule, *seconds.values())).makespan
    measured = step_time(program, schedule, meshes_of(topology), seconds)
    case = f"{name}, {microbatches} microbatches, sleeping devices"
    tell(Row(case, "s", measured, {"simulated": simulated, "limit": LIMIT * simulated}))
    print(
        f"{name:<22}{microbatches:>13}{simulated:>10.3f}s{measured:>9.3f}s{measured / simulated:>7.3f}",
        flush=True,
    )
    return measured / simulated


def step_time(program: Any, schedule: Schedule, meshes: Any, seconds: dict[str, float]) -> float:  # noqa: ANN401
    """The fastest of three steps."""

    def of(task: str) -> float:
        found = Task.of(TaskName.parse(task))
        if found is None:  # around the loop
            return 0.0
        if found.kind in (FORWARD, WEIGHT) or found.stage in schedule.split_stages:
            return seconds[found.kind]
        return seconds[found.kind] + seconds[WEIGHT]  # a whole backward

    arguments = [numpy.zeros(one.shape, one.dtype) for one in program.inputs]
    with (
        SleepingDevices(program, meshes, of) as sleeping,
        Controller(program, meshes, devices=sleeping.devices) as controller,
    ):
        placed, times = controller.put(arguments), []
        for _ in range(3):
            began = time.perf_counter()
            for result in controller.start(placed):
                result.block_until_ready()
            times.append(time.perf_counter() - began)
    return min(times)


def compiled(name: str, microbatches: int) -> tuple[Any, Schedule, Any]:
    """The program of a train step, or of a forward pass, and the schedule that it follows."""
    chunks = SCHEDULE_KINDS[name].chunks
    params = [numpy.eye(4, dtype=numpy.float32)] * (ISLANDS * chunks)
    x = numpy.ones((microbatches, 4), numpy.float32)
    plan = atoll.Plan(stages=len(params), microbatches=microbatches, schedule=name)
    with atoll.compile(
        forward if name == "forward-only" else train_step,
        params,
        x,
        topology=f"{ISLANDS} x cpu[1]",
        plan=plan,
        batch_argnums=1,
    ) as step:
        assert step.schedule is not None
        return step.program, step.schedule, step.topology


def forward(params: Any, x: Any) -> Any:  # noqa: ANN401
    for index, layer in enumerate(params):
        with jax.named_scope(f"layer_{index}"):
            x = jnp.tanh(x @ layer)
    return x


def train_step(params: Any, x: Any) -> Any:  # noqa: ANN401
    loss, gradients = jax.value_and_grad(lambda params: jnp.mean(forward(params, x) ** 2))(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), loss


if __name__ == "__main__":
    sys.exit(main())
