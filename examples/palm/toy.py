"""The toy: a model of a million parameters that learns a short text on one core; only its job knows of atoll."""

from atoll.examples.palm.sizes import TOY
from atoll.examples.palm.train import shapes_of, train_step_of

import atoll

train_step = train_step_of(TOY)
STATE, TOKENS = shapes_of(TOY)

job = atoll.Job(train_step, STATE, TOKENS, batch_argnums=1, donate_argnums=0)
