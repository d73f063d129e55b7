"""What jax's flags for debugging ask of a step's results, as jax itself looks only at those of `jax.jit`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy
from atoll.compiler.errors import AtollError
from atoll.runtime.array import Array

# By flag, what it asks for, and what finds that.
_FLAGS = (("jax_debug_nans", "a NaN", numpy.isnan), ("jax_debug_infs", "an infinity", numpy.isinf))


def check_results(results: Sequence[Array]) -> None:
    """AtollError for the first result with a NaN or an infinity in it, if a flag asks for that; waits for them then."""
    for flag, name, is_unwanted in _FLAGS:
        for result in results if getattr(jax.config, flag) else ():
            if jnp.issubdtype(result.dtype, numpy.inexact) and is_unwanted(numpy.asarray(result)).any():
                what = f"{result.promise.port.path} has {name} in it, and {flag} is set"
                remedy = "call the function under jax.jit with the same arguments, where jax says which operation it is"
                raise AtollError(what, remedy=remedy)
