"""The best contiguous stages: what dynamic programming finds is what trying everything finds."""

from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise, product
from math import inf, isclose

import numpy
import pytest
from atoll.compiler.planner.chain import Cut
from planner_chains import random_problem

pytestmark = pytest.mark.own


def every_cut(problem):
    layers, pools = problem.chain.layers, problem.pools
    for stages in range(1, min(layers, sum(pool.count for pool in pools)) + 1):
        for begins in combinations(range(1, layers), stages - 1):
            for kinds in product(range(len(pools)), repeat=stages):
                if all(kinds.count(kind) <= pool.count for kind, pool in enumerate(pools)):
                    yield Cut((0, *begins), kinds)


def closed_form(problem, cut):
    """The seconds of a cut, straight from their definition; infinite if a stage does not fit."""
    chain, microbatches = problem.chain, problem.microbatches
    ends = (*cut.begins[1:], chain.layers)
    stages = list(zip(cut.kinds, cut.begins, ends, strict=True))

    def all_of(name, stage):
        kind, begin, end = stage
        return sum(getattr(chain, name)[kind][begin:end])

    for number, stage in enumerate(stages):
        at_once = microbatches if problem.keeps_all else min(len(stages) - number, microbatches)
        most = max(at_once * all_of("kept", stage), all_of("made", stage))
        if all_of("state", stage) + most > problem.pools[stage[0]].memory:
            return inf
    # What no other stage waits for is made at the end, for the last microbatch.
    apart = ("weight",) if problem.splits_backward else ()
    there, back, whole, last = [], [], [], []
    for stage in stages:
        beside = chain.beside[stage[0]]
        there.append(all_of("forward", stage) + beside)
        own = sum(all_of(one, stage) for one in ("backward", "weight") if one not in apart)
        back.append(own + (beside if chain.has_backward else 0))
        whole.append(there[-1] + back[-1] + sum(all_of(one, stage) + beside for one in apart))
        end = sum(all_of(one, stage) for one in ("update", *apart))
        last.append(end + beside * (1 + len(apart)) if end else 0)
    forth, busy = sum(there), []
    for number, ((one, *_), (other, begin, _)) in enumerate(pairwise(stages)):
        link = problem.links[one, other]
        busy += [chain.sent[begin] / link.bandwidth, chain.returned[begin] / link.bandwidth]
        forth += busy[-2] + link.latency
        back[number] += busy[-1] + (link.latency if chain.has_backward else 0)
    # A stage ends when the microbatch has come back from all stages behind it, and its own last work is done.
    ends = [forth + sum(back[number:]) + last[number] for number in range(len(stages))]
    return max(ends) + (microbatches - 1) * max(whole + busy)


def by_brute_force(problem):
    """For each choice of islands the seconds of its best cut."""
    best = {}
    for cut in every_cut(problem):
        counts = Counter(cut.kinds)
        used = tuple(counts[kind] for kind in range(len(problem.pools)))
        seconds = closed_form(problem, cut)
        if seconds < best.get(used, inf):
            best[used] = seconds
    return best


@pytest.mark.parametrize("block", range(10))
def test_it_is_what_brute_force_finds(block):
    refused = 0
    for seed in range(20 * block, 20 * block + 20):
        problem = random_problem(seed)
        found, expected = problem.best_cuts(), by_brute_force(problem)
        assert found.keys() == expected.keys(), seed
        for used, (seconds, cut) in found.items():
            assert isclose(seconds, expected[used], rel_tol=1e-12), seed
            assert isclose(closed_form(problem, cut), seconds, rel_tol=1e-12), seed
        refused += not found
    assert refused < 20


@pytest.mark.parametrize("seed", range(20))
def test_a_limit_drops_only_what_is_above_it(seed):
    problem = random_problem(seed)
    whole = problem.best_cuts()
    limit = min((seconds for seconds, _ in whole.values()), default=0.0) * 1.1
    below = {used: seconds for used, (seconds, _) in whole.items() if seconds <= limit}
    assert {used: seconds for used, (seconds, _) in problem.best_cuts(limit).items()} == below


def test_a_kind_without_islands_is_not_taken():
    problem = random_problem(4, kinds=2)
    only = replace(problem, pools=(replace(problem.pools[0], count=2), replace(problem.pools[1], count=0)))
    only = replace(only, links={pair: link for pair, link in only.links.items() if pair == (0, 0)})
    assert only.best_cuts()
    assert all(used[1] == 0 for used in only.best_cuts())


def by_milp(problem):
    """The best cut over any of the islands as an integer program: a stage is a choice of its layers, its kind, and how
    many stages are behind it."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # takes long; whoever collects tests need not

    chain, layers = problem.chain, problem.chain.layers
    most = min(layers, sum(pool.count for pool in problem.pools))
    stages = [
        (begin, end, kind, behind)
        for begin in range(layers)
        for end in range(begin + 1, layers + 1)
        for kind in range(chain.kinds)
        for behind in range(1, most + 1)
        if problem.fits(kind, begin, end, behind) and (behind == 1) == (end == layers)
    ]
    if not stages:
        return inf
    size = len(stages) + 2  # and the slowest stage, and the end with one microbatch

    def row(values):
        out = numpy.zeros(size)
        for place, value in values.items():
            out[place] = value
        return out

    def way(end):
        if end == layers:
            return 0.0, 0.0, 0.0
        link = problem.links[0, 0]
        sent, returned = chain.sent[end] / link.bandwidth, chain.returned[end] / link.bandwidth
        latency = link.latency if chain.has_backward else 0
        return sent + link.latency, returned + latency, max(sent, returned)

    cost, limits = numpy.zeros(size), []
    cost[-2:] = problem.microbatches - 1, 1
    there, back, last = numpy.zeros((3, size))
    for number, (begin, end, kind, _) in enumerate(stages):
        own, (forth, returning, occupied) = problem.stage(kind, begin, end), way(end)
        there[number] = own.there + forth
        back[number] = own.way - own.there + returning
        last[number] = own.last
        limits.append((row({number: max(own.whole, occupied), size - 2: -1}), -inf, 0))
    for place in range(layers):  # where a stage may begin, which then ends after all that go back from there on
        begins = numpy.array([*(one[0] for one in stages), -1, -1])
        ended = there + back * (begins >= place) + last * (begins == place)
        limits.append((ended - row({size - 1: 1}), -inf, 0))
    for layer in range(layers):
        limits.append((row({n: 1 for n, one in enumerate(stages) if one[0] <= layer < one[1]}), 1, 1))
    for place, behind in product(range(1, layers), range(1, most + 1)):
        ends = {n: 1 for n, one in enumerate(stages) if one[1] == place and one[3] == behind + 1}
        begins = {n: -1 for n, one in enumerate(stages) if one[0] == place and one[3] == behind}
        limits.append((row(ends | begins), 0, 0))
    for kind, pool in enumerate(problem.pools):
        limits.append((row({n: 1 for n, one in enumerate(stages) if one[2] == kind}), 0, pool.count))
    matrix, low, high = map(numpy.array, zip(*limits, strict=True))
    whole = numpy.array([1] * len(stages) + [0, 0])
    bounds = Bounds(0, numpy.array([1.0] * len(stages) + [numpy.inf] * 2))
    found = milp(cost, constraints=LinearConstraint(matrix, low, high), integrality=whole, bounds=bounds)
    return found.fun if found.success else inf


@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_an_integer_program_finds(seed):
    problem = random_problem(1000 + seed, layers=5, kinds=1)
    best = min((seconds for seconds, _ in problem.best_cuts().values()), default=inf)
    assert isclose(best, by_milp(problem), rel_tol=1e-6) or best == by_milp(problem)
