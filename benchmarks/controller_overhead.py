"""What a step costs on tiny fragments, beside the same work written by hand.

By hand is a Python loop of the same jitted stage functions with `jax.device_put` between them, in one thread. Both
take turns in one process; the ratio is the median of those of the turns, as other processes slow down both.

    python benchmarks/controller_overhead.py --islands 2 --devices 4 --microbatches 8
"""

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable, Sequence
from operator import truediv
from typing import Any

WIDTH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--islands", type=int, default=2)
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 4], help="of an island")
    parser.add_argument("--microbatches", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    count = options.islands * max(options.devices)
    os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={count}")
    for devices in options.devices:
        compare(options.islands, devices, options.microbatches, options.rounds)


def compare(islands: int, devices: int, microbatches: int, rounds: int) -> None:
    import jax
    import numpy
    from atoll.runtime.controller import Controller

    available = numpy.array(jax.devices())
    meshes = {
        f"island{index}": jax.sharding.Mesh(available[index * devices : (index + 1) * devices], ("devices",))
        for index in range(islands)
    }
    weights = [numpy.full((WIDTH, WIDTH), 0.1, "float32")] * islands
    batch = [numpy.full((devices, WIDTH), 0.1 * index, "float32") for index in range(microbatches)]
    by_hand = ByHand(list(meshes.values()), microbatches)
    with Controller(program(islands, devices, microbatches), meshes) as controller:
        times: dict[str, list[float]] = {"atoll": [], "by hand": []}
        steps: dict[str, Callable[..., Any]] = {"atoll": controller.start, "by hand": by_hand.step}
        states = {name: list(step([*weights, *batch])) for name, step in steps.items()}
        batch = [jax.device_put(one, by_hand.shardings[0]) for one in batch]
        placed = {"by hand": batch, "atoll": controller.put([*weights, *batch])[islands:]}
        for _ in range(rounds):
            for name, step in steps.items():
                times[name].append(measure(step, states[name], placed[name]))
        for ours, theirs in zip(states["atoll"], states["by hand"], strict=True):
            assert numpy.array_equal(ours, theirs), "the results differ"
        stats = controller.stats()
    tasks, medians = sum(stats.tasks.values()), {name: statistics.median(one) for name, one in times.items()}
    ratio = statistics.median(map(truediv, times["atoll"], times["by hand"]))
    print(
        f"{islands} islands of {devices} devices, {microbatches} microbatches, {tasks} tasks and "
        f"{stats.messages} messages a step: "
        + ", ".join(f"{name} {median:.0f} us ({median / tasks:.1f} a task)" for name, median in medians.items())
        + f", ratio {ratio:.2f}"
    )


def measure(step: Callable[..., Any], state: list[Any], batch: Sequence[Any], steps: int = 20) -> float:
    """Microseconds of a step; `state` is brought forward."""
    start = time.perf_counter()
    for _ in range(steps):
        state[:] = step([*state, *batch])
    for value in state:
        value.block_until_ready()
    return (time.perf_counter() - start) / steps * 1e6


# The work: each stage is tanh(x @ w); the loss is sum(y); gradients add up over the microbatches; SGD.


def forward(w: Any, x: Any) -> Any:  # noqa: ANN401
    import jax

    return jax.numpy.tanh(x @ w)


def backward(total: Any, w: Any, x: Any, dy: Any) -> Any:  # noqa: ANN401
    import jax

    dw, dx = jax.vjp(forward, w, x)[1](dy)
    return total + dw, dx


def first_gradient() -> Any:  # noqa: ANN401
    import jax

    return jax.numpy.zeros((WIDTH, WIDTH), "float32")


def loss_gradient(y: Any) -> Any:  # noqa: ANN401
    import jax

    return jax.numpy.ones_like(y)


def update(w: Any, total: Any) -> Any:  # noqa: ANN401
    return w - 0.001 * total


class ByHand:
    """The step as one would write it without atoll."""

    def __init__(self, meshes: Sequence[Any], microbatches: int) -> None:
        import jax

        self.shardings = [jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("devices")) for mesh in meshes]
        self.replicated = [jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()) for mesh in meshes]
        self.microbatches = microbatches
        self.zeros = [jax.jit(first_gradient, out_shardings=whole) for whole in self.replicated]
        self.forward = jax.jit(forward)
        self.loss_gradient = jax.jit(loss_gradient)
        self.backward = [
            jax.jit(backward, donate_argnums=0, out_shardings=(whole, split))
            for whole, split in zip(self.replicated, self.shardings, strict=True)
        ]
        self.update = jax.jit(update, donate_argnums=0)

    def step(self, arguments: Sequence[Any]) -> list[Any]:
        import jax

        islands = len(self.shardings)
        weights, batch = list(arguments[:islands]), arguments[islands:]
        if not isinstance(weights[0], jax.Array):
            weights = [jax.device_put(w, whole) for w, whole in zip(weights, self.replicated, strict=True)]
            batch = [jax.device_put(x, self.shardings[0]) for x in batch]
        totals = [zeros() for zeros in self.zeros]
        for x in batch:
            inputs = []
            for island in range(islands):
                if island:
                    x = jax.device_put(x, self.shardings[island])
                inputs.append(x)
                x = self.forward(weights[island], x)
            dy = self.loss_gradient(x)
            for island in reversed(range(islands)):
                totals[island], dy = self.backward[island](totals[island], weights[island], inputs[island], dy)
                if island:
                    dy = jax.device_put(dy, self.shardings[island - 1])
        return [self.update(w, total) for w, total in zip(weights, totals, strict=True)]


def program(islands: int, devices: int, microbatches: int) -> Any:  # noqa: ANN401
    """The same work as a program, in the order of 1F1B."""
    from atoll.runtime.program import Buffer, Free, Input, IslandProgram, Output, Program, Receive, Run, Send

    weight = Buffer((WIDTH, WIDTH), "float32")
    activation = Buffer((devices, WIDTH), "float32", (("devices",),))
    codes = (
        code("zeros", first_gradient, [], [weight]),
        code("forward", forward, [weight, activation], [activation]),
        code("loss_gradient", loss_gradient, [activation], [activation]),
        code("backward", backward, [weight, weight, activation, activation], [weight, activation]),
        code("update", update, [weight, weight], [weight]),
    )

    def island(index: int) -> tuple[IslandProgram, list[int], int]:
        buffers, stream = [weight], []
        name, last = f"island{index}", index == islands - 1

        def new(buffer: Buffer) -> int:
            buffers.append(buffer)
            return len(buffers) - 1

        batch = [new(activation) for _ in range(microbatches)] if not index else []
        total, xs, dys = new(weight), {}, {}
        stream.append(Run(f"I{index}", 0, (), (total,)))

        def run_forward(m: int) -> None:
            xs[m] = batch[m] if not index else new(activation)
            if index:
                stream.append(Receive(xs[m], f"island{index - 1}", m))
            y = new(activation)
            stream.append(Run(f"F{m}@{index}", 1, (0, xs[m]), (y,)))
            if last:
                dys[m] = new(activation)
                stream.append(Run(f"F{m}@{index}.1", 2, (y,), (dys[m],)))
            else:
                stream.append(Send(y, f"island{index + 1}", m))
            stream.append(Free((y,)))

        def run_backward(m: int, total: int) -> int:
            if not last:
                dys[m] = new(activation)
                stream.append(Receive(dys[m], f"island{index + 1}", m))
            new_total, dx = new(weight), new(activation)
            stream.append(Run(f"B{m}@{index}", 3, (total, 0, xs[m], dys[m]), (new_total, dx), (total,)))
            if index:
                stream.append(Send(dx, f"island{index - 1}", m))
            stream.append(Free((xs[m], dys[m], dx)))
            return new_total

        ahead = min(islands - index, microbatches)
        for m in range(ahead):
            run_forward(m)
        for m in range(microbatches):
            total = run_backward(m, total)
            if m + ahead < microbatches:
                run_forward(m + ahead)
        result = new(weight)
        stream += [Run(f"U{index}", 4, (0, total), (result,), (0,)), Free((total,))]
        return IslandProgram(name, (("devices", devices),), tuple(buffers), tuple(stream)), batch, result

    made = [island(index) for index in range(islands)]
    weights = [
        Input(f"w[{index}]", weight.shape, "float32", donated=True, places=(((f"island{index}", 0),),))
        for index in range(islands)
    ]
    batch = [
        Input(f"x[{m}]", activation.shape, "float32", places=((("island0", number),),))
        for m, number in enumerate(made[0][1])
    ]
    results = [
        Output(f"result[{index}]", weight.shape, "float32", False, (((f"island{index}", result),),))
        for index, (_, _, result) in enumerate(made)
    ]
    return Program(tuple(one for one, _, _ in made), codes, (*weights, *batch), tuple(results))


def code(name: str, function: Callable[..., Any], inputs: Sequence[Any], results: Sequence[Any]) -> Any:  # noqa: ANN401
    import jax
    from atoll.runtime.fragment import abstract
    from atoll.runtime.program import Code

    bytecode = io.BytesIO()
    lowered = jax.jit(function, keep_unused=True).lower(*map(abstract, inputs))
    lowered.compiler_ir("stablehlo").operation.write_bytecode(bytecode)
    return Code(name, bytecode.getvalue(), tuple(results))


if __name__ == "__main__":
    main()
