"""What the planner finds for a chain, beside every cut with every schedule, as the simulator sees them."""

from dataclasses import replace
from itertools import combinations, permutations
from math import inf

import pytest
from atoll.compiler.planner.bound import least_seconds, least_seconds_in_line
from atoll.compiler.planner.candidates import Setting, candidates, simulated
from atoll.compiler.planner.chain import Cut
from atoll.compiler.schedules.costs import LinkCost
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS
from planner_chains import random_problem

pytestmark = pytest.mark.own

STRAIGHT = ("1f1b", "gpipe", "zb-h1", "zb-h2")


def setting_of(seed):
    problem = random_problem(seed)
    homes = tuple(kind for kind, pool in enumerate(problem.pools) for _ in range(pool.count))
    memory = tuple(pool.memory for pool in problem.pools)
    return Setting(problem.chain, homes, memory, problem.links, problem.microbatches)


def by_brute_force(setting):
    """The least makespan of any cut over the first islands, in any order, with any kind with one stage an island."""
    best = inf
    kinds = [SCHEDULE_KINDS[name] for name in (STRAIGHT if setting.chain.has_backward else ("forward-only",))]
    for count in range(1, min(len(setting.homes), setting.chain.layers) + 1):
        here = setting.with_islands(count)
        for begins in combinations(range(1, setting.chain.layers), count - 1):
            for homes in set(permutations(here.homes)):
                found = [simulated(here, Cut((0, *begins), homes), kind) for kind in kinds]
                best = min([best, *(one.seconds for one in found if one is not None)])
    return best


# How many of these chains a run looks at; `--full` takes as many as the limit is about.
CHAINS, ALL_CHAINS = 40, 200


def test_it_is_within_two_percent_of_brute_force_nearly_always(request):
    near = bounds = told = 0
    seeds = range(2000, 2000 + (ALL_CHAINS if request.config.getoption("full") else CHAINS))
    for seed in seeds:
        setting = setting_of(seed)
        found, best = candidates(setting), by_brute_force(setting)
        assert bool(found) == (best < inf), seed
        if not found:
            near += 1
            continue
        told += 1
        near += found[0].seconds <= best * 1.02
        asked = setting.chain, setting.homes, setting.microbatches
        # One stage on each island is what brute force tries; the planner also finds orders with several.
        assert least_seconds_in_line(*asked) <= best * (1 + 1e-9), seed
        assert least_seconds(*asked) <= min(best, found[0].seconds) * (1 + 1e-9), seed
        bounds += least_seconds(*asked) > best / 2
    assert near >= 0.95 * len(seeds)
    assert bounds > told / 2  # it says something


def test_what_a_task_takes_beside_its_work_makes_stages_fewer():
    """On islands whose links take no time, where nothing else speaks against more stages."""
    problem = random_problem(3, layers=6, kinds=1)
    free = Setting(problem.chain, (0, 0, 0), (inf,), dict.fromkeys(problem.links, LinkCost()), microbatches=4)
    stages = [
        len(candidates(replace(free, chain=replace(free.chain, beside=(beside,))))[0].cut.begins)
        for beside in (0.0, 1000.0)
    ]
    assert stages[0] > 1
    assert stages[1] == 1


def test_islands_that_share_cores_are_as_many_as_gain_by_it():
    """The same beside brute force, where several islands together do little more than one."""
    near = fewer = 0
    seeds = range(2100, 2120)
    for seed in seeds:
        setting = replace(setting_of(seed), at_once=1.25)
        found, best = candidates(setting), by_brute_force(setting)
        assert bool(found) == (best < inf), seed
        if not found:
            near += 1
            continue
        near += found[0].seconds <= best * 1.02
        fewer += len(found[0].setting.homes) < len(setting.homes)
        asked = setting.chain, setting.homes, setting.microbatches, setting.at_once
        assert least_seconds(*asked) <= min(best, found[0].seconds) * (1 + 1e-9), seed
    assert near >= 0.95 * len(seeds)
    assert fewer  # to send values costs more than another island gains


def test_what_fits_nothing_has_no_candidate():
    setting = setting_of(0)
    assert candidates(Setting(setting.chain, setting.homes, (0.5,) * len(setting.memory), setting.links, 4)) == []
