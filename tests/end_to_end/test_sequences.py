"""Steps whose examples need something of the whole batch: several loops over microbatches, with the answer of
`jax.jit`, and no more work, memory and messages than that takes."""

import functools
import gc
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from math import prod
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy
import pytest
import reinforcement
import zoo
from atoll.compiler.cost.operations import cost_of
from atoll.compiler.mlir.bindings import stablehlo
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.notes import SeveralLoops
from atoll.compiler.task_name import TaskName
from microbatched import (  # noqa: F401 (fixtures)
    BY_XLA,
    bits_of,
    compiled_by_xla,
    double_precision,
    error_of,
    evaluated,
    runs_of,
)

import atoll

pytestmark = pytest.mark.timeout(120)

B, D = 16, 8

PLANS = {
    "halves": ("2 x cpu[1]", atoll.Plan(microbatches=4, schedule="1f1b")),
    "zero_bubble": ("4 x cpu[1]", atoll.Plan(microbatches=4, schedule="zb-h1")),
    "replicas": ("2 x cpu[1]", atoll.Plan(replicas=2)),
    "both": ("4 x cpu[1]", atoll.Plan(microbatches=2, replicas=2, extra=0)),
    "again": ("2 x cpu[1]", atoll.Plan(microbatches=8, extra=1000, schedule="1f1b")),
}


def normal(seed, *shape):
    return jnp.asarray(numpy.random.default_rng(seed).normal(size=shape) / 2)


def weights(layers, seed=0):
    return [normal(seed + layer, D, D) for layer in range(layers)]


def tower(params, h):
    for number, w in enumerate(params):
        with jax.named_scope(f"layer{number}"):
            h = jax.nn.gelu(h @ w)
    return h


def trained(loss_fn, params, *examples):
    """A step of gradient descent, with its arguments."""

    def step(params, *examples):
        loss, gradient = jax.value_and_grad(loss_fn)(params, *examples)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), loss

    return step, (params, *examples)


def batch_statistics(layers=3):
    def loss_fn(params, x, y):
        h = x
        for number, w in enumerate(params):
            with jax.named_scope(f"layer{number}"):
                z = h @ w
                mean = z.mean(0)
                h = jax.nn.gelu((z - mean) * jax.lax.rsqrt(((z - mean) ** 2).mean(0) + 1e-5))
        return ((h - y) ** 2).mean()

    return trained(loss_fn, weights(layers), normal(8, B, D), normal(9, B, D))


def contrast(layers=3, examples=B):
    """CLIP: every picture with every text."""

    def loss_fn(params, x, y):
        a, b = tower(params["picture"], x), tower(params["text"], y)
        scores = a @ b.T
        return -jnp.diagonal(jax.nn.log_softmax(scores) + jax.nn.log_softmax(scores.T)).mean()

    params = {"picture": weights(layers), "text": weights(layers, 4)}
    return trained(loss_fn, params, normal(8, examples, D), normal(9, examples, D))


def sharpness():
    """SAM: the gradient where a step up the gradient leads."""

    def loss_fn(params, x, y):
        return ((tower(params, x) - y) ** 2).mean()

    def step(params, x, y):
        loss, up = jax.value_and_grad(loss_fn)(params, x, y)
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in up))
        gradient = jax.grad(loss_fn)([p + 0.1 * g / norm for p, g in zip(params, up, strict=True)], x, y)
        return [p - 0.1 * g for p, g in zip(params, gradient, strict=True)], loss

    return step, (weights(4), normal(8, B, D), normal(9, B, D))


def experts_with_a_capacity(experts=4, capacity=6):
    def loss_fn(params, x, y):
        h = jax.nn.gelu(x @ params["into"])
        odds = jax.nn.softmax(h @ params["router"])
        chosen = jax.nn.one_hot(odds.argmax(-1), experts)
        place = (jnp.cumsum(chosen, 0) - 1) * chosen
        sent = ((place < capacity) * chosen)[:, :, None] * jax.nn.one_hot(place.sum(-1).astype(int), capacity)[:, None]
        inside = jax.nn.gelu(jnp.einsum("tec,td,edf->ecf", sent, h, params["experts"]))
        out = h + jnp.einsum("tec,ecd->td", sent * (odds * chosen).sum(-1)[:, None, None], inside)
        balance = experts * jnp.sum(chosen.mean(0) * odds.mean(0))
        return ((out @ params["out"] - y) ** 2).mean() + 0.01 * balance

    params = {"into": normal(0, D, D), "router": normal(1, D, experts)}
    params |= {"experts": normal(2, experts, D, D), "out": normal(3, D, D)}
    return trained(loss_fn, params, normal(8, B, D), normal(9, B, D))


def watched():
    """A loss without secrets, whose deviation and order are logged."""

    def loss_fn(params, x, y):
        out = tower(params, x)
        losses = ((out - y) ** 2).mean(-1)
        return losses.mean(), (out.std(), jnp.sort(losses), jnp.argmax(losses))

    def step(params, x, y):
        told, gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, x, y)
        return [p - 0.1 * g for p, g in zip(params, gradient, strict=True)], told

    return step, (weights(3), normal(8, B, D), normal(9, B, D))


def actor_and_critics():
    """SAC, as `tests/real` has it: two critics, an actor and a temperature, each with a gradient of its own."""
    program = reinforcement.soft_actor_critic()
    state, key, batch = jax.tree.map(in_double, program.args)
    return (lambda state, batch: program.step(state, key, batch)), (state, batch)


def in_double(leaf):
    return leaf.astype("float64") if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


# Bounds of what is extra under which little is made again, and under which much is.
KEPT_AND_AGAIN = ("20%, 1 MB", "1000%, 400 B")

STEPS = (batch_statistics, contrast, sharpness, experts_with_a_capacity, watched)
REFUSED = {(step.__name__, "both") for step in (batch_statistics, contrast, experts_with_a_capacity, watched)}


@functools.cache
def made(name):
    step, args = globals()[name]()
    return step, args, list(zoo.leaves(jax.jit(step)(*args)))


def batch_of(args):
    return tuple(range(1, len(args)))


def on_islands(do, step, args, topology, plan):
    return do(step, *args, topology=topology, plan=plan, batch_argnums=batch_of(args))


@pytest.mark.one_in(5)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", [step.__name__ for step in STEPS])
def test_same_answer_as_jit(name, plan):
    step, args, expected = made(name)
    if (name, plan) in REFUSED:
        with pytest.raises(
            atoll.CompileError, match=r"% of the model's work would be done again( and .*)?, or .* kept"
        ):
            on_islands(atoll.lower, step, args, *PLANS[plan])
        return
    with on_islands(atoll.compile, step, args, *PLANS[plan]) as compiled:
        found = [list(zoo.leaves(compiled(*args))) for _ in range(2)]
    assert error_of(found[0], expected) < 1e-12
    assert [one.tobytes() for one in found[0]] == [one.tobytes() for one in found[1]]


@pytest.mark.one_in(2)
@BY_XLA
@pytest.mark.parametrize("plan", [atoll.Plan(microbatches=4), atoll.Plan(microbatches=4, extra=1000)], ids=str)
def test_same_answer_by_xla(plan):
    step, args, expected = made("contrast")
    with on_islands(atoll.compile, step, args, "2 x cpu[1]", plan) as compiled:
        found = [compiled(*args) for _ in range(2)]
        assert error_of(list(zoo.leaves(found[0])), expected) < 1e-12
        assert bits_of(found[0]) == bits_of(found[1])


@pytest.mark.one_in(2)
@pytest.mark.parametrize("build", [batch_statistics, contrast, experts_with_a_capacity, watched])
def test_what_is_made_again_has_the_bits_of_what_is_kept(build):
    """Operation by operation, as numpy computes it; XLA rounds what it fuses otherwise."""
    step, args = build()
    found, again = [], []
    for extra in KEPT_AND_AGAIN:
        plan = atoll.Plan(microbatches=4, schedule="1f1b", extra=extra)
        with on_islands(atoll.compile, step, args, "2 x cpu[1]", plan) as compiled:
            found += [bits_of(compiled(*args)) for _ in range(2)]
            again.append(share_done_again(compiled.report()))
    assert again[0] < again[1]
    assert all(one == found[0] for one in found)


@pytest.mark.own
@pytest.mark.one_in(2)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="that instructions can be left out is an option for x86")
@pytest.mark.parametrize("name", ["batch_statistics", "contrast"])
def test_by_xla_only_a_product_that_is_rounded_with_a_sum_has_other_bits(name):
    """On processors without instructions for both at once it has the same ones, however XLA fuses."""
    flags = "--xla_force_host_platform_device_count=2 --xla_cpu_max_isa=AVX"
    command = [sys.executable, Path(__file__).with_name("rounded_twice.py"), name]
    settings = {"XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path), "JAX_ENABLE_COMPILATION_CACHE": "0"}
    told = subprocess.run(command, env=os.environ | settings, check=True, capture_output=True, text=True, timeout=100)
    assert told.stdout.split() == ["True"]


def share_done_again(report):
    """In percent of the model's work."""
    return next(note.fact.again for note in report.notes if isinstance(note.fact, SeveralLoops))


def lowered(step_and_args, topology, plan):
    return on_islands(atoll.lower, *step_and_args, topology, plan)


def products_of(lowered, phase="timed"):
    return str(lowered.ir(phase)).count("stablehlo.dot_general")


@pytest.mark.parametrize("layers", [2, 8])
def test_loops_and_products_grow_with_the_layers(layers):
    found = lowered(batch_statistics(layers), "2 x cpu[1]", atoll.Plan(microbatches=4))
    # Forward once, and backward for the weights and, but for the first layer, for what it takes.
    assert products_of(found) == 3 * layers - 1
    loops = str(found.ir("timed")).count("mpmd.for")
    assert loops <= 4 * layers + 1  # a mean and a variance, and the same on the way back


def test_what_is_kept_is_that_of_the_products():
    """Of each layer the result of its product, in every microbatch; what is made of it is made again."""
    layers = 8
    report = str(lowered(batch_statistics(layers), "2 x cpu[1]", atoll.Plan(microbatches=4)).report())
    (kept,) = re.findall(r"over the stages \d+ times: ([0-9.]+) KiB of the batch are kept", report)
    assert float(kept) * 1024 <= 2 * layers * B * D * 8 * 1.1  # and one gradient of each layer on the way back


def test_a_contrastive_loss_needs_little_memory_if_towers_are_gone_through_again():
    """Gradient caching, without being asked for: one more way forward, and the memory of a microbatch."""
    ran = {count: measured(*contrast(28, 96), atoll.Plan(microbatches=count, schedule="1f1b")) for count in (8, 1)}
    many, one = (ran[count][0] for count in (8, 1))
    assert many.keys() == one.keys()
    assert all(peak <= one[name] / 3 for name, peak in many.items())
    again = share_done_again(ran[8][2])
    assert again <= 37  # a third, and what similarities take of parts that are there whole
    assert ran[8][1] / ran[1][1] == pytest.approx(1 + again / 100, abs=0.01)


def measured(step, args, plan):
    """The most bytes that the runtime has counted on each island in a step, as the report says; the work of the
    products in all tasks that ran; and the report."""
    topology = "2 x cpu[1]"
    with on_islands(functools.partial(atoll.compile, donate_argnums=0), step, args, topology, plan) as compiled:
        for _ in range(2):  # the second has the state of the first, which nobody else keeps
            params = compiled(*args)[0]
            args = (params, *args[1:])
            del params
            gc.collect()
        stats, report = compiled.stats(), compiled.report()
        times = Counter(run.code for _, run in runs_of(compiled))
        work = sum(count * work_of_products(compiled.program.codes[code]) for code, count in times.items())
    assert stats.peak_bytes == {island.name: island.peak_bytes for island in report.islands}
    return stats.peak_bytes, work, report


def work_of_products(code):
    module = parse_text(code.module)
    with module.context:
        return sum(map(cost_of, operations_in(module.operation, stablehlo.DotGeneralOp)))


@pytest.mark.parametrize("build", [sharpness, batch_statistics, actor_and_critics])
def test_replicas_with_one_microbatch_add_nothing_and_exchange_each_sum_once(build):
    program = lowered(build(), "2 x cpu[1]", atoll.Plan(replicas=2))
    report, sums = program.report(), sums_of(program)
    assert products_of(program) == products_of(program, "stablehlo")
    assert sum(exchange.sums for exchange in report.exchanges) == len(sums)
    assert sum(exchange.bytes for exchange in report.exchanges) == sum(sums)
    sent = sum(exchange.sent for exchange in report.exchanges)
    assert {(link.source, link.target): link.bytes for link in report.links} == {
        ("island0", "island1"): sent,
        ("island1", "island0"): sent,
    }


def sums_of(program):
    """The bytes of each sum that loops add up: of all that they carry but the parts of microbatches."""
    found = []
    for line in loops_of(program):
        kept = re.findall(r"atoll\.parts = array<i64: ([0-9, ]+)>", line)
        parts = [int(number) for text in kept for number in text.split(",")]
        shapes = enumerate(re.findall(r"%arg\d+: tensor<((?:\d+x)*)f64>", line))
        found += [8 * prod(map(int, shape.split("x")[:-1])) for number, shape in shapes if number not in parts]
    return found


def loops_of(program):
    """The first line of each loop over microbatches."""
    return re.findall(r"mpmd\.for .*", str(program.ir("timed")))


def test_every_loop_is_a_pipeline():
    """The first way of SAM goes over the stages as the second does, in the schedule that the plan asks for."""
    step, args, _ = made("sharpness")
    plan = atoll.Plan(microbatches=4, schedule="gpipe")
    with on_islands(atoll.compile, step, args, "2 x cpu[1]", plan) as compiled:
        compiled(*args)
        order = [TaskName.parse(task) for task in compiled.stats().order["island0"]]
    ways = [
        [task._replace(loop=None) for task in order if task.kind in "FB" and task.loop == loop] for loop in (0, None)
    ]
    assert ways[0] == ways[1]
    assert len(ways[0]) == 8
