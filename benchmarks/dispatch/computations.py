"""What the benchmark runs: one computation, a chain of them, and one that work makes longer."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy
from atoll.compiler.lowered import Lowered
from atoll.runtime.program import Run
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

import atoll

CHAINED = 128
ARRAYS = 50
AXIS = "devices"
NAMES = [f"computation_{index}" for index in range(CHAINED)]

# Every computation of the chain is a stage, and all stages are on one island, so its stream runs one after the other.
IN_A_CHAIN = atoll.Plan(stages=" | ".join(NAMES), schedule=f"looped-bfs({CHAINED})")

Function = Callable[[jax.Array], jax.Array]


def computation(x: jax.Array) -> jax.Array:
    """The all-reduce of what each device holds, plus one. Adding x keeps XLA from seeing that the next sum is known."""
    return x + (jnp.sum(x) + 1)


def chain(x: jax.Array) -> jax.Array:
    """All in one function, named so that a plan can take them apart."""
    for name in NAMES:
        with jax.named_scope(name):
            x = computation(x)
    return x


def after_work(loops: int) -> Function:
    """A computation that begins with a loop, in which each device works alone."""

    def function(x: jax.Array) -> jax.Array:
        return computation(jax.lax.fori_loop(0, loops, lambda _, value: value * 5 + 3, x))

    return function


def start(devices: int) -> "numpy.ndarray[Any, Any]":
    """What goes in: one integer a device. Integers wrap around, so that results can be compared after any number."""
    return numpy.arange(devices, dtype="int32")


def lowered(function: Function, devices: int, plan: atoll.Plan | None = None) -> Lowered:
    """Through atoll, for one island of so many devices."""
    sharded = Spec(AXIS)
    return atoll.lower(
        function,
        start(devices),
        topology=f"1 x cpu[{AXIS}={devices}]",
        plan=plan or atoll.Plan(),
        in_shardings=(sharded,),
        out_shardings=sharded,
    )


def lowered_chain(devices: int) -> Lowered:
    """A program whose one stream runs the same fragment as often as the chain is long."""
    made = lowered(chain, devices, IN_A_CHAIN)
    [island] = made.program.islands
    codes = [one.code for one in island.instructions if isinstance(one, Run)]
    assert codes == [0] * CHAINED, "the plan did not make one fragment of all computations"
    return made


def lowered_state(devices: int) -> Lowered:
    """A program of one computation for each array of a state, which is donated and comes back."""
    sharded = (Spec(AXIS),) * ARRAYS
    return atoll.lower(
        lambda *state: tuple(map(computation, state)),
        *[start(devices)] * ARRAYS,
        topology=f"1 x cpu[{AXIS}={devices}]",
        donate_argnums=tuple(range(ARRAYS)),
        in_shardings=sharded,
        out_shardings=sharded,
    )


def jitted(function: Function, sharding: NamedSharding) -> Function:
    return jax.jit(function, in_shardings=sharding, out_shardings=sharding)


def sharding_on(devices: int) -> NamedSharding:
    """How the value is on the same devices without atoll."""
    return NamedSharding(jax.sharding.Mesh(jax.devices()[:devices], (AXIS,)), Spec(AXIS))
