"""Measures what CPU devices of this machine do: products, what goes through memory, and several at the same time."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
from atoll.compiler.topology.rates import Rates

# Products as those of a layer's task, several in a row; and as many arrays of a layer's size as no cache holds. For one
# large array the system has to find pages each time, which takes several times as long as writing them.
_WIDTH, _PRODUCTS = 512, 8
_ARRAYS, _BYTES = 16, 4 * 2**20
# Whatever else the machine does only adds to the time, so the fastest of so many counts.
_REPEATS = 7

# What a device does, ready to be done again; it returns when all of it is done.
_Work = Callable[[], None]


def rates_of_devices(devices: Sequence[jax.Device]) -> Rates:
    """What one of some CPU devices does alone, and how many times as much all of them do together."""
    products = [_products(device) for device in devices]
    alone = _fastest(products[:1])
    memory = _fastest([_copy(devices[0])])
    at_once = Fraction(round(100 * max(1.0, len(devices) * alone / _fastest(products))), 100)
    return Rates(
        "cpu",
        operations=_rounded(2 * _WIDTH**3 * _PRODUCTS / alone),
        memory=_rounded(2 * _ARRAYS * _BYTES / memory),
        at_once=min(at_once, Fraction(len(devices))),
    )


def _rounded(rate: float) -> int:
    """To a hundred million a second, as more is not to be measured."""
    return max(1, round(rate / 1e8)) * 10**8


def _products(device: jax.Device) -> _Work:
    def chain(x: Any, w: Any) -> list[Any]:  # noqa: ANN401 (traced)
        for _ in range(_PRODUCTS):
            x = x @ w
        return [x]

    square = jnp.full((_WIDTH, _WIDTH), 1 / _WIDTH, device=device)
    return _ready(jax.jit(chain), square, square)


def _copy(device: jax.Device) -> _Work:
    def copies(*arrays: Any) -> list[Any]:  # noqa: ANN401 (traced)
        return [array + 1 for array in arrays]

    return _ready(jax.jit(copies), *(jnp.zeros(_BYTES // 4, device=device) for _ in range(_ARRAYS)))


def _ready(function: Callable[..., Sequence[jax.Array]], *arguments: jax.Array) -> _Work:
    def work() -> None:
        for array in function(*arguments):
            array.block_until_ready()

    work()  # compiled by now
    return work


def _fastest(works: Sequence[_Work]) -> float:
    """The least seconds in which all of the works were done once, side by side."""
    together = threading.Barrier(len(works) + 1)

    def follow(work: _Work) -> None:
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
