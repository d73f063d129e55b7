"""The sides that take turns: each calls a function again and again with its own result."""

import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy
from atoll.runtime.controller import Controller
from atoll.runtime.site import AHEAD
from jax.sharding import NamedSharding


@dataclass(frozen=True)
class Taken:
    """By a computation: seconds, and seconds of processors in this process, which hang less on what others do."""

    seconds: float
    processors: float


Round = tuple[Taken, ...]  # of each side


@dataclass(frozen=True)
class Side:
    """One way to run the computations.

    call: takes a value to the next one, and returns before that is computed.
    put: brings a value to the devices.
    computations: how many a call makes.
    """

    call: Callable[[Any], Any]
    put: Callable[[Any], Any]
    computations: int = 1

    def measure(self, value: Any, computations: int) -> tuple[Taken, "numpy.ndarray[Any, Any]"]:  # noqa: ANN401
        """What a computation takes, and what comes of so many of them."""
        value = self.put(value)
        began, worked = time.perf_counter(), time.process_time()
        for _ in range(computations // self.computations):
            value = self.call(value)
        jax.block_until_ready(value)
        seconds, processors = time.perf_counter() - began, time.process_time() - worked
        return Taken(seconds / computations, processors / computations), numpy.asarray(value)


def through_controller(controller: Controller, computations: int = 1) -> Side:
    return Side(lambda x: controller.start([x])[0], lambda x: controller.put([x])[0], computations)


def as_compiled(step: Any) -> Side:  # noqa: ANN401 (a compiled step)
    """As a user calls it."""
    return Side(step, lambda x: step.put(x)[0])


def through_jit(function: Callable[[Any], Any], sharding: NamedSharding, computations: int = 1) -> Side:
    """A jitted function in a loop that lets as many executions be under way as atoll does, and waits for the oldest."""
    under_way: deque[Any] = deque()

    def call(x: Any) -> Any:  # noqa: ANN401
        if len(under_way) == AHEAD:
            under_way.popleft().block_until_ready()
        under_way.append(function(x))
        return under_way[-1]

    return Side(call, lambda x: jax.device_put(x, sharding), computations)


def take_turns(sides: Sequence[Side], value: Any, computations: int, seconds: float) -> list[Round]:  # noqa: ANN401
    """Measure each side in each round, until the time is over but at least three times, after one to warm up."""
    rounds: list[Round] = []
    order = random.Random(0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rounds) < 4:
        found = {
            number: sides[number].measure(value, computations) for number in order.sample(range(len(sides)), len(sides))
        }
        taken, results = zip(*(found[number] for number in range(len(sides))), strict=True)
        assert all(numpy.array_equal(results[0], one) for one in results), "the results differ"
        rounds.append(taken)
    return rounds[1:]


def rate(rounds: Sequence[Round], side: int) -> float:
    """Computations in a second."""
    return 1 / statistics.median(one[side].seconds for one in rounds)


def processors(rounds: Sequence[Round], side: int) -> float:
    """Seconds of them that a computation takes."""
    return statistics.median(one[side].processors for one in rounds)


def throughput_ratio(rounds: Sequence[Round], side: int, other: int) -> float:
    """How many times the throughput of the other a side has: the median of the rounds, as noise slows down both."""
    return statistics.median(one[other].seconds / one[side].seconds for one in rounds)
