"""The same train step for the command line, without replicas."""

from shown import arguments, train_step

import atoll

job = atoll.Job(train_step, *arguments(), batch_argnums=(1, 2), donate_argnums=0)
