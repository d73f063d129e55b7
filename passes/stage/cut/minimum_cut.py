"""The cheapest way to part nodes into two sides. Pure: numbers in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

# The weight of an edge that may not be cut, and the two nodes that are always on different sides.
NEVER = -1
SOURCE, SINK = 0, 1

# The capacities of scipy's maximum flow are 32-bit; heavier networks are scaled down.
_MOST = 2**30
_UNCUTTABLE = 2**31 - 1


@dataclass(frozen=True)
class MinimumCut:
    """side: the nodes on the source's side, as few as a cheapest cut has there. at_least: no cut costs less."""

    side: frozenset[int]
    at_least: int


def minimum_cut(size: int, edges: Sequence[tuple[int, int, int]]) -> MinimumCut:
    """Part nodes 0 to size - 1. Edges are (start, end, weight); one is cut if its start alone is on the source's
    side."""
    starts, ends, weights = (numpy.array(column, dtype=numpy.int64) for column in zip(*edges, strict=True))
    finite = weights != NEVER
    scale = max(1, -(-int(weights[finite].sum()) // _MOST))
    # The smallest weights are rounded up, so that what has a cost is never free; all others are rounded down.
    rounded_up = int((scale - weights)[finite & (weights < scale)].sum())
    weights = numpy.where(finite, numpy.maximum(1, weights // scale), _UNCUTTABLE)
    capacity = csr_array((weights.astype(numpy.int32), (starts, ends)), shape=(size, size))
    found = maximum_flow(capacity, SOURCE, SINK)
    residual = csr_array(capacity - found.flow)
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, SOURCE, return_predecessors=False).tolist()
    return MinimumCut(frozenset(reached), max(0, scale * int(found.flow_value) - rounded_up))
