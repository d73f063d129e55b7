"""A process that saves one checkpoint after the other, until it is killed."""

import multiprocessing

import numpy
from atoll.checkpoint.saving import save_checkpoint

# What it imports is imported once: each is a copy of one process that has done so.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["atoll.checkpoint.on_orbax", "jax", "killed"])


def state(value):
    """All of it says which one it is."""
    return {"layers": [numpy.full((64, 500), value) for _ in range(8)], "step": numpy.int64(value)}


def keep_saving(directory, values, replace, wire):
    """Save states by their values, as one step or as many; tell when one is begun, and when it is written."""
    for value in values:
        saving = save_checkpoint(directory, 7 if replace else value, state(value), keep=3)
        wire.send(("begun", value))
        saving.wait()
        wire.send(("written", value))
