"""The automatic cut keeps every island busy: what programs get, against the best that any cut could give."""

from functools import cache
from itertools import pairwise

import numpy
import pytest
from atoll.compiler.module.graph import Graph
from atoll.compiler.plan.plan import Plan
from atoll.passes.stage.cut.contiguous_cut import FLOORS
from atoll.passes.stage.cut.even_cut import UNEVEN
from atoll.passes.stage.cut.forward_part import forward_part
from atoll.passes.stage.cut.work import owners_of
from atoll.passes.stage.layers.choice import read_loops
from atoll.passes.stage.layers.steps import Steps
from atoll.passes.stage.measured.parts import Parts
from cut_models import MODELS

import atoll

pytestmark = pytest.mark.own


def best_bottleneck(costs, parts):
    """The least that the costliest of so many parts can have: for each end all beginnings of its part are tried."""
    sums = numpy.cumsum([0, *costs])
    best = sums
    for _ in range(1, parts):
        best = numpy.array(
            [min(numpy.maximum(best[: end + 1], sums[end] - sums[: end + 1])) for end in range(len(sums))]
        )
    return best[-1] / sums[-1]


@pytest.fixture(scope="module")
def steps_of(module_at):
    """The steps of a model's forward part on so many islands, in the order in which they may be cut; and the graph."""

    @cache
    def get(name, islands):
        graph = Graph.of(module_at(MODELS[name]().job, "timed", Plan(microbatches=2), f"{islands} x cpu[1]"))
        forward = forward_part(graph)
        loops = {index: loop for index, loop in read_loops(graph.module, graph).items() if index in forward}
        return Steps(graph, forward, loops), graph

    return get


def work_of(steps, graph):
    return steps.work(owners_of(graph, steps.forward))


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("islands", [2, 4])
def test_no_island_is_idle_and_none_holds_the_others_up(steps_of, name, islands):
    """By what the tasks of a step cost, update and all, and not by what the cut expected of them."""
    plan = atoll.Plan(stages=islands, microbatches=2, schedule="gpipe")
    lowered = atoll.lower(MODELS[name]().job, topology=f"{islands} x cpu[1]", plan=plan)
    costs = [island.cost for island in lowered.report().islands]
    assert max(costs) / sum(costs) <= UNEVEN * best_bottleneck(work_of(*steps_of(name, islands)), islands)
    assert min(costs) / sum(costs) >= FLOORS[0] / islands


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("islands", [2, 4])
def test_the_layers_of_the_planner_allow_an_even_cut(steps_of, name, islands):
    steps, graph = steps_of(name, islands)
    work, parts = work_of(steps, graph), Parts.of(graph.module, graph)
    pieces = [sum(work[begin:end]) for begin, end in pairwise((0, *parts.places, len(work)))]
    assert best_bottleneck(pieces, islands) <= UNEVEN * best_bottleneck(work, islands)
