"""Every model of the zoo, on islands of many shapes, gives what `jax.jit` gives; and its work, its parameters and what
it sends really are where the plan says."""

import itertools
from collections import Counter
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy
import pytest
import zoo
from atoll.runtime.program import Run
from jax.sharding import PartitionSpec
from timed_harness import compiling_quickly

import atoll

# What an island may be, first to last, so that four islands have eight devices.
SHAPES = {
    "one": ("cpu[1]", "cpu[1]", "cpu[1]", "cpu[1]"),
    "mesh": ("cpu[data=2, model=2]", "cpu[model=2]", "cpu[1]", "cpu[1]"),
    "unlike": ("cpu[1]", "cpu[data=3]", "cpu[2]", "cpu[1]"),
    "pairs": ("cpu[2]", "cpu[2]", "cpu[2]", "cpu[2]"),
}
COUNTS = (1, 2, 3, 4)
# How much trouble XLA takes, with the test's code and with that of `jax.jit` alike: as for users, or little.
TROUBLE = {"usual": nullcontext, "little": compiling_quickly}
NAMES = ("north", "east", "south", "west")

# Where XLA, on one side of a cut and not on the other, vectorises a sum or fuses a multiplication with an addition; all
# others have the bits of `jax.jit`. What differs is a loss, mostly: the cut stands before the mean over all examples.
REORDERED = {
    "convolutions_with_batch_statistics",
    "encoder_decoder",
    "equinox_mlp",
    "flax_linen",
    "gradient_of_gradient",
    "mlp_adam",
    "mlp_adamw_clipped",
    "mlp_lamb",
    "tied_embedding",
    "transformer",
    "variational_autoencoder",
}

# What XLA has compiled in this process, by the name of the function.
COMPILED: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **about: COMPILED.append(str(about)) if event.endswith("/backend_compile_duration") else None
)


def topology_of(count, shape):
    return "\n".join(f"island {name} : {kind}" for name, kind in zip(NAMES[:count], SHAPES[shape], strict=False))


def pytest_generate_tests(metafunc):
    """Every model once, and every pair of a number of islands and a shape; or all.

    Where bits are compared, all is compiled as for users. That takes most of the time: quickly, of models whose sums
    are reordered every fourth has it.
    """
    if "islands" in metafunc.fixturenames:
        metafunc.parametrize(("name", "islands", "trouble"), list(divided_cases(metafunc.config)))
    if "shape" not in metafunc.fixturenames:
        return
    if metafunc.config.getoption("full"):
        every = itertools.product(zoo.CASES, COUNTS, SHAPES, ("usual",))
    else:
        shapes, is_quick = list(SHAPES), metafunc.config.getoption("quick")
        every = []
        for number, name in enumerate(zoo.CASES):
            once = COUNTS[(number + number // 4) % 4]
            is_usual = name not in REORDERED or number % 4 == 0 or not is_quick
            every.append((name, once, shapes[(number + once) % len(shapes)], "usual" if is_usual else "little"))
    metafunc.parametrize(("name", "count", "shape", "trouble"), list(every))


@pytest.fixture
def named(name, trouble):
    """A case of the zoo, all that is compiled for it as the parameter says."""
    with TROUBLE[trouble]():
        yield zoo.named(name, trouble)


def check_same(found, expected, exact):
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if exact or not jnp.issubdtype(ours.dtype, jnp.inexact):
            assert ours.tobytes() == theirs.tobytes(), f"leaf {number} has other bits"
        else:
            scale = float(numpy.max(numpy.abs(theirs), initial=0))
            numpy.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6 * scale, err_msg=f"leaf {number}")


def sent(step):
    """The bytes on each link, by the report."""
    total = Counter()
    for one in step.report().transfers:
        total[one.source, one.target] += one.bytes
    return dict(total)


def compiled_once(program):
    """The codes, each with the mesh of an island that runs it: for islands with like meshes it is compiled once."""
    return {
        (island.axes, one.code) for island in program.islands for one in island.instructions if isinstance(one, Run)
    }


@pytest.mark.one_in(8)
def test_same_answer_as_jit_in_the_planned_places(named, name, count, shape):
    case, expected, structure = named
    arguments, before = zoo.arguments_of(case), len(COMPILED)
    with atoll.compile(
        case.fn,
        *case.args,
        topology=topology_of(count, shape),
        donate_argnums=case.donate,
        plan=atoll.Plan(stages=count),
    ) as step:
        assert len(COMPILED) - before == len(compiled_once(step.program))
        assert {code for _, code in compiled_once(step.program)} == set(range(len(step.program.codes)))

        results = step(*arguments)
        assert jax.tree.structure(results) == structure
        check_same(zoo.leaves(results), expected, name not in REORDERED)

        stats, report = step.stats(), step.report()
        assert stats.order == {island.name: island.tasks for island in report.islands}
        assert stats.bytes_per_link == sent(step)
        assert stats.messages == len(report.transfers)
        working = [island for island in report.islands if island.tasks]
        assert len(working) >= min(count, case.parts)

        places = [place for output in step.program.outputs for place in output.every_place]
        assert [island for leaf in jax.tree.leaves(results) for island in leaf.islands] == [name for name, _ in places]
        if case.donate:
            check_state_stays(step, case, results)


def check_state_stays(step, case, results):
    """A second step, on the state that the first returned, moves no byte of it."""
    state = results if len(case.args) == 1 or not isinstance(results, tuple) else results[: len(case.donate)]
    step(*state, *case.args[len(state) :])
    assert step.stats().bytes_per_link == sent(step)


def divided(argument):
    """Shardings for any argument: the first axis over `data` and the last over `model`, where they are even.

    Not the axes between: `jax.jit` itself computes a wrong variance of an image that is divided by its columns.
    """

    def spec(leaf):
        if jnp.ndim(leaf) < 2 or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return PartitionSpec()
        first, *between, last = leaf.shape
        rows, columns = ("data" if first % 2 == 0 else None), ("model" if last % 2 == 0 else None)
        return PartitionSpec(rows, *(None for _ in between), columns)

    return jax.tree.map(spec, argument)


ALIKE = ("2 x cpu[data=2, model=2]", "little")
UNLIKE = ("island a : cpu[data=2, model=2]; island b : cpu[data=2]", "usual")


def divided_cases(config):
    """Of the models every second on islands that are alike, quickly every fourth, and every fourth on islands that are
    not; or all on both."""
    is_full, is_quick = map(config.getoption, ("full", "quick"))
    for number, name in enumerate(zoo.CASES):
        if is_full or number % (4 if is_quick else 2) == 0:
            yield (name, *ALIKE)
        if is_full or number % 4 == 0:
            yield (name, *UNLIKE)


@pytest.mark.one_in(8)
def test_same_answer_from_divided_arguments(named, islands):
    """With arguments and state divided over the devices of each island, and what follows from that inside the model."""
    case, expected, structure = named
    with atoll.compile(
        case.fn,
        *case.args,
        topology=islands,
        donate_argnums=case.donate,
        in_shardings=tuple(map(divided, case.args)),
        plan=atoll.Plan(stages=2),
    ) as step:
        results = step(*zoo.arguments_of(case))
        assert jax.tree.structure(results) == structure
        check_same(zoo.leaves(results), expected, exact=False)
        buffers = [buffer for island in step.program.islands for buffer in island.buffers]
        is_divisible = any(any(spec) for spec in jax.tree.leaves(tuple(map(divided, case.args)), is_leaf=is_spec))
        assert any(buffer.spec for buffer in buffers) == is_divisible


def is_spec(node):
    return isinstance(node, PartitionSpec)
