"""The jobs of the paper's sizes. They have shapes and no arrays, so that a laptop can trace and read them.

A scan over layers makes the traced program as long for 540 billion parameters as for the toy.
"""

from collections.abc import Callable

from atoll.examples.palm import sharding
from atoll.examples.palm.model import Params, as_it_is
from atoll.examples.palm.sizes import PALM_8B, PALM_62B, PALM_540B, Size, padded
from atoll.examples.palm.train import shapes_of, train_step_of

import atoll


def job_of(size: Size, copied: Callable[[Params], Params] = as_it_is) -> atoll.Job:
    """The train step of a model for its batch, divided over the axes `data` and `model` that islands have.

    copied: as `train_step_of` takes it.
    """
    state, tokens = shapes_of(size)
    return atoll.Job(
        train_step_of(size, sharding.stream, copied),
        state,
        tokens,
        batch_argnums=1,
        donate_argnums=0,
        in_shardings=(sharding.STATE, sharding.TOKENS),
        out_shardings=(sharding.STATE, None),
    )


# For islands of 8 by 8 and 12 by 8 tiles: the vocabulary is divided over the model axis.
job_8b, job_62b, job_540b = (job_of(padded(size, 96)) for size in (PALM_8B, PALM_62B, PALM_540B))
