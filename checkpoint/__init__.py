"""Checkpoints: the state of a run in a directory, from which any plan, or `jax.jit`, goes on."""
