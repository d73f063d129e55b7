"""Measures what CPU devices of this machine do: products, what goes through memory, and several at the same time.

Each thing that is measured is a layer of a train step, there and back. What it does is counted as fragments are, and
the rates are those by which what is counted takes what was measured.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
from atoll.compiler.cost.work import Work, work_of
from atoll.compiler.mlir.functions import functions_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.topology.island import ONLY_AXIS, Axis, Island
from atoll.compiler.topology.rates import Rates

# A layer with a few rows mostly reads and writes its weights, and with many mostly computes.
_WIDTH, _FEW, _MANY = 1024, 8, 512
# It makes images smaller and gives them more channels. Those that do not are faster, those of few channels slower.
_IMAGES, _WINDOW, _STRIDES = (16, 16, 16, 16), (3, 3, 16, 32), (2, 2)
# Whatever else the machine does only adds to the time, so the fastest of so many counts.
_REPEATS = 12
# What is taken to be the least part of a layer's time that each of the things it does has, as noise may leave nothing.
_LEAST_PART = 0.01

_ALONE = Island("alone", "cpu", (Axis(ONLY_AXIS, 1),))

# What a device does, ready to be done again; it returns when all of it is done.
_Do = Callable[[], None]
_Function = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class _Layer:
    """A layer there and back, whose gradient is added to that of other examples."""

    function: _Function
    shapes: tuple[tuple[int, ...], ...]

    def work(self) -> Work:
        """What is counted of it."""
        given = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in self.shapes]  # type: ignore[no-untyped-call]
        module = parse_text(jax.jit(self.function).trace(*given).lower(lowering_platforms=("cpu",)).as_text())
        return work_of(functions_in(module)["main"], _ALONE)

    def ready(self, device: jax.Device) -> _Do:
        """The same on a device, compiled by now."""
        function = jax.jit(self.function)
        arguments = [jnp.full(shape, 1e-3, device=device) for shape in self.shapes]

        def do() -> None:
            jax.block_until_ready(function(*arguments))  # type: ignore[no-untyped-call]

        do()
        return do


def _there_and_back(layer: Callable[[jax.Array, jax.Array], jax.Array]) -> _Function:
    def both(gradients: jax.Array, weights: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, back = jax.vjp(layer, weights, x)
        more, before = back(y)
        return gradients + more, before

    return both


def _product(weights: jax.Array, x: jax.Array) -> jax.Array:
    return x @ weights


def _convolution(weights: jax.Array, x: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(x, weights, _STRIDES, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _layer(layer: Callable[[jax.Array, jax.Array], jax.Array], weights: tuple[int, ...], x: tuple[int, ...]) -> _Layer:
    return _Layer(_there_and_back(layer), (weights, weights, x))


_FEW_ROWS = _layer(_product, (_WIDTH, _WIDTH), (_FEW, _WIDTH))
_MANY_ROWS = _layer(_product, (_WIDTH, _WIDTH), (_MANY, _WIDTH))
_CONVOLUTION = _layer(_convolution, _WINDOW, _IMAGES)


def rates_of_devices(devices: Sequence[jax.Device]) -> Rates:
    """What one of some CPU devices does alone, and how many times as much all of them do together."""
    layers = (_FEW_ROWS, _MANY_ROWS, _CONVOLUTION)
    ready = [[layer.ready(device) for layer in layers] for device in devices]
    alone = [_fastest([do]) for do in ready[0]]
    together = _fastest([_in_turn(some) for some in ready])
    operations, memory, convolutions = rates_of([layer.work() for layer in layers], alone)
    at_once = Fraction(round(100 * max(1.0, len(devices) * sum(alone) / together)), 100)
    return Rates(
        "cpu",
        operations=_rounded(operations),
        memory=_rounded(memory),
        convolutions=_rounded(convolutions),
        at_once=min(at_once, Fraction(len(devices))),
    )


def rates_of(works: Sequence[Work], seconds: Sequence[float]) -> tuple[float, float, float]:
    """The operations and the bytes a second, and the operations of convolutions, by which a device that computes and
    moves in turn takes so many seconds for a layer with few rows, one with many, and one that convolves."""
    few, many, images = works
    scale = few.operations * many.moved - many.operations * few.moved
    computing = (seconds[0] * many.moved - seconds[1] * few.moved) / scale
    computing = max(computing, _LEAST_PART * seconds[1] / many.operations)
    moving = max(seconds[0] - few.operations * computing, _LEAST_PART * seconds[0]) / few.moved
    rest = (images.operations - images.convolved) * computing + images.moved * moving
    return 1 / computing, 1 / moving, images.convolved / max(seconds[2] - rest, _LEAST_PART * seconds[2])


def _in_turn(works: Sequence[_Do]) -> _Do:
    def do() -> None:
        for one in works:
            one()

    return do


def _rounded(rate: float) -> int:
    """To a hundred million a second, as more is not to be measured."""
    return max(1, round(rate / 1e8)) * 10**8


def _fastest(works: Sequence[_Do]) -> float:
    """The least seconds in which all of the works were done once, side by side."""
    together = threading.Barrier(len(works) + 1)

    def follow(work: _Do) -> None:
        with ExitStack() as failing:
            failing.callback(together.abort)  # so that nobody waits for what does not come
            for _ in range(_REPEATS):
                together.wait()
                work()
                together.wait()
            failing.pop_all()

    times = []
    with ThreadPoolExecutor(len(works)) as pool:
        done = [pool.submit(follow, work) for work in works]
        with suppress(threading.BrokenBarrierError):  # the thread that broke it says why
            for _ in range(_REPEATS):
                together.wait()
                began = time.perf_counter()
                together.wait()
                times.append(time.perf_counter() - began)
    for one in done:
        if not isinstance(one.exception(), threading.BrokenBarrierError):
            one.result()  # where a work failed, this fails as it did
    return min(times)
