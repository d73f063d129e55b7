"""The peak of a chip that runs a step as fragments, beside that of the same step compiled as one executable.

Each step is compiled for one v5e chip, without a chip: as atoll cuts it, into the forward, the backward and the update
of the whole batch, each of them in so many segments; and by `jax.jit`. Programs themselves, which are in the same
memory, are left out of both.

A step whose values fit into the chip's vector memory, of 128 MiB, says little: one executable keeps them there, where
no count of its memory has them.

    python benchmarks/chip_peaks.py [STEP ...] --segments 1 2
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from atoll.compiler.topology.slices import mesh_of_slice
from jax.sharding import NamedSharding, PartitionSpec
from rows import Row, tell

import atoll

TOPOLOGY = "1 x v5e[1x1]"
_Tree = Any  # a pytree of arrays or shapes
_Step = tuple[Callable[..., _Tree], _Tree, jax.ShapeDtypeStruct]


def _shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def _trained(loss_fn: Callable[..., _Tree]) -> Callable[..., _Tree]:
    """A step of momentum."""

    def step(state: _Tree, x: jax.Array) -> _Tree:
        loss, gradients = jax.value_and_grad(loss_fn)(state["w"], x)
        moved = jax.tree.map(lambda m, g: 0.9 * m + g, state["m"], gradients)
        return {"w": jax.tree.map(lambda w, m: w - 0.1 * m, state["w"], moved), "m": moved}, loss

    return step


def _state(w: _Tree) -> _Tree:
    return {"w": w, "m": w}


def mlp() -> _Step:
    """Four wide layers."""

    def loss_fn(w: _Tree, x: jax.Array) -> jax.Array:
        for matrix in w:
            x = jnp.tanh(x @ matrix)
        return jnp.mean(x**2)

    return _trained(loss_fn), _state([_shape(1024, 1024)] * 4), _shape(65536, 1024)


def layers() -> _Step:
    """A scan over eight layers with a feed-forward part, computed again in the backward pass."""

    @jax.checkpoint
    def layer(h: jax.Array, w: _Tree) -> tuple[jax.Array, None]:
        return h + jax.nn.gelu(h @ w["up"]) @ w["down"], None

    def loss_fn(w: _Tree, x: jax.Array) -> jax.Array:
        return jnp.mean(jax.lax.scan(layer, x, w)[0] ** 2)

    w = {"up": _shape(8, 512, 2048), "down": _shape(8, 2048, 512)}
    return _trained(loss_fn), _state(w), _shape(8192, 512)


def attention() -> _Step:
    """Two layers of attention, which keep their scores for the backward pass."""

    def loss_fn(w: _Tree, x: jax.Array) -> jax.Array:
        for one in w:
            q, k, v = (jnp.einsum("btd,dhk->bhtk", x, one[name]) for name in ("q", "k", "v"))
            scores = jax.nn.softmax(jnp.einsum("bhtk,bhsk->bhts", q, k) / 8)
            x = x + jnp.einsum("bhts,bhsk,hkd->btd", scores, v, one["out"])
        return jnp.mean(x**2)

    one = {name: _shape(512, 8, 64) for name in ("q", "k", "v")} | {"out": _shape(8, 64, 512)}
    return _trained(loss_fn), _state([one] * 2), _shape(64, 256, 512)


def convolutions() -> _Step:
    """Three convolutions of images."""

    def loss_fn(w: _Tree, x: jax.Array) -> jax.Array:
        for kernel in w:
            x = jax.nn.relu(
                jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            )
        return jnp.mean(x**2)

    return _trained(loss_fn), _state([_shape(3, 3, 128, 128)] * 3), _shape(16, 32, 32, 128)


STEPS = (mlp, layers, attention, convolutions)


def as_fragments(fn: Callable[..., _Tree], state: _Tree, x: jax.ShapeDtypeStruct, segments: int) -> tuple[int, str]:
    """The peak, and the task that runs then."""
    # As one: the order of sweeps is all that a schedule of one microbatch says.
    plan = atoll.Plan(stages=1, microbatches=1, schedule="gpipe", segments=segments)
    lowered = atoll.lower(fn, state, x, topology=TOPOLOGY, batch_argnums=1, donate_argnums=0, plan=plan)
    (chip,) = lowered.compile().report().chips
    return chip.peak - chip.programs, chip.task


def as_one(fn: Callable[..., _Tree], state: _Tree, x: jax.ShapeDtypeStruct) -> int:
    """The peak of `jax.jit`'s executable."""
    (island,) = atoll.topology(TOPOLOGY).islands
    whole = NamedSharding(mesh_of_slice(island), PartitionSpec())
    jitted = jax.jit(fn, donate_argnums=0, in_shardings=whole, out_shardings=whole)
    memory = jitted.lower(state, x).compile().memory_analysis()
    assert memory is not None
    sums = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return int(sums + memory.temp_size_in_bytes)


def main() -> None:
    """Print a row for each step and number of segments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(one.__name__ for one in STEPS))
    parser.add_argument("--segments", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    print(f"{'step':<16}{'segments':>8}{'fragments':>14}{'as one':>14}{'ratio':>8}   worst while")
    for make in (one for one in STEPS if not options.steps or one.__name__ in options.steps):
        other = as_one(*make())
        for segments in options.segments:
            own, task = as_fragments(*make(), segments)
            name = f"peak of a chip, {make.__name__} in {segments} segments"
            tell(Row(name, "MiB", own / 2**20, {"one executable": other / 2**20}))
            print(
                f"{make.__name__:<16}{segments:>8}{own / 2**20:>10.1f} MiB{other / 2**20:>10.1f} MiB"
                f"{own / other:>8.2f}   {task}",
                flush=True,
            )


if __name__ == "__main__":
    main()
