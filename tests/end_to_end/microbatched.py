"""What tests of microbatches share: compiling a case of the zoo, and checking that it was cut in time for real."""

import functools
import itertools
from collections import Counter
from contextlib import contextmanager
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy
import pytest
import zoo
from atoll.compiler.task_name import INITIAL, RESHARD, UPDATE, TaskName
from atoll.runtime.controller import Controller
from atoll.runtime.devices import Devices
from atoll.runtime.fragment import lower_code
from atoll.runtime.program import Run
from evaluating import EVALUATING
from references import by_numpy
from timed_harness import compiling_quickly

import atoll

# Schedules by what they share: the stages of each island, and so the fragments.
STRAIGHT = ("gpipe", "1f1b", "zb-h1", "zb-h2")
ROUND = ("interleaved-1f1b(2)", "looped-bfs(2)", "interleaved-zb(2)")
ZIGZAG = ("zb-v", "v-half", "v-min", "dualpipe-v")


@pytest.fixture(scope="module", autouse=True)
def evaluated(request):
    """Numpy computes what tasks compute, and XLA takes less trouble with all else; with --full XLA computes it all, as
    it does for users."""
    if request.config.getoption("full"):
        yield
    else:
        with compiling_quickly(), on_devices(EVALUATING), by_numpy():
            yield


# For tests of what XLA makes of tasks: the order of sums within one, donation, and what it was given to compile.
BY_XLA = pytest.mark.xla


@pytest.fixture(autouse=True)
def compiled_by_xla(request):
    """In a module that has it `evaluated`, the tests marked so have tasks compiled, equal ones once."""
    if request.node.get_closest_marker(BY_XLA.name) is None:
        yield
        return
    cached = functools.cache(
        lambda code, inputs, donated, mesh: functools.cache(lower_code(code, inputs, donated, mesh))
    )

    def lower_once(code, inputs, donated, mesh, callbacks):
        assert not callbacks
        return cached(code, tuple(inputs), tuple(donated), mesh)

    with on_devices(Devices(lower=lower_once)), by_numpy(False):
        yield


@contextmanager
def on_devices(devices):
    """Programs that are compiled meanwhile run on these: `Devices()` are those of jax."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Controller.__init__.__kwdefaults__, "devices", devices)
        yield


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    """For all threads, as islands have their own; and jax's own context manager is for one."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def compiled(case, plan, topology):
    """A case of the zoo on islands."""
    return atoll.compile(
        case.fn, *case.args, topology=topology, donate_argnums=case.donate, batch_argnums=case.batch, plan=plan
    )


def error_of(found, expected):
    """The greatest relative error of all leaves, each by its greatest value."""
    worst = 0.0
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), f"leaf {number}"
        if not jnp.issubdtype(ours.dtype, jnp.inexact):
            assert ours.tobytes() == theirs.tobytes(), f"leaf {number} has other bits"
            continue
        scale = float(numpy.max(numpy.abs(theirs), initial=0)) or 1.0
        worst = max(worst, float(numpy.max(numpy.abs(ours - theirs), initial=0)) / scale)
    return worst


def bits_of(tree):
    return [leaf.tobytes() for leaf in zoo.leaves(tree)]


class Ran(NamedTuple):
    """A task that ran, as schedules know it."""

    kind: str
    microbatch: int
    stage: str


def task_named(text, microbatches):
    """What a task's name says; None for one that stands around the last loop. Without a loop none has a microbatch."""
    name = TaskName.parse(text)
    if name.kind not in "FBW" or name.loop is not None or (name.microbatch is None) != (microbatches == 1):
        return None
    return Ran(name.kind, name.microbatch or 0, f"{name.stage}.{name.turn}" if name.turn else f"{name.stage}")


def check_cut_in_time(step, case, schedule):
    """The batch was divided, and the tasks ran in the rows of the schedule, of which all ran that there are."""
    microbatches = schedule.microbatches
    assert step.plan.microbatches == microbatches
    stats, names = step.stats(), [island.name for island in step.program.islands]
    named = [[(task, task_named(task, microbatches)) for task in stats.order[name]] for name in names]
    orders = [[ran for _, ran in order if ran] for order in named]
    there = {(ran.kind, ran.stage) for order in orders for ran in order}
    rows = [[Ran(task.kind, task.microbatch, str(task.stage)) for task in row] for row in schedule.rows]
    rows = [[ran for ran in row if (ran.kind, ran.stage) in there] for row in rows]
    assert orders == [*rows, *[[]] * (len(names) - len(rows))]
    others = [TaskName.parse(task) for order in named for task, ran in order if not ran]
    assert all(name.kind in (INITIAL, UPDATE, RESHARD) or name.loop is not None for name in others)
    counted = Counter(kind for kind, _ in there for _ in range(microbatches))
    assert stats.tasks == counted + Counter(name.kind for name in others)
    parts = check_parts(step, case, microbatches)
    for island, run in runs_of(step):
        if run.name.kind == RESHARD:  # of whichever microbatch
            continue
        ran = task_named(run.task, microbatches)
        taken = {parts[island, number] for number in run.inputs if (island, number) in parts}
        assert taken <= {ran.microbatch if ran else None}


def check_parts(step, case, microbatches):
    """Batch arguments have a part for each microbatch; returns of which microbatch each place has the part."""
    if microbatches == 1:
        assert not any(one.starts for one in step.program.inputs)
        return {}
    batches = [[number in case.batch] * len(jax.tree.leaves(argument)) for number, argument in enumerate(case.args)]
    parts = {}
    for one, is_batch in zip(step.program.inputs, itertools.chain(*batches), strict=True):
        if not is_batch or not one.places:  # nobody needs it
            assert not one.starts
            continue
        assert (step.program.division(one).dimensions, len(one.places)) == ((0,), microbatches)
        for number, place in enumerate(one.every_place):
            assert step.program.buffer(place).shape == (one.shape[0] // microbatches, *one.shape[1:])
            parts[place] = number
    assert parts
    return parts


def runs_of(step):
    """All tasks, with their islands."""
    for island in step.program.islands:
        yield from ((island.name, one) for one in island.instructions if isinstance(one, Run))


def codes_of_tasks(step):
    """The code that each task of the loop runs."""
    named = [(task_named(run.task, step.plan.microbatches), run.code) for _, run in runs_of(step)]
    return {(ran.kind, ran.stage): step.program.codes[code].module for ran, code in named if ran}
