"""Random chains for tests of the planner."""

import random
from dataclasses import replace
from itertools import product
from math import inf

from atoll.compiler.planner.chain import Chain, Pool
from atoll.compiler.planner.partition import CutProblem
from atoll.compiler.schedules.costs import LinkCost


def random_problem(seed, layers=None, kinds=None):
    """A chain of uneven layers, over islands of up to two kinds; links and memory often matter."""
    draw = random.Random(seed)
    layers = layers or draw.randint(1, 7)
    kinds = kinds or draw.randint(1, 2)
    speeds = [1.0, draw.choice([1.0, 2.0, 3.5])][:kinds]

    def row(low, high):
        return [draw.randint(low, high) for _ in range(layers)]

    def table(low, high, is_time=True):
        values = row(low, high)
        return tuple(tuple(value / (speed if is_time else 1) for value in values) for speed in speeds)

    chain = Chain(
        forward=table(1, 9),
        backward=table(0, 9),
        weight=table(0, 9),
        update=table(0, 5),
        state=table(1, 9, is_time=False),
        kept=table(0, 6, is_time=False),
        made=(),
        sent=(0, *row(0, 9)[1:]),
        returned=(0, *row(0, 9)[1:]),
        beside=(),
    )
    memory = [draw.choice([inf, 20, 40, 60]) for _ in speeds]
    pools = [Pool(draw.randint(1, 3), one) for one in memory]
    links = {
        pair: LinkCost(draw.choice([0.0, 0.5, 3.0]), draw.choice([inf, 4.0, 1.0]))
        for pair in product(range(kinds), repeat=2)
    }
    links = {(one, other): links[min(one, other), max(one, other)] for one, other in links}
    problem = CutProblem(chain, pools, links, draw.choice([1, 2, 4, 8]), keeps_all=draw.random() < 0.3)
    made = table(0, 6, is_time=False)
    beside = tuple(draw.choice([0.0, 0.5, 2.0]) for _ in speeds)
    splits = not problem.keeps_all and draw.random() < 0.5
    return replace(problem, chain=replace(chain, made=made, beside=beside), splits_backward=splits)
