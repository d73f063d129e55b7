"""The bound of the search against the true optimum, which HiGHS finds for small problems; and where it is met."""

import itertools
from random import Random

import numpy as np
import pytest
from atoll.compiler.schedules.costs import Costs, LinkCost
from atoll.compiler.schedules.greedy import Problem
from atoll.compiler.schedules.search import _bound, search
from atoll.compiler.schedules.task import Task
from atoll.compiler.schedules.walk import needs

pytestmark = pytest.mark.own


def equal_costs(islands, latency, chunks=1):
    each = (1 / chunks,) * (islands * chunks)
    links = {pair: LinkCost(latency) for pair in itertools.permutations(range(islands), 2)}
    return Costs(each, each, each, (0.0,) * islands, each, links)


def optimum(problem):
    """The least makespan of any order, as an integer program over starts and over which of two tasks comes first.

    A microbatch may take no room before another one has freed it: for all of an island's forward tasks, those before
    it less the weight tasks before it are fewer than fit. Microbatches are alike, so each stage takes them in turn.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # takes long; whoever collects tests need not

    stages, count = problem.stages, problem.microbatches
    tasks = [Task(kind, stage, one) for kind in "FBW" for stage in range(stages) for one in range(count)]
    number = {task: at for at, task in enumerate(tasks)}
    home = [problem.stage_island[task.stage] for task in tasks]
    cost = [problem.cost(task.kind, task.stage) for task in tasks]
    pairs = [pair for pair in itertools.permutations(range(len(tasks)), 2) if home[pair[0]] == home[pair[1]]]
    before = {pair: len(tasks) + 1 + at for at, pair in enumerate(pairs)}
    width, late = len(tasks) + 1 + len(pairs), 2 * sum(cost) + 10.0
    rows, lows = [], []

    def at_least(terms, low):
        row = np.zeros(width)
        for column, factor in terms:
            row[column] += factor
        rows.append(row)
        lows.append(low)

    for at, task in enumerate(tasks):
        at_least([(len(tasks), 1), (at, -1)], cost[at])
        for need in needs(task, stages):
            maker = number[Task(*need)]
            way = problem.arrival(need[0], need[1], task.stage) if need[1] != task.stage else 0.0
            at_least([(at, 1), (maker, -1)], cost[maker] + way)
        if task.microbatch:
            at_least([(at, 1), (number[task._replace(microbatch=task.microbatch - 1)], -1)], 0)
    for first, second in pairs:
        if first < second:
            at_least([(before[first, second], 1), (before[second, first], 1)], 1)
            at_least([(before[first, second], -1), (before[second, first], -1)], -1)
        at_least([(second, 1), (first, -1), (before[first, second], -late)], cost[first] - late)
    for at, task in enumerate(tasks):
        if task.kind == "F":
            own = [other for other in range(len(tasks)) if home[other] == home[at] and other != at]
            sizes = problem.costs.activations
            terms = [
                (before[other, at], sizes[tasks[other].stage] * {"F": -1, "B": 0, "W": 1}[tasks[other].kind])
                for other in own
            ]
            at_least(terms, sizes[task.stage] - problem.limits[home[at]])
    upper = np.array([late] * (len(tasks) + 1) + [1] * len(pairs))
    target = np.zeros(width)
    target[len(tasks)] = 1
    found = milp(
        target,
        constraints=LinearConstraint(np.array(rows), np.array(lows), np.inf),
        bounds=Bounds(0, upper),
        integrality=np.array([0] * (len(tasks) + 1) + [1] * len(pairs)),
        options={"time_limit": 60},
    )
    assert found.success, found.message
    return found.fun


@pytest.mark.parametrize(("microbatches", "latency", "limit"), [(3, 0.0, 1), (3, 1.0, 2), (4, 0.5, 2), (4, 1.0, 3)])
def test_two_islands_against_the_optimum(microbatches, latency, limit):
    draw = Random(microbatches)
    problem = Problem(microbatches, (0, 1), equal_costs(2, latency), (float(limit),) * 2)
    if limit == 3:  # unequal ones as well
        forward, backward, weight = (tuple(draw.choice((0.5, 1.0, 1.5)) for _ in range(2)) for _ in range(3))
        costs = Costs(forward, backward, weight, (0.0,) * 2, (1.0,) * 2, problem.costs.links)
        problem = Problem(microbatches, (0, 1), costs, problem.limits)
    best = optimum(problem)
    found = search(2, microbatches, problem.costs, problem.limits)
    assert _bound(problem) <= best * (1 + 1e-6)
    assert found.simulation.makespan == pytest.approx(best)


# With four islands and 16 microbatches, F = B = W = 1: latency, limit, and the makespan that is both found and proved.
PROVED = [(0.5, 3, 72), (1.0, 8, 54), (2.0, 4, 93), (2.0, 8, 63)]


@pytest.mark.parametrize(("latency", "limit", "makespan"), PROVED)
def test_rounds_prove_what_is_found(latency, limit, makespan):
    problem = Problem(16, (0, 1, 2, 3), equal_costs(4, latency), (float(limit),) * 4)
    assert _bound(problem) == makespan
    assert search(4, 16, problem.costs, problem.limits).simulation.makespan == makespan


def test_a_latency_of_one_task_at_the_memory_of_1f1b():
    """85 units by 1f1b; the bound was 63 before it counted that what takes a place waits for its island as well."""
    found = search(4, 16, equal_costs(4, 1.0), [4.0] * 4)
    assert (found.simulation.makespan, found.lower_bound) == (71, 69)
