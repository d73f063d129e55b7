"""A process in which XLA rounds every product before it adds: prints whether a program of `test_sequences` has the same
bits in float32, be what its loops need kept or made again."""

import sys

import jax
import test_sequences
from microbatched import bits_of

import atoll


def in_single(leaf):
    return leaf.astype("float32") if leaf.dtype == "float64" else leaf


def main(name):
    jax.config.update("jax_enable_x64", True)  # which the arguments are made with
    step, args = getattr(test_sequences, name)()
    args = jax.tree.map(in_single, args)
    found = []
    for extra in test_sequences.KEPT_AND_AGAIN:
        plan = atoll.Plan(microbatches=4, schedule="1f1b", extra=extra)
        with test_sequences.on_islands(atoll.compile, step, args, "2 x cpu[1]", plan) as compiled:
            found.append(bits_of(compiled(*args)))
    print(found[0] == found[1])


if __name__ == "__main__":
    main(sys.argv[1])
