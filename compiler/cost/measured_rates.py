"""Measures what CPU devices of this machine do: products, what goes through memory, and several at the same time.

Each thing that is measured is layers of a train step, there and back. What they do is counted as fragments are, and the
rates are those by which what is counted takes what was measured.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from atoll.compiler.cost.measured_reorders import (
    LEAST_PART,
    BackwardLayer,
    OrderMeasured,
    order_measured,
    reordering_of,
)
from atoll.compiler.cost.work import Work, work_of
from atoll.compiler.mlir.functions import functions_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.topology.island import ONLY_AXIS, Axis, Island
from atoll.compiler.topology.rates import Rates

# A layer with a few rows mostly reads and writes its weights, and with many mostly computes. Of the first there are as
# many as no cache holds, as a step comes to each of its weights after all others.
_WIDTH, _FEW, _MANY, _DEEP = 1024, 8, 512, 12
# Of few channels, as models that are tried on CPUs have; with many, convolutions are up to four times as fast.
_IMAGES, _WINDOW, _STRIDES = (32, 16, 16, 8), (3, 3, 8, 16), (2, 2)
# Whatever else the machine does only adds to the time, so the fastest of so many counts; and of so many rounds, as what
# else it does may last longer than all repeats.
_REPEATS, _ROUNDS = 12, 3

_ALONE = Island("alone", "cpu", (Axis(ONLY_AXIS, 1),))

# What a device does, ready to be done again; it returns when all of it is done.
_Do = Callable[[], None]


@dataclass(frozen=True)
class _Layers:
    """Some layers, one after the other and back, whose gradients are added to those of other examples."""

    layer: Callable[[jax.Array, jax.Array], jax.Array]
    weights: tuple[int, ...]
    examples: tuple[int, ...]
    count: int = 1

    def work(self) -> Work:
        """What is counted of them."""
        given = jax.tree.map(_described, self._shapes(), is_leaf=_is_shape)
        return _work_of(jax.jit(self._there_and_back).trace(*given))

    def ready(self, device: jax.Device) -> _Do:
        """The same on a device, compiled by now."""
        function = jax.jit(self._there_and_back)
        given = jax.tree.map(lambda one: jnp.full(one, 1e-3, device=device), self._shapes(), is_leaf=_is_shape)

        def do() -> None:
            jax.block_until_ready(function(*given))  # type: ignore[no-untyped-call]

        do()
        return do

    def _shapes(self) -> tuple[Any, ...]:
        weights = [self.weights] * self.count
        return weights, weights, self.examples

    def _there_and_back(self, gradients: list[Any], weights: list[Any], x: jax.Array) -> Any:  # noqa: ANN401 (a tree)
        y, back = jax.vjp(lambda weights, x: reduce(lambda x, one: self.layer(one, x), weights, x), weights, x)
        more, before = back(y)
        return jax.tree.map(jnp.add, gradients, more), before


def _work_of(traced: Any) -> Work:  # noqa: ANN401 (jax's)
    module = parse_text(traced.lower(lowering_platforms=("cpu",)).as_text())
    return work_of(functions_in(module)["main"], _ALONE)


def _described(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)  # type: ignore[no-untyped-call] # jax's


def _is_shape(one: object) -> bool:
    return isinstance(one, tuple) and all(isinstance(size, int) for size in one)


def _product(weights: jax.Array, x: jax.Array) -> jax.Array:
    return x @ weights


def _convolution(weights: jax.Array, x: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(x, weights, _STRIDES, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


_FEW_ROWS = _Layers(_product, (_WIDTH, _WIDTH), (_FEW, _WIDTH), _DEEP)
_MANY_ROWS = _Layers(_product, (_WIDTH, _WIDTH), (_MANY, _WIDTH))
_CONVOLUTION = _Layers(_convolution, _WINDOW, _IMAGES)


def rates_of_devices(devices: Sequence[jax.Device]) -> Rates:
    """What one of some CPU devices does alone, and how many times as much all of them do together."""
    some = (_FEW_ROWS, _MANY_ROWS, _CONVOLUTION)
    ready = [[layers.ready(device) for layers in some] for device in devices]
    before = _alone_and_together(ready)
    reordering = reordering_of(lambda examples: _reordered(examples, devices[0]))
    *alone, together = map(min, before, _alone_and_together(ready))
    operations, memory, convolutions = rates_of([layers.work() for layers in some], alone)
    at_once = Fraction(round(100 * max(1.0, len(devices) * sum(alone) / together)), 100)
    return Rates(
        "cpu",
        operations=_rounded(operations),
        memory=_rounded(memory),
        convolutions=_rounded(convolutions),
        reordering=_rounded(reordering.rate),
        across=None if reordering.across is None else _rounded(reordering.across),
        reach=None if reordering.reach is None else max(1, round(reordering.reach / 2**20)) * 2**20,
        at_once=min(at_once, Fraction(len(devices))),
    )


def _alone_and_together(ready: Sequence[Sequence[_Do]]) -> list[float]:
    """What each thing takes on the first device, and then what all take on all of them."""
    return [*(_fastest([do]) for do in ready[0]), _fastest([_in_turn(works) for works in ready])]


def _reordered(examples: int, device: jax.Device) -> OrderMeasured:
    """What it takes to put what so many examples make in another order."""
    ways = [BackwardLayer(examples, has_positions) for has_positions in (True, False)]
    ready = [way.ready(device) for way in ways]
    rounds = [[_fastest([do]) for do in ready] for _ in range(_ROUNDS)]
    return order_measured(ways[0], _work_of(ways[0].traced()), *map(min, zip(*rounds, strict=True)))


def rates_of(works: Sequence[Work], seconds: Sequence[float]) -> tuple[float, float, float]:
    """The operations and the bytes a second, and the operations of convolutions, by which a device that computes and
    moves in turn takes so many seconds for layers with few rows, for one with many, and for one that convolves."""
    few, many, images = works
    scale = few.operations * many.moved - many.operations * few.moved
    computing = (seconds[0] * many.moved - seconds[1] * few.moved) / scale
    computing = max(computing, LEAST_PART * seconds[1] / many.operations)
    moving = max(seconds[0] - few.operations * computing, LEAST_PART * seconds[0]) / few.moved
    rest = (images.operations - images.convolved) * computing + images.moved * moving
    return 1 / computing, 1 / moving, images.convolved / max(seconds[2] - rest, LEAST_PART * seconds[2])


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
