"""The jobs of the paper's sizes. They have shapes and no arrays, so that a laptop can trace and read them.

A scan over layers makes the traced program as long for 540 billion parameters as for the toy.
"""

from atoll.examples.palm.sizes import PALM_8B, PALM_62B, PALM_540B, Size
from atoll.examples.palm.train import shapes_of, train_step_of

import atoll


def job_of(size: Size) -> atoll.Job:
    """The train step of a model, for its batch."""
    state, tokens = shapes_of(size)
    return atoll.Job(train_step_of(size), state, tokens, batch_argnums=1, donate_argnums=0)


job_8b = job_of(PALM_8B)
job_62b = job_of(PALM_62B)
job_540b = job_of(PALM_540B)
