"""Programs as people write them give what `jax.jit` gives, or are refused for a reason that is documented.

All by all plans with `--full`; otherwise a tenth of them, by one plan each, which the day of the commit chooses.
"""

import functools
import inspect
import random
import re
from pathlib import Path

import audio  # noqa: F401 (its programs)
import contrast  # noqa: F401
import experts  # noqa: F401
import finetuning  # noqa: F401
import generative  # noqa: F401
import graphs  # noqa: F401
import jax
import jax.numpy as jnp
import language  # noqa: F401
import numpy
import pytest
import recurrent  # noqa: F401
import reinforcement  # noqa: F401
import science  # noqa: F401
import training  # noqa: F401
import vision  # noqa: F401
import zoo
from atoll.compiler.errors import CompileError, PlanError
from chosen import day
from evaluating import EVALUATING
from microbatched import on_devices
from programs import PROGRAMS
from timed_harness import compiling_quickly

import atoll

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).resolve().parent.parent.parent

STEPS = 3

# Plans by name, each with its topology.
PLANS = {
    "whole": ("2 x cpu[1]", atoll.Plan(microbatches=1, schedule="1f1b")),
    "halves": ("2 x cpu[1]", atoll.Plan(microbatches=2, schedule="gpipe")),
    "quarters": ("3 x cpu[1]", atoll.Plan(microbatches=4, schedule="1f1b")),
    "zero_bubble": ("2 x cpu[1]", atoll.Plan(microbatches=4, schedule="zb-h1")),
    "zigzag": ("2 x cpu[1]", atoll.Plan(microbatches=4, schedule="zb-v")),
    "replicas": ("4 x cpu[1]", atoll.Plan(microbatches=2, replicas=2, schedule="1f1b")),
}


# Those with more than one part of the batch.
DIVIDING = tuple(plan for plan in PLANS if plan != "whole")

# Those whose tasks XLA compiles with `--full`; numpy computes the others, in a tenth of the time.
BY_XLA = ("zero_bubble",)


def tenth():
    """A tenth of the programs, with a plan for each."""
    chance = random.Random(day())
    names = chance.sample(sorted(PROGRAMS), -(-len(PROGRAMS) // 10))
    return [(name, chance.choice(sorted(PLANS))) for name in names]


def pytest_generate_tests(metafunc):
    if "plan" in metafunc.fixturenames:
        is_full = metafunc.config.getoption("full")
        chosen = [(name, plan) for name in PROGRAMS for plan in PLANS] if is_full else tenth()
        metafunc.parametrize(("name", "plan"), [pytest.param(*one, marks=marks_of(*one)) for one in chosen])


def marks_of(name, plan):
    wrong = PROGRAMS[name].wrong
    return [pytest.mark.xfail(strict=True, reason=wrong)] if wrong and plan in DIVIDING else []


@pytest.fixture
def precision(name):
    """For all threads, as islands have their own; and jax's own context manager is for one."""
    jax.config.update("jax_enable_x64", PROGRAMS[name].double)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def computed(plan, request):
    """Tasks are those that users have, or numpy's."""
    if request.config.getoption("full") and plan in BY_XLA:
        yield
    else:
        with compiling_quickly(), on_devices(EVALUATING):
            yield


@pytest.mark.usefixtures("precision", "computed")
def test_same_answer_as_jit_or_a_refusal(name, plan, record_property):
    entry = PROGRAMS[name]
    is_refused = entry.refused is not None and plan in DIVIDING
    known = "known to fail" if marks_of(name, plan) else "right"
    record_property("real", (name, plan, f"refused: {entry.refused}" if is_refused else known))
    if is_refused:
        check_refused(entry, plan)
    else:
        check_right(name, plan)


@functools.lru_cache(maxsize=4)
def by_jit(name):
    """A program, and the leaves of what each of its steps gives by `jax.jit`."""
    program = PROGRAMS[name].build()
    return program, results_of(program, jax.jit(program.step))


def results_of(program, step):
    args, found = jax.tree.map(jnp.copy, program.args), []
    for _ in range(STEPS):
        result = step(*args)
        found.append(list(zoo.leaves(result)))
        args = fed_back(program, args, result)
    return found


def fed_back(program, args, result):
    """The arguments of the next step: the state it leaves, and the same examples."""
    state = (result,) if not isinstance(result, tuple) else result
    return (*state[: program.state], *args[program.state :])


def compiled(program, plan):
    topology, plan = PLANS[plan]
    return atoll.compile(
        program.step,
        *program.args,
        topology=topology,
        plan=plan,
        donate_argnums=tuple(range(program.state)),
        batch_argnums=() if program.axes else program.batch,
        batch_axes=program.axes,
    )


def check_right(name, plan):
    program, expected = by_jit(name)
    with compiled(program, plan) as step:
        found = results_of(program, step)
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert error_of(ours, theirs) < 1e-5, f"step {number}"


def error_of(found, expected):
    """The greatest error of all leaves, each by its greatest value.

    Some gradients are nothing but the rounding of terms that cancel, such as that of a bias that a softmax takes off
    again; so no value counts as less than a hundredth.
    """
    worst = 0.0
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), f"leaf {number}"
        if not jnp.issubdtype(ours.dtype, jnp.inexact):
            assert ours.tobytes() == theirs.tobytes(), f"leaf {number} has other bits"
            continue
        scale = max(float(numpy.max(numpy.abs(theirs), initial=0)), 1e-2)
        worst = max(worst, float(numpy.max(numpy.abs(ours - theirs), initial=0)) / scale)
    return worst


def check_refused(entry, plan):
    with pytest.raises((CompileError, PlanError)) as caught:
        compiled(entry.build(), plan)
    told = caught.value
    assert "internal error" not in str(told)
    assert re.search(entry.naming, str(told)), str(told)
    assert told.remedy, "it does not say what to do"
    marked = lines_marked_in(entry.at or entry.build)
    assert any(told.where == place or told.where.startswith(f"{place}:") for place in marked), f"{told}\nnot: {marked}"


def lines_marked_in(function):
    lines, start = inspect.getsourcelines(function)
    file = inspect.getsourcefile(function)
    return [f"{file}:{start + number}" for number, line in enumerate(lines) if line.endswith("# refused\n")]


def test_every_reason_is_documented():
    section = (ROOT / "docs" / "microbatches.md").read_text(encoding="utf-8").partition("\n## What is refused\n")[2]
    headings = set(re.findall(r"^\*\*([^*]+?)[.,]?\*\*", section, re.MULTILINE))
    assert {entry.refused for entry in PROGRAMS.values() if entry.refused} <= headings
