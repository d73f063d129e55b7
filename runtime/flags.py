"""The flags of jax's that a user sets for a function of theirs, and that are not meant for its tasks."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def without_flags() -> Iterator[None]:
    """What tasks run in, on any thread.

    Without jit each operation of a task would run by itself. And what a task returns is no result of the user's: that a
    NaN or an infinity is in it, which a later task takes out again, is nothing that `jax.jit` would find wrong.
    """
    with jax.disable_jit(False), jax.debug_nans(False), jax.debug_infs(False):
        yield
