"""What a step costs beside the same work written by hand, for tasks of several lengths.

The step trains one layer an island by Adam, in the order of 1F1B. By hand is a Python loop of the same jitted functions
with `jax.device_put` between them, in one thread. Both take turns in one process; a ratio is the median of those of the
turns, as other processes slow down both. *waiting*: each step is waited for before the next begins; *ahead*: ten steps
are begun before the first is waited for. *beside Python*: waiting, while a thread of the same process computes in
Python alone, as a data loader may; once as Python is, and once with `sys.setswitchinterval(1e-4)`.

    python benchmarks/controller_overhead.py --islands 2 4 8 --widths 8 64 256
"""

import argparse
import io
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import truediv
from typing import Any

from rows import Row, tell

AHEAD = 10
STATE = 4  # arrays that Adam keeps of each layer: the weight, its two moments, the number of the step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--islands", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--devices", type=int, default=1, help="of an island")
    parser.add_argument("--widths", type=int, nargs="*", default=[8, 64, 256, 512, 768], help="of the layers")
    parser.add_argument("--microbatches", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0, help="that each number takes")
    options = parser.parse_args()
    count = max(options.islands) * options.devices
    os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={count}")
    print(f"{options.microbatches} microbatches, islands of {options.devices} devices; microseconds a task, and ratios")
    print("islands  width   by hand  waiting   ahead   beside Python, as it is  switching often")
    for islands in options.islands:
        for width in options.widths:
            compare(islands, options.devices, options.microbatches, width, options.seconds)


def compare(islands: int, devices: int, microbatches: int, width: int, seconds: float) -> None:
    import jax
    import numpy
    from atoll.runtime.controller import Controller

    available = numpy.array(jax.devices())
    meshes = {
        f"island{index}": jax.sharding.Mesh(available[index * devices : (index + 1) * devices], ("devices",))
        for index in range(islands)
    }
    rows = max(width // 4, 1) * devices
    state = [
        numpy.full(shape, value, "float32")
        for _ in range(islands)
        for shape, value in (((width, width), 1 / width), ((width, width), 0), ((width, width), 0), ((), 0))
    ]
    batch = [numpy.full((rows, width), 0.1 * index, "float32") for index in range(microbatches)]
    by_hand = ByHand(list(meshes.values()), microbatches)
    made = program(islands, devices, microbatches, width, rows)
    with Controller(made, meshes, steps_ahead=AHEAD) as controller:
        sides = [Side(controller.start, controller.put), Side(by_hand.step, by_hand.put)]
        for side in sides:
            side.begin(state, batch)
        tasks = sum(controller.stats().tasks.values())
        alone, waiting = turns(sides, AHEAD, 1, seconds)
        _, ahead = turns(sides, AHEAD, AHEAD, seconds)
        with busy_thread():
            _, beside = turns(sides, 1, 1, seconds)  # one takes long there
            with switching_often():
                _, often = turns(sides, 1, 1, seconds)
        for ours, theirs in zip(sides[0].state, sides[1].state, strict=True):
            assert numpy.array_equal(ours, theirs), "the results differ"
    for how, ratio in {"waiting": waiting, "ten steps ahead": ahead, "beside a Python thread": beside}.items():
        case = f"{islands} islands, layers of {width}, {how}"
        tell(Row(case, "us a task", ratio * alone / tasks, {"by hand": alone / tasks}))
    print(
        f"{islands:7} {width:6} {alone / tasks:9.1f} {waiting:8.2f} {ahead:7.2f} {beside:24.2f} {often:16.2f}",
        flush=True,
    )


class Side:
    """One of the two that take turns: its step, and the state that this brings forward."""

    def __init__(self, step: Callable[[list[Any]], list[Any]], put: Callable[[list[Any]], list[Any]]) -> None:
        self._step, self._put = step, put
        self.state: list[Any] = []
        self._batch: list[Any] = []

    def begin(self, state: Sequence[Any], batch: Sequence[Any]) -> None:
        placed = self._put([*state, *batch])
        self.state, self._batch = placed[: len(state)], placed[len(state) :]
        self.measure(2, 1)

    def measure(self, steps: int, ahead: int) -> float:
        """Seconds of a step; after so many the results are waited for."""
        start = time.perf_counter()
        for number in range(steps):
            self.state = self._step([*self.state, *self._batch])
            if (number + 1) % ahead == 0:
                for value in self.state:
                    value.block_until_ready()
        return (time.perf_counter() - start) / steps


def turns(sides: Sequence[Side], steps: int, ahead: int, seconds: float) -> tuple[float, float]:
    """Microseconds of a step by hand, and how many times as long one of atoll's takes. steps: of a turn."""
    found: list[list[float]] = [[], []]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found[0]) < 3:
        for times, side in zip(found, sides, strict=True):
            times.append(side.measure(steps, ahead))
    return statistics.median(found[1]) * 1e6, statistics.median(map(truediv, *found))


@contextmanager
def busy_thread() -> Iterator[None]:
    """Beside a thread that computes in Python alone."""
    done = threading.Event()

    def count() -> None:
        number = 0
        while not done.is_set():
            number += sum(range(100))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def switching_often() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


# The work: each stage is tanh(x @ w); the loss is sum(y); gradients add up over the microbatches; Adam.


def forward(w: Any, x: Any) -> Any:  # noqa: ANN401
    import jax

    return jax.numpy.tanh(x @ w)


def backward(total: Any, w: Any, x: Any, dy: Any) -> Any:  # noqa: ANN401
    import jax

    dw, dx = jax.vjp(forward, w, x)[1](dy)
    return total + dw, dx


def first_gradient(w: Any) -> Any:  # noqa: ANN401
    import jax

    return jax.numpy.zeros_like(w)


def loss_gradient(y: Any) -> Any:  # noqa: ANN401
    import jax

    return jax.numpy.ones_like(y)


def update(w: Any, mean: Any, square: Any, count: Any, total: Any) -> Any:  # noqa: ANN401
    import jax

    mean, square, count = 0.9 * mean + 0.1 * total, 0.999 * square + 0.001 * total * total, count + 1
    unbiased = square / (1 - 0.999**count)
    return w - 1e-3 * mean / (1 - 0.9**count) / (jax.numpy.sqrt(unbiased) + 1e-8), mean, square, count


class ByHand:
    """The step as one would write it without atoll."""

    def __init__(self, meshes: Sequence[Any], microbatches: int) -> None:
        import jax

        self.shardings = [jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("devices")) for mesh in meshes]
        self.replicated = [jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()) for mesh in meshes]
        self.microbatches = microbatches
        self.zeros = jax.jit(first_gradient)
        self.forward = jax.jit(forward)
        self.loss_gradient = jax.jit(loss_gradient)
        self.backward = [
            jax.jit(backward, donate_argnums=0, out_shardings=(whole, split))
            for whole, split in zip(self.replicated, self.shardings, strict=True)
        ]
        self.update = jax.jit(update, donate_argnums=(0, 1, 2, 3))

    def put(self, arguments: list[Any]) -> list[Any]:
        import jax

        count = STATE * len(self.shardings)
        places = [whole for whole in self.replicated for _ in range(STATE)]
        return jax.device_put(arguments, places + [self.shardings[0]] * (len(arguments) - count))

    def step(self, arguments: list[Any]) -> list[Any]:
        import jax

        islands = len(self.shardings)
        states = [arguments[STATE * index :][:STATE] for index in range(islands)]
        totals = [self.zeros(weight) for weight, *_ in states]
        for x in arguments[STATE * islands :]:
            inputs = []
            for island in range(islands):
                if island:
                    x = jax.device_put(x, self.shardings[island])
                inputs.append(x)
                x = self.forward(states[island][0], x)
            dy = self.loss_gradient(x)
            for island in reversed(range(islands)):
                totals[island], dy = self.backward[island](totals[island], states[island][0], inputs[island], dy)
                if island:
                    dy = jax.device_put(dy, self.shardings[island - 1])
        return [one for state, total in zip(states, totals, strict=True) for one in self.update(*state, total)]


def program(islands: int, devices: int, microbatches: int, width: int, rows: int) -> Any:  # noqa: ANN401
    """The same work as a program, in the order of 1F1B."""
    from atoll.runtime.program import Buffer, Free, Input, IslandProgram, Output, Program, Receive, Run, Send

    weight, scalar = Buffer((width, width), "float32"), Buffer((), "float32")
    activation = Buffer((rows, width), "float32", (("devices",),))
    state = (weight, weight, weight, scalar)
    codes = (
        code("zeros", first_gradient, [weight], [weight]),
        code("forward", forward, [weight, activation], [activation]),
        code("loss_gradient", loss_gradient, [activation], [activation]),
        code("backward", backward, [weight, weight, activation, activation], [weight, activation]),
        code("update", update, [*state, weight], state),
    )

    def island(index: int) -> tuple[IslandProgram, list[int], list[int]]:
        buffers, stream = list(state), []
        name, last = f"island{index}", index == islands - 1

        def new(buffer: Buffer) -> int:
            buffers.append(buffer)
            return len(buffers) - 1

        batch = [new(activation) for _ in range(microbatches)] if not index else []
        total, xs, dys = new(weight), {}, {}
        stream.append(Run(f"I{index}", 0, (0,), (total,)))

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
        results = [new(one) for one in state]
        stream += [Run(f"U{index}", 4, (*range(STATE), total), tuple(results), tuple(range(STATE))), Free((total,))]
        return IslandProgram(name, (("devices", devices),), tuple(buffers), tuple(stream)), batch, results

    made = [island(index) for index in range(islands)]
    held = [
        Input(f"state[{index}][{number}]", one.shape, one.dtype, donated=True, places=(((f"island{index}", number),),))
        for index in range(islands)
        for number, one in enumerate(state)
    ]
    batch = [
        Input(f"x[{m}]", activation.shape, "float32", places=((("island0", number),),))
        for m, number in enumerate(made[0][1])
    ]
    results = [
        Output(f"result[{index}][{number}]", one.shape, one.dtype, False, (((f"island{index}", place),),))
        for index, (_, _, places) in enumerate(made)
        for number, (one, place) in enumerate(zip(state, places, strict=True))
    ]
    return Program(tuple(one for one, _, _ in made), codes, (*held, *batch), tuple(results))


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
