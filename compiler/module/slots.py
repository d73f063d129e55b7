"""Sweeps and slots, which number fragments so that they never wait for each other in a circle.

A *sweep* is one walk over the stages: sweep 0 goes forward from stage 0, sweep 1 backward to it, sweep 2 forward
again, and so on. A loop over microbatches, and what stands before and after it, have sweeps of their own. A fragment is
what one stage computes in one sweep, and its *slot* counts these in order. A value flows to its own slot or to a later
one, so fragments cannot wait for each other in a circle.
"""


def slot(stage: int, sweep: int, stages: int) -> int:
    """The number of a stage's fragment in a sweep, in an order in which values flow only onwards."""
    return sweep * stages + (stage if sweep % 2 == 0 else stages - 1 - stage)


def sweep_from(stage: int, least_slot: int, stages: int) -> int:
    """The first sweep in which a stage's slot is at least `least_slot`."""
    sweep = max(0, least_slot // stages)
    return sweep if slot(stage, sweep, stages) >= least_slot else sweep + 1
